"""`insitu run --on host`, on a machine that is a guest: one with a kernel of its own, an Open vSwitch and a root user.

Its clock is virtual where nothing about clocks is asked: it boots faster, and nothing depends on how busy this machine is.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from insitu.cache import cache_dir
from insitu.vm import machine
from insitu.vm.kernel import Kernel
from scenarios import planner
from scenarios.load import load
from tests.conftest import PROGRAMS, PROJECT

pytestmark = pytest.mark.alone

UseOfHost = Callable[[str, Literal["virtual", "real"]], dict[str, Any]]


@pytest.fixture(scope="module")
def use_of_host(kernel: Kernel, library: Path, tmp_path_factory: pytest.TempPathFactory) -> UseOfHost:
    """What tests/guest/programs/host.py saw."""

    def use(how: str, clock: Literal["virtual", "real"]) -> dict[str, Any]:
        out = tmp_path_factory.mktemp(how)
        guest = machine.Machine(kernel, 1, clock)
        command = [sys.executable, str(PROGRAMS / "host.py"), how]
        cache = tmp_path_factory.mktemp("cache")  # its own: the guest does not see the locks of runs outside it
        for entry in cache_dir().iterdir():
            if not entry.name.startswith("remains"):
                (cache / entry.name).symlink_to(entry)
        env = {"PYTHONPATH": str(PROJECT), "INSITU_CACHE": str(cache)}
        status = machine.run(guest, command, out, wall_limit_s=300, cwd=PROJECT, env=env)
        assert status == 0, (out / "logs" / "command.log").read_text()[-3000:]
        result: dict[str, Any] = json.loads((out / "result.json").read_text())
        return result

    return use


@pytest.fixture(scope="module")
def side_by_side(use_of_host: UseOfHost) -> dict[str, Any]:
    return use_of_host("side-by-side", "virtual")


@pytest.fixture(scope="module")
def alone(use_of_host: UseOfHost) -> dict[str, Any]:
    return use_of_host("alone", "real")


def test_a_run_on_the_host_with_a_real_clock_ends_with_its_figures(alone: dict[str, Any]) -> None:
    summary = alone["alone"]["summary"]
    assert summary["downloads"]["completed"] == 2
    assert summary["verdict"]["status"] in ("VALID", "DEGRADED")


@pytest.mark.parametrize(
    "what", ["interfaces", "names", "namespaces", "processes", "mounts", "database", "flows", "settings", "folders"]
)
@pytest.mark.parametrize("use", ["alone", "side_by_side"])
def test_the_machine_is_afterwards_as_it_was(use: str, what: str, request: pytest.FixtureRequest) -> None:
    """One run; and several of which one was interrupted, one killed, one beheaded, and one took too long."""
    seen = request.getfixturevalue(use)
    assert seen["before"][what] == seen["after"][what]
    assert seen["before"][what]


def test_settings_of_the_plan_reach_the_devices_and_not_the_machine(side_by_side: dict[str, Any]) -> None:
    published = planner.Published({"digits": "", "digits@night": ""}, "")
    plan = planner.decide(load(PROJECT / "scenarios" / "hello.yaml"), 3, published, "real")
    assert side_by_side["interrupted"]["tcp_buffer"] == plan.machine.tcp_buffer_bytes
    assert str(plan.machine.tcp_buffer_bytes) not in side_by_side["before"]["settings"]


def test_two_runs_side_by_side_do_not_meet(side_by_side: dict[str, Any]) -> None:
    """Each had its network up under the same names when the other was killed."""
    second = side_by_side["second"]
    assert (second["status"], second["summary"]["downloads"]["completed"]) == (0, 2), second["stderr"]
    assert side_by_side["second_lived"]


def test_clean_removes_what_a_killed_run_left_and_nothing_of_one_that_lives(side_by_side: dict[str, Any]) -> None:
    assert side_by_side["cleaned_too_early"] == []
    assert side_by_side["left"] == [".first", ".second"]
    (line,) = side_by_side["cleaned"]
    assert line.startswith("removed /run/out/.first.")
    assert side_by_side["left_in_out"] == [".machine", "beheaded", "logs", "overdue", "second", "userspace"]


def test_an_interrupted_run_leaves_nothing(side_by_side: dict[str, Any]) -> None:
    assert side_by_side["interrupted"]["status"] == 128 + 15
    assert not [name for name in side_by_side["left_in_out"] if "interrupted" in name]


def test_a_run_whose_processes_are_killed_has_failed(side_by_side: dict[str, Any]) -> None:
    assert side_by_side["beheaded"]["status"] == 3
    assert side_by_side["beheaded"]["stderr"].startswith("the run was killed by signal 9 (log: /run/out/beheaded/logs/")


def test_without_a_kernel_datapath_the_userspace_one_carries_a_single_slice(side_by_side: dict[str, Any]) -> None:
    used = side_by_side["userspace"]
    assert (used["status"], used["summary"]["downloads"]["on_time"]) == (0, 2), used["stderr"]
    assert side_by_side["datapath"] == "netdev"


def test_without_a_kernel_datapath_slices_are_refused(side_by_side: dict[str, Any]) -> None:
    refused = side_by_side["sliced"]
    assert refused["status"] == 2
    assert refused["stderr"].startswith(
        "--on host: no Open vSwitch datapath in the kernel (openvswitch), and its userspace"
    )
    assert len(refused["stderr"].splitlines()) == 1


def test_a_run_has_a_limit_of_wall_time(side_by_side: dict[str, Any]) -> None:
    assert side_by_side["overdue"] == "the run reached its wall-clock limit of 3 s"


def test_it_is_refused_without_root(side_by_side: dict[str, Any]) -> None:
    refused = side_by_side["as_nobody"]
    assert refused["status"] == 2
    assert refused["stderr"] == "--on host: needs root; use sudo, or --on vm, which needs no root\n"
