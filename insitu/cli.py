"""The command `insitu`: a short function for each command. Exit codes: 0 done, 1 an expectation failed, 2 bad input, 3 no run."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NoReturn

import click

from insitu.model_library import library
from insitu.ryu_environment import NoRyu
from insitu.studying import compare, repeat, report, sweep
from scenarios.load import ScenarioError
from scenarios.schema import Scenario

_EXPECTATION, _INPUT, _FAILED = 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="insitu")
def main() -> None:
    """Studies in-situ model downloading in an emulated 6G network."""


main.add_command(library)
main.add_command(compare)
main.add_command(repeat)
main.add_command(report)
main.add_command(sweep)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="of everything random")
@click.option("--out", type=click.Path(path_type=Path), help="the run's folder; by default runs/<scenario>-<seed>")
@click.option("--clock", type=click.Choice(["virtual", "real"]), help="virtual by default; on the host real")
@click.option(
    "--on", type=click.Choice(["vm", "host"]), default="vm", show_default=True, help="host: this machine, as root"
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="put over the file: policies.slicing=none")
@click.option("--json", "as_json", is_flag=True, help="print the summary as JSON")
def run(
    file: Path,
    seed: int,
    out: Path | None,
    clock: Literal["virtual", "real"] | None,
    on: Literal["vm", "host"],
    settings: Sequence[str],
    as_json: bool,
) -> None:
    """Run a scenario FILE in a virtual machine, or on this one."""
    from insitu import api, experiment, screen

    try:
        with api.errors():
            scenario = _load(file, settings)
            with screen.RunProgress(scenario.name, scenario.duration // 10**9, quiet=as_json) as progress:
                command = ["insitu", *sys.argv[1:]]
                time = api.clock_of(clock, on)
                result = experiment.run(scenario, file, seed, out, time, on, progress.say, progress.update, command)
    except api.InsituError as error:
        _fail(error.code, str(error))
    except KeyboardInterrupt:
        _fail(130, "interrupted: the machine is ended, nothing is left of the run")
    expectations = [expectation.measure(result.summary) for expectation in scenario.expect]
    if as_json:
        click.echo(json.dumps(result.summary | {"expectations": [one._asdict() for one in expectations]}))
    else:
        screen.show_result(result, expectations)
    if result.summary["verdict"]["status"] == "INVALID":
        sys.exit(_FAILED)
    sys.exit(0 if all(one.holds for one in expectations) else _EXPECTATION)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
def check(files: Sequence[Path]) -> None:
    """Say everything that is wrong with scenario FILES, without running them."""
    wrong = False
    for file in files:
        try:
            _load(file)
        except (ScenarioError, NoRyu) as error:
            wrong = True
            click.echo(str(error), err=True)
        else:
            click.echo(f"{file}: right")
    sys.exit(_INPUT if wrong else 0)


@main.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--topo", metavar="FILE.py:NAME", help="your own Mininet topology instead: a class, or a name in `topos`")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="of everything random")
@click.option("--clock", type=click.Choice(["virtual", "real"]), default="virtual", show_default=True)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="put over the file: policies.slicing=none")
def shell(
    file: Path | None, topo: str | None, seed: int, clock: Literal["virtual", "real"], settings: Sequence[str]
) -> None:
    """Mininet's CLI in a scenario FILE's network, from standard input too.

    The network is up with its controller; libraries, devices and traffic do not run. With the virtual clock, time flies
    while the shell waits for you.

    With --topo, NAME's links are insitu's and its controller is a learning switch; `NAME,3,depth=2` gives arguments.
    """
    from insitu import shell as shells
    from insitu.vm.failure import MachineError
    from insitu.vm.source import KernelError

    if (file is None) == (topo is None):
        _fail(_INPUT, "insitu shell: give a scenario FILE, or --topo FILE.py:NAME")
    if topo is not None and settings:
        _fail(_INPUT, "--set changes a scenario; a topology's arguments are written FILE.py:NAME,3,depth=2")
    if topo is not None and not Path(topo.rpartition(":")[0]).is_file():
        _fail(_INPUT, f"--topo {topo}: no such file; write FILE.py:NAME")
    try:
        if topo is not None:
            status = shells.topology(topo, seed, clock)
        else:
            assert file is not None
            status = shells.scenario(_load(file, settings), seed, clock)
    except (ScenarioError, NoRyu) as error:
        _fail(_INPUT, str(error))
    except KeyboardInterrupt:
        _fail(130, "interrupted: the machine is ended")
    except (MachineError, KernelError, OSError) as error:
        _fail(_FAILED, str(error))
    sys.exit(status)


@main.command()
@click.argument("what", metavar="RUN|FILE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="print them as JSON")
def slices(what: Path, as_json: bool) -> None:
    """The slices of a RUN (its folder) or a scenario FILE, link by link; of a run also what the kernel had, and the sessions.

    Devices' own links are left out.
    """
    from rich.console import Console

    from insitu import experiment, slices_table

    try:
        plan, events = experiment.read_run(what) if what.is_dir() else (experiment.plan_alone(_load(what)), None)
    except (ScenarioError, NoRyu, experiment.NoRun) as error:
        _fail(_INPUT, str(error))
    rows = slices_table.slice_rows(plan, events)
    sessions = slices_table.session_rows(events or [])
    if as_json:
        click.echo(json.dumps(slices_table.as_json(rows, sessions)))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(slices_table.slices_table(rows))
    if sessions:
        console.print(slices_table.sessions_table(sessions))


@main.group()
def vm() -> None:
    """The virtual machine."""


@vm.command("build")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="a kernel's source, a folder or a tarball; by default apt's newest",
)
def vm_build(source: Path | None) -> None:
    """Get and build the guest's kernel, once."""
    from insitu.vm.kernel import find_or_build
    from insitu.vm.source import KernelError

    try:
        kernel = find_or_build(lambda line: click.echo(line, err=True), source, refresh=True)
    except KernelError as error:
        _fail(_INPUT if source else _FAILED, str(error))
    except KeyboardInterrupt:
        _fail(130, "interrupted: nothing was kept")
    click.echo(f"{kernel.path} (Linux {kernel.version})")


