"""Paths through the network of a plan, with every device where it is now, over the links that are up. Pure."""

import heapq
from typing import NamedTuple

from scenarios.plan import Attachment, Plan


class NoPath(Exception):
    """Two hosts are not connected; the message says which."""


class Hop(NamedTuple):
    """A packet leaves `switch` by `port`, which is an end of `link`."""

    switch: str
    port: int
    link: str


class Paths:
    """Paths of the least delay; of equal ones that of fewer links; of these the one over the links that the plan names first.

    A delay is that with which a link begins. From every switch that is connected to a host there is one hop towards it, and all
    these hops together are a tree: whatever is up, no packet goes round in a circle.
    """

    def __init__(self, plan: Plan) -> None:
        self.hosts = {host.name: host for host in plan.hosts}
        self._first = {link.name: link.ends[0].node for link in plan.links}
        self._core = plan.switches[0].name
        self._into: dict[str, list[tuple[int, Hop]]] = {
            s.name: [] for s in plan.switches
        }  # what arrives: delay in ns, hop
        self._leads: dict[Hop, str] = {}  # to which switch
        self._attached: dict[str, Hop] = {}  # host -> the hop that reaches it
        self.down: set[str] = set()  # links
        self._towards: dict[str, dict[str, Hop]] = {}  # switch -> each connected switch's hop towards it
        for link in plan.links:
            a, b = link.ends
            if a.port and b.port:
                for sends, receives in ((a, b), (b, a)):
                    hop = Hop(sends.node, sends.port, link.name)
                    self._into[receives.node].append((sends.shape.delay_ns, hop))
                    self._leads[hop] = receives.node
            else:
                host, switch = (a, b) if b.port else (b, a)
                self._attached[host.node] = Hop(switch.node, switch.port, link.name)

    def moved(self, host: str, attachment: Attachment) -> None:
        """The device is at another cell now."""
        self._attached[host] = Hop(attachment.cell, attachment.port, self._attached[host].link)

    def set_down(self, links: set[str]) -> None:
        """These links are down, all others are up."""
        self.down = set(links)
        self._towards.clear()

    def next_hop(self, switch: str, host: str) -> Hop | None:
        """Where a packet to a host leaves a switch; None where there is no way to it."""
        last = self._attached[host]
        return last if last.switch == switch else self._tree(last.switch).get(switch)

    def up(self, switch: str) -> Hop | None:
        """Where a packet leaves a switch towards the plan's first switch, the core; None there, and where there is no way."""
        return self._tree(self._core).get(switch)

    def is_last(self, switch: str, host: str) -> bool:
        return self._attached[host].switch == switch

    def connected(self, source: str, destination: str) -> bool:
        a, b = self._attached[source], self._attached[destination]
        links_up = not self.down & {a.link, b.link}
        return links_up and (a.switch == b.switch or a.switch in self._tree(b.switch))

    def path(self, source: str, destination: str) -> list[Hop]:
        """The hops from the source's switch to the destination, in order. Raises NoPath."""
        if not self.connected(source, destination):
            raise NoPath(f"no path from {source} to {destination} is up")
        at, last = self._attached[source].switch, self._attached[destination]
        hops = []
        while at != last.switch:
            hops.append(self._tree(last.switch)[at])
            at = self._leads[hops[-1]]
        return [*hops, last]

    def ends_between(self, source: str, destination: str) -> list[tuple[str, int]]:
        """All links from host to host, each with the number of its end that sends. Raises NoPath."""
        senders = [(self._attached[source].link, source)]
        senders += [(hop.link, hop.switch) for hop in self.path(source, destination)]
        return [(link, int(node != self._first[link])) for link, node in senders]

    def _tree(self, root: str) -> dict[str, Hop]:
        """Each connected switch's hop towards the root (Dijkstra, 1959, from the root backwards)."""
        if root in self._towards:
            return self._towards[root]
        towards: dict[str, Hop] = {}
        done: set[str] = set()
        order = 0  # of equal ways the one that was found first, by the order of the links
        waiting: list[tuple[int, int, int, str, Hop | None]] = [(0, 0, order, root, None)]
        while waiting:
            delay, links, _, near, way = heapq.heappop(waiting)
            if near in done:
                continue
            done.add(near)
            if way:
                towards[near] = way
            for further, hop in self._into[near]:
                if hop.link not in self.down and hop.switch not in done:
                    order += 1
                    heapq.heappush(waiting, (delay + further, links + 1, order, hop.switch, hop))
        self._towards[root] = towards
        return towards
