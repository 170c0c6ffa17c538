"""A sweep: a scenario at many points, each with the same seeds, and what came out as one table."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from insitu.study.cases import Case, Outcome
from insitu.study.design import Point, quantity_of
from scenarios import figures, quantity

if TYPE_CHECKING:
    import polars as pl

TABLE = "table.parquet"
_LEFT_OUT = ("time_s.wall",)  # differs from time to time; each run's summary.json has it


class Parameter(NamedTuple):
    """What was set: a number where all values are one, in `unit` if they are quantities; None is as the file has it."""

    key: str
    unit: str
    values: list[Any]  # one for each point

    @property
    def column(self) -> str:
        return f"{self.key} ({self.unit})" if self.unit else self.key


def cases(file: Path, settings: Sequence[str], points: Sequence[Point], seeds: int) -> list[Case]:
    """A case for each point and seed, in the order of the table. The seeds are the same at each point."""
    return [
        Case(file, (*settings, *(f"{key}={value}" for key, value in point.items())), seed)
        for point in points
        for seed in range(seeds)
    ]


def parameters(points: Sequence[Point]) -> list[Parameter]:
    """The keys of all points, in the order in which they come."""
    keys = dict.fromkeys(key for point in points for key in point)
    return [_typed(key, [point.get(key) for point in points]) for key in keys]


def table(points: Sequence[Point], seeds: int, outcomes: Sequence[Outcome]) -> "pl.DataFrame":
    """A row for each case, in the order of `cases`, which is that of `outcomes`.

    `point` (from 1), `seed`, a column for each parameter, `status` (a verdict, or FAILED) with `reasons`, `run` (the folder's
    name), `digest`, and all figures of the summary but wall time; a figure that a run does not have is null.
    """
    import polars as pl

    of_point = parameters(points)
    measured = [figures.flat(o.summary) if o.summary else {} for o in outcomes]
    names = [name for name in dict.fromkeys(name for row in measured for name in row) if name not in _LEFT_OUT]
    columns: dict[str, Any] = {
        "point": pl.Series([1 + n // seeds for n in range(len(outcomes))], dtype=pl.Int64),
        "seed": pl.Series([outcome.case.seed for outcome in outcomes], dtype=pl.Int64),
        **{p.column: [value for value in p.values for _ in range(seeds)] for p in of_point},
        **{name: pl.Series([_status(o)[name] for o in outcomes], dtype=pl.String) for name in ("status", "reasons")},
        "run": [outcome.key for outcome in outcomes],
        "digest": pl.Series([o.summary["digest"] if o.summary else None for o in outcomes], dtype=pl.String),
        **{name: pl.Series([row.get(name) for row in measured], dtype=pl.Float64) for name in names},
    }
    return pl.DataFrame(columns)


def write(frame: "pl.DataFrame", file: Path) -> None:
    """Nobody sees half of it; the same table gives the same bytes."""
    beside = file.with_name(f".{file.name}.partial")
    frame.write_parquet(beside)
    beside.rename(file)


def _status(outcome: Outcome) -> dict[str, str]:
    if outcome.summary is None:
        return {"status": "FAILED", "reasons": outcome.failure or ""}
    verdict = outcome.summary["verdict"]
    return {"status": verdict["status"], "reasons": "; ".join(verdict["reasons"])}


def _typed(key: str, texts: list[str | None]) -> Parameter:
    """Numbers if all are; quantities of one dimension as numbers of the largest unit in which none is below 1."""
    parts = [quantity_of(text) for text in texts if text is not None]
    units = {part[1] for part in parts if part}
    if None in parts or not parts:
        return Parameter(key, "", texts)
    if units == {""}:
        number = float if any("." in part[0] for part in parts if part) else int
        return Parameter(key, "", [None if text is None else number(text) for text in texts])
    dimension = next((name for name, known in quantity.UNITS.items() if units <= known.keys()), None)
    if dimension is None:
        return Parameter(key, "", texts)
    exact = [None if text is None else quantity.parse(text, dimension) for text in texts]
    least = min((abs(value) for value in exact if value), default=0)
    known = quantity.UNITS[dimension]
    unit = max((u for u in known if known[u] <= least), key=known.__getitem__, default=next(iter(known)))
    return Parameter(key, unit, [None if value is None else float(value / known[unit]) for value in exact])
