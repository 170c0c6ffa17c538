"""Slicing policies that need no more than a view: who is admitted, and at what rate."""

from controller.policies.cost import Cost
from controller.policies.view import Decision, Flow, Grant, Part, Room, View, taken


class BestEffort:
    """`none`. No sessions: downloads share their slice with everything else in it, as in RFC 2475's default behaviour."""

    cost = Cost(decision_ns=0, download_ns=0, part_ns=0)

    def decide(self, view: View) -> Decision:
        return Decision()


class Static:
    """`static`. The slice's guarantee alone: every session is told the whole of it, whoever else is, and shares it with them.

    As network slices are where nothing is admitted inside them (GSMA NG.116, guaranteed downlink throughput per slice).
    """

    cost = Cost(decision_ns=4_000, download_ns=4_000, part_ns=0, running_ns=0)

    def decide(self, view: View) -> Decision:
        grants = {}
        for flow in view.waiting:
            most = min(view.guaranteed_bps((direction, flow.request.slice)) for direction in flow.path)
            grants[flow.request.id] = Grant(most, shared=True)
        return Decision(grants)


class Deadline:
    """`deadline`. First come, first served: the rate that meets the deadline, or what is left of the guarantee.

    Admission control by what is reserved, as in RFC 2212's guaranteed service; the rate is bytes over time left.
    """

    cost = Cost(decision_ns=8_000, download_ns=8_000, part_ns=0, running_ns=0)

    def decide(self, view: View) -> Decision:
        room = Room(view)
        grants = {}
        for flow in view.waiting:
            rate = min(flow.request.down_bps, room.most_bps(flow))
            if rate:
                room.take(flow, rate)
            grants[flow.request.id] = Grant(rate)
        return Decision(grants)


class Fair:
    """`fair`. Max-min fair over all that wait and run, none getting more than it asked for.

    Progressive filling: all rates grow together, and each flow stops where a link on its path is full or its wish is met
    (Bertsekas and Gallager, Data Networks, 2nd ed. 1992, section 6.5.2).
    """

    cost = Cost(decision_ns=6_000, download_ns=13_000, part_ns=1_000)

    def decide(self, view: View) -> Decision:
        flows = [flow for flow in (*view.running, *view.waiting) if not flow.shared]
        rates = max_min(view, _admissible(view, flows))
        grants = {flow.request.id: Grant(rates.get(flow.request.id, 0)) for flow in view.waiting}
        for flow in view.running:
            rate = max(1, rates.get(flow.request.id, flow.down_bps))
            if rate != flow.down_bps and not flow.shared:
                grants[flow.request.id] = Grant(rate, flow.variant)
        return Decision(grants)


def _admissible(view: View, flows: list[Flow]) -> list[Flow]:
    """Those whose ways back have room for what they send, in the order given."""
    room, admitted = Room(view, kept=()), []
    for flow in flows:
        if room.most_bps(flow):
            room.take(flow, 0)
            admitted.append(flow)
    return admitted


def max_min(view: View, flows: list[Flow]) -> dict[str, int]:
    """Each flow's max-min fair rate by its id, to 1 bit/s; at most its request's `down_bps`."""
    room = Room(view, kept=())
    users: dict[Part, list[Flow]] = {}
    for flow in flows:
        room.take(flow, 0)
        for part, _ in taken(flow, 0)[: len(flow.path)]:
            users.setdefault(part, []).append(flow)
    rates: dict[str, int] = {}
    growing = {flow.request.id: flow for flow in flows}
    while growing:
        level = min(flow.request.down_bps for flow in growing.values())
        shares = {}
        for part, there in users.items():
            still = [flow for flow in there if flow.request.id in growing]
            if still:
                stopped = sum(rates.get(flow.request.id, 0) for flow in there)
                shares[part] = max(0, room.free_bps(part) - stopped) // len(still)
        level = min(level, *shares.values())
        full = {part for part, share in shares.items() if share == level}
        for id, flow in list(growing.items()):
            on_full = any((direction, flow.request.slice) in full for direction in flow.path)
            if on_full or flow.request.down_bps == level:
                rates[id] = level
                del growing[id]
    return rates
