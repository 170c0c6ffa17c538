"""Runs on Dask with a kernel that only fails: what becomes of failures, and of a scheduler that is not there."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest

from insitu import cache
from insitu.vm import kernel

HELLO = Path(__file__).parents[2] / "scenarios" / "hello.yaml"
SWEEP = (sys.executable, "-m", "insitu.cli", "sweep", str(HELLO), "--seeds", "1", "--grid", "devices.phone.count=1,2")


@pytest.fixture
def broken_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, whose kernel ends at once; what else is in the usual one is used from there."""
    own = tmp_path / "cache"
    (own / "kernel-broken").mkdir(parents=True)
    for made in cache.cache_dir().glob("*-*"):
        if made.name.partition("-")[0] in ("library", "preload", "program"):
            (own / made.name).symlink_to(made)
    linux = own / "kernel-broken" / "linux"
    linux.write_text("#!/bin/sh\nexit 1\n")
    linux.chmod(0o755)
    known = {"version": "7.3.4", "sha256": "0" * 64, "seccomp": True}
    (own / "kernel-broken" / "kernel.json").write_text(json.dumps(known))
    (own / f"kernel-default-{kernel._recipe()[:16]}.json").write_text(json.dumps({"folder": "kernel-broken"}))
    monkeypatch.setenv("INSITU_CACHE", str(own))


def test_runs_that_fail_are_shown_and_kept_and_tried_again_the_next_time(broken_kernel: None, tmp_path: Path) -> None:
    out = tmp_path / "study"
    for _ in range(2):
        done = subprocess.run([*SWEEP, "--out", str(out), "--json"], capture_output=True, text=True, check=False)
        assert done.returncode == 3, done.stderr
        assert json.loads(done.stdout)["statuses"] == {"FAILED": 2}
        assert [line.partition(": ")[0] for line in sorted(done.stderr.splitlines())] == [
            "devices.phone.count=1 seed 0",
            "devices.phone.count=2 seed 0",
        ]
        table = pl.read_parquet(out / "table.parquet")
        assert table["status"].to_list() == ["FAILED", "FAILED"]
        assert table["devices.phone.count"].to_list() == [1, 2]
        for run, why in table.select("run", "reasons").iter_rows():
            assert why and (out / "runs" / run / "FAILED").read_text() == f"{why}\n"
            assert (out / "runs" / run / "logs" / "guest.log").exists()
            assert str(tmp_path) not in why.replace(str(out), ""), "no folder of a worker is named: it is gone"
        assert "2 of 2 runs are not in the figures" in (out / "report.html").read_text()
        assert sorted(path.name for path in out.iterdir()) == ["report.html", "runs", "study.json", "table.parquet"]


def test_ctrl_c_while_the_workers_start_ends_them_without_a_word_more(broken_kernel: None, tmp_path: Path) -> None:
    out = tmp_path / "study"
    with psutil.Popen(
        [*SWEEP, "--out", str(out)], stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not (started := [child for child in process.children() if child.name().startswith("python")]):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted: what is done is kept, and the same command goes on from there"
    assert "Traceback" not in said and "Error" not in said
    assert psutil.wait_procs(started, timeout=10)[1] == []
    assert not (out / ".workers").exists()


def test_a_bad_point_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    command = [*SWEEP, "--set", "requests.deadline=50", "--out", str(tmp_path / "study")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == '--set requests.deadline=50: requests.deadline: "50": no unit; write a time such as "5 ms"\n'
    assert not (tmp_path / "study").exists()


def test_a_scheduler_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    command = [*SWEEP, "--scheduler", "tcp://127.0.0.1:9", "--out", str(tmp_path / "study")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.startswith("--scheduler tcp://127.0.0.1:9: no Dask scheduler answers there")
    assert len(done.stderr.splitlines()) == 1
