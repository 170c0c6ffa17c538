"""The three kinds of study, whole: checked, carried out, and kept in a folder with its report.

The commands and the Python API both call these. What is in the folder already is not run again. Besides what each says, they raise
what `cluster.carry_out` does, and FolderInUse.
"""

import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from insitu.report import comparison_page, repetition_page
from insitu.study import asked
from insitu.study import compare as comparing
from insitu.study import repeat as repeating
from insitu.study import sweep as sweeping
from insitu.study.cases import Case, prepare
from insitu.study.cluster import carry_out, carry_out_prepared
from insitu.study.design import Point
from insitu.study.errors import WrongStudy
from insitu.study.folder import study_folder, write_whole
from insitu.study.progress import StudyProgress
from insitu.study.statistics import Estimate
from scenarios.figures import figures as figures_of
from scenarios.plan import Plan

if TYPE_CHECKING:
    import polars as pl

REPORT = sweeping.REPORT


class NoSuchFigure(WrongStudy):
    """A figure that is asked for by name is none of the summary's: one line."""


class Repeated(NamedTuple):
    """One scenario over many seeds. `found` has the outcomes of all runs and the figures' estimates."""

    folder: Path
    scenario: str
    found: repeating.Repetition
    of_interest: Sequence[str]
    within: float  # the relative half width that `repeat.told` speaks of

    @property
    def figures(self) -> dict[str, Estimate]:
        """Of each figure that any run has: n, mean, 95 % interval (Student's t), deviation, least, most."""
        return self.found.figures


class Compared(NamedTuple):
    """Every further side beside the first."""

    folder: Path
    comparisons: list[comparing.Comparison]

    @property
    def sentences(self) -> list[str]:
        """What is decided, a sentence for each comparison and figure that was asked for."""
        return [comparing.sentence(one, compared) for one in self.comparisons for compared in one.decided]


class Swept(NamedTuple):
    """A scenario at many points."""

    folder: Path
    found: sweeping.Sweep

    @property
    def table(self) -> "pl.DataFrame":
        """A row a run: parameters, seed, status, digest, all figures; as in the folder's table.parquet."""
        return sweeping.table(self.found)


def repeat(
    case: Case,
    n: int,
    within: float | None = None,
    most: int = 100,
    figures: Sequence[str] = (),
    out: Path | None = None,
    quiet: bool = True,
) -> Repeated:
    """Runs with `n` seeds from the case's own on, and as many more, up to `most`, as `within` needs. Raises NoSuchFigure."""
    prepared = prepare([case])[0].prepared
    _require_figures(figures, prepared.plan)
    name, of_interest = prepared.plan.scenario, figures or repeating.OF_INTEREST
    study = {"study": "repeat", "scenario": sha256(prepared.scenario).hexdigest(), "settings": case.settings}
    with _study(name, study, out, quiet) as (folder, progress):
        goal = None if within is None else repeating.Goal(within, max(most, n))
        run = partial(carry_out, folder=folder, progress=progress)
        found = repeating.repeat(case, n, run, len(os.sched_getaffinity(0)), of_interest, goal)
        width = within or repeating.WITHIN
        sweeping.write_table(sweeping.Sweep(name, [{}], len(found.outcomes), found.outcomes), folder)
        write_whole(folder / REPORT, repetition_page.render(name, case, found, of_interest, width).encode())
    return Repeated(folder, name, found, of_interest, width)


def compare(
    wanted: Sequence[asked.ToRun | asked.There],
    n: int,
    seed: int = 0,
    figures: Sequence[str] = (),
    out: Path | None = None,
    quiet: bool = True,
) -> Compared:
    """Runs what is not there yet, with the same seeds for all sides. Raises Incomparable, StudyFailed, NoSuchFigure."""
    checked = asked.check(wanted, seed, n)
    plan = checked.made[0].plan
    _require_figures(figures, plan)
    with _study(plan.scenario, {"study": "compare", "sides": [_identity(one) for one in wanted]}, out, quiet) as (
        folder,
        progress,
    ):
        found = asked.carry_out(checked, partial(carry_out, folder=folder, progress=progress))
        comparisons = comparing.compare(found, checked.names, figures)
        content = comparison_page.render(plan.scenario, checked.made, found, comparisons, folder)
        write_whole(folder / REPORT, content.encode())
    return Compared(folder, comparisons)


def sweep(
    file: Path,
    settings: Sequence[str],
    points: list[Point],
    seeds: int,
    scheduler: str | None = None,
    out: Path | None = None,
    quiet: bool = True,
) -> Swept:
    """Runs every point, which `design.combine` makes, with the seeds 0 … `seeds` - 1, here or on a Dask cluster."""
    cases = sweeping.cases(file, settings, points, seeds)
    with StudyProgress(file.stem, quiet) as progress:
        ready = prepare(cases)
        name, content = ready[0].prepared.plan.scenario, sha256(ready[0].prepared.scenario).hexdigest()
        study = {"study": "sweep", "scenario": content, "settings": settings, "points": points, "seeds": seeds}
        with study_folder(f"{name}-sweep", study, out) as folder:
            outcomes = carry_out_prepared(ready, folder, scheduler, progress)
            found = sweeping.collect(name, points, seeds, cases, outcomes)
            sweeping.write(found, folder)
    return Swept(folder, found)


@contextmanager
def _study(name: str, study: dict[str, Any], out: Path | None, quiet: bool) -> Iterator[tuple[Path, StudyProgress]]:
    with study_folder(f"{name}-{study['study']}", study, out) as folder, StudyProgress(name, quiet) as progress:
        yield folder, progress


def _identity(one: asked.ToRun | asked.There) -> list[str]:
    return [one.name, *(one.settings if isinstance(one, asked.ToRun) else ())]


def _require_figures(names: Sequence[str], plan: Plan) -> None:
    known = figures_of([entry.name for entry in plan.slices], [link.name for link in plan.links])
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise NoSuchFigure(f"--figure {name}: no such figure; write {near[0] if near else 'one of summary.json'}")
