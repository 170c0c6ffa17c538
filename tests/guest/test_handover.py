"""Handovers in the machine: what a stream from outside sees of them, what becomes of sessions, of tables and of a download."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.network import plan_of
from insitu.vm.kernel import Kernel
from tests.conftest import GuestProgram

INSITU = [str(Path(sys.executable).with_name("insitu"))]
NETWORK = """
network:
  core: {rate: 1 Gbit/s, delay: 5 ms}
  regions:
    - name: west
      link: {rate: 1 Gbit/s, delay: 3 ms}
      gnbs:
        - {name: a, link: {rate: 1 Gbit/s, delay: 1 ms}, radio: {rate: 100 Mbit/s, delay: 2 ms}}
        - {name: b, link: {rate: 1 Gbit/s, delay: 1 ms}, radio: {rate: 50 Mbit/s, delay: 4 ms}}
slices: [{name: gold, guarantee: 50 %}, {name: default}]
"""
MOVING = f"""
name: moving
duration: 20 s
{NETWORK}
devices:
  - name: rover
    at: a
    slice: gold
    route: {{1 s: b, 2 s: a, 3 s: b, 4 s: a, 5 s: b, 6 s: a, 7 s: b, 8 s: a, 9 s: b, 10 s: a}}
  - {{name: other, at: b, slice: gold}}
