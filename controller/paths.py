"""Paths through the network of a plan, with every device where it is now. Pure."""

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from scenarios.plan import Attachment, Plan


class Hop(NamedTuple):
    """A packet leaves `switch` by `port`, which is an end of `link`."""

    switch: str
    port: int
    link: str


class Paths:
    """Shortest paths; among equally short ones that over the links which the plan names first."""

    def __init__(self, plan: Plan) -> None:
        self.hosts = {host.name: host for host in plan.hosts}
        self._first = {link.name: link.ends[0].node for link in plan.links}
        self._switches = [switch.name for switch in plan.switches]
        self._neighbours: dict[str, list[tuple[str, Hop]]] = {name: [] for name in self._switches}
        self._attached: dict[str, Hop] = {}  # host -> the hop that reaches it
        for link in plan.links:
            a, b = link.ends
            if a.port and b.port:
                self._neighbours[a.node].append((b.node, Hop(a.node, a.port, link.name)))
                self._neighbours[b.node].append((a.node, Hop(b.node, b.port, link.name)))
            else:
                host, switch = (a, b) if b.port else (b, a)
                self._attached[host.node] = Hop(switch.node, switch.port, link.name)
        self._towards = {name: self._tree(name) for name in self._switches}

    def moved(self, host: str, attachment: Attachment) -> None:
        """The device is at another cell now."""
        self._attached[host] = Hop(attachment.cell, attachment.port, self._attached[host].link)

    def next_hop(self, switch: str, host: str) -> Hop:
        """Where a packet to a host leaves a switch."""
        last = self._attached[host]
        return last if last.switch == switch else self._towards[last.switch][switch]

    def up(self, switch: str) -> Hop | None:
        """Where a packet leaves a switch towards the plan's first switch, the core; None there."""
        return self._towards[self._switches[0]].get(switch)

    def is_last(self, switch: str, host: str) -> bool:
        return self._attached[host].switch == switch

    def path(self, source: str, destination: str) -> list[Hop]:
        """The hops from the source's switch to the destination, in order."""
        hops = [self.next_hop(self._attached[source].switch, destination)]
        while hops[-1] != self._attached[destination]:
            switch = next(peer for peer, hop in self._neighbours[hops[-1].switch] if hop == hops[-1])
            hops.append(self.next_hop(switch, destination))
        return hops

    def ends_between(self, source: str, destination: str) -> list[tuple[str, int]]:
        """All links from host to host, each with the number of its end that sends."""
        senders = [(self._attached[source].link, source)]
        senders += [(hop.link, hop.switch) for hop in self.path(source, destination)]
        return [(link, int(node != self._first[link])) for link, node in senders]

    def _tree(self, root: str) -> Mapping[str, Hop]:
        """Switch -> its hop towards the root."""
        towards: dict[str, Hop] = {}
        reached = {root}
        waiting = deque([root])
        while waiting:
            near = waiting.popleft()
            for far, _ in self._neighbours[near]:
                if far not in reached:
                    reached.add(far)
                    waiting.append(far)
                    towards[far] = next(hop for peer, hop in self._neighbours[far] if peer == near)
        return towards
