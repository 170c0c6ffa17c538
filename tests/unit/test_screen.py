"""The table at the end of a run says what its summary says of captures and fidelity."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import planned
from rich.console import Console

from insitu.experiment import Result
from insitu.screen import result_table
from insitu.summary import summarise
from scenarios import records as r

SECOND = 10**9
VIRTUAL = planned(duration="2 s")
REAL = msgspec.structs.replace(VIRTUAL, machine=msgspec.structs.replace(VIRTUAL.machine, clock="real"))


def shown(plan: Any, *events: r.AnyEvent) -> str:
    console = Console(width=300)
    with console.capture() as capture:
        console.print(result_table(Result(Path("run"), summarise(plan, events, None, 1.0)), []))
    return capture.get()


def test_a_real_clocks_figures_are_shown_with_their_limits() -> None:
    samples = [r.Lateness(1, "machine", of, 1_500_000) for of in ("timer", "packet")]
    text = shown(REAL, r.Idle(SECOND, "machine", 0.25), *samples)
    assert "idle CPU at least 25 % (limit 35 %)" in text
    assert "timers p99 1.50 ms late (limit 3)" in text
    assert "packets p99 1.50 ms late (limit 1)" in text


def test_what_was_not_measured_is_not_shown() -> None:
    assert "idle CPU" not in shown(VIRTUAL)
    assert "timers p99" not in shown(REAL)


@pytest.mark.parametrize(("cut_ns", "text"), [(-1, "7 packets in"), (SECOND, "7 packets, full at 1 s in")])
def test_a_capture_says_when_it_was_full(cut_ns: int, text: str) -> None:
    assert f"{text} captures/central.pcap" in shown(VIRTUAL, r.Captured(9, "machine", "central", 7, 0, cut_ns, 0))
