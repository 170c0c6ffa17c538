"""The verdict: VALID when all is well, and for each thing that can be wrong its own reason."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from builders import planned
from hypothesis import given
from hypothesis import strategies as st

from insitu import verdict
from insitu.verdict import Verdict, fidelity, judge
from scenarios import records as r
from scenarios.plan import Plan
from scenarios.quantity import show

MS = 1_000_000
SECOND = 1000 * MS
VIRTUAL = planned(
    duration="3 s", traffic=[{"from": "central", "to": "phone", "rate": "8 Mbit/s"}], capture=["square-radio"]
)
REAL = msgspec.structs.replace(VIRTUAL, machine=msgspec.structs.replace(VIRTUAL.machine, clock="real"))
PROCESSES = ["controller", "devices", "traffic", "central", "region-local", "square-edge", "capture.square-radio"]
SETTINGS = [r.Checked(-5, end.node, end.interface, 1) for link in VIRTUAL.links for end in link.ends]
CAPTURED = r.Captured(3 * SECOND, "machine", "square-radio", 5, 0, -1, 1000)
NOTHING_LOST = r.Lost(3 * SECOND, "machine", "backlog", 0)
SOUND: list[r.AnyEvent] = [
    *SETTINGS,
    r.Started(0, "machine"),
    *(r.Clock(second * SECOND, "machine", second * SECOND) for second in (1, 2, 3)),
    NOTHING_LOST,
    CAPTURED,
    *(r.Process(4 * SECOND, name, 0) for name in PROCESSES),
]
WAKES = SOUND[len(SETTINGS) + 1 :][:3]


def measured(
    idle: Any = (0.9, 0.8, 0.9), timers: Any = (1000,) * 300, packets: Any = (1000,) * 300
) -> list[r.AnyEvent]:
    """What a real clock's run has beside the virtual one's: shares by second, ns by sample."""
    return [
        *(r.Idle((number + 1) * SECOND, "machine", share) for number, share in enumerate(idle)),
        *(r.Lateness(SECOND, "machine", "timer", ns) for ns in timers),
        *(r.Lateness(SECOND, "machine", "packet", ns) for ns in packets),
        r.Process(4 * SECOND, "fidelity", 0),
    ]


SOUND_REAL = [*SOUND, *measured()]
BOTH = pytest.mark.parametrize(("plan", "sound"), [(VIRTUAL, SOUND), (REAL, SOUND_REAL)], ids=["virtual", "real"])


def without(*unwanted: r.Event, sound: list[r.AnyEvent] = SOUND) -> list[r.AnyEvent]:
    return [event for event in sound if event not in unwanted]


def late(ns: int) -> list[r.AnyEvent]:
    """The second wake came this much after its time."""
    return [*without(WAKES[1]), r.Clock(2 * SECOND + ns, "machine", 2 * SECOND)]


@BOTH
def test_a_run_without_a_flaw_is_valid(plan: Plan, sound: list[r.AnyEvent]) -> None:
    assert judge(plan, sound, None) == Verdict("VALID", [])


def test_what_is_wrong_with_the_records_themselves_is_the_first_reason() -> None:
    lost = "run: 7 events were written, 6 arrived"
    assert judge(VIRTUAL, [], lost) == Verdict("INVALID", [lost])  # what else is missing tells nothing
    assert judge(VIRTUAL, SOUND, lost) == Verdict("INVALID", [lost])


@pytest.mark.parametrize("name", PROCESSES)
@BOTH
def test_a_process_that_died_or_left_no_trace_makes_the_run_invalid(
    plan: Plan, sound: list[r.AnyEvent], name: str
) -> None:
    ended = r.Process(4 * SECOND, name, 0)
    for status in (1, -9):
        died = [*without(ended, sound=sound), r.Process(4 * SECOND, name, status)]
        assert judge(plan, died, None) == Verdict("INVALID", [f"process {name} ended with status {status}"])
    assert judge(plan, without(ended, sound=sound), None) == Verdict("INVALID", [f"process {name} left no trace"])


def test_traffic_is_missed_only_where_there_was_some() -> None:
    quiet = msgspec.structs.replace(VIRTUAL, flows=[])
    assert judge(quiet, without(r.Process(4 * SECOND, "traffic", 0)), None) == Verdict("VALID", [])


def test_the_sampler_is_missed_only_with_a_real_clock() -> None:
    without_it = without(r.Process(4 * SECOND, "fidelity", 0), sound=SOUND_REAL)
    assert judge(REAL, without_it, None) == Verdict("INVALID", ["process fidelity left no trace"])
    assert judge(VIRTUAL, SOUND, None).status == "VALID"


def test_a_setting_that_the_kernel_has_otherwise_makes_the_run_invalid() -> None:
    wrong = r.Setting(-4, "square", "s3-eth2", "class 1:2", "rate 8 B/s", "rate 9 B/s")
    reason = "square s3-eth2 class 1:2: planned rate 8 B/s, the kernel has rate 9 B/s"
    assert judge(VIRTUAL, [*SOUND, wrong], None) == Verdict("INVALID", [reason])
    assert judge(VIRTUAL, [*SOUND, *[wrong] * 5], None).reasons == [*[reason] * 3, "2 more settings differ"]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda event: f"{event.node}/{event.interface}")
@BOTH
def test_an_interface_that_was_not_read_back_makes_the_run_invalid(
    plan: Plan, sound: list[r.AnyEvent], setting: r.Setting
) -> None:
    place = f"{setting.node} {setting.interface}"
    reason = f"1 of {len(SETTINGS)} interfaces were not read back: {place}"
    assert judge(plan, without(setting, sound=sound), None) == Verdict("INVALID", [reason])


def test_a_run_in_which_nothing_was_read_back_is_invalid() -> None:
    (reason,) = judge(VIRTUAL, without(*SETTINGS), None).reasons
    assert reason.startswith(f"{len(SETTINGS)} of {len(SETTINGS)} interfaces were not read back: ")
    assert reason.endswith(", …")


def test_a_virtual_clock_that_is_late_makes_the_run_invalid() -> None:
    reason = "the clock was up to 1000001 ns late; at most 1 ms is sound"
    assert judge(VIRTUAL, late(MS + 1), None) == Verdict("INVALID", [reason])
    assert judge(VIRTUAL, late(MS), None) == Verdict("VALID", [])
    assert judge(REAL, [*late(MS + 1), *measured()], None) == Verdict(
        "VALID", []
    )  # its timers are judged by the sampler


@pytest.mark.parametrize(("plan", "status"), [(VIRTUAL, "INVALID"), (REAL, "DEGRADED")], ids=["virtual", "real"])
def test_a_clock_that_woke_too_early_is_fatal_if_it_is_virtual(plan: Plan, status: str) -> None:
    events = [*late(-1), *(measured() if plan is REAL else [])]
    assert judge(plan, events, None) == (status, ["the clock woke a process too early"])


@BOTH
def test_a_run_that_was_cut_short_is_invalid(plan: Plan, sound: list[r.AnyEvent]) -> None:
    assert judge(plan, without(WAKES[2], sound=sound), None) == ("INVALID", ["the run ended after 2 of 3 s"])


def test_a_fraction_of_a_second_at_the_end_has_no_wake_of_its_own() -> None:
    longer = {"duration_ns": 3 * SECOND + MS}
    assert judge(msgspec.structs.replace(VIRTUAL, **longer), SOUND, None).status == "VALID"
    assert judge(msgspec.structs.replace(REAL, **longer), SOUND_REAL, None).status == "VALID"


@pytest.mark.parametrize(("plan", "status"), [(VIRTUAL, "INVALID"), (REAL, "DEGRADED")], ids=["virtual", "real"])
@pytest.mark.parametrize(
    ("instead", "of", "reason"),
    [
        (
            r.Captured(9, "machine", "square-radio", 5, 2, -1, 1),
            CAPTURED,
            "the capture of square-radio lacks 2 packets",
        ),
        (None, CAPTURED, "the capture of square-radio does not say what it holds"),
        (
            r.Lost(9, "square", "s3-eth1", 7),
            None,
            "packets were dropped where the plan has no queue: 7 at square s3-eth1",
        ),
        (
            r.Lost(9, "machine", "backlog", 1),
            NOTHING_LOST,
            "packets were dropped where the plan has no queue: 1 at machine backlog",
        ),
        (None, NOTHING_LOST, "nobody counted the packets that were dropped where the plan has no queue"),
    ],
    ids=["capture lacks some", "capture unknown", "port", "backlog", "not counted"],
)
def test_packets_that_nobody_planned_to_lose(
    plan: Plan, status: str, instead: r.AnyEvent | None, of: r.AnyEvent | None, reason: str
) -> None:
    events = [event for event in (SOUND if plan is VIRTUAL else SOUND_REAL) if event != of]
    assert judge(plan, [*events, *([instead] if instead else [])], None) == (status, [reason])


def test_a_capture_that_was_full_is_no_flaw() -> None:
    full = r.Captured(9, "machine", "square-radio", 250_000, 0, 2 * SECOND, 1)
    assert judge(VIRTUAL, [*without(CAPTURED), full], None).status == "VALID"


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        (
            {"idle": (0.9, 0.349, 0.2)},
            "idle CPU was under 35 % in 2 of 3 s, at the least 20 %: the machine may have run late",
        ),
        ({"idle": (0.9, 0.9)}, "idle CPU was measured in 2 of 3 s only"),
        ({"timers": (3_100_000,) * 300}, "1 % of the timers were 3.1 ms late or more; at most 3 ms is sound"),
        ({"packets": (1_100_000,) * 300}, "1 % of the packets were 1.1 ms late or more; at most 1 ms is sound"),
        ({"packets": (1000,) * 297}, "3 packets of the probe link did not come"),
    ],
)
def test_what_puts_a_real_clocks_run_at_risk(figures: dict[str, Any], reason: str) -> None:
    assert judge(REAL, [*SOUND, *measured(**figures)], None) == Verdict("DEGRADED", [reason])


def test_a_real_clocks_run_that_nobody_measured_is_no_valid_one() -> None:
    verdict = judge(REAL, [*SOUND, *measured((), (), ())], None)
    assert verdict.status == "DEGRADED"
    assert verdict.reasons == [
        "idle CPU was measured in 0 of 3 s only",
        "the lateness of timers was not measured",
        "the lateness of packets was not measured",
    ]


def test_figures_stand_beside_their_limits() -> None:
    events = measured((0.9, 0.3, 0.9), [1000] * 296 + [2_000_000] * 4, [500] * 299)
    assert fidelity(REAL, [*SOUND, *events]) == {
        "idle_cpu": {"least": 0.3, "limit": 0.35, "seconds_below": 1, "seconds": 3},
        "timer_lateness_us": {"p99": 2000.0, "max": 2000.0, "limit": 3000.0},
        "packet_lateness_us": {"p99": 0.5, "max": 0.5, "limit": 1000.0, "missing": 1},
        "unplanned_drops": {"count": 0, "limit": 0},
    }
    assert fidelity(VIRTUAL, SOUND) == {"unplanned_drops": {"count": 0, "limit": 0}}


SHARES = st.lists(st.floats(0, 1), min_size=3, max_size=3)
SAMPLES = st.lists(st.integers(0, 20 * MS), min_size=1, max_size=50)


@given(SHARES, SAMPLES, SAMPLES, st.integers(0, 3))
def test_a_real_clocks_run_is_valid_exactly_when_every_figure_is_within_its_limit(
    idle: list[float], timers: list[int], packets: list[int], dropped: int
) -> None:
    packets = (packets * len(timers))[: len(timers)]
    events = [*without(NOTHING_LOST), r.Lost(9, "machine", "backlog", dropped), *measured(idle, timers, packets)]
    figures = fidelity(REAL, events)
    flaws = [
        figures["idle_cpu"]["least"] < figures["idle_cpu"]["limit"],
        *(
            figures[f"{what}_lateness_us"]["p99"] > figures[f"{what}_lateness_us"]["limit"]
            for what in ("timer", "packet")
        ),
        dropped > 0,
    ]
    judged = judge(REAL, events, None)
    assert judged.status == ("DEGRADED" if any(flaws) else "VALID")
    assert len(judged.reasons) == sum(flaws)


@given(SHARES, SAMPLES, st.randoms())
def test_the_order_of_records_changes_no_figure(idle: list[float], timers: list[int], random: Any) -> None:
    events = [*SOUND, *measured(idle, timers, timers)]
    shuffled = random.sample(events, len(events))
    assert fidelity(REAL, shuffled) == fidelity(REAL, events)
    assert judge(REAL, shuffled, None).status == judge(REAL, events, None).status


@given(st.lists(st.sampled_from(SOUND_REAL), unique=True), st.sampled_from([VIRTUAL, REAL]))
def test_a_record_that_is_missing_never_makes_a_run_better(events: list[r.AnyEvent], plan: Plan) -> None:
    """Of a sound run's records only some are left: nothing but all that matter makes it VALID."""
    needed = set(SOUND if plan is VIRTUAL else SOUND_REAL) - {e for e in SOUND if isinstance(e, r.Started)}
    assert (judge(plan, events, None).status == "VALID") == (needed <= set(events))


