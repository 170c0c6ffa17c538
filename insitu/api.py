"""The Python API: `insitu.run` and `insitu.load` give a `Run`; what goes wrong is an `InsituError`, with the command's words."""

import json
from collections.abc import Iterator, Mapping
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
from insitu.summary import Summary
from insitu.vm.failure import MachineError
from insitu.vm.source import KernelError
from scenarios.expectation import Expectation, Measured
from scenarios.figures import flat
from scenarios.load import ScenarioError

if TYPE_CHECKING:
    import polars as pl

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
            found.append(f"{under}{key}={value if isinstance(value, str) else json.dumps(value)}")
    return found


@contextmanager
def errors() -> Iterator[None]:
    """Turns whatever a run can raise into an InsituError."""
    try:
        yield
    except (ScenarioError, NoRyu, UnfitHost, BrokenLibrary, experiment.FolderTaken, experiment.NoRun) as error:
        raise InsituError(str(error), 2) from error
    except (experiment.RunFailed, MachineError, KernelError, OSError) as error:
        raise InsituError(str(error), 3) from error
