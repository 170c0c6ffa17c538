"""Sweeps: what is interrupted goes on, and gives the same table to the bit; workers elsewhere give the same runs."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import psutil
from safetensors.numpy import load_file, save_file

from insitu.vm.kernel import Kernel

PROJECT = Path(__file__).parents[2]
HELLO = PROJECT / "scenarios" / "hello.yaml"
SHORT = ("--set", "duration=1 s", "--set", "situations.1.time=0.3 s..")
FORTY = (
    *SHORT, "--grid", "devices.phone.count=1,2", "--grid", "requests.deadline=50 ms,100 ms", "--seeds", "10"
)  # fmt: skip
DOCS = PROJECT / "docs" / "policies.md"
LIMIT_S = 1800  # of wall time: for a machine that does much else
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
    """The first process of each guest: a kernel whose parent is a worker."""
    found = []
    for child in family(process):
        with contextlib.suppress(psutil.NoSuchProcess):  # it ended while we looked
            if child.name() == "linux" and child.parent().name() != "linux":
                found.append(child)
    return found


def wait_for(what: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
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
        assert process.wait(timeout=LIMIT_S) == 0
    assert all((run / "summary.json").stat().st_mtime_ns == at for run, at in before.items()), "what is done is kept"
    with sweeping(whole, *FORTY) as process:
        assert process.wait(timeout=LIMIT_S) == 0
    table = pl.read_parquet(whole / "table.parquet")
    assert table.height == 40 and set(table["status"]) == {"VALID"}
    assert table["devices.phone.count"].to_list() == [1] * 20 + [2] * 20
    assert table["requests.deadline (ms)"].to_list() == ([50.0] * 10 + [100.0] * 10) * 2
    assert table["digest"].n_unique() > 20, "seeds differ"
    assert (broken / "table.parquet").read_bytes() == (whole / "table.parquet").read_bytes()


OWN = """\
name: own
duration: 1 s
network: {gnbs: [{name: square}]}
libraries: {central: {models: ./models}}
devices: [{name: phone, at: square, infer: 5/s, application: signs}]
situations: [{time: 0.3 s.., model: signs@night}, {model: signs}]
policies: {compression: 'polite:Least'}
"""


def publish_again(library: Path, own: Path) -> None:
    """digits and digits@night, which ship, as a user's own: under the name of signs."""
    shutil.copytree(library / "blocks", own / "blocks")
    (own / "manifests").mkdir()
    for name in ("digits", "digits@night"):
        manifest = (library / "manifests" / f"{name}.json").read_text().replace('"digits', '"signs')
        (own / "manifests" / f"{name.replace('digits', 'signs')}.json").write_text(manifest)
    images = load_file(library / "held_out.safetensors").items()
    kept = {
        name.replace("digits", "signs"): part for name, part in images if name.startswith(("digits/", "digits@night/"))
    }
    save_file(kept, own / "held_out.safetensors")


@contextmanager
def dask_cluster(folder: Path, cache: Path) -> Iterator[str]:
    """A scheduler and a worker in a folder and with a cache of their own; gives the scheduler's address."""
    file, dask = folder / "scheduler.json", (sys.executable, "-m", "dask")
    here = ("--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(file))
    commands = ((*dask, "scheduler", "--port", "0", *here), (*dask, "worker", "--nthreads", "1", *here))
    environment = os.environ | {"INSITU_CACHE": str(cache)}
    with open(folder / "log", "wb") as log:
        processes = [subprocess.Popen(c, cwd=folder, env=environment, stdout=log, stderr=log) for c in commands]
    try:
        wait_for(file.exists)
        yield json.loads(file.read_text())["address"]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def test_workers_elsewhere_get_all_that_a_run_needs_and_send_its_folder_back(
    kernel: Kernel, library: Path, tmp_path: Path
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (there / "cache").mkdir(parents=True)
    for made in kernel.path.parent.parent.glob("kernel-*"):
        (there / "cache" / made.name).symlink_to(made)
    publish_again(library, here / "models")
    (here / "own.yaml").write_text(OWN)
    policies = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.S)[0]
    (here / "polite.py").write_text(policies)
    with dask_cluster(there, there / "cache") as address:
        where = ("--scheduler", address, "--out", str(tmp_path / "study"))
        command = [*INSITU, "sweep", str(here / "own.yaml"), "--grid", "devices.phone.count=1", "--seeds", "1", *where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr + (there / "log").read_text()
    (run,) = (tmp_path / "study" / "runs").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["verdict"]["status"] == "VALID" and summary["downloads"]["completed"] == 1
    assert (run / "policies" / "polite.py").read_text() == policies
    assert (run / "events.parquet").exists() and (run / "logs" / "guest.log").exists()
    alone = json.loads((run / "provenance.json").read_text())["command"]
    again = subprocess.run(
        [*INSITU, *alone[1:], "--json", "--out", str(tmp_path / "again")], capture_output=True, check=False
    )
    assert json.loads(again.stdout)["digest"] == summary["digest"], "the same bits as a run of this machine's"
