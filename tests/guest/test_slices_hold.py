"""Slices and sessions hold what they promise: guarantees, ceilings, priorities, and classes that come and go without a trace."""

import re
from typing import Any

import pytest

from benchmarks import guests, slices
from benchmarks.network import plan_of
from insitu.vm.kernel import Kernel
from tests.conftest import GuestProgram

CASES = [
    slices.Case(10**9, 10, "udp", 0.2),
    slices.Case(10**9, 100, "tcp", 0.3),
    slices.Case(10**10, 10, "tcp", 0.05),
]
PING_GROWTH_US = 10  # less than a frame at 1 Gbit/s
FRAME = 1514
RADIO = """
name: classes
duration: 10 s
network:
  core: {rate: 1 Gbit/s, delay: 1 ms}
  regions:
    - name: west
      link: {rate: 1 Gbit/s, delay: 1 ms}
      gnbs: [{name: a, link: {rate: 1 Gbit/s, delay: 1 ms}, radio: {rate: 100 Mbit/s, delay: 1 ms, queue: 60 kB}}]
slices: [{name: gold, guarantee: 50 %, ceiling: 80 %, priority: 2}, {name: default}]
devices: [{name: phone, at: a}]
dynamics: [{link: a-radio, at: 1 s, rate: 80 Mbit/s, towards: down}, {link: a-radio, at: 2 s, rate: 100 Mbit/s, towards: down}]
"""


@pytest.fixture(scope="module")
def held(kernel: Kernel) -> list[slices.Held]:
    orders = [order for case in CASES for order in (case.order(), case.alone())]
    answers = guests.run_all(kernel, orders, lambda _: None)
    return [slices.judged(case, *answers[2 * n : 2 * n + 2]) for n, case in enumerate(CASES)]


@pytest.fixture(scope="module")
def lent(kernel: Kernel) -> slices.Lent:
    return slices.judged_lending(10**9, guests.run(kernel, slices.lending(10**9)))


@pytest.fixture(scope="module")
def classes(guest_program: GuestProgram) -> dict[str, Any]:
    return guest_program("classes", plan_of(RADIO))


def test_every_slice_and_session_gets_its_guarantee_under_saturation(held: list[slices.Held]) -> None:
    for case, found in zip(CASES, held, strict=True):
        assert min(*found.slices.values(), found.least_session) >= 0.97, str(case)
        assert found.link <= 1.01, str(case)


def test_a_small_download_in_a_session_takes_as_long_as_alone_on_a_link_of_its_rate(held: list[slices.Held]) -> None:
    for case, found in zip(CASES, held, strict=True):
        assert found.download == pytest.approx(1, abs=0.1), str(case)


def test_a_ping_in_a_session_does_not_wait_for_the_load_of_others(held: list[slices.Held]) -> None:
    for case, found in zip(CASES, held, strict=True):
        assert found.ping_us - found.ping_idle_us < PING_GROWTH_US, str(case)


def test_what_nobody_uses_is_lent_up_to_the_ceiling_and_taken_back_at_once(lent: slices.Lent) -> None:
    assert lent.silver == pytest.approx(1, abs=0.01)
    assert lent.default == pytest.approx(0.5, abs=0.005)
    assert lent.least_used > 0.99
    assert lent.late_us < 100  # frames of 12 us


def test_who_has_the_lower_priority_is_lent_what_is_left(lent: slices.Lent) -> None:
    """Silver's 30 % are free; gold wants 25 % more than it has, and is before default."""
    assert lent.first == pytest.approx(0.65, abs=0.005)
    assert lent.last == pytest.approx(0.35, abs=0.005)


def test_sessions_classes_are_made_changed_and_read_back(classes: dict[str, Any]) -> None:
    assert classes["nothing"] == {}
    rates = {q: found[:3] for q, found in classes["made"].items()}  # its slice, rate, ceiling
    assert rates == {"64": [1, 20_000_000, 80_000_000], "65": [1, 10_000_000, 80_000_000]}
    assert {q: found[1] for q, found in classes["changed"].items()} == {"64": 25_000_000, "65": 10_000_000}
    for setting, planned, read in [*classes["made_readings"], *classes["changed_readings"]]:
        assert planned == read, setting
    assert classes["refused"].endswith("No such file or directory")


def test_a_slices_count_has_its_sessions_and_keeps_what_they_sent(classes: dict[str, Any]) -> None:
    fit = 60_000 // FRAME + 1  # and the one that is being sent
    sent, dropped = classes["sent"]["64"][3:5]
    assert sent // FRAME + dropped == 500
    assert sent // FRAME >= fit
    assert classes["counts"]["1"] == [sent, dropped]
    assert classes["ended_counts"]["1"] == [sent, 0]
    assert classes["ended_counts"]["-1"] == [0, dropped]  # of sessions that have ended


def test_a_change_of_the_link_changes_the_slices_and_leaves_the_sessions(classes: dict[str, Any]) -> None:
    assert [reading for reading in classes["after_change"] if reading[1] != reading[2]] == []
    assert [reading for reading in classes["readings"] if reading[1] != reading[2]] == []
    assert classes["after_change_sessions"] == classes["sent"]
    shown = dict(re.findall(r"class htb (1:\w+) .*? rate (\w+) ", classes["after_change_shown"]))
    assert (shown["1:ffff"], shown["1:f001"]) == ("80Mbit", "40Mbit")
    assert shown["1:2"] == "5Mbit"  # the default class keeps what two sessions of 25 and 10 leave


def test_sessions_leave_nothing(classes: dict[str, Any]) -> None:
    assert classes["ended"] == {}
    assert classes["after"] == classes["before"]
