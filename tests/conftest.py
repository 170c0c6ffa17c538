"""What tests in the guest share: the kernel and the model library, built once and cached, and a way to run a program inside."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from insitu import experiment
from insitu.vm import machine
from insitu.vm.kernel import Kernel, find_or_build
from scenarios import plan as plans
from scenarios.plan import Plan

PROJECT = Path(__file__).resolve().parent.parent
PROGRAMS = PROJECT / "tests" / "guest" / "programs"

GuestProgram = Callable[[str, Plan], dict[str, Any]]


@pytest.fixture(scope="session")
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Writes past pytest's capture: a kernel's build takes minutes, and nobody should wonder."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    return reporter.write_line if reporter else lambda line: None  # one of pytest-xdist's workers has none


@pytest.fixture(scope="session")
def kernel(say: Callable[[str], None]) -> Kernel:
    return find_or_build(say)


@pytest.fixture(scope="session")
def library(say: Callable[[str], None]) -> Path:
    return experiment.model_library(say)


@pytest.fixture(scope="session")
def guest_program(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> GuestProgram:
    """Runs tests/guest/programs/NAME.py in a guest with a plan; gives what it wrote to result.json."""

    def run(name: str, plan: Plan) -> dict[str, Any]:
        out = tmp_path_factory.mktemp(name)
        (out / "plan.json").write_bytes(plans.canonical(plan))
        guest = machine.Machine(kernel, plan.seed, plan.machine.clock, plan.machine.memory_mb)
        command = [sys.executable, str(PROGRAMS / f"{name}.py")]
        status = machine.run(
            guest, command, out, wall_limit_s=300, cwd=PROJECT, env={"PYTHONPATH": f"{PROJECT}:{PROGRAMS}"}
        )
        assert status == 0, (out / "logs" / "command.log").read_text()[-3000:]
        result: dict[str, Any] = json.loads((out / "result.json").read_text())
        return result

    return run
