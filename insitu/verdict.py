"""May a run be trusted? Judged from its records alone."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from scenarios import records
from scenarios.plan import Plan
from scenarios.quantity import show

# A virtual clock cannot be late; this much is the resolution of the guest's own timers.
LATEST_WAKE_NS = 1_000_000


class Verdict(NamedTuple):
    status: Literal["VALID", "DEGRADED", "INVALID"]
    reasons: list[str]


def judge(plan: Plan, events: Sequence[records.AnyEvent], lost: str | None) -> Verdict:
    """`lost` says what is wrong with the records themselves, if anything is.

    INVALID: an event was lost, a process died, the run ended early, the virtual clock misbehaved, or a setting was not read
    back or differs from the plan. DEGRADED: a real clock misbehaved.
    """
    invalid = [lost] if lost else []
    invalid += _processes(plan, events)
    invalid += _settings(plan, events)
    wakes = [event for event in events if isinstance(event, records.Clock)]
    seconds = plan.duration_ns // 10**9
    if len(wakes) != seconds:
        invalid.append(f"the run ended after {len(wakes)} of {seconds} s")
    clock = _clock(wakes)
    if plan.machine.clock == "virtual":
        invalid += clock
    if invalid:
        return Verdict("INVALID", invalid)
    return Verdict("DEGRADED", clock) if clock else Verdict("VALID", [])


def _processes(plan: Plan, events: Sequence[records.AnyEvent]) -> list[str]:
    statuses = {event.node: event.status for event in events if isinstance(event, records.Process)}
    expected = [
        "controller",
        "devices",
        *(library.host for library in plan.libraries),
        *(["traffic"] if plan.flows else []),
    ]
    died = [f"process {name} ended with status {status}" for name, status in statuses.items() if status]
    return died + [f"process {name} left no trace" for name in expected if name not in statuses]


def _settings(plan: Plan, events: Sequence[records.AnyEvent]) -> list[str]:
    checked = {(event.node, event.interface) for event in events if isinstance(event, records.Checked)}
    unread = [end for link in plan.links for end in link.ends if (end.node, end.interface) not in checked]
    reasons = []
    if unread:
        first = f"{unread[0].interface} of {unread[0].node}"
        reasons.append(f"settings were not read back, at {len(unread)} interfaces, the first {first}")
    wrong = [e for e in events if isinstance(e, records.Setting)]
    reasons += [f"{e.node} {e.interface} {e.setting}: planned {e.planned}, the kernel has {e.read}" for e in wrong[:3]]
    return reasons + ([f"{len(wrong) - 3} more settings differ"] if len(wrong) > 3 else [])


def _clock(wakes: list[records.Clock]) -> list[str]:
    late = max((event.t - event.planned_ns for event in wakes), default=0)
    reasons = []
    if late > LATEST_WAKE_NS:
        reasons.append(
            f"the clock was up to {show(late, 'time')} late; at most {show(LATEST_WAKE_NS, 'time')} is sound"
        )
    if any(event.t < event.planned_ns for event in wakes):
        reasons.append("the clock woke a process too early")
    return reasons
