"""The Python API: the commands as functions. What goes wrong is an `InsituError`, with the command's words."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from insitu import experiment, provenance
from insitu.native.probe import UnfitHost
from insitu.own_library import BrokenLibrary
from insitu.provenance import Provenance
from insitu.ryu_environment import NoRyu
from insitu.study.errors import StudyFailed, WrongStudy
from insitu.summary import Summary
from insitu.vm.failure import MachineError
from insitu.vm.source import KernelError
from scenarios.expectation import Expectation, Measured
from scenarios.figures import flat
from scenarios.load import ScenarioError

if TYPE_CHECKING:
    import polars as pl

    from insitu.study.making import Compared, Repeated, Swept

Clock = Literal["virtual", "real"]
Where = Literal["vm", "host"]


class InsituError(Exception):
    """What went wrong, in a line; `code` is the command's exit code: 2 the input is wrong and nothing ran, 3 the run failed."""

    def __init__(self, message: str, code: Literal[2, 3]) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Run:
    """A run that has ended, and what its folder has. Its figures may not be used where its verdict is INVALID."""

    folder: Path
    summary: Summary = field(repr=False)
    provenance: Provenance = field(repr=False)

    @property
    def verdict(self) -> str:
        """VALID, DEGRADED or INVALID; `summary["verdict"]["reasons"]` says why."""
        status: str = self.summary["verdict"]["status"]
        return status

    @property
    def figures(self) -> dict[str, float | None]:
        """All figures of the summary by name, `downloads.latency_ms.p95`; None where one has no value."""
        return flat(self.summary)

    @property
    def expectations(self) -> list[Measured]:
        """What the scenario expected, and what was measured."""
        return [Expectation.parse(text).measure(self.summary) for text in self.provenance.scenario.expect]

    @cached_property
    def events(self) -> "dict[str, pl.DataFrame]":
        """What happened: for each kind of event a frame, a row an event; `t` is in ns of virtual time. Raises InsituError."""
        from insitu import table

        file = self.folder / "events.parquet"
        try:
            return table.frames(file)
        except (OSError, table.Unreadable) as error:
            raise InsituError(f"{file}: {error}", 2) from None


def run(
    file: str | Path,
    *,
    seed: int = 0,
    set: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    clock: Clock | None = None,
    on: Where = "vm",
) -> Run:
    """Runs a scenario's file as `insitu run` does; expectations that do not hold are no error.

    `set` is put over the file, by keys as `--set` has them, or nested: {"policies": {"slicing": "joint"}}. Raises InsituError.
    """
    with errors():
        scenario = experiment.read_scenario(Path(file), settings(set or {}))
        made = experiment.run(scenario, Path(file), seed, Path(out) if out else None, clock_of(clock, on), on)
    return load(made.folder)


def load(folder: str | Path) -> Run:
    """A run that is there, from its folder alone. Raises InsituError."""
    folder = Path(folder)
    with errors():
        try:
            return Run(folder, json.loads((folder / "summary.json").read_bytes()), provenance.read(folder))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise experiment.no_run(folder, Path(error.filename).name) from None
        except ValueError as error:
            raise experiment.NoRun(f"{folder}: this is no whole run: {error}") from None


def repeat(
    file: str | Path,
    n: int = 10,
    *,
    seed: int = 0,
    set: Mapping[str, Any] | None = None,
    within: float | None = None,
    most: int = 100,
    figures: Sequence[str] = (),
    out: str | Path | None = None,
) -> "Repeated":
    """Runs a scenario's file with `n` seeds, on all cores, as `insitu repeat` does; `within` is a share. Raises InsituError."""
    with errors():
        from insitu.study import making
        from insitu.study.cases import Case

        case = Case(Path(file), tuple(settings(set or {})), seed)
        return making.repeat(case, n, within, most, figures, Path(out) if out else None)


def compare(
    *sides: str | Path,
    versus: Sequence[str] = (),
    set: Mapping[str, Any] | None = None,
    n: int = 20,
    seed: int = 0,
    figures: Sequence[str] = (),
    out: str | Path | None = None,
) -> "Compared":
    """Every further side beside the first, as `insitu compare` does: `compare("campus.yaml", versus=["policies.slicing=joint"])`.

    Raises InsituError.
    """
    with errors():
        from insitu.study import asked, making

        wanted = asked.parse([str(side) for side in sides], settings(set or {}), versus)
        return making.compare(wanted, n, seed, figures, Path(out) if out else None)


def sweep(
    file: str | Path,
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    points: Sequence[Mapping[str, Any]] = (),
    latin: Mapping[str, str] | None = None,
    n: int = 0,
    seeds: int = 5,
    set: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None,
) -> "Swept":
    """A scenario's file at many points, as `insitu sweep` does: every value of `grid`, each with every one of `points`, each with
    `n` points that are drawn from the ranges of `latin`, {"requests.deadline": "50 ms..500 ms"}. Raises InsituError.
    """
    with errors():
        from insitu.study import making
        from insitu.study.design import combinations, range_of

        axes = [(key, [_text(value) for value in values]) for key, values in (grid or {}).items()]
        rows = [{key: _text(value) for key, value in point.items()} for point in points]
        chosen = combinations(axes, rows, [range_of(f"{key}={text}") for key, text in (latin or {}).items()], n)
        return making.sweep(Path(file), settings(set or {}), chosen, seeds, scheduler, Path(out) if out else None)


def clock_of(clock: Clock | None, on: Where) -> Clock:
    """The clock of a run, where none is asked for too. Raises InsituError."""
    if on == "host" and clock == "virtual":
        raise InsituError("--clock virtual: the host's clock is real; leave it out, or use --on vm", 2)
    return clock or ("real" if on == "host" else "virtual")


def settings(values: Mapping[str, Any], under: str = "") -> list[str]:
    """{"policies": {"slicing": "joint"}} -> ["policies.slicing=joint"]; texts are YAML, as in the command."""
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found += settings(value, f"{under}{key}.")
        else:
            found.append(f"{under}{key}={_text(value)}")
    return found


def _text(value: Any) -> str:
    """As it is written in YAML; texts are YAML already."""
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def errors() -> Iterator[None]:
    """Turns whatever a run can raise into an InsituError."""
    try:
        yield
    except (
        ScenarioError,
        NoRyu,
        UnfitHost,
        BrokenLibrary,
        experiment.FolderTaken,
        experiment.NoRun,
        WrongStudy,
    ) as error:
        raise InsituError(str(error), 2) from error
    except (experiment.RunFailed, MachineError, KernelError, StudyFailed, OSError) as error:
        raise InsituError(str(error), 3) from error
