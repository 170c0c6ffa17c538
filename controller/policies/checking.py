"""Asks a policy, and refuses what cannot be: one that raises, or decides what no network could carry out."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from controller.policies.view import Decision, Flow, Grant, Part, SlicingPolicy, View, change, to_json
from scenarios.quantity import about


class PolicyError(Exception):
    """A policy raised, or decided the impossible. The message is one line; `view` is what made it so, as JSON."""

    def __init__(self, policy: object, why: str, view: View) -> None:
        super().__init__(" ".join(f"policy {type(policy).__name__}: {why}".split()))
        self.view = to_json(view)

    def save(self, folder: Path) -> Path:
        """Writes the view to a file that is named by its content, and gives its path. Raises OSError."""
        file = folder / f"view-{hashlib.sha256(self.view).hexdigest()[:12]}.json"
        beside = file.with_suffix(".part")
        beside.write_bytes(self.view)
        beside.replace(file)
        return file


def decide(policy: SlicingPolicy, view: View) -> Decision:
    """The policy's decision, with a grant for everybody who waits. Raises PolicyError."""
    try:
        decision = policy.decide(view)
    except Exception as error:  # whatever a user's own does
        raise PolicyError(policy, f"raises {type(error).__name__}: {error}", view) from error
    if wrong := next(_wrong(decision, view), None):
        raise PolicyError(policy, wrong, view)
    refused = {flow.request.id: Grant(0) for flow in view.waiting if flow.request.id not in decision.grants}
    return Decision({**refused, **decision.grants})


def _wrong(decision: object, view: View) -> Iterator[str]:
    """What is impossible about a decision."""
    if not isinstance(decision, Decision):
        yield f"decides {type(decision).__name__}, which is no Decision"
        return
    waiting = {flow.request.id: flow for flow in view.waiting}
    running = {}
    if not decision.grants.keys() <= waiting.keys():
        running = {flow.request.id: flow for flow in view.running if flow.request.id in decision.grants}
    for id, grant in decision.grants.items():
        flow = waiting.get(id) or running.get(id)
        if flow is None:
            yield f'grants "{id}", which neither waits nor runs'
        elif why := _wrong_grant(flow, grant, view, runs=id in running):
            yield f"{_name(flow)}: {why}"
        else:
            continue
        return
    granted = [flow for id, flow in (waiting | running).items() if id in decision.grants]
    yield from _over(granted, decision, view)


def _wrong_grant(flow: Flow, grant: object, view: View, runs: bool) -> str:
    if not isinstance(grant, Grant):
        return f"is given {type(grant).__name__}, which is no Grant"
    if type(grant.down_bps) is not int:
        return f"a rate is a whole number of bit/s, not {grant.down_bps!r}"
    if grant.down_bps < runs:
        return f"is granted {grant.down_bps} bit/s" + ("; one that runs cannot be refused" if runs else "")
    offered = [candidate.variant for candidate in flow.request.candidates]
    if grant.variant and grant.variant not in offered:
        return f'is granted the variant "{grant.variant}", which is not among its candidates ({", ".join(offered)})'
    most = min(view.guaranteed_bps((direction, flow.request.slice)) for direction in flow.path)
    if grant.shared and grant.down_bps > most:
        guarantee = about(most, "rate")
        return f"is told {about(grant.down_bps, 'rate')}, where slice {flow.request.slice} has {guarantee}"
    return ""


def _over(granted: list[Flow], decision: Decision, view: View) -> Iterator[str]:
    """Slices' shares of links that are given away more than once. One that became too small under what runs may stay so."""
    more: dict[Part, int] = {}
    for flow in granted:
        grant = decision.grants[flow.request.id]
        change(more, flow, -1)
        change(more, replace(flow, down_bps=grant.down_bps, shared=grant.shared), +1)
    for part, added in more.items():
        had = view.taken_bps.get(part, 0)
        if (rate := had + added) > max(view.reservable_bps(part), had):
            (link, end), name = part
            most = about(view.reservable_bps(part), "rate")
            yield f"grants {about(rate, 'rate')} of slice {name} on {link} (end {end}), which has {most} for sessions there"


def _name(flow: Flow) -> str:
    return f"{flow.request.download or flow.request.id} for {flow.request.device}"
