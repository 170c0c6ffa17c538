"""The scenarios of transport studies, as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from insitu.vm.kernel import Kernel
from tests.conftest import PROJECT


@pytest.fixture(autouse=True, scope="module")
def _prepared(kernel: Kernel, library: Path) -> None:
    """Kernel and models are there before anything runs."""


def run(name: str, out: Path, *settings: str) -> dict[str, Any]:
    """A run whose expectations have to hold; its summary."""
    command = [
        sys.executable,
        "-m",
        "insitu.cli",
        "run",
        str(PROJECT / "scenarios" / f"{name}.yaml"),
        "--out",
        str(out),
    ]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PROJECT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


def test_in_the_rush_hour_nearly_all_have_a_better_model_in_time(tmp_path: Path) -> None:
    summary = run("rush-hour", tmp_path / "run")
    assert summary["verdict"]["status"] == "VALID"
    events = pl.read_parquet(tmp_path / "run" / "events.parquet")
    in_time = set(events.filter((pl.col("kind") == "completed") & pl.col("on_time"))["download"])
    swaps = events.filter(pl.col("kind") == "swapped", pl.col("accuracy_after") > pl.col("accuracy_before"))
    asked = events.filter(pl.col("kind") == "requested")
    assert asked["node"].n_unique() == 100
    assert asked["t"].max() - asked["t"].min() <= 1.2e9  # the last situation begins 0.9 s after the first
    assert len(in_time & set(swaps["download"])) >= 95


def test_each_cell_pulls_a_block_once(tmp_path: Path) -> None:
    """Ten devices of a cell ask at once; what the core sends is what ten edges need, not what a hundred devices get."""
    summary = run("rush-hour", tmp_path / "run")
    carried = summary["links"]["city-link"]["mean_bps"] * summary["time_s"]["virtual"] / 8
    assert carried < summary["downloads"]["bytes"] / 5


def test_the_rows_of_ts_22261_arrive_in_time_from_the_edge(tmp_path: Path) -> None:
    run("ts22261", tmp_path / "run")
    events = pl.read_parquet(tmp_path / "run" / "events.parquet")
    done = events.filter(pl.col("kind") == "completed")
    sizes = {"row1": 138, "row2": 80, "row3": 64, "row4": 536, "row5": 2.4, "row6": 500, "row7": 170}
    for row, size in sizes.items():
        mine = done.filter(pl.col("node") == row).sort("t")
        assert len(mine) == 2
        assert mine["bytes"].min() >= size * 1e6
        assert mine["on_time"][1], (row, mine["latency_ns"].to_list())
