"""The commands that make many runs, or look at them."""

import difflib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from insitu.study.repeat import CarryOut
    from scenarios.plan import Plan

_DIFFERS, _INPUT, _FAILED, _INTERRUPTED = 1, 2, 3, 130
_ENDED_BY_SIGNAL = (129, 143)  # SIGHUP, SIGTERM
_SEED = click.IntRange(0, 2**31 - 1)


class _Share(click.ParamType):  # type: ignore[type-arg] # a plain class in older versions of click
    """`5 %` as 0.05."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> float:
        from scenarios import quantity

        try:
            share = float(quantity.parse(value, "share"))
        except ValueError as error:
            self.fail(str(error), param, context)
        if not 0 < share <= 1:
            self.fail(f'"{value}" is not more than 0 % and at most 100 %', param, context)
        return share


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--from", "made", type=click.Path(path_type=Path), metavar="RUN", help="make this run again instead")
@click.option("-n", "n", type=click.IntRange(1), default=10, show_default=True, help="how many seeds")
@click.option("--seed", type=_SEED, default=0, show_default=True, help="the first")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="put over the file: policies.slicing=none")
@click.option(
    "--within", type=_Share(), metavar="SHARE", help='go on until the intervals are mean ± SHARE of it, as in "5 %"'
)
@click.option("--most", type=click.IntRange(1), default=100, show_default=True, help="runs, with --within")
@click.option("--figure", "figures", multiple=True, help="of interest: shown first, and what --within is about")
@click.option("--out", type=click.Path(path_type=Path), help="the study's folder; by default runs/<scenario>-repeat")
@click.option("--json", "as_json", is_flag=True, help="print the same as JSON")
def repeat(
    file: Path | None,
    made: Path | None,
    n: int,
    seed: int,
    settings: Sequence[str],
    within: float | None,
    most: int,
    figures: Sequence[str],
    out: Path | None,
    as_json: bool,
) -> None:
    """Run a scenario FILE with N seeds, on all cores: each figure's mean, its 95 % interval (Student's t), its spread.

    With --within, runs are added until every figure of interest is known that well (after at least 10 runs), or --most is reached.
    A run that failed or is INVALID is shown and kept; figures rest on the others, and the exit code is 3. What is there already
    is not run again.

    With --from, a RUN's folder is made again as it is, with its seed and settings: whether the bits are the same and, if they are
    not (exit code 1), which version or what of the plan differs.
    """
    if made is not None:
        _make_again(made, out, as_json)
    if file is None:
        _fail(_INPUT, "insitu repeat: give a scenario FILE, or --from RUN")
    from insitu.report import repetition_page
    from insitu.study import repeat as repeating
    from insitu.study import tables
    from insitu.study.cases import Case, prepare
    from insitu.study.folder import write_whole
    from insitu.study.sweep import Sweep, write_table

    with _one_line_errors():
        case = Case(file, tuple(settings), seed)
        prepared = prepare([case])[0].prepared
        _require_figures(figures, prepared.plan)
        name, of_interest = prepared.plan.scenario, figures or repeating.OF_INTEREST
        study = {"study": "repeat", "scenario": sha256(prepared.scenario).hexdigest(), "settings": settings}
        with _study(name, study, out, as_json) as (folder, carry_out):
            goal = None if within is None else repeating.Goal(within, max(most, n))
            found = repeating.repeat(case, n, carry_out, len(os.sched_getaffinity(0)), of_interest, goal)
            width = within or repeating.WITHIN
            write_table(Sweep(name, [{}], len(found.outcomes), found.outcomes), folder)
            write_whole(folder / "report.html", repetition_page.render(name, case, found, of_interest, width).encode())
    if as_json:
        content = repeating.as_json(found, of_interest, width)
        click.echo(json.dumps({"scenario": name, "folder": str(folder), **content}))
    else:
        tables.show(tables.repetition(name, found, of_interest))
        click.echo("\n".join(repeating.told(found, of_interest, width)))
        click.echo(f"report: {folder / 'report.html'}")
    sys.exit(_FAILED if found.unusable else 0)


@click.command()
@click.argument("sides", nargs=-1, required=True, metavar="A [B…]")
@click.option("--versus", multiple=True, metavar="KEY=VALUE", help="one more side: the one FILE with this put over it")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="put over the FILE of every side")
@click.option(
    "-n", "n", type=click.IntRange(1), default=20, show_default=True, help="how many seeds a side is run with"
)
@click.option("--seed", type=_SEED, default=0, show_default=True, help="the first")
@click.option("--figure", "figures", multiple=True, help="what decides; downloads.late by default")
@click.option("--out", type=click.Path(path_type=Path), help="the study's folder; by default runs/<scenario>-compare")
@click.option("--json", "as_json", is_flag=True, help="print the same as JSON")
def compare(
    sides: Sequence[str],
    versus: Sequence[str],
    settings: Sequence[str],
    n: int,
    seed: int,
    figures: Sequence[str],
    out: Path | None,
    as_json: bool,
) -> None:
    """Is B better than A? The same seeds for all sides, paired; every further side is compared with the first.

    A side is the folder of a RUN, a SET (a folder with runs, such as that of `insitu repeat`), a scenario FILE, or a file
    with settings, in quotes: "FILE --set KEY=VALUE". What has not been run is run, on all cores.

    \b
    insitu compare campus.yaml --versus policies.slicing=joint -n 20
    insitu compare campus.yaml --set policies.slicing=static --versus policies.slicing=joint
    insitu compare "campus.yaml --set policies.slicing=none" "campus.yaml --set policies.slicing=joint"
    insitu compare runs/campus-repeat runs/campus-repeat-2

    Only the figures of --figure are decided: their intervals hold all at once with 95 %. The others are exploratory.
    """
    from insitu.report import comparison_page
    from insitu.study import asked, tables
    from insitu.study import compare as comparing
    from insitu.study.folder import write_whole

    with _one_line_errors():
        checked = asked.check(asked.parse(sides, settings, versus), seed, n)
        plan = checked.made[0].plan
        _require_figures(figures, plan)
        study = {"study": "compare", "sides": [one.name for one in checked.asked], "settings": settings}
        with _study(plan.scenario, study, out, as_json) as (folder, carry_out):
            found = asked.carry_out(checked, carry_out)
            comparisons = comparing.compare(found, checked.names, figures)
            content = comparison_page.render(plan.scenario, checked.made, found, comparisons, folder)
            write_whole(folder / "report.html", content.encode())
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "comparisons": comparing.as_json(comparisons)}))
        return
    for comparison in comparisons:
        tables.show(tables.comparison(comparison))
        for line in comparison.notes:
            click.echo(f"note: {line}")
    for comparison in comparisons:
        for compared in comparison.decided:
            click.echo(comparing.sentence(comparison, compared))
    click.echo(comparing.method(comparisons))
    click.echo(f"report: {folder / 'report.html'}")


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--grid", multiple=True, metavar="KEY=VALUE,VALUE,…", help="these values of a key, one after another")
@click.option(
    "--list", "listed", type=click.Path(path_type=Path), metavar="FILE", help="points from a .csv or .yaml file"
)
@click.option("--latin", multiple=True, metavar="KEY=LOW..HIGH", help="values drawn from a range, by a latin hypercube")
@click.option("-n", "--points", type=click.IntRange(2), metavar="N", help="of the latin hypercube")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, metavar="N", help="runs of each point")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="put over the file at every point")
@click.option("--scheduler", metavar="ADDRESS", help="of a Dask cluster; by default a worker a core of this machine")
@click.option("--out", type=click.Path(path_type=Path), help="the study's folder; by default runs/<scenario>-sweep")
@click.option("--json", "as_json", is_flag=True, help="print what came out as JSON")
def sweep(
    file: Path,
    grid: Sequence[str],
    listed: Path | None,
    latin: Sequence[str],
    points: int | None,
    seeds: int,
    settings: Sequence[str],
    scheduler: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run a scenario FILE at many points: one table of all runs, and a report of the figures against what was set.

    A KEY is any place of the scenario: policies.slicing, requests.deadline, devices.phone.count; an entry of a list is named by
    its name or its position, from 1 on. What is asked for by --grid, --list and --latin is combined: every value of the grid with
    every other, each with every point of the list, each with every point of the hypercube. All points have the same seeds.

    \b
    insitu sweep campus.yaml --grid devices.phone.count=5,10,20 --grid policies.slicing=deadline,joint
    insitu sweep campus.yaml --latin "requests.deadline=50 ms..500 ms" --latin "network.core.rate=1..40 Gbit/s" -n 30
    insitu sweep campus.yaml --list points.csv --seeds 10

    Each line of a .csv file is a point, under a first line of keys; a .yaml file is a list of such mappings.

    All points are checked before anything runs. Interrupted (Ctrl-C) and started again, it goes on where it stopped.
    """
    from insitu.study import sweep as sweeping
    from insitu.study.cases import prepare
    from insitu.study.cluster import carry_out_prepared
    from insitu.study.design import combine
    from insitu.study.folder import study_folder
    from insitu.study.progress import StudyProgress

    if (points is None) != (not latin):
        _fail(_INPUT, "--latin needs -n POINTS, and -n needs --latin KEY=LOW..HIGH")
    if not (grid or listed or latin):
        _fail(_INPUT, "nothing to sweep over: give --grid, --list or --latin (insitu sweep --help has examples)")
    with _one_line_errors(), StudyProgress(file.stem, as_json) as progress:
        chosen = combine(grid, _listed(listed) if listed else [], latin, points or 0)
        cases = sweeping.cases(file, settings, chosen, seeds)
        ready = prepare(cases)
        name, content = ready[0].prepared.plan.scenario, sha256(ready[0].prepared.scenario).hexdigest()
        study = {"study": "sweep", "scenario": content, "settings": settings, "points": chosen, "seeds": seeds}
        with study_folder(f"{name}-sweep", study, out) as folder:
            outcomes = carry_out_prepared(ready, folder, scheduler, progress)
            swept = sweeping.collect(name, chosen, seeds, cases, outcomes)
            sweeping.write(swept, folder)
    if as_json:
        click.echo(json.dumps(sweeping.as_json(swept, folder)))
    else:
        click.echo(sweeping.told(swept, folder))
    sys.exit(_FAILED if swept.unusable else 0)