@vm.command("exec", context_settings={"ignore_unknown_options": True})
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--clock", type=click.Choice(["virtual", "real"]), default="virtual", show_default=True)
@click.option("--memory", type=click.IntRange(256), default=3072, show_default=True, help="MB")
@click.option("--limit", type=click.IntRange(1), default=3600, show_default=True, help="seconds of wall time")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def vm_exec(seed: int, clock: Literal["virtual", "real"], memory: int, limit: int, command: Sequence[str]) -> None:
    """Run any COMMAND as root in the machine, in this folder; the machine forgets what it writes."""
    import tempfile

    from insitu import remains
    from insitu.vm import machine
    from insitu.vm.failure import MachineError
    from insitu.vm.kernel import find_or_build
    from insitu.vm.mininet_fixes import mended_files
    from insitu.vm.process import cleaning_up_on_signals
    from insitu.vm.source import KernelError

    try:
        guest = machine.Machine(find_or_build(lambda line: click.echo(line, err=True)), seed, clock, memory)
        with cleaning_up_on_signals(), remains.temporary_folder(Path(tempfile.gettempdir()), "insitu-") as out:
            status = machine.run(
                guest,
                list(command),
                out,
                wall_limit_s=limit,
                cwd=Path.cwd(),
                env={"SHELL": "/bin/bash"},
                files=mended_files(),
                attach=True,
            )
    except KeyboardInterrupt:
        _fail(130, "interrupted: the machine is ended")
    except (MachineError, KernelError, OSError) as error:
        _fail(_FAILED, str(error))
    sys.exit(status)


@main.command()
def doctor() -> None:
    """Say what is missing on this machine, and the line that mends it."""
    from insitu.doctor import findings

    found = findings()
    for finding in found:
        click.echo(
            f"{'ok' if finding.fine else 'absent' if finding.optional else 'missing':8} {finding.what}"
            + (f"\n         {finding.mend}" if finding.mend else "")
        )
    sys.exit(0 if all(finding.fine or finding.optional for finding in found) else _FAILED)


@main.command()
def clean() -> None:
    """Remove what runs of yours that were killed have left; never anything of a run that lives."""
    from insitu import remains

    try:
        done = False
        for line in remains.clean():
            done = True
            click.echo(line)
        if not done:
            click.echo("nothing to remove", err=True)
    except OSError as error:
        _fail(_FAILED, str(error))


@main.command()
def verify() -> None:
    """Run hello.yaml and compare its digest with the one on record: the same bits, or which version differs."""
    from insitu import experiment
    from insitu import verify as verifying
    from insitu.vm.failure import MachineError
    from insitu.vm.source import KernelError

    try:
        recorded = json.loads(verifying.RECORD.read_text())
        outcome = verifying.compare(recorded, verifying.measure(lambda line: click.echo(line, err=True)))
    except KeyboardInterrupt:
        _fail(130, "interrupted: the machine is ended")
    except (experiment.RunFailed, MachineError, KernelError, OSError) as error:
        _fail(_FAILED, str(error))
    click.echo("\n".join(outcome.lines))
    sys.exit(0 if outcome.equal else _EXPECTATION)


def _load(file: Path, settings: Sequence[str] = ()) -> Scenario:
    """A scenario that this machine can run. Raises ScenarioError or NoRyu."""
    from insitu import experiment

    return experiment.read_scenario(file, settings)


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
