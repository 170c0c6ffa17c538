"""A sweep: a scenario at many points, each with the same seeds, and what came out as one table."""

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from insitu.study.cases import Case, Outcome
from insitu.study.design import Point, quantity_of
from insitu.study.folder import write_whole
from scenarios import figures, quantity

if TYPE_CHECKING:
    import polars as pl

TABLE, REPORT = "table.parquet", "report.html"
_LEFT_OUT = ("time_s.wall",)  # differs from time to time; each run's summary.json has it


class Sweep(NamedTuple):
    """What came out of a sweep: `outcomes` in the order of `cases`."""

    name: str
    points: list[Point]
    seeds: int
    outcomes: list[Outcome]

    @property
    def unusable(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if not outcome.usable]


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


def collect(name: str, points: list[Point], seeds: int, cases: Sequence[Case], outcomes: Iterable[Outcome]) -> Sweep:
    """Puts the outcomes, which come as they end, into the order of `cases`."""
    of_case = {outcome.case: outcome for outcome in outcomes}
    return Sweep(name, points, seeds, [of_case[case] for case in cases])


def write(swept: Sweep, folder: Path) -> None:
    """The table and the report, each whole; the same sweep gives the same table, byte for byte."""
    from insitu.report import sweep_page

    write_table(swept, folder)
    write_whole(folder / REPORT, sweep_page.render(swept).encode())


def write_table(swept: Sweep, folder: Path) -> None:
    packed = io.BytesIO()
    table(swept).write_parquet(packed)
    write_whole(folder / TABLE, packed.getvalue())


def told(swept: Sweep, folder: Path) -> str:
    """What came out, in a few lines."""
    runs, points, unusable = len(swept.outcomes), len(swept.points), len(swept.unusable)
    bad = f"; {unusable} failed or INVALID, which the table says" if unusable else ""
    return f"{runs} runs at {points} points{bad}\ntable: {folder / TABLE}\nreport: {folder / REPORT}"


def as_json(swept: Sweep, folder: Path) -> dict[str, Any]:
    return {
        "scenario": swept.name,
        "folder": str(folder),
        "table": str(folder / TABLE),
        "report": str(folder / REPORT),
        "points": len(swept.points),
        "seeds": swept.seeds,
        "statuses": dict(Counter(map(status, swept.outcomes))),
    }


def table(swept: Sweep) -> "pl.DataFrame":
    """A row for each case, in the order of `cases`.

    `point` (from 1), `seed`, a column for each parameter, `status` (a verdict, or FAILED) with `reasons`, `run` (the folder's
    name), `digest`, and all figures of the summary but wall time; a figure that a run does not have is null.
    """
    import polars as pl

    points, seeds, outcomes = swept.points, swept.seeds, swept.outcomes
    measured = [figures.flat(o.summary) if o.summary else {} for o in outcomes]
    names = [name for name in dict.fromkeys(name for row in measured for name in row) if name not in _LEFT_OUT]
    columns: dict[str, Any] = {
        "point": pl.Series([1 + n // seeds for n in range(len(outcomes))], dtype=pl.Int64),
        "seed": pl.Series([outcome.case.seed for outcome in outcomes], dtype=pl.Int64),
        **{p.column: [value for value in p.values for _ in range(seeds)] for p in parameters(points)},
        "status": [status(outcome) for outcome in outcomes],
        "reasons": ["; ".join(reasons(outcome)) for outcome in outcomes],
        "run": [outcome.key for outcome in outcomes],
        "digest": pl.Series([o.summary["digest"] if o.summary else None for o in outcomes], dtype=pl.String),
        **{name: pl.Series([row.get(name) for row in measured], dtype=pl.Float64) for name in names},
    }
    return pl.DataFrame(columns)


def status(outcome: Outcome) -> str:
    """The verdict on a run, or FAILED."""
    return outcome.summary["verdict"]["status"] if outcome.summary else "FAILED"


def reasons(outcome: Outcome) -> list[str]:
    return outcome.summary["verdict"]["reasons"] if outcome.summary else [outcome.failure or ""]


def _typed(key: str, texts: list[str | None]) -> Parameter:
    """Numbers if all are; quantities of one dimension as numbers of the smallest unit that is written."""
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
    known = quantity.UNITS[dimension]
    unit = min(units, key=known.__getitem__)
    exact = [None if text is None else quantity.parse(text, dimension) for text in texts]
    return Parameter(key, unit, [None if value is None else float(value / known[unit]) for value in exact])
