"""insitu's links in somebody's own Mininet script, under `insitu vm exec`."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from insitu.vm.kernel import Kernel
from scenarios import tables

SCRIPT = Path(__file__).parent / "programs" / "own_script.py"


@pytest.fixture(scope="module")
def result(kernel: Kernel) -> dict[str, Any]:
    command = [sys.executable, "-m", "insitu.cli", "vm", "exec", "--limit", "300", "--", "python3", str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    made: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return made


def test_hosts_reach_each_other_over_every_kind_of_link(result: dict[str, Any]) -> None:
    assert result["loss"] == 0.0


def test_every_setting_is_read_back(result: dict[str, Any]) -> None:
    for when in ("settings", "settings after"):
        assert len(result[when]) > 15
        assert [reading for reading in result[when] if reading[2] != reading[3]] == []


def test_a_round_trip_takes_what_theory_says(result: dict[str, Any]) -> None:
    """5 + 10 + 2 ms there (jitter's mean 2 ms back), full frames at 10 and 100 Mbit/s; 1 ms is 1000 in tc's unit."""
    found = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/", result["ping"])
    assert found, result["ping"]
    least, mean = (float(word) for word in found.groups())
    frame = 1514 * 8
    fixed = 2 * 5 + 2 * 10 + 1 + 2 * frame * (1 / 10e6 + 1 / 100e6 + 1 / 40e9) * 1e3
    assert mean == pytest.approx(fixed + 2, abs=0.7)  # 20 jitters with a deviation of 1 ms
    pareto = tables.distribution("pareto")
    assert pareto
    assert least >= fixed + 2 + float(pareto.earliest)


def test_a_change_loses_no_packet(result: dict[str, Any]) -> None:
    assert "500 received" in result["changed"]


def test_open_vswitchs_queues_and_the_link_go_together(result: dict[str, Any]) -> None:
    for queue, rate, ceil in ((0, "30Mbit", "100Mbit"), (1, "40Mbit", "100Mbit"), (2, "30Mbit", "60Mbit")):
        assert re.search(rf"class htb 1:{queue + 1} parent 1:f00{queue} .*rate {rate} ceil {ceil} ", result["classes"])


def test_what_no_link_can_do_is_refused_in_a_line(result: dict[str, Any]) -> None:
    assert result["refused"] == [
        'h1-h2: no parameter "dealy" of a link; did you mean "delay"?',
        'h1-h2: rate: "5 Mbps": unknown unit; write "5 Mbit/s"',
        "h1-h2: queue: a queue has to hold a full packet; write at least 1514 B",
        'h1-h2: no parameter "use_tbf" of a link; did you mean "use_htb"?',
    ]


def test_nothing_is_left(result: dict[str, Any]) -> None:
    assert result["left"] == []
