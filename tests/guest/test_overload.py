"""A machine that does not keep up: a real clock's run says so, a virtual clock's does not notice."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from insitu.vm.kernel import Kernel

pytestmark = pytest.mark.alone

INSITU = [str(Path(sys.executable).with_name("insitu")), "run"]
# A second of 300 Mbit/s: 25,000 packets over four hops, for which a core takes about 70 us each, so more than that second.
SCENARIO = """
name: overload
duration: 3 s
network: {gnbs: [{name: square}]}
devices: [{name: phone, at: square, infer: 5/s}]
traffic: [{from: central, to: phone, rate: 300 Mbit/s, during: 1 s..2 s}]
"""


@pytest.fixture(autouse=True, scope="module")
def _prepared(kernel: Kernel, library: Path) -> None:
    """Kernel and models are there before the hogs are."""


@contextmanager
def hogs() -> Iterator[None]:
    """Every core of this machine has something else to do."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def run(folder: Path, name: str, text: str, *arguments: str) -> dict[str, Any]:
    scenario = folder / "scenario.yaml"
    scenario.write_text(text)
    done = subprocess.run(
        [*INSITU, str(scenario), "--out", str(folder / name), "--json", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr + done.stdout
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def test_a_real_clocks_run_that_asks_too_much_is_degraded(tmp_path: Path) -> None:
    summary = run(tmp_path, "run", SCENARIO, "--clock", "real")
    reasons, figures = "\n".join(summary["verdict"]["reasons"]), summary["fidelity"]
    assert summary["verdict"]["status"] == "DEGRADED"
    assert "idle CPU was under 35 %" in reasons
    assert figures["idle_cpu"]["seconds_below"] >= 1
    assert figures["idle_cpu"]["seconds"] == 3
    for late in (figures["timer_lateness_us"], figures["packet_lateness_us"]):
        assert 0 < late["p99"] <= late["max"]
    events = pl.read_parquet(tmp_path / "run" / "events.parquet")
    assert events.filter(pl.col("of") == "timer").height == 150
    assert events.filter(pl.col("of") == "packet").height == 150 - figures["packet_lateness_us"]["missing"]


def test_a_real_clocks_run_beside_others_is_degraded(tmp_path: Path) -> None:
    quiet = SCENARIO.replace("300 Mbit/s", "8 kbit/s")
    with hogs():
        summary = run(tmp_path, "run", quiet, "--clock", "real")
    assert summary["verdict"]["status"] == "DEGRADED"
    assert summary["fidelity"]["idle_cpu"]["seconds_below"] == 3
    assert any(reason.startswith("idle CPU was under 35 % in 3 of 3 s") for reason in summary["verdict"]["reasons"])


def test_the_same_with_a_virtual_clock_is_valid_and_the_same_on_a_busy_machine(tmp_path: Path) -> None:
    idle = run(tmp_path, "idle", SCENARIO)
    with hogs():
        busy = run(tmp_path, "busy", SCENARIO)
    assert busy["verdict"] == {"status": "VALID", "reasons": []}
    assert busy["fidelity"] == {"unplanned_drops": {"count": 0, "limit": 0}}
    for summary in (idle, busy):
        del summary["time_s"]["wall"]
    assert busy == idle
