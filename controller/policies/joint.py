"""`joint`: rates and variants of all downloads at once, so that the measured accuracy that arrives on time is greatest.

What may become of each download is a few choices (a variant and the least rate for it), and of these at most one is taken, within
every slice's share of every direction of a link: a multiple-choice knapsack with many capacities, which `knapsack` solves.
"""

from typing import NamedTuple

import numpy as np

from controller.policies import knapsack
from controller.policies.cost import Cost
from controller.policies.view import Decision, Flow, Grant, Part, Room, View, taken

KEPT_BPS = 8000  # what a running download keeps whatever is decided


class Choice(NamedTuple):
    """One variant for one download, and what more than it has that takes of each part."""

    flow: int  # the number of the download
    variant: str
    accuracy: float
    more_bps: int


class Joint:
    """`joint`. The greatest sum of accuracy that arrives on time, over all downloads that wait or run.

    Sessions that are no downloads have what they asked for before that, first come, first served, or are refused; so is a
    download without a candidate that is in time. One that runs is thought to have received what it was granted; nobody takes a
    rate from it that nobody needs.
    """

    cost = Cost(decision_ns=5_000_000, download_ns=80_000, part_ns=10_000)

    def decide(self, view: View) -> Decision:
        running = [flow for flow in view.running if flow.request.candidates and not flow.shared]
        waiting = [flow for flow in view.waiting if flow.request.candidates]
        room = Room(view, kept=tuple(flow for flow in view.running if not flow.request.candidates))
        grants: dict[str, Grant] = {}
        for flow in running:
            room.take(flow, min(KEPT_BPS, flow.down_bps))
        for flow in view.waiting:
            if not flow.request.download and flow.request.down_bps <= room.most_bps(flow):
                room.take(flow, flow.request.down_bps)
                grants[flow.request.id] = Grant(flow.request.down_bps)
        downloads = running + waiting
        choices = [
            choice for number in range(len(downloads)) for choice in _choices(view.now_ns, downloads, number, room)
        ]
        for choice in _best(downloads, choices, room):
            flow = downloads[choice.flow]
            for part, more in _takes(flow, choice.more_bps):
                room.spend(part, more)
            rate = choice.more_bps + (min(KEPT_BPS, flow.down_bps) if flow.down_bps else 0)
            grants[flow.request.id] = Grant(rate, choice.variant)
        return Decision(grants | _left_alone(running, grants, room))


def _left_alone(running: list[Flow], grants: dict[str, Grant], room: Room) -> dict[str, Grant]:
    """For those that run: what nobody needs of their rates stays theirs."""
    changed = {}
    for flow in running:
        chosen = grants.pop(flow.request.id, Grant(min(KEPT_BPS, flow.down_bps), flow.variant))
        back = max(0, min(flow.down_bps - chosen.down_bps, room.least_bps(flow)))
        for part, more in _takes(flow, back):
            room.spend(part, more)
        if chosen.down_bps + back != flow.down_bps:
            changed[flow.request.id] = Grant(chosen.down_bps + back, chosen.variant)
    return changed


def _takes(flow: Flow, rate_bps: int) -> list[tuple[Part, int]]:
    """What a rate takes of the parts; the way back of one that runs is taken already."""
    return taken(flow, rate_bps)[: len(flow.path) if flow.down_bps else None]


def _choices(now_ns: int, downloads: list[Flow], number: int, room: Room) -> list[Choice]:
    """What may become of one download: of the variants that fit its path alone, those that no other beats, the least first."""
    flow = downloads[number]
    has = min(KEPT_BPS, flow.down_bps)
    most = room.least_bps(flow) if flow.down_bps else room.most_bps(flow)
    found: list[Choice] = []
    for rate, accuracy, variant in sorted(
        (rate, -accuracy, variant) for variant, accuracy, rate in _needs(now_ns, flow)
    ):
        better = not found or -accuracy > found[-1].accuracy
        if better and rate - has <= most:
            found.append(Choice(number, variant, -accuracy, max(0, rate - has)))
    return found


def _needs(now_ns: int, flow: Flow) -> list[tuple[str, float, int]]:
    """Each variant that can still arrive in time, its accuracy, and the least rate for it.

    Of one that runs, the rate for what is left, in the time that is left, in proportion to the rate for all of it. It cannot
    become a better variant than was granted: the library is not told.
    """
    candidates = flow.request.candidates
    if not flow.down_bps:
        return [(candidate.variant, candidate.accuracy, candidate.rate_bps) for candidate in candidates]
    deadline = flow.request.deadline_ns
    if deadline is None or deadline <= now_ns:
        return []
    bar = next((candidate.rate_bps for candidate in candidates if candidate.variant == flow.variant), flow.down_bps)
    received = flow.down_bps * (now_ns - flow.since_ns) / 8e9
    hurry = (deadline - flow.since_ns) / (deadline - now_ns)
    return [
        (variant, accuracy, int(rate * hurry * max(0.0, 1 - received / max(1, size))))
        for variant, size, accuracy, rate in candidates
        if rate <= bar
    ]


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