def test_limits_are_those_that_are_documented() -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    times = (verdict.LATEST_TIMER_NS, verdict.LATEST_PACKET_NS)
    for limit in (f"{100 * verdict.LEAST_IDLE:g} % at least", *(f"at most {show(ns, 'time')}" for ns in times)):
        assert limit in readme


def test_all_that_is_wrong_is_said() -> None:
    wrong = r.Setting(-4, "square", "s3-eth2", "class 1:2", "8", "9")
    died = r.Process(4 * SECOND, "devices", 1)
    assert len(judge(VIRTUAL, [*without(*WAKES[1:]), wrong, died], "lost").reasons) == 4


KILLED_ONCE = planned(
    duration="3 s",
    traffic=[{"from": "central", "to": "phone", "rate": "8 Mbit/s"}],
    capture=["square-radio"],
    faults=[{"controller": "down", "at": "1 s", "for": "100 ms"}],
)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (-9, 0, "VALID"),
        (-9, None, "INVALID"),  # nobody took its place
        (0, 0, "INVALID"),  # it should have been killed
        (-11, 0, "INVALID"),  # it died of something else
        (-9, -9, "INVALID"),  # and so did the next, which was not planned
        (-9, 1, "INVALID"),
    ],
)
def test_only_the_controller_that_the_plan_kills_may_die(first: int, second: int | None, status: str) -> None:
    events = without(r.Process(4 * SECOND, "controller", 0))
    events.append(r.Process(4 * SECOND, "controller", first))
    if second is not None:
        events.append(r.Process(4 * SECOND, "controller2", second))
    assert judge(KILLED_ONCE, events, None).status == status


def test_a_controller_that_dies_where_no_fault_is_planned_makes_a_run_invalid() -> None:
    events = [*without(r.Process(4 * SECOND, "controller", 0)), r.Process(4 * SECOND, "controller", -9)]
    assert judge(VIRTUAL, events, None).status == "INVALID"


@BOTH
def test_a_policy_that_failed_degrades_a_run_and_says_why_once_for_each_place(
    plan: Plan, sound: list[r.AnyEvent]
) -> None:
    why = "policy Mine: raises ZeroDivisionError: by zero"
    failures = [r.PolicyFailed(number * SECOND, "nef", why, f"view-{number}.json") for number in (1, 2)]
    found = judge(
        plan, [*sound, *failures, r.PolicyFailed(2 * SECOND, "central", "policy Least: raises KeyError: 1")], None
    )
    assert found.status == "DEGRADED"
    assert found.reasons == [
        f"{why}, at nef, 1 s (logs/view-1.json), and 1 more",
        "policy Least: raises KeyError: 1, at central, 2 s",
    ]
