"""What a machine that cannot carry a run itself is told, before anything starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from insitu import doctor
from insitu.native import probe
from insitu.native.probe import Fitness, Lack, UnfitHost
from tests.conftest import PROJECT

LACK = Lack("no qdisc netem (sch_netem: No such file or directory)", "boot a kernel that has it, or use --on vm")


def found(monkeypatch: pytest.MonkeyPatch, fitness: Fitness) -> None:
    monkeypatch.setattr(probe, "fitness_of_host", lambda: fitness)


def insitu(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "insitu.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


def test_everything_that_is_missing_is_told_a_line_each(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, Fitness([LACK, LACK._replace(what="no qdisc htb")], "netdev"))
    with pytest.raises(UnfitHost) as raised:
        probe.require_fit(slices=2)
    first, second, third = str(raised.value).splitlines()
    assert first == f"--on host: {LACK.what}; {LACK.mend}"
    assert "no qdisc htb" in second and "userspace datapath ignores slices" in third


@pytest.mark.parametrize("datapath, slices", [("system", 1), ("system", 9), ("netdev", 1)])
def test_the_userspace_datapath_serves_a_single_slice(
    monkeypatch: pytest.MonkeyPatch, datapath: probe.Datapath, slices: int
) -> None:
    found(monkeypatch, Fitness([], datapath))
    assert probe.require_fit(slices) == datapath


def test_doctor_tells_but_does_not_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, Fitness([LACK], "netdev"))
    told = [finding for finding in doctor.findings() if "--on host" in finding.what]
    assert [finding.what for finding in told] == [
        f"for --on host: {LACK.what}",
        f"for --on host: {probe.NO_SLICES.what}",
    ]
    assert all(finding.optional and not finding.fine and finding.mend for finding in told)


def test_the_hosts_clock_is_real(tmp_path: Path) -> None:
    done = insitu("run", "scenarios/hello.yaml", "--on", "host", "--clock", "virtual", "--out", tmp_path / "run")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--clock virtual: the host's clock is real" in done.stderr


@pytest.mark.skipif(
    os.geteuid() != 0 or not probe.fitness_of_host().lacks, reason="this machine can carry a run itself"
)
def test_this_machine_says_what_it_lacks_before_anything_starts(tmp_path: Path) -> None:
    done = insitu("run", "scenarios/hello.yaml", "--on", "host", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"--on host: {lack.what}; {lack.mend}" for lack in probe.fitness_of_host().lacks
    ]
    assert list(tmp_path.iterdir()) == []