"""
SIZE = 6_000_000
PASSING = f"""
name: passing
duration: 4 s
{NETWORK}
payloads: {{weights: {{size: {SIZE // 10**6} MB}}}}
devices:
  - {{name: rover, at: a, class: phone, application: weights, slice: gold, route: {{1.3 s: b}}}}
situations: [{{time: 1 s.., model: weights}}]
requests: {{deadline: 2 s}}
"""
STEP_MS = 1.0  # of the stream
RADIO_MS = {"a": 2.0, "b": 4.0}
GNB_MS = 1.0
LEADING_MS = 1.0  # the controller is told and answers, before the port leaves
SENDING_MS = 0.1  # a small packet's, on all links of the way
TARGET_MS = 20.0
CACHE_MS = 5.0  # Open vSwitch goes through the flows that it has cached at most as often
SILENT_MS = 150.0  # the controller's, after the port has moved
IN_FLIGHT_MS = 50 + 20  # of traffic at the old radio's rate: its queue, and the round trip
BESIDE = 50_000  # bytes: HTTP, frames' heads, the library's own requests


@pytest.fixture(scope="module")
def measured(guest_program: GuestProgram) -> dict[str, Any]:
    return guest_program("handover", plan_of(MOVING, seed=3))


@pytest.fixture(scope="module")
def passed(
    kernel: Kernel, library: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], pl.DataFrame]:
    """The summary and the events of a run in which a device changes its cell while it downloads."""
    folder = tmp_path_factory.mktemp("passing")
    (folder / "scenario.yaml").write_text(PASSING)
    command = [*INSITU, "run", str(folder / "scenario.yaml"), "--out", str(folder / "run"), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((folder / "run" / "summary.json").read_text()), pl.read_parquet(folder / "run" / "events.parquet")


def tables(measured: dict[str, Any], when: str) -> dict[str, list[str]]:
    """Flow entries and classes of each switch; the port that a device has in a cell is another one each time."""
    return {
        switch: sorted(re.sub(r"output:\d+", "output", line) for line in lines)
        for switch, lines in measured["tables"][when].items()
    }


def what_became(measured: dict[str, Any], session: str) -> list[dict[str, Any]]:
    wanted = measured["sessions"][session]["sessionId"]
    return [event for event in measured["events"] if event.get("session") == wanted]


PREPARED = ["to_b", "to_a", "kept_to_b", "reduced_to_b", "ended_to_b"]


@pytest.mark.parametrize("handover", PREPARED)
def test_a_stream_comes_by_the_new_cell_as_soon_as_it_can(measured: dict[str, Any], handover: str) -> None:
    """The first datagram that passes the region's switch once the port is at the new cell, and the way from there."""
    seen, cell = measured["seen"][handover], handover[-1]
    way = GNB_MS + RADIO_MS[cell] + SENDING_MS
    assert seen["prepared"]
    assert seen["first_by_new_ms"] <= LEADING_MS + seen["away_ms"] + CACHE_MS + STEP_MS + way
    assert seen["gap_ms"] < TARGET_MS + RADIO_MS[cell]


@pytest.mark.parametrize("handover", PREPARED)
def test_what_never_comes_was_sent_in_the_interruption_or_was_near_the_old_cell(
    measured: dict[str, Any], handover: str
) -> None:
    seen, old = measured["seen"][handover], {"a": "b", "b": "a"}[handover[-1]]
    assert seen["lost"] * STEP_MS <= seen["away_ms"] + CACHE_MS + GNB_MS + RADIO_MS[old] + STEP_MS


def test_what_comes_from_the_new_cells_own_library_takes_the_short_way_when_caches_are_through(
    measured: dict[str, Any],
) -> None:
    seen = measured["seen"]["from_edge_to_a"]
    way = RADIO_MS["a"] + SENDING_MS
    assert seen["first_by_new_ms"] <= LEADING_MS + seen["away_ms"] + CACHE_MS + STEP_MS + way
    assert seen["gap_ms"] < TARGET_MS + RADIO_MS["a"]


def test_a_port_that_moves_without_a_word_is_followed(measured: dict[str, Any]) -> None:
    seen = measured["seen"]["untold_to_a"]
    assert not seen["prepared"]
    assert seen["gap_ms"] < TARGET_MS + RADIO_MS["a"]


def test_a_controller_that_is_silent_does_not_hold_the_device_back(measured: dict[str, Any]) -> None:
    """The port moves at its time; packets follow when the controller is there again."""
    seen = measured["seen"]["silent_to_b"]
    assert not seen["prepared"]
    assert seen["away_ms"] < TARGET_MS
    assert SILENT_MS <= seen["first_by_new_ms"] <= SILENT_MS + TARGET_MS + RADIO_MS["b"]
    assert measured["seen"]["after_silence_to_a"]["prepared"]


def test_a_session_that_the_new_cell_can_carry_is_kept(measured: dict[str, Any]) -> None:
    changed, ended = what_became(measured, "kept")
    assert (changed["kind"], changed["granted_bps"], changed["cause"]) == ("sessionchanged", 10_000_000, "HANDOVER")
    assert (ended["kind"], ended["cause"]) == ("sessionended", "DELETE_REQUESTED")


def test_one_that_it_can_carry_in_part_is_reduced(measured: dict[str, Any]) -> None:
    changed, _ = what_became(measured, "reduced")
    assert measured["sessions"]["reduced"]["rate"] == 30_000_000
    assert (changed["kind"], changed["granted_bps"]) == ("sessionchanged", 18_750_000)  # 3/4 of half of 50 Mbit/s


def test_one_that_it_cannot_carry_ends(measured: dict[str, Any]) -> None:
    (ended,) = what_became(measured, "ended")
    assert (ended["kind"], ended["cause"]) == ("sessionended", "NETWORK_TERMINATED")


def test_a_session_is_on_the_new_path_and_nothing_of_it_on_the_old(measured: dict[str, Any]) -> None:
    kept, empty = tables(measured, "kept_at_b"), tables(measured, "at_b")
    for switch in ("core", "west", "b", "b-cell"):
        assert (
            sum("cookie=0x40" in line for line in kept[switch])
            == sum("cookie=0x40" in line for line in kept["core"])
            > 0
        )
        assert sum("class htb 1:41 " in line for line in kept[switch]) > 0
    assert kept["a"] == empty["a"]
    assert [line for line in kept["a-cell"] if not line.startswith("ue0 ")] == [
        line for line in empty["a-cell"] if not line.startswith("ue0 ")
    ]


@pytest.mark.parametrize("after", ["without_at_b", "ended_at_b"])
def test_nothing_is_left_of_a_session_that_ended_after_or_at_a_handover(measured: dict[str, Any], after: str) -> None:
    assert tables(measured, after) == tables(measured, "at_b")


def test_nothing_is_left_of_a_cell_that_was_visited(measured: dict[str, Any]) -> None:
    assert tables(measured, "again_at_a") == tables(measured, "at_a")


def test_a_download_goes_on_where_it_was(passed: tuple[dict[str, Any], pl.DataFrame]) -> None:
    """From the same library, by the same connection; twice goes only what was in flight: a window and the old radio's queue."""
    summary, events = passed
    assert summary["downloads"]["completed"] == 1
    assert summary["downloads"]["resumed"] == 0
    assert SIZE <= summary["downloads"]["bytes"] <= SIZE + 10_000  # and the manifest
    frames = -(-SIZE // 1448)
    sent = events.filter(
        (pl.col("kind") == "linkuse") & (pl.col("link") == "a-edge-link") & (pl.col("node") == "a-edge")
    )
    in_flight = 100_000_000 // 8 * IN_FLIGHT_MS // 1000
    assert SIZE + frames * 66 <= sent["bytes"].sum() <= SIZE + frames * 66 + BESIDE + in_flight


def test_the_summary_has_the_interruption(passed: tuple[dict[str, Any], pl.DataFrame]) -> None:
    handovers = passed[0]["handovers"]
    assert (handovers["count"], handovers["prepared"], handovers["unmeasured"]) == (1, 1, 0)
    assert 0 < handovers["interruption_ms"]["max"] < TARGET_MS
