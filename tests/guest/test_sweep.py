"""Sweeps: what is interrupted goes on, and gives the same table to the bit; workers elsewhere give the same runs."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import psutil

from insitu.vm.kernel import Kernel

PROJECT = Path(__file__).parents[2]
HELLO = PROJECT / "scenarios" / "hello.yaml"
SHORT = ("--set", "duration=1 s", "--set", "situations.1.time=0.3 s..")
FORTY = (
    *SHORT, "--grid", "devices.phone.count=1,2", "--grid", "requests.deadline=50 ms,100 ms", "--seeds", "10"
)  # fmt: skip
INSITU = (sys.executable, "-m", "insitu.cli")


@contextmanager
def sweeping(out: Path, *words: str) -> Iterator[psutil.Popen]:
    """`insitu sweep` in a process group of its own, as a terminal has it. Nothing of it is left afterwards."""
    with open(out.parent / f"{out.name}.log", "ab") as log:
        process = psutil.Popen(
            [*INSITU, "sweep", str(HELLO), "--out", str(out), *words], stdout=log, stderr=log, start_new_session=True
        )
    seen: set[psutil.Process] = set()
    try:
        yield process
        seen = {process, *process.children(recursive=True)} if process.is_running() else set()
    finally:
        if process.is_running():
            process.kill()
        process.wait()
        psutil.wait_procs(seen, timeout=10)


def family(process: psutil.Popen) -> list[psutil.Process]:
    return list(process.children(recursive=True))


def guests(process: psutil.Popen) -> list[psutil.Process]:
    return [child for child in family(process) if child.name() == "linux" and child.parent().name() != "linux"]


def wait_for(what: Callable[[], bool], limit_s: float = 300) -> None:
    end = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def done(out: Path) -> int:
    return len(list(out.glob("runs/*/summary.json")))


def interrupt(out: Path, number: int, after: int) -> None:
    """Starts the sweep, signals it when `after` runs are done, and sees that it ends with all that belongs to it."""
    with sweeping(out, *FORTY) as process:
        wait_for(lambda: done(out) >= after and bool(guests(process)))
        everything = family(process)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        assert process.wait(timeout=60) == 130
        _, alive = psutil.wait_procs(everything, timeout=10)
        assert alive == [], "workers and guests end with the sweep"
    said = (out.parent / f"{out.name}.log").read_text()
    assert said.splitlines()[-1] == "interrupted: what is done is kept, and the same command goes on from there"
    assert "Traceback" not in said
    assert done(out) >= after
    assert sorted(path.name for path in out.iterdir()) == ["runs", "study.json"], "nothing half done is left"


def kill_a_worker(process: psutil.Popen, out: Path) -> None:
    """As the machine's memory guard would: its guest dies with it."""
    wait_for(lambda: bool(guests(process)) and done(out) >= 1)
    guest = guests(process)[0]
    guest.parent().kill()
    psutil.wait_procs([guest], timeout=10)
    assert not guest.is_running() or guest.status() == psutil.STATUS_ZOMBIE


def test_a_sweep_of_40_runs_interrupted_twice_and_with_a_worker_killed_gives_the_same_table(
    kernel: Kernel, library: Path, tmp_path: Path
) -> None:
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    interrupt(broken, signal.SIGINT, after=4)
    interrupt(broken, signal.SIGTERM, after=12)
    before = {run: (run / "summary.json").stat().st_mtime_ns for run in broken.glob("runs/*")}
    with sweeping(broken, *FORTY) as process:
        kill_a_worker(process, broken)
        assert process.wait(timeout=400) == 0
    assert all((run / "summary.json").stat().st_mtime_ns == at for run, at in before.items()), "what is done is kept"
    with sweeping(whole, *FORTY) as process:
        assert process.wait(timeout=400) == 0
    table = pl.read_parquet(whole / "table.parquet")
    assert table.height == 40 and set(table["status"]) == {"VALID"}
    assert table["devices.phone.count"].to_list() == [1] * 20 + [2] * 20
    assert table["requests.deadline (ms)"].to_list() == ([50.0] * 10 + [100.0] * 10) * 2
    assert table["digest"].n_unique() > 20, "seeds differ"
    assert (broken / "table.parquet").read_bytes() == (whole / "table.parquet").read_bytes()
