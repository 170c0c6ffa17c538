"""May a run be trusted? Judged from its records alone."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from insitu.captures import process_name
from insitu.controller_service import expected_statuses
from scenarios import records
from scenarios.plan import Plan
from scenarios.quantity import about, show

# A virtual clock cannot be late; this much is the resolution of the guest's own timers.
LATEST_WAKE_NS = 1_000_000
# With a real clock. Under this share of idle CPU in a second, an emulation may have run late in it: Handigol et al., "Reproducible
# Network Experiments Using Container-Based Emulation" (CoNEXT 2012), whose Mininet-HiFi watches idle time.
LEAST_IDLE = 0.35
# Linux's scheduler lets a process run for about 3 ms before another has its turn (base_slice_ns): a later one waited for CPU.
LATEST_TIMER_NS = 3_000_000
# A gNB's link, the shortest of those that a scenario has by default, takes 1 ms: a packet that is later crossed another network.
LATEST_PACKET_NS = 1_000_000
# The plan's queues drop what a plan drops; nothing else may.
MOST_DROPPED = 0
_MOST_SHOWN = 3


class Verdict(NamedTuple):
    status: Literal["VALID", "DEGRADED", "INVALID"]
    reasons: list[str]


def judge(plan: Plan, events: Sequence[records.AnyEvent], lost: str | None) -> Verdict:
    """`lost` says what is wrong with the records themselves, if anything is.

    INVALID: an event was lost, a process died, the run ended early, or a setting was not read back or differs from the plan.
    DEGRADED: a policy failed, and was not followed.
    INVALID with a virtual clock, DEGRADED with a real one: the clock misbehaved, packets were dropped where the plan has no queue
    or are missing in a capture, or the machine did not keep up by one of the figures of `fidelity`.
    """
    if lost and not events:
        return Verdict("INVALID", [lost])  # nothing else can be told
    invalid = [lost] if lost else []
    invalid += _processes(plan, events)
    invalid += _settings(plan, events)
    wakes = [event for event in events if isinstance(event, records.Clock)]
    seconds = plan.duration_ns // 10**9
    if len(wakes) != seconds:
        invalid.append(f"the run ended after {len(wakes)} of {seconds} s")
    risks = [*_clock(plan, wakes), *_fidelity(plan, events), *_captures(plan, events)]
    if plan.machine.clock == "virtual":
        invalid += risks
    if invalid:
        return Verdict("INVALID", invalid)
    degraded = [*([] if plan.machine.clock == "virtual" else risks), *_policies(events)]
    return Verdict("DEGRADED", degraded) if degraded else Verdict("VALID", [])


def fidelity(plan: Plan, events: Sequence[records.AnyEvent]) -> dict[str, dict[str, Any]]:
    """How well the machine kept up, each figure with its limit; with a virtual clock only drops can tell anything.

    A figure that was not measured is None.
    """
    dropped = [event.packets for event in events if isinstance(event, records.Lost)]
    drops = {"unplanned_drops": {"count": sum(dropped) if dropped else None, "limit": MOST_DROPPED}}
    if plan.machine.clock == "virtual":
        return drops
    idle = [event.idle for event in events if isinstance(event, records.Idle)]
    late: dict[str, list[int]] = {"timer": [], "packet": []}
    for event in events:
        if isinstance(event, records.Lateness):
            late[event.of].append(event.late_ns)
    return {
        "idle_cpu": {
            "least": min(idle, default=None),
            "limit": LEAST_IDLE,
            "seconds_below": sum(share < LEAST_IDLE for share in idle),
            "seconds": len(idle),
        },
        "timer_lateness_us": _lateness(late["timer"], LATEST_TIMER_NS),
        "packet_lateness_us": {
            **_lateness(late["packet"], LATEST_PACKET_NS),
            "missing": len(late["timer"]) - len(late["packet"]),  # one is sent at each timer
        },
        **drops,
    }


def _lateness(late_ns: list[int], limit_ns: int) -> dict[str, float | None]:
    p99, most = (np.percentile(late_ns, 99), max(late_ns)) if late_ns else (None, None)
    return {"p99": _us(p99), "max": _us(most), "limit": limit_ns / 1000}


def _us(ns: float | None) -> float | None:
    return None if ns is None else round(float(ns) / 1000, 3)


def _fidelity(plan: Plan, events: Sequence[records.AnyEvent]) -> Iterator[str]:
    figures = fidelity(plan, events)
    if figures["unplanned_drops"]["count"] is None:
        yield "nobody counted the packets that were dropped where the plan has no queue"
    elif figures["unplanned_drops"]["count"] > MOST_DROPPED:
        places = [e for e in events if isinstance(e, records.Lost) and e.packets]
        where = ", ".join(f"{e.packets} at {e.node} {e.interface}" for e in places[:_MOST_SHOWN])
        yield f"packets were dropped where the plan has no queue: {where}{', …' if len(places) > _MOST_SHOWN else ''}"
    if plan.machine.clock == "virtual":
        return
    idle, seconds = figures["idle_cpu"], plan.duration_ns // 10**9
    if idle["seconds"] < seconds:
        yield f"idle CPU was measured in {idle['seconds']} of {seconds} s only"
    if idle["seconds_below"]:
        below = f"in {idle['seconds_below']} of {idle['seconds']} s"
        under = f"under {100 * LEAST_IDLE:g} % {below}, at the least {100 * idle['least']:.0f} %"
        yield f"idle CPU was {under}: the machine may have run late"
    for what, key, limit in (
        ("timers", "timer_lateness_us", LATEST_TIMER_NS),
        ("packets", "packet_lateness_us", LATEST_PACKET_NS),
    ):
        p99 = figures[key]["p99"]
        if p99 is None:
            yield f"the lateness of {what} was not measured"
        elif p99 * 1000 > limit:
            yield f"1 % of the {what} were {about(p99 * 1000, 'time')} late or more; at most {show(limit, 'time')} is sound"
    if missing := figures["packet_lateness_us"]["missing"]:
        yield f"{missing} packets of the probe link did not come"


def _processes(plan: Plan, events: Sequence[records.AnyEvent]) -> list[str]:
    statuses = {event.node: event.status for event in events if isinstance(event, records.Process)}
    controllers = expected_statuses(plan)
    expected = [
        *controllers,
        "devices",
        *(library.host for library in plan.libraries),
        *(["traffic"] if plan.flows else []),
        *(["fidelity"] if plan.machine.clock == "real" else []),
        *(process_name(capture) for capture in plan.captures),
    ]
    died = [
        f"process {name} ended with status {status}"
        for name, status in statuses.items()
        if status != controllers.get(name, 0)
    ]
    return died + [f"process {name} left no trace" for name in expected if name not in statuses]


def _settings(plan: Plan, events: Sequence[records.AnyEvent]) -> list[str]:
    """Every interface of the plan was read back, and nothing differs."""
    checked = {(event.node, event.interface) for event in events if isinstance(event, records.Checked)}
    planned = [(end.node, end.interface) for link in plan.links for end in link.ends]
    missing = [" ".join(place) for place in planned if place not in checked]
    wrong = [event for event in events if isinstance(event, records.Setting)]
    reasons = [
        f"{e.node} {e.interface} {e.setting}: planned {e.planned}, the kernel has {e.read}" for e in wrong[:_MOST_SHOWN]
    ]
    if len(wrong) > _MOST_SHOWN:
        reasons.append(f"{len(wrong) - _MOST_SHOWN} more settings differ")
    if missing:
        some = ", ".join(missing[:_MOST_SHOWN]) + (", …" if len(missing) > _MOST_SHOWN else "")
        reasons.append(f"{len(missing)} of {len(planned)} interfaces were not read back: {some}")
    return reasons


def _clock(plan: Plan, wakes: list[records.Clock]) -> Iterator[str]:
    """How late a real clock's wakes are is judged by many more of them, in `fidelity`."""
    late = max((event.t - event.planned_ns for event in wakes), default=0)
    if plan.machine.clock == "virtual" and late > LATEST_WAKE_NS:
        yield f"the clock was up to {show(late, 'time')} late; at most {show(LATEST_WAKE_NS, 'time')} is sound"
    if any(event.t < event.planned_ns for event in wakes):
        yield "the clock woke a process too early"


def _policies(events: Sequence[records.AnyEvent]) -> Iterator[str]:
    """What each failed with first: the run is sound, but it is not the policy's."""
    failed = [event for event in events if isinstance(event, records.PolicyFailed)]
    for node in dict.fromkeys(event.node for event in failed):
        first, *more = [event for event in failed if event.node == node]
        where = f" (logs/{first.view})" if first.view else ""
        again = f", and {len(more)} more" if more else ""
        yield f"{first.why}, at {node}, {show(first.t, 'time')}{where}{again}"


def _captures(plan: Plan, events: Sequence[records.AnyEvent]) -> Iterator[str]:
    """One that is full says so in the summary; one that lacks packets in between is wrong."""
    captured = {event.capture: event for event in events if isinstance(event, records.Captured)}
    for name in (capture.name for capture in plan.captures):
        if name not in captured:
            yield f"the capture of {name} does not say what it holds"
        elif captured[name].dropped:
            yield f"the capture of {name} lacks {captured[name].dropped} packets"
