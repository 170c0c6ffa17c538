"""Links of random settings, thirty cells of them in one network: every one is read back as planned and measures as theory says."""

import random
from typing import Any

import pytest

from benchmarks import guests, theory
from benchmarks.network import plan_of, there_and_back
from insitu.vm.kernel import Kernel
from scenarios.plan import Plan

CELLS = 30
PINGS = 20
ALL_AT_ONCE = 1 - 0.01 / (2 * CELLS)  # so that all counts together are in their intervals 99 times of 100
SEED = 20
HEADERS = theory.ETHERNET + theory.IP + theory.ICMP


def random_link(draw: random.Random) -> str:
    """A rate from 1 Mbit/s to 40 Gbit/s in whole kbit/s, a delay of up to 200 ms; some with loss, some with jitter."""
    delay = round(10 ** draw.uniform(3, 8.3))
    settings = {"rate": f"{round(10 ** draw.uniform(3, 7.6))} kbit/s", "delay": f"{delay} ns"}
    kind = draw.random()
    if kind < 0.2:
        settings["loss"] = f"{draw.uniform(1, 30):.2f} %"
    elif kind < 0.4:
        settings["jitter"] = f"{draw.randint(1, delay)} ns"
    return "{" + ", ".join(f"{key}: {value}" for key, value in settings.items()) + "}"


def scenario() -> str:
    draw = random.Random(SEED)
    gnbs = [f"{{name: g{n}, link: {random_link(draw)}, radio: {random_link(draw)}}}" for n in range(CELLS)]
    devices = [f"{{name: d{n}, at: g{n}}}" for n in range(CELLS)]
    return f"name: random\nnetwork: {{gnbs: [{', '.join(gnbs)}]}}\ndevices: [{', '.join(devices)}]\n"


@pytest.fixture(scope="module")
def plan() -> Plan:
    return plan_of(scenario())


@pytest.fixture(scope="module")
def measured(kernel: Kernel) -> list[Any]:
    """What is read back, then for each cell a small and a full ping from the central host."""
    pings = [
        {"do": "ping", "source": "central", "target": f"d{n}", "count": PINGS, "interval_s": 0.2, "payload": payload}
        for n in range(CELLS)
        for payload in (56, 1472)
    ]
    return guests.run(kernel, guests.Order("random links", [{"do": "read_back"}, *pings], scenario()))


def spreads_ms(plan: Plan, number: int) -> tuple[float, float]:
    """The greatest jitter of a round trip to a device, and the share of pings that come back."""
    shapes = [link.ends[0].shape for link in plan.links if link.name in (f"g{number}-link", f"g{number}-radio")]
    came_back = 1.0
    for shape in shapes:
        came_back *= (1 - shape.loss) ** 2
    return 2 * sum(shape.jitter_ns for shape in shapes) / 1e6, came_back


def test_every_setting_is_read_back_as_planned(measured: list[Any]) -> None:
    assert len(measured[0]) > 4 * CELLS
    assert [setting for setting in measured[0] if setting[2] != setting[3]] == []


@pytest.mark.parametrize("number", range(CELLS))
def test_a_round_trip_is_what_theory_says(plan: Plan, measured: list[Any], number: int) -> None:
    jitter, came_back = spreads_ms(plan, number)
    for payload, ping in zip((56, 1472), measured[1 + 2 * number : 3 + 2 * number], strict=True):
        expected = theory.one_way(there_and_back(plan, "central", f"d{number}"), payload + HEADERS) / 1e6
        limit = max(0.010, expected / 1000) + jitter
        assert ping["least_ms"] == pytest.approx(expected, abs=limit)
        assert ping["mean_ms"] == pytest.approx(expected, abs=limit)
        low, high = theory.count_interval(came_back, PINGS, ALL_AT_ONCE)
        assert low <= ping["received"] <= high
