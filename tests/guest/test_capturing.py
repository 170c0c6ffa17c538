"""Captures of a run: Wireshark's own tools read them, theory explains their stamps, and a seed has its bytes."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from insitu import experiment
from insitu.vm.kernel import Kernel
from scenarios import planner
from scenarios.load import load
from tests.conftest import PROJECT

SCENARIO = """
name: captured
duration: 3 s
network: {gnbs: [{name: square, radio: {rate: 100 Mbit/s, delay: 2 ms}}]}
devices: [{name: phone, count: 2, at: square, infer: 5/s}]
situations: [{time: 1 s.., model: digits@night}, {model: digits}]
traffic: [{from: central, to: phone1, rate: 8 Mbit/s, during: 1 s..2 s}]
capture: [square-radio, central, phone1]
"""
NAMES = ["square-radio", "central", "phone1"]


@pytest.fixture(autouse=True, scope="module")
def _prepared(kernel: Kernel, library: Path) -> None:
    """Kernel and models are there before the hogs are."""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("scenario") / "captured.yaml"
    made.write_text(SCENARIO)
    return made


@pytest.fixture(scope="module")
def captured(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("captured") / "run"
    command = [str(Path(sys.executable).with_name("insitu")), "run", str(file), "--seed", "7", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def packets(run: Path, name: str, *expression: str) -> list[tuple[int, str]]:
    """(stamp in ns since 1970, what tcpdump says of it)"""
    command = ["tcpdump", "-r", str(run / "captures" / f"{name}.pcap"), "-n", "-tt", "--nano", *expression]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    split = [line.split(" ", 1) for line in lines]
    return [(int(stamp.replace(".", "")), text) for stamp, text in split]


def summary_of(run: Path) -> dict[str, Any]:
    summary: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return summary


def test_the_summary_says_what_the_files_hold(captured: Path) -> None:
    summary = summary_of(captured)
    assert summary["verdict"]["status"] == "VALID"
    assert list(summary["captures"]) == NAMES
    for name, figures in summary["captures"].items():
        found = packets(captured, name)
        assert figures["file"] == f"captures/{name}.pcap"
        assert (figures["packets"], figures["dropped"], figures["cut_at_s"]) == (len(found), 0, None)
        assert len(found) > 100
        assert found == sorted(found, key=lambda packet: packet[0])
        # The tiers get ready in the last seconds before the run, over the network
        assert -10 * 10**9 <= found[0][0] - figures["origin_ns"] < 3 * 10**9


@pytest.mark.skipif(shutil.which("capinfos") is None, reason="Wireshark's tools are not installed")
def test_wiresharks_own_tools_read_them(captured: Path) -> None:
    for name in NAMES:
        file = captured / "captures" / f"{name}.pcap"
        said = subprocess.run(["capinfos", "-M", str(file)], capture_output=True, text=True, check=True).stdout
        assert f"Number of packets:   {summary_of(captured)['captures'][name]['packets']}" in said
        assert "nanoseconds (9)" in said


def test_a_link_shows_both_directions(captured: Path) -> None:
    for direction in ("src", "dst"):
        assert packets(captured, "square-radio", "tcp", "and", direction, "port", "5000")


def test_a_flows_packets_pass_when_theory_says(captured: Path) -> None:
    """What leaves the radio link's upper end has crossed it, the region's and the gNB's links; then the phone's is left."""
    sent, crossed, arrived = (packets(captured, name, "udp") for name in ("central", "square-radio", "phone1"))
    flow = pl.read_parquet(captured / "events.parquet").filter(pl.col("kind") == "received")
    payload = int(sent[0][1].rsplit(" ", 1)[1])
    assert len(sent) * payload == flow["sent"].sum()
    assert len(sent) == len(crossed) == len(arrived)
    bits = 8 * (payload + 42)  # headers of UDP, IP and Ethernet
    to_the_cell = 0.005 + 0.001 + 0.002 + 2 * bits / 10e9 + bits / 100e6
    assert (crossed[0][0] - sent[0][0]) / 1e9 == pytest.approx(to_the_cell, abs=20e-6)
    assert (arrived[0][0] - crossed[0][0]) / 1e9 == pytest.approx(bits / 100e6, abs=20e-6)


def hashes(run: Path) -> dict[str, str]:
    return {name: hashlib.sha256((run / "captures" / f"{name}.pcap").read_bytes()).hexdigest() for name in NAMES}


def test_a_seed_gives_the_same_bytes_on_a_busy_machine_from_another_checkout(
    captured: Path, file: Path, tmp_path: Path
) -> None:
    checkout = tmp_path / "a folder" / "elsewhere"
    ignored = shutil.ignore_patterns(".git", ".venv", "runs", "__pycache__", ".*_cache", ".hypothesis")
    shutil.copytree(PROJECT, checkout, ignore=ignored)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "insitu.cli", "run", str(file), "--seed", "7", "--out", str(out)]
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        subprocess.run(command, cwd=checkout, env=os.environ | {"PYTHONPATH": str(checkout)}, check=True)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    assert hashes(out) == hashes(captured)
    assert summary_of(out)["digest"] == summary_of(captured)["digest"]


def test_a_full_capture_ends_and_says_when(
    file: Path, captured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "CAPTURED_PACKETS", 50)
    scenario = load(file, models=experiment.shipped())
    summary = experiment.run(scenario, file, 7, tmp_path / "run").summary
    assert summary["verdict"] == {"status": "VALID", "reasons": []}
    for name in NAMES:
        whole, cut = packets(captured, name), packets(tmp_path / "run", name)
        assert [packet for _, packet in cut] == [packet for _, packet in whole[:50]]
        # A capture that has ended leaves the CPU to others: times move by steps of the clock
        assert all(abs(a - b) <= 1024 for (a, _), (b, _) in zip(cut, whole, strict=False))
        figures = summary["captures"][name]
        assert (figures["packets"], figures["dropped"]) == (50, 0)
        assert figures["cut_at_s"] == max(0, cut[-1][0] - figures["origin_ns"]) / 1e9


def test_a_capture_that_cannot_be_taken_ends_the_run(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "CAPTURED_BYTES", -1)  # tcpdump refuses it
    with pytest.raises(experiment.RunFailed, match="^capture.square-radio ended before it listened; see logs/"):
        experiment.run(load(file, models=experiment.shipped()), file, 7, tmp_path / "run")
    assert "invalid snaplen" in (tmp_path / "run" / "logs" / "capture.square-radio.log").read_text()
