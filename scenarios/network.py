"""The planned network: nodes, ports, addresses and links, numbered in the order of the scenario. Pure."""

from typing import Literal

from scenarios import plan as p
from scenarios.draws import generator
from scenarios.links import TOWARDS, Dynamics, LinkSpec, Towards
from scenarios.names import directions
from scenarios.schema import Device, Scenario
from scenarios.shaping import Clock, needs_wire, shape, timeline
from scenarios.tables import SECOND

LEAST_TCP_BUFFER = 4 << 20
MOST_TCP_BUFFER = (1 << 31) - 1  # the kernel's; TCP's window has at most 1 GiB (RFC 7323, 2.3), half of it
FILLING = 13_000_000  # ns
# From a switch to the host that stands beside it
HERE = LinkSpec.model_validate({"rate": "40 Gbit/s", "delay": "10 us"})


class Network:
    """Numbers the nodes, ports and addresses, and builds the links as they are named."""

    def __init__(self, scenario: Scenario, slices: list[p.Slice], seed: int, clock: Clock) -> None:
        self.hosts: list[p.Host] = []
        self.switches: list[p.Switch] = []
        self.links: list[p.Link] = []
        self.changes: list[p.Change] = []
        self.distributions: dict[str, list[int]] = {}
        self._scenario, self._slices, self._seed, self._clock = scenario, slices, seed, clock
        self._ecn = any(spec.aqm == "fq_codel" and spec.ecn is not False for spec in directions(scenario))
        self._ports: dict[str, int] = {}
        self._dpids: dict[str, int] = {}
        self._radio = {gnb.name: gnb.radio for region in scenario.network.regions for gnb in region.gnbs}
        self._dynamics: dict[str, list[Dynamics]] = {}
        for change in scenario.dynamics:
            self._dynamics.setdefault(change.link, []).append(change)
        self._devices_made = 0
        libraries = scenario.libraries
        self._switch("core", "core")
        self._host_beside("central", "central", "core", scenario.network.core, libraries.central.tcp)
        self._host_beside("nef", "nef", "core", HERE)
        for region in scenario.network.regions:
            self._switch(region.name, "region")
            self._join(f"{region.name}-link", region.name, "core", region.link)
            self._host_beside(f"{region.name}-local", "local", region.name, HERE, libraries.local.tcp)
            for gnb in region.gnbs:
                self._switch(gnb.name, "gnb")
                self._join(f"{gnb.name}-link", gnb.name, region.name, gnb.link)
                self._host_beside(f"{gnb.name}-edge", "edge", gnb.name, HERE, libraries.edge.tcp)
                self._switch(f"{gnb.name}-cell", "cell")
                self._join(f"{gnb.name}-radio", f"{gnb.name}-cell", gnb.name, gnb.radio)
        for link in scenario.network.links:
            self._join(link.name, link.first, link.second, link)

    def add_device(self, name: str, spec: Device, gnbs: dict[int, str]) -> tuple[str, list[p.Attachment]]:
        """Adds a device that is at each gNB from each time on; gives its port's interface and its attachments."""
        interface = f"ue{self._devices_made}"
        self._devices_made += 1
        attachments = [
            p.Attachment(time_ns=time, gnb=gnb, cell=f"{gnb}-cell", port=self._next_port(f"{gnb}-cell"))
            for time, gnb in sorted(gnbs.items())
        ]
        self._host(name, "device", spec.tcp)
        own = spec.link or LinkSpec.model_construct(rate=max(self._fastest(self._radio[g]) for g in gnbs.values()))
        first = attachments[0]
        self._connect(f"{name}-link", (name, "eth0", 0), (first.cell, interface, first.port), own)
        return interface, attachments

    @staticmethod
    def _fastest(spec: LinkSpec) -> int:
        return max(spec.towards(towards).rate for towards in TOWARDS)

    def _switch(self, name: str, role: Literal["core", "region", "gnb", "cell"]) -> None:
        self._dpids[name] = len(self.switches) + 1
        self.switches.append(p.Switch(name=name, role=role, dpid=self._dpids[name]))

    def _host(
        self, name: str, role: Literal["central", "nef", "local", "edge", "device"], tcp: str | None = None
    ) -> None:
        number = len(self.hosts) + 1
        octets = (10, number >> 16, number >> 8 & 255, number & 255)
        mac = ":".join(f"{octet:02x}" for octet in (2, 0, *octets))
        self.hosts.append(
            p.Host(
                name=name,
                role=role,
                ip=".".join(map(str, octets)),
                mac=mac,
                congestion_control=tcp or self._scenario.network.tcp,
                ecn=self._ecn,
            )
        )

    def _host_beside(
        self,
        name: str,
        role: Literal["central", "nef", "local", "edge"],
        switch: str,
        spec: LinkSpec,
        tcp: str | None = None,
    ) -> None:
        self._host(name, role, tcp)
        port = self._next_port(switch)
        ends = (name, "eth0", 0), (switch, self._interface(switch, port), port)
        self._connect(f"{name}-link", *ends, spec, first="down")

    def _join(self, name: str, lower: str, upper: str, spec: LinkSpec) -> None:
        a, b = self._next_port(lower), self._next_port(upper)
        self._connect(name, (lower, self._interface(lower, a), a), (upper, self._interface(upper, b), b), spec)

    def _connect(
        self, name: str, a: tuple[str, str, int], b: tuple[str, str, int], spec: LinkSpec, first: Towards = "up"
    ) -> None:
        """What the first end sends goes `first`, what the second one sends goes the other way."""
        ways = (first, *(way for way in TOWARDS if way != first))
        wired = name in self._dynamics or any(needs_wire(spec.towards(way)) for way in ways)
        wires = (f"w{len(self.links)}b", f"w{len(self.links)}a") if wired else ("", "")
        one, other = (
            self._end(name, number, here, wires[number], spec.towards(way), self._changing(name, way))
            for number, (here, way) in enumerate(zip((a, b), ways, strict=True))
        )
        self.links.append(p.Link(name=name, ends=(one, other)))

    def _changing(self, link: str, way: Towards) -> list[Dynamics]:
        return [change for change in self._dynamics.get(link, ()) if change.towards in (None, way)]

    def _next_port(self, switch: str) -> int:
        self._ports[switch] = self._ports.get(switch, 0) + 1
        return self._ports[switch]

    def _interface(self, switch: str, port: int) -> str:
        return f"s{self._dpids[switch]}-eth{port}"

    def _end(
        self,
        link: str,
        number: int,
        here: tuple[str, str, int],
        wire: str,
        spec: LinkSpec,
        dynamics: list[Dynamics],
    ) -> p.End:
        """One end of a link; its changes are noted."""
        node, interface, port = here
        if spec.distribution is not None and spec.distribution.table:
            self.distributions[spec.distribution.name] = list(spec.distribution.table)
        for time, changed in timeline(dynamics, spec, self._scenario.duration):
            shaped = shape(changed, self._clock, wired=True, first_rate=spec.rate)
            queues = self._queues(port, changed.rate)
            self.changes.append(p.Change(time_ns=time, link=link, end=number, shape=shaped, queues=queues))
        # 48 bits: a queue's number can be added, and JSON readers keep the value
        draw = int(generator(self._seed, "netem", f"{link}/{node}").integers(2**48))
        return p.End(
            node=node,
            interface=interface,
            port=port,
            shape=shape(spec, self._clock, wired=bool(wire)),
            queues=self._queues(port, spec.rate),
            seed=draw,
            wire=wire,
        )

    def _queues(self, port: int, rate: int) -> list[p.Queue]:
        """The slices' shares of a switch's port. A host's end has none, nor has a port where one slice has everything for ever."""
        everything = len(self._slices) == 1 and self._slices[0].ceiling == 1
        if not port or (everything and self._scenario.policies.slicing == "none"):
            return []
        return [
            p.Queue(
                number=entry.queue,
                slice=entry.name,
                rate_bps=_whole_bytes(rate * entry.guarantee),
                ceiling_bps=_whole_bytes(rate * entry.ceiling),
                priority=entry.priority,
            )
            for entry in self._slices
        ]


