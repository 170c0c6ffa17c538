"""A hundred devices, three hundred sessions a minute, handovers and two failures: every guarantee is kept, and the run repeats."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from insitu.vm.kernel import Kernel
from tests.conftest import PROJECT


@pytest.fixture(scope="module")
def runs(kernel: Kernel, tmp_path_factory: pytest.TempPathFactory) -> list[tuple[dict[str, Any], Path]]:
    """The same scenario and seed twice, side by side."""
    folders = [tmp_path_factory.mktemp("city") / "run" for _ in range(2)]
    command = [sys.executable, "-m", "insitu.cli", "run", "scenarios/city.yaml", "--seed", "7", "--json", "--out"]
    started = [subprocess.Popen([*command, str(f)], stdout=subprocess.PIPE, text=True, cwd=PROJECT) for f in folders]
    printed = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], printed
    return [(json.loads(text), folder) for text, folder in zip(printed, folders, strict=True)]


def test_it_is_valid_and_every_expectation_holds(runs: list[tuple[dict[str, Any], Path]]) -> None:
    summary, _ = runs[0]
    assert summary["verdict"] == {"status": "VALID", "reasons": []}
    assert summary["slices"]["models"]["sessions"] >= 300
    assert summary["slices"]["models"]["violations"] == 0
    assert summary["handovers"]["count"] == summary["handovers"]["prepared"] == 65


def test_it_repeats_to_the_bit(runs: list[tuple[dict[str, Any], Path]]) -> None:
    (one, _), (other, _) = runs
    assert one["digest"] == other["digest"]


def test_sessions_follow_their_devices_and_flows_the_failures(runs: list[tuple[dict[str, Any], Path]]) -> None:
    _, folder = runs[0]
    kinds = pl.read_parquet(folder / "events.parquet").group_by("kind", "cause").len().rows()
    counted = {(kind, cause): count for kind, cause, count in kinds}
    assert counted["sessionchanged", "HANDOVER"] >= 1, "a bus leaves while its riders download"
    assert counted["fault", None] == 4, "two that go down and come back"
    assert counted["failover", None] >= 4
