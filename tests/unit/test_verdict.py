"""The verdict: VALID when all is well, and for each thing that can be wrong its own reason."""

import msgspec
import pytest
from builders import planned

from insitu.verdict import Verdict, judge
from scenarios import records as r
from scenarios.plan import Plan

MS = 1_000_000
SECOND = 1000 * MS
VIRTUAL = planned(duration="3 s", traffic=[{"from": "central", "to": "phone", "rate": "8 Mbit/s"}])
REAL = msgspec.structs.replace(VIRTUAL, machine=msgspec.structs.replace(VIRTUAL.machine, clock="real"))
PROCESSES = ["controller", "devices", "traffic", "central", "region-local", "square-edge"]
SOUND = [
    *(r.Checked(-5, end.node, end.interface, 1) for link in VIRTUAL.links for end in link.ends),
    r.Started(0, "machine"),
    *(r.Clock(second * SECOND, "machine", second * SECOND) for second in (1, 2, 3)),
    *(r.Process(4 * SECOND, name, 0) for name in PROCESSES),
]


def without(*unwanted: r.Event) -> list[r.Event]:
    return [event for event in SOUND if event not in unwanted]


CLOCKS = [event for event in SOUND if isinstance(event, r.Clock)]


def late(ns: int) -> list[r.Event]:
    """The second wake came this much after its time."""
    return [*without(CLOCKS[1]), r.Clock(2 * SECOND + ns, "machine", 2 * SECOND)]


@pytest.mark.parametrize("plan", [VIRTUAL, REAL], ids=["virtual", "real"])
def test_a_run_without_a_flaw_is_valid(plan: Plan) -> None:
    assert judge(plan, SOUND, None) == Verdict("VALID", [])


def test_what_is_wrong_with_the_records_themselves_is_the_first_reason() -> None:
    verdict = judge(VIRTUAL, [], "run: 7 events were written, 6 arrived")
    assert verdict.status == "INVALID"
    assert verdict.reasons[0] == "run: 7 events were written, 6 arrived"


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("plan", [VIRTUAL, REAL], ids=["virtual", "real"])
def test_a_process_that_died_or_left_no_trace_makes_the_run_invalid(plan: Plan, name: str) -> None:
    ended = r.Process(4 * SECOND, name, 0)
    for status in (1, -9):
        died = [*without(ended), r.Process(4 * SECOND, name, status)]
        assert judge(plan, died, None) == Verdict("INVALID", [f"process {name} ended with status {status}"])
    assert judge(plan, without(ended), None) == Verdict("INVALID", [f"process {name} left no trace"])


def test_traffic_is_missed_only_where_there_was_some() -> None:
    quiet = msgspec.structs.replace(VIRTUAL, flows=[])
    assert judge(quiet, without(r.Process(4 * SECOND, "traffic", 0)), None) == Verdict("VALID", [])


def test_an_interface_that_was_not_read_back_makes_the_run_invalid() -> None:
    verdict = judge(VIRTUAL, without(SOUND[0]), None)
    assert verdict.status == "INVALID"
    assert verdict.reasons == ["settings were not read back, at 1 interfaces, the first eth0 of central"]


def test_a_setting_that_the_kernel_has_otherwise_makes_the_run_invalid() -> None:
    wrong = r.Setting(-4, "square", "s3-eth2", "class 1:2", "rate 8 B/s", "rate 9 B/s")
    reason = "square s3-eth2 class 1:2: planned rate 8 B/s, the kernel has rate 9 B/s"
    assert judge(VIRTUAL, [*SOUND, wrong], None) == Verdict("INVALID", [reason])
    assert judge(VIRTUAL, [*SOUND, *[wrong] * 5], None).reasons == [*[reason] * 3, "2 more settings differ"]


@pytest.mark.parametrize(("plan", "status"), [(VIRTUAL, "INVALID"), (REAL, "DEGRADED")], ids=["virtual", "real"])
@pytest.mark.parametrize(
    ("events", "reason"),
    [
        (late(MS + 1), "the clock was up to 1000001 ns late; at most 1 ms is sound"),
        (late(-1), "the clock woke a process too early"),
    ],
    ids=["late", "early"],
)
def test_a_clock_that_misbehaved_is_fatal_if_it_is_virtual(
    plan: Plan, status: str, events: list[r.Event], reason: str
) -> None:
    assert judge(plan, events, None) == (status, [reason])


@pytest.mark.parametrize("plan", [VIRTUAL, REAL], ids=["virtual", "real"])
def test_a_run_that_was_cut_short_is_invalid(plan: Plan) -> None:
    assert judge(plan, without(CLOCKS[1]), None) == ("INVALID", ["the run ended after 2 of 3 s"])


def test_a_wake_that_is_as_late_as_is_sound_is_sound() -> None:
    assert judge(VIRTUAL, late(MS), None) == Verdict("VALID", [])


def test_a_fraction_of_a_second_at_the_end_has_no_wake_of_its_own() -> None:
    assert judge(msgspec.structs.replace(VIRTUAL, duration_ns=3 * SECOND + MS), SOUND, None).status == "VALID"


def test_all_that_is_wrong_is_said() -> None:
    wrong = r.Setting(-4, "square", "s3-eth2", "class 1:2", "8", "9")
    died = r.Process(4 * SECOND, "devices", 1)
    assert len(judge(VIRTUAL, [*without(*CLOCKS[1:]), wrong, died], "lost").reasons) == 4