def _whole_bytes(rate: float) -> int:
    """The kernel counts rates in bytes per second."""
    return int(rate) // 8 * 8


def tcp_buffer(scenario: Scenario) -> int:
    """Three times the largest bandwidth-delay product of any path from the central site, so that one flow can fill it: over half
    of a socket's memory is the kernel's own; with four times, slow start overruns the queue of 50 ms.

    At least 13 ms at the fastest link's rate: 64 MB at 40 Gbit/s, where less does not fill a link of no delay.
    """
    own = [device.link for device in scenario.devices if device.link is not None]
    farthest = max((_slowest_way(spec)[1] for spec in own), default=0)
    largest = max(way.rate for way in directions(scenario)) // 8 * FILLING // SECOND // 2
    for region in scenario.network.regions:
        for gnb in region.gnbs:
            path = [_slowest_way(spec) for spec in (scenario.network.core, region.link, gnb.link, gnb.radio)]
            for links in (path[:-1], path):
                round_trip = 2 * (sum(delay for _, delay in links) + farthest)
                largest = max(largest, min(rate for rate, _ in links) * round_trip // (8 * SECOND))
    return min(max(LEAST_TCP_BUFFER, 3 * largest), MOST_TCP_BUFFER)


def _slowest_way(spec: LinkSpec) -> tuple[int, int]:
    """The higher rate and the longer delay of a link's directions."""
    ways = [spec.towards(way) for way in TOWARDS]
    return max(way.rate for way in ways), max(way.delay for way in ways)
