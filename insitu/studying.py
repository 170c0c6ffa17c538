"""The commands that make many runs, or look at them."""

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click

_INPUT, _FAILED, _INTERRUPTED = 2, 3, 130
_ENDED_BY_SIGNAL = (129, 143)  # SIGHUP, SIGTERM


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--grid", multiple=True, metavar="KEY=VALUE,VALUE,…", help="these values of a key, one after another")
@click.option("--list", "listed", type=click.Path(path_type=Path), metavar="FILE", help="points from a .csv or .yaml file")
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
    from insitu.vm.process import cleaning_up_on_signals

    if (points is None) != (not latin):
        _fail(_INPUT, "--latin needs -n POINTS, and -n needs --latin KEY=LOW..HIGH")
    if not (grid or listed or latin):
        _fail(_INPUT, "nothing to sweep over: give --grid, --list or --latin (insitu sweep --help has examples)")
    with _one_line_errors(), cleaning_up_on_signals():
        chosen = combine(grid, _listed(listed) if listed else [], latin, points or 0)
        cases = sweeping.cases(file, settings, chosen, seeds)
        ready = prepare(cases)
        name = ready[0].prepared.plan.scenario
        study = {"study": "sweep", "scenario": _digest(file), "settings": settings, "points": chosen, "seeds": seeds}
        with study_folder(f"{name}-sweep", study, out) as folder, StudyProgress(name, as_json) as progress:
            outcomes = carry_out_prepared(ready, folder, scheduler, progress)
            swept = sweeping.collect(name, chosen, seeds, cases, outcomes)
            sweeping.write(swept, folder)
    if as_json:
        click.echo(json.dumps(sweeping.as_json(swept, folder)))
    else:
        click.echo(sweeping.told(swept, folder))
    sys.exit(_FAILED if swept.unusable else 0)


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


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Exit codes: 2 the input is wrong, 3 a run or what it needs failed, 130 Ctrl-C or another signal."""
    from insitu.own_library import BrokenLibrary
    from insitu.ryu_environment import NoRyu
    from insitu.study.cluster import ClusterError
    from insitu.study.design import DesignError
    from insitu.study.folder import FolderInUse
    from insitu.vm.source import KernelError
    from scenarios.load import ScenarioError

    interrupted = "interrupted: what is done is kept, and the same command goes on from there"
    try:
        yield
    except (ScenarioError, NoRyu, BrokenLibrary, FolderInUse, DesignError) as error:
        _fail(_INPUT, str(error))
    except (ClusterError, KernelError, OSError) as error:
        _fail(_FAILED, str(error))
    except KeyboardInterrupt:
        _fail(_INTERRUPTED, interrupted)
    except SystemExit as ended:
        if ended.code in _ENDED_BY_SIGNAL:
            _fail(_INTERRUPTED, interrupted)
        raise


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
