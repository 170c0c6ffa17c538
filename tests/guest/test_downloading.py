"""Downloads over channels that turn bad, in the machine: `insitu run` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from insitu.vm.kernel import Kernel

INSITU = [str(Path(sys.executable).with_name("insitu"))]
MS = 10**6
FADE = """
name: fade
duration: 4 s
network:
  gnbs: [{name: square, radio: {rate: 20 Mbit/s, delay: 4 ms}}]
devices:
  - {name: phone, at: square, infer: 20/s}
situations:
  - {time: 2 s.., model: digits@night}
  - {model: digits}
requests: {deadline: 500 ms}
policies: {compression: POLICY}
dynamics:
  - {link: square-radio, at: 2.1 s, rate: RATE}
"""
SILENT = """
name: silent
duration: 30 s
network:
  gnbs: [{name: square, radio: {rate: 4 Mbit/s, delay: 4 ms}}]
devices:
  - {name: phone, at: square, infer: 2/s}
situations:
  - {time: 2 s.., model: digits@night}
  - {model: digits}
requests: {deadline: 1 s}
policies: {compression: device}
dynamics:
  - {link: square-radio, at: 2.6 s, loss: 99.99 %}
  - {link: square-radio, at: 16 s, loss: 0 %}
"""


@pytest.fixture(autouse=True, scope="module")
def _prepared(kernel: Kernel, library: Path) -> None:
    """Kernel and models are there before any test looks at a clock."""


def run(folder: Path, scenario: str) -> tuple[dict[str, Any], pl.DataFrame]:
    """The summary of a run, and its events."""
    folder.mkdir(exist_ok=True)
    (folder / "scenario.yaml").write_text(scenario)
    command = [*INSITU, "run", str(folder / "scenario.yaml"), "--seed", "7", "--out", str(folder / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), pl.read_parquet(folder / "run" / "events.parquet")


def rows(events: pl.DataFrame, kind: str) -> list[dict[str, Any]]:
    return list(events.filter(pl.col("kind") == kind).iter_rows(named=True))


def test_a_channel_that_turns_bad_cuts_the_download_to_what_arrives_in_time(tmp_path: Path) -> None:
    """Without the cut the same download is late."""
    fading = FADE.replace("POLICY", "adaptive").replace("RATE", "2600 kbit/s")
    summary, events = run(tmp_path / "cut", fading)
    (cut,), (completed,), (chosen,) = (rows(events, kind) for kind in ("cut", "completed", "chosen"))
    assert summary["verdict"]["status"] == "VALID"
    assert summary["downloads"]["cut"] == summary["downloads"]["on_time"] == 1
    assert cut["planned"] == chosen["variant"] != cut["kept"] == completed["variant"]
    assert cut["sent_bytes"] < cut["planned_bytes"]
    assert f"{cut['kept']} instead of {cut['planned']}" in cut["reason"] and "Mbit/s of" in cut["reason"]
    late, events = run(tmp_path / "whole", fading.replace("adaptive", f"'fixed:{chosen['variant']}'"))
    assert (late["downloads"]["cut"], late["downloads"]["on_time"]) == (0, 0)
    assert late["downloads"]["better_on_time"] == 1  # a part of it was


def test_a_channel_that_stays_good_cuts_nothing(tmp_path: Path) -> None:
    summary, events = run(tmp_path, FADE.replace("POLICY", "adaptive").replace("RATE", "19 Mbit/s"))
    assert summary["downloads"]["cut"] == 0
    (completed,), (chosen,) = rows(events, "completed"), rows(events, "chosen")
    assert completed["variant"] == chosen["variant"] and completed["on_time"]
    assert rows(events, "runnable")


def test_a_transfer_that_falls_silent_is_resumed_and_no_byte_comes_twice(tmp_path: Path) -> None:
    summary, events = run(tmp_path, SILENT)
    (interrupted, *_), resumed, (completed,) = (rows(events, kind) for kind in ("interrupted", "resumed", "completed"))
    assert interrupted["reason"] == "sent nothing for 3 s"
    assert summary["downloads"]["resumed"] == len(resumed) == 1
    assert resumed[0]["bytes"] == interrupted["bytes"] > 0
    (chosen, *_) = rows(events, "chosen")
    manifest = completed["bytes"] - chosen["missing_bytes"]
    assert 1_000 < manifest < 50_000
    assert rows(events, "blockrejected") == []