@click.command()
@click.argument("run", metavar="RUN", type=click.Path(path_type=Path))
def report(run: Path) -> None:
    """Write a RUN's report.html, and trace.json for ui.perfetto.dev, again: from its folder alone, as every run does at its end."""
    from insitu.experiment import NoRun
    from insitu.report import run_page

    try:
        click.echo(run_page.write(run))
    except NoRun as error:
        _fail(_INPUT, str(error))
    except OSError as error:
        _fail(_FAILED, str(error))


def _listed(file: Path) -> list[dict[str, str]]:
    """The points of a file. Raises DesignError."""
    from insitu.study.design import DesignError, read_csv, read_yaml

    readers = {".csv": read_csv, ".yaml": read_yaml, ".yml": read_yaml}
    if file.suffix not in readers:
        raise DesignError(f"--list {file}: is neither a .csv nor a .yaml file")
    try:
        return readers[file.suffix](file.read_text(encoding="utf-8-sig"), str(file))
    except OSError as error:
        raise DesignError(f"--list {file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DesignError(f"--list {file}: is not a text file in UTF-8") from None


def _make_again(folder: Path, out: Path | None, as_json: bool) -> NoReturn:
    from insitu import again, api, screen

    context = click.get_current_context()
    given = [name for name in context.params if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    if set(given) - {"made", "out", "as_json"}:
        _fail(_INPUT, "insitu repeat --from: a run is made again as it is; only --out and --json go with it")
    try:
        with api.errors():
            made = again.read(folder)
            seconds = made.plan["duration_ns"] // 10**9
            with screen.RunProgress(made.plan["scenario"], seconds, quiet=as_json) as progress:
                command = ["insitu", *sys.argv[1:]]
                found = again.again(made, out, progress.say, progress.update, command)
    except api.InsituError as error:
        _fail(error.code, str(error))
    except KeyboardInterrupt:
        _fail(130, "interrupted: the machine is ended, nothing is left of the new run")
    if as_json:
        click.echo(json.dumps({"equal": found.equal, "lines": found.lines, "folder": str(found.result.folder)}))
    else:
        click.echo("\n".join([*found.lines, f"folder: {found.result.folder}"]))
    sys.exit(0 if found.equal else _DIFFERS)


@contextmanager
def _study(scenario: str, study: dict[str, Any], out: Path | None, quiet: bool) -> Iterator[tuple[Path, "CarryOut"]]:
    """A study's folder, and what carries out cases into it. Raises FolderInUse."""
    from insitu.study.cluster import carry_out
    from insitu.study.folder import study_folder
    from insitu.study.progress import StudyProgress

    with (
        study_folder(f"{scenario}-{study['study']}", study, out) as folder,
        StudyProgress(scenario, quiet) as progress,
    ):
        yield folder, partial(carry_out, folder=folder, progress=progress)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Exit codes: 2 the input is wrong, 3 a run or what it needs failed, 130 Ctrl-C or another signal that ends us."""
    from insitu.own_library import BrokenLibrary
    from insitu.ryu_environment import NoRyu
    from insitu.study.asked import StudyFailed
    from insitu.study.cluster import ClusterError
    from insitu.study.design import DesignError
    from insitu.study.folder import FolderInUse
    from insitu.study.sides import Incomparable
    from insitu.vm.process import cleaning_up_on_signals
    from insitu.vm.source import KernelError
    from scenarios.load import ScenarioError

    interrupted = "interrupted: what is done is kept, and the same command goes on from there"
    try:
        with cleaning_up_on_signals():
            yield
    except (ScenarioError, NoRyu, BrokenLibrary, DesignError, FolderInUse, Incomparable) as error:
        _fail(_INPUT, str(error))
    except (StudyFailed, ClusterError, KernelError, OSError) as error:
        _fail(_FAILED, str(error))
    except KeyboardInterrupt:
        _fail(_INTERRUPTED, interrupted)
    except SystemExit as ended:
        if ended.code in _ENDED_BY_SIGNAL:
            _fail(_INTERRUPTED, interrupted)
        raise


def _require_figures(names: Sequence[str], plan: "Plan") -> None:
    """Every one of `names` is a figure of this plan's summary, or the command ends."""
    from scenarios.figures import figures

    known = figures([entry.name for entry in plan.slices], [link.name for link in plan.links])
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            _fail(_INPUT, f"--figure {name}: no such figure; write {near[0] if near else 'one of summary.json'}")


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
