"""`insitu compare` and `insitu repeat` with real runs."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from insitu.vm.kernel import Kernel

P95 = "downloads.latency_ms.p95"
SCENARIO = """\
name: corner
duration: 1 s
network:
  gnbs: [{name: square, radio: {rate: 10 Mbit/s, delay: 2 ms, jitter: 1 ms}}]
devices:
  - {name: phone, at: square, infer: 5/s}
situations:
  - {time: 0.3 s.., model: digits@night}
  - {model: digits}
"""


@pytest.fixture(scope="module")
def place(kernel: Kernel, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("comparing")
    (folder / "corner.yaml").write_text(SCENARIO)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder


def insitu(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "insitu.cli", *arguments, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    content: dict[str, Any] = json.loads(done.stdout)
    return content


@pytest.fixture(scope="module")
def itself(place: Path) -> dict[str, Any]:
    """A policy compared with itself over 20 seeds."""
    return insitu(
        "compare", "corner.yaml", "--versus", "policies.slicing=deadline", "-n", "20", "--figure", P95, "--figure", "accuracy.mean"
    )  # fmt: skip


def test_a_policy_compared_with_itself_shows_no_difference(itself: dict[str, Any]) -> None:
    (found,) = itself["comparisons"]
    assert found["seeds"] == list(range(20))
    for decided in found["decided"]:
        assert decided["decision"] == "no difference shown"
        assert decided["equal"] == 20
        assert "the same" in decided["sentence"]


def test_equal_plans_are_run_once(itself: dict[str, Any]) -> None:
    assert len(list(Path(itself["folder"], "runs").iterdir())) == 20


def test_repeating_what_is_there_gives_its_figures_without_a_run(itself: dict[str, Any]) -> None:
    """In the same folder: mean and interval are those of the runs' own summaries."""
    runs = [json.loads(file.read_text()) for file in Path(itself["folder"], "runs").glob("*/summary.json")]
    values = [run["downloads"]["latency_ms"]["p95"] for run in runs]
    assert len(set(values)) > 1
    before = {file: file.stat().st_mtime_ns for file in Path(itself["folder"], "runs").glob("*/summary.json")}
    found = insitu("repeat", "corner.yaml", "-n", "20", "--out", itself["folder"])
    assert before == {file: file.stat().st_mtime_ns for file in Path(itself["folder"], "runs").glob("*/summary.json")}
    assert found["figures"][P95]["mean"] == pytest.approx(np.mean(values))
    expected = stats.t.interval(0.95, 19, np.mean(values), stats.sem(values))
    assert found["figures"][P95]["interval"] == pytest.approx(expected)
    table = pl.read_parquet(Path(itself["folder"], "table.parquet"))
    assert sorted(table[P95]) == sorted(values)
