"""What is read from the kernel's tables, and the idle CPU of this machine."""

import os
import time
from pathlib import Path

import pytest
from builders import planned
from hypothesis import given
from hypothesis import strategies as st

from insitu import fidelity
from insitu.fidelity import BACKLOG, CpuTimes, IdleCpu, Losses, backlog_losses, cpu_times, port_losses
from scenarios import records

TICKS = st.lists(st.integers(0, 10**9), min_size=10, max_size=10)
DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
"""


@given(st.lists(TICKS, min_size=1, max_size=12))
def test_cpu_times_are_of_the_cpu_that_is_asked_for(cpus: list[list[int]]) -> None:
    """user nice system idle iowait irq softirq steal guest guest_nice: the last two are in user and nice already."""
    total = [sum(column) for column in zip(*cpus, strict=True)]
    lines = [f"cpu{n} {' '.join(map(str, ticks))}" for n, ticks in enumerate(cpus)]
    stat = "\n".join([f"cpu  {' '.join(map(str, total))}", *lines, "intr 1 2 3", "ctxt 5"])
    for number, ticks in enumerate(cpus):
        assert cpu_times(stat, number) == CpuTimes(sum(ticks[:8]), ticks[3] + ticks[4])
    assert cpu_times(stat, None) == CpuTimes(sum(total[:8]), total[3] + total[4])


@given(
    st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,14}", fullmatch=True), st.tuples(*[st.integers(0, 10**12)] * 2))
)
def test_port_losses_are_of_both_directions(drops: dict[str, tuple[int, int]]) -> None:
    rows = [f"{name:>6}: 1 2 3 {here} 5 6 7 8 9 10 11 {there} 13 14 15 16\n" for name, (here, there) in drops.items()]
    assert port_losses(DEV + "".join(rows)) == {name: sum(both) for name, both in drops.items()}


@given(st.lists(st.integers(0, 2**32 - 1), min_size=1))
def test_backlog_losses_are_of_all_cpus(drops: list[int]) -> None:
    assert backlog_losses("".join(f"0000ffff {n:08x} 00000003 00000000\n" for n in drops)) == sum(drops)


def test_this_machines_tables_are_understood() -> None:
    assert cpu_times(Path("/proc/stat").read_text(), None).idle >= 0
    assert port_losses(Path("/proc/net/dev").read_text())["lo"] >= 0
    assert backlog_losses(Path("/proc/net/softnet_stat").read_text()) >= 0


def test_idle_shares_are_of_every_second_that_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([CpuTimes(100, 50), CpuTimes(200, 140), CpuTimes(400, 190), CpuTimes(500, 190)])
    monkeypatch.setattr(fidelity, "cpu_times", lambda *_: next(readings))
    idle = IdleCpu(None, 0)
    for second in (1, 3, 4):  # it hears of two at once
        idle.see(second)
    assert [(event.t // 10**9, event.idle) for event in idle.events] == [(1, 0.9), (2, 0.25), (3, 0.25), (4, 0.0)]


@pytest.mark.parametrize("cpu", [None, *sorted(os.sched_getaffinity(0))])
def test_idle_shares_of_this_machine_are_shares(cpu: int | None) -> None:
    idle = IdleCpu(cpu, 0)
    time.sleep(0.05)
    idle.see(1)
    assert 0 <= idle.events[0].idle <= 1


def test_losses_are_those_since_the_start_at_ports_of_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned()
    port = next(end for end in plan.links[0].ends if end.port)
    ports = iter([{port.interface: 5, "eth9": 1}, {port.interface: 7, "eth9": 9}])
    backlogs = iter([3, 3])
    monkeypatch.setattr(fidelity, "port_losses", lambda _: next(ports))
    monkeypatch.setattr(fidelity, "backlog_losses", lambda _: next(backlogs))
    losses = list(Losses(plan).events())
    assert [(lost.node, lost.interface, lost.packets) for lost in losses] == [
        ("machine", BACKLOG, 0),
        (port.node, port.interface, 2),
    ]
    assert all(isinstance(lost, records.Lost) for lost in losses)
