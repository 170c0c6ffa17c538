"""The host's side of `insitu shell`: a scenario's network, or a user's own Mininet topology, with Mininet's CLI in the machine."""

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from edge_nodes.publication import zoo
from insitu import remains, ryu_environment
from insitu.experiment import own_policies, write_plan
from insitu.vm import machine
from insitu.vm.kernel import find_or_build
from insitu.vm.mininet_fixes import mended_files
from insitu.vm.process import cleaning_up_on_signals
from scenarios import planner
from scenarios.schema import Scenario

PROJECT = Path(__file__).resolve().parent.parent
TERMINAL_LIMIT_S = 7 * 24 * 3600.0  # somebody sits there
INPUT_LIMIT_S = 3600.0
MEMORY_MB = 3072

Clock = Literal["virtual", "real"]


def scenario(asked: Scenario, seed: int, clock: Clock) -> int:
    """The network of a scenario and its controller; gives the exit status. Raises MachineError or KernelError."""
    # No service runs, so no model has to be there
    nothing = planner.Published(dict.fromkeys(zoo.MODELS, ""), "")
    plan = planner.decide(asked, seed, nothing, clock)
    with _folder() as out:
        write_plan(plan, own_policies(asked), out)
        mounts = ryu_environment.mounts(plan.controller)
        return _run(["plan", "/run/out/plan.json"], out, seed, clock, plan.machine.memory_mb, mounts)


def topology(named: str, seed: int, clock: Clock) -> int:
    """A user's topology, `FILE:NAME`; gives the exit status, 2 if it cannot be made. Raises MachineError or KernelError."""
    with _folder() as out:
        return _run(["topology", named], out, seed, clock, MEMORY_MB, {})


@contextmanager
def _folder() -> Iterator[Path]:
    """Where the machine writes: nothing of it stays."""
    with cleaning_up_on_signals(), remains.temporary_folder(Path(tempfile.gettempdir()), "insitu-") as folder:
        yield folder


def _run(what: list[str], out: Path, seed: int, clock: Clock, memory_mb: int, mounts: dict[str, Path]) -> int:
    kernel = find_or_build(lambda line: print(line, file=sys.stderr))
    return machine.run(
        machine.Machine(kernel, seed, clock, memory_mb),
        [sys.executable, "-P", "-m", "insitu.console", str(Path.cwd()), *what],
        out,
        wall_limit_s=TERMINAL_LIMIT_S if sys.stdin.isatty() else INPUT_LIMIT_S,
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT), "SHELL": "/bin/bash"},
        mounts=mounts,
        files=mended_files(),
        attach=True,
    )
