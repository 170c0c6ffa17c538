"""`joint`: rates and variants of all downloads at once, so that the measured accuracy that arrives on time is greatest.

What may become of each download is a few choices (a variant and the least rate for it), and of these at most one is taken, within
every slice's share of every direction of a link: a multiple-choice knapsack with many capacities, which `knapsack` solves.
"""

from typing import NamedTuple

import numpy as np

from controller.policies import knapsack
from controller.policies.cost import Cost
from controller.policies.view import Decision, Flow, Grant, Part, Room, View, taken


class Choice(NamedTuple):
    """One variant for one download, and what more of each part that takes than is the download's whatever is decided."""

    flow: int  # the number of the download
    variant: str
    accuracy: float
    more_bps: int


class Joint:
    """`joint`. The greatest sum of accuracy that arrives on time, over all downloads that wait or run.

    Sessions that are no downloads have what they asked for before that, first come, first served, or are refused; so is a
    download without a candidate that is in time. One that runs keeps its rate, or comes down to a lesser variant where that
    is worth more to others; it is thought to have received what it was granted.
    """

    cost = Cost(decision_ns=0, download_ns=136_000, part_ns=7_000)

    def decide(self, view: View) -> Decision:
        offers = {flow.request.id: _offers(view.now_ns, flow) for flow in (*view.running, *view.waiting)}
        running = [flow for flow in view.running if offers[flow.request.id] and not flow.shared]
        waiting = [flow for flow in view.waiting if offers[flow.request.id]]
        mine = {flow.request.id for flow in running}
        room = Room(view, tuple(flow for flow in view.running if flow.request.id not in mine))
        least = {flow.request.id: offers[flow.request.id][0].rate_bps for flow in running}
        grants: dict[str, Grant] = {}
        for flow in running:
            room.take(flow, least[flow.request.id])
        for flow in view.waiting:
            if not flow.request.download and flow.request.down_bps <= room.most_bps(flow):
                room.take(flow, flow.request.down_bps)
                grants[flow.request.id] = Grant(flow.request.down_bps)
        downloads = running + waiting
        choices = [
            Choice(number, offer.variant, offer.accuracy, offer.rate_bps - least.get(flow.request.id, 0))
            for number, flow in enumerate(downloads)
            for offer in offers[flow.request.id]
        ]
        for choice in _best(
            downloads, [choice for choice in choices if _fits(downloads[choice.flow], choice, room)], room
        ):
            flow = downloads[choice.flow]
            rate = choice.more_bps + least.get(flow.request.id, 0)
            if rate != flow.down_bps:
                grants[flow.request.id] = Grant(rate, choice.variant)
        return Decision(grants)


class _Offer(NamedTuple):
    rate_bps: int
    accuracy: float
    variant: str


def _offers(now_ns: int, flow: Flow) -> list[_Offer]:
    """The variants that may become of a download, each with the least rate for it, the least first, none beaten by another.

    One that runs has its variant at the rate that it has. For a lesser one it needs the rate for what is left of it, in the time
    that is left, in proportion to the rate for all of it. It cannot become a better one: the library adds nothing to what it
    has begun.
    """
    offers = [
        _Offer(candidate.rate_bps, candidate.accuracy, candidate.variant) for candidate in flow.request.candidates
    ]
    if flow.down_bps and offers:
        offers = _lesser(now_ns, flow)
    found: list[_Offer] = []
    for offer in sorted(offers, key=lambda offer: (offer.rate_bps, -offer.accuracy, offer.variant)):
        if not found or offer.accuracy > found[-1].accuracy:
            found.append(offer)
    return found


def _lesser(now_ns: int, flow: Flow) -> list[_Offer]:
    """Of a download that runs: what it has, and what it could come down to."""
    request = flow.request
    if request.deadline_ns is None or request.deadline_ns <= now_ns:
        return []  # nothing of it is on time any more, or ever
    now = next(
        (candidate for candidate in request.candidates if candidate.variant == flow.variant), request.candidates[-1]
    )
    received = flow.down_bps * (now_ns - flow.since_ns) / 8e9
    hurry = (request.deadline_ns - flow.since_ns) / (request.deadline_ns - now_ns)
    needs = [
        _Offer(max(1, int(rate * hurry * max(0.0, 1 - received / max(1, size)))), accuracy, variant)
        for variant, size, accuracy, rate in request.candidates
        if accuracy < now.accuracy
    ]
    return [
        _Offer(flow.down_bps, now.accuracy, now.variant),
        *(need for need in needs if need.rate_bps < flow.down_bps),
    ]


def _fits(flow: Flow, choice: Choice, room: Room) -> bool:
    """By itself."""
    return choice.more_bps <= (room.least_bps(flow) if flow.down_bps else room.most_bps(flow))


def _takes(flow: Flow, rate_bps: int) -> list[tuple[Part, int]]:
    """What a rate takes of the parts; the way back of one that runs is taken already."""
    return taken(flow, rate_bps)[: len(flow.path) if flow.down_bps else None]


def _best(downloads: list[Flow], choices: list[Choice], room: Room) -> list[Choice]:
    """At most one choice for each download, with the greatest sum of accuracy within the room."""
    groups = np.array([choice.flow for choice in choices], np.int64)
    rates = np.array([choice.more_bps for choice in choices], np.float64)
    accuracy = np.array([choice.accuracy for choice in choices])
    most = {number: int(rates[groups == number].max()) for number in dict.fromkeys(groups.tolist())}
    wanted: dict[Part, int] = {}
    for number, rate in most.items():
        for part, more in _takes(downloads[number], rate):
            wanted[part] = wanted.get(part, 0) + more
    scarce = [part for part, rate in wanted.items() if rate > room.free_bps(part)]
    uses = np.zeros((len(scarce), len(choices)))
    for row, part in enumerate(scarce):
        for number in most:
            for there, more in _takes(downloads[number], 0):
                if there == part:
                    columns = groups == number
                    uses[row, columns] = more or rates[columns]
    capacities = np.array([max(0, room.free_bps(part)) for part in scarce], np.float64)
    return [choices[number] for number in knapsack.solve(accuracy, groups, uses, capacities).chosen]
