"""Records -> summary: the figures of a run, computed from its records and plan alone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from insitu.verdict import fidelity, judge
from scenarios import recording, records
from scenarios.plan import Plan

Summary = dict[str, Any]


def summarise(plan: Plan, events: Sequence[records.AnyEvent], lost: str | None, wall_s: float) -> Summary:
    """The content of summary.json; `wall_s` is the only figure that is not from the records."""
    verdict = judge(plan, events, lost)
    return {
        "scenario": plan.scenario,
        "seed": plan.seed,
        "verdict": {"status": verdict.status, "reasons": verdict.reasons},
        "fidelity": fidelity(plan, events),
        "digest": recording.digest(events),
        "time_s": {"virtual": plan.duration_ns / 1e9, "wall": round(wall_s, 2)},
        "downloads": _downloads(events),
        "accuracy": _accuracy(events),
        "libraries": _libraries(plan, events),
        "handovers": _handovers(events),
        "slices": {entry.name: _slice(entry.name, events) for entry in plan.slices},
        "segments": plan.segments,
        "links": _links(plan, events),
        "captures": {event.capture: _capture(event) for event in events if isinstance(event, records.Captured)},
    }


def _downloads(events: Sequence[records.AnyEvent]) -> dict[str, Any]:
    """`late` is whatever was asked for and not all there by its deadline, also what failed.

    `accuracy_on_time` is the mean over all that was asked for of the measured accuracy of the best that was loaded by the deadline,
    0 where nothing was.
    """
    completed = [event for event in events if isinstance(event, records.Completed)]
    requested = sum(isinstance(event, records.Requested) for event in events)
    best: dict[str, float] = {}  # accuracy of what each download had loaded in time
    for event in events:
        if isinstance(event, records.Completed | records.Runnable) and event.on_time:
            best[event.download] = max(best.get(event.download, 0.0), event.accuracy)
    on_time = sum(event.on_time for event in completed)
    return {
        "requested": requested,
        "completed": len(completed),
        "failed": sum(isinstance(event, records.Failed) for event in events),
        "on_time": on_time,
        "on_time_share": _share(on_time, requested),
        "late": requested - on_time,
        "better_on_time": len(best),
        "accuracy_on_time": _share(sum(best.values()), requested),
        "cut": sum(isinstance(event, records.Cut) for event in events),
        "resumed": sum(isinstance(event, records.Resumed) for event in events),
        "rolled_back": sum(isinstance(event, records.RolledBack) for event in events),
        "bytes": sum(event.bytes for event in completed),
        "latency_ms": _quantiles([event.latency_ns / 1e6 for event in completed], ("p50", "p95", "p99", "max")),
    }


def _quantiles(values: Sequence[float], names: Sequence[str]) -> dict[str, float | None]:
    """p50, p95, …, max; None where there are no values."""
    levels = {name: 100.0 if name == "max" else float(name[1:]) for name in names}
    return {name: round(float(np.percentile(values, q)), 3) if values else None for name, q in levels.items()}


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


def _libraries(plan: Plan, events: Sequence[records.AnyEvent]) -> dict[str, dict[str, float | None]]:
    """Of each tier: the objects that it was asked for and had (hits) or had not, their bytes, and those that it pulled."""
    tiers = {library.host: library.tier for library in plan.libraries}
    served: dict[str, list[records.Served]] = {tier: [] for tier in ("edge", "local", "central")}
    pulled: Counter[str] = Counter()
    for event in events:
        if isinstance(event, records.Served):
            served[tiers[event.node]].append(event)
        elif isinstance(event, records.Pulled):
            pulled[tiers[event.node]] += event.bytes
    hits = {tier: sum(event.hit for event in of_tier) for tier, of_tier in served.items()}
    return {
        tier: {
            "hits": hits[tier],
            "misses": len(of_tier) - hits[tier],
            "hit_share": _share(hits[tier], len(of_tier)),
            "bytes_served": sum(event.bytes for event in of_tier),
            "bytes_pulled": pulled[tier],
        }
        for tier, of_tier in served.items()
    }


def _accuracy(events: Sequence[records.AnyEvent]) -> dict[str, float | None]:
    """Shares of correct inferences: of all in the run, and around the swaps (None where there was none)."""
    correct = [event.correct for event in events if isinstance(event, records.Inference)]
    swaps = [event for event in events if isinstance(event, records.Swapped)]
    return {
        "mean": _mean(correct),
        "before": _mean([event.accuracy_before for event in swaps]),
        "after": _mean([event.accuracy_after for event in swaps]),
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(float(np.mean(values)), 4) if values else None


def _slice(name: str, events: Sequence[records.AnyEvent]) -> dict[str, int]:
    """A violation is a download that came late although its session had been granted in full before the deadline, and kept.

    `changed` are sessions that got another rate or path while they lasted, `lost` those that the network ended.
    """
    sessions = {event.session: event for event in events if isinstance(event, records.Session) and event.slice == name}
    decided = Counter(event.decision for event in sessions.values())
    changes = [e for e in events if isinstance(e, records.SessionChanged) and e.slice == name and e.cause != "EXTENDED"]
    ended = [e for e in events if isinstance(e, records.SessionEnded) and e.slice == name]
    lost = {event.session for event in ended if event.cause == "NETWORK_TERMINATED"}
    cut = {event.session for event in changes if event.granted_bps < sessions[event.session].requested_bps}
    due = {event.download: event.t + event.deadline_ns for event in events if isinstance(event, records.Requested)}
    kept = {event.session for event in sessions.values() if event.decision == "granted"} - cut - lost
    promised = {
        event.download
        for event in events
        if isinstance(event, records.Chosen)
        and event.session in kept
        and sessions[event.session].t < due[event.download]
    }
    late = {event.download for event in events if isinstance(event, records.Completed) and not event.on_time}
    return {
        "sessions": decided.total(),
        **{decision: decided[decision] for decision in ("granted", "reduced", "refused")},
        "changed": len({event.session for event in changes}),
        "lost": len(lost),
        "violations": len(promised & late),
    }


def _handovers(events: Sequence[records.AnyEvent]) -> dict[str, Any]:
    """`interruption_ms`: from when the port left the old cell until it was at the new one and packets were led there; of those that
    a controller followed."""
    led: dict[str, int] = {}  # of each device: when packets were last led to a new cell
    away: dict[str, records.Handover] = {}  # and its last handover, while no controller has followed it
    interruptions, count, prepared = [], 0, 0
    for event in events:
        if isinstance(event, records.Handover):
            count += 1
            prepared += event.prepared
            away.pop(event.node, None)
            if event.prepared or led.get(event.node, 0) > event.t - event.away_ns:
                interruptions.append(event.away_ns / 1e6)
            else:
                away[event.node] = event
        elif isinstance(event, records.Rerouted):
            led[event.device] = event.t
            if event.device in away and away[event.device].cell == event.cell:
                left = away.pop(event.device)
                interruptions.append((event.t - left.t + left.away_ns) / 1e6)
    return {
        "count": count,
        "prepared": prepared,
        "unmeasured": count - len(interruptions),
        "interruption_ms": _quantiles(interruptions, ("p50", "max")),
    }


def _capture(event: records.Captured) -> dict[str, Any]:
    """`cut_at_s`: the virtual second of its last packet when it was full then; `origin_ns`: the stamp of the run's start."""
    return {
        "file": f"captures/{event.capture}.pcap",
        "packets": event.packets,
        "dropped": event.dropped,
        "cut_at_s": None if event.cut_ns < 0 else event.cut_ns / 1e9,
        "origin_ns": event.origin_ns,
    }


def _links(plan: Plan, events: Sequence[records.AnyEvent]) -> dict[str, dict[str, float]]:
    """Links between switches and to the sites; of the two directions that which carried more, drops of both."""
    used: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    dropped: dict[str, int] = defaultdict(int)
    for event in events:
        if isinstance(event, records.LinkUse):
            used[event.link][event.node].append(event.bytes)
        elif isinstance(event, records.LinkTotal):
            dropped[event.link] += event.dropped
    devices = {device.host for device in plan.devices}
    links = {}
    for link in plan.links:
        if any(end.node in devices for end in link.ends):
            continue
        directions = used[link.name].values()
        links[link.name] = {
            "rate_bps": float(min(end.shape.rate_bps for end in link.ends)),
            "mean_bps": round(max((sum(d) for d in directions), default=0) * 8e9 / plan.duration_ns, 1),
            "peak_bps": round(max((max(d) for d in directions), default=0) * 8e9 / plan.sample_interval_ns, 1),
            "dropped": dropped[link.name],
        }
    return links
