"""Scenario + seed -> plan. Pure: the same input gives the same plan, and adding an entity leaves the draws of the others."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from scenarios import plan as p
from scenarios.buffers import directions, tcp_buffer
from scenarios.check import matching, slice_names
from scenarios.device_classes import DEVICE_CLASSES
from scenarios.links import TOWARDS, Dynamics, LinkSpec, Towards
from scenarios.prefetching import prefetches
from scenarios.profiles import offered
from scenarios.schema import Device, Policies, Scenario, Situation, Traffic
from scenarios.shaping import Clock, needs_wire, shape, timeline
from scenarios.tables import SECOND

SAMPLE_INTERVAL = SECOND // 10
GUEST_MEMORY_MB = 3072
CAPTURED_BYTES = 256  # of each packet: every header, and the head of an HTTP request
CAPTURED_PACKETS = 250_000  # of each capture: with the 16 bytes that pcap adds to each, at most 68 MB
RETRIES = 3
LIBRARY_PAUSE = SECOND // 10  # at most, before a library asks the tiers above a second time; a device's is its deadline
HERE = LinkSpec.model_validate(
    {"rate": "40 Gbit/s", "delay": "10 us"}
)  # from a switch to the host that stands beside it


class Published(NamedTuple):
    """What the plan needs to know of the library's content: SHA-256 of the manifests and of the held-out images, and the bytes
    of all of a model's blocks."""

    models: dict[str, str]
    held_out: str
    sizes: Mapping[str, int] = MappingProxyType({})


def decide(scenario: Scenario, seed: int, published: Published, clock: Clock = "virtual") -> p.Plan:
    """Everything that a run needs to know."""
    slices = _slices(scenario)
    network = _Network(scenario, slices, seed, clock)
    devices = [_device(scenario, d, name, network, seed) for d in scenario.devices for name in d.names]
    library_slice = next(entry for entry in slices if entry.name == scenario.devices[0].slice)
    return p.Plan(
        format=p.FORMAT,
        scenario=scenario.name,
        seed=seed,
        duration_ns=scenario.duration,
        sample_interval_ns=SAMPLE_INTERVAL,
        machine=p.Machine(clock=clock, memory_mb=GUEST_MEMORY_MB, tcp_buffer_bytes=tcp_buffer(scenario)),
        segments=scenario.network.segments,
        hosts=network.hosts,
        switches=network.switches,
        links=network.links,
        changes=sorted(network.changes, key=lambda change: change.time_ns),
        faults=_faults(scenario),
        distributions=network.distributions,
        slices=slices,
        profiles=_profiles(scenario),
        libraries=_libraries(scenario, seed),
        devices=devices,
        prefetches=prefetches(scenario, devices, library_slice.guarantee, published.sizes),
        flows=_flows(scenario, slices, seed),
        captures=[_capture(name, network.links) for name in scenario.capture],
        policies=_policies(scenario.policies),
        controller=scenario.controller,
        library_slice=library_slice.name,
        models={name: published.models[name] for name in sorted(published.models)},
        held_out=published.held_out,
        payloads=sorted(scenario.payloads),
    )


def _policies(asked: Policies) -> p.Policies:
    digests = {file.name: "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest() for file in asked.files}
    return p.Policies(**asked.model_dump(), files=digests)


def generator(seed: int, purpose: str, entity: str) -> np.random.Generator:
    """Random numbers for one purpose of one entity, from its name alone."""
    key = hashlib.sha256(f"{purpose}/{entity}".encode()).digest()
    words = tuple(int.from_bytes(key[i : i + 4], "big") for i in range(0, 16, 4))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=words)))


def _pauses(seed: int, entity: str, first: int) -> list[int]:
    """How long to wait before trying again, each time up to twice as long, from 1 ns on: exponential back-off with full jitter."""
    random = generator(seed, "retries", entity)
    return [int(random.integers(1, first << number, endpoint=True)) for number in range(RETRIES)]


def _slices(scenario: Scenario) -> list[p.Slice]:
    """Queue 0 is the default slice's. What the guarantees leave is shared by the slices that have none."""
    specs = {entry.name: entry for entry in scenario.slices}
    names = slice_names(scenario)
    names = ["default", *(name for name in names if name != "default")]
    guaranteed = {name: specs[name].guarantee for name in names if name in specs and specs[name].guarantee is not None}
    without = [name for name in names if name not in guaranteed]
    rest = (1 - sum(g for g in guaranteed.values() if g is not None)) / Fraction(max(1, len(without)))
    return [
        p.Slice(
            name=name,
            queue=queue,
            guarantee=float(guaranteed.get(name) or min(rest, specs[name].ceiling if name in specs else 1)),
            ceiling=float(specs[name].ceiling) if name in specs else 1.0,
            priority=specs[name].priority if name in specs else 0,
            profiles=list(specs[name].profiles) if name in specs else [],
        )
        for queue, name in enumerate(names)
    ]


def _profiles(scenario: Scenario) -> list[p.Profile]:
    return [
        p.Profile(
            name=profile.name,
            down_bps=profile.down,
            up_bps=profile.up,
            priority=profile.priority,
            delay_ns=profile.delay,
            shortest_ns=profile.shortest_ns,
            longest_ns=profile.longest_ns,
            status=profile.status,
        )
        for profile in offered(scenario.profiles)
    ]


class _Network:
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


def _libraries(scenario: Scenario, seed: int) -> list[p.Library]:
    def library(host: str, tier: Literal["edge", "local", "central"], upstream: list[str], cache: int) -> p.Library:
        pauses = _pauses(seed, host, LIBRARY_PAUSE) if upstream else []
        return p.Library(host=host, tier=tier, upstream=upstream, cache_bytes=cache, retry_ns=pauses)

    made = [library("central", "central", [], 0)]
    for region in scenario.network.regions:
        local = f"{region.name}-local"
        made.append(library(local, "local", ["central"], scenario.libraries.local.cache))
        for gnb in region.gnbs:
            made.append(library(f"{gnb.name}-edge", "edge", [local, "central"], scenario.libraries.edge.cache))
    return made


def _device(scenario: Scenario, spec: Device, name: str, network: _Network, seed: int) -> p.Device:
    gnbs = {0: spec.at, **spec.route}
    interface, attachments = network.add_device(name, spec, gnbs)
    interval = int(SECOND / spec.infer)
    figures = DEVICE_CLASSES[spec.device_class]
    deadline = spec.deadline or scenario.requests.deadline
    return p.Device(
        host=name,
        interface=interface,
        device_class=spec.device_class,
        macs_per_s=figures.macs_per_s,
        load_bytes_per_s=figures.load_bytes_per_s,
        memory_bytes=figures.memory_bytes,
        energy_per_mac_j=figures.energy_per_mac_j,
        power_w=None if spec.power is None else spec.power / 1e6,
        application=spec.application,
        infer_interval_ns=interval,
        phase_ns=int(generator(seed, "inference phase", name).integers(interval)),
        image_seed=int(generator(seed, "images", name).integers(2**48)),
        slice=spec.slice,
        deadline_ns=deadline,
        retry_ns=_pauses(seed, name, deadline),
        attachments=attachments,
        needs=_needs(scenario, spec, gnbs),
    )


def _needs(scenario: Scenario, spec: Device, gnbs: dict[int, str]) -> list[p.Need]:
    """Which model fits from when on: it can change when the device moves and when a situation begins or ends.

    A payload is asked for when a situation begins that names it.
    """
    times = set(gnbs) | {t for s in scenario.situations for t in (s.time.start, s.time.end) if t is not None}
    needs: list[p.Need] = []
    before: Situation | None = None
    for time in sorted(t for t in times if t < scenario.duration):
        gnb = gnbs[max(t for t in gnbs if t <= time)]
        situation = matching(scenario.situations, spec.application, gnb, time)
        assert situation or spec.application in scenario.payloads, "checked when the scenario was read"
        begins = situation is not before if spec.application in scenario.payloads else not needs
        if situation and (begins or needs[-1].model != situation.model):
            needs.append(p.Need(time_ns=time, model=situation.model))
        before = situation
    return needs


def _flows(scenario: Scenario, slices: list[p.Slice], seed: int) -> list[p.Flow]:
    queues = {entry.name: entry.queue for entry in slices}
    ends = [(traffic, to) for traffic in scenario.traffic for to in _receivers(scenario, traffic)]
    flows = []
    pairs: Counter[str] = Counter()
    for number, (traffic, to) in enumerate(ends):
        pair = f"{traffic.source}>{to}"
        pairs[pair] += 1
        name = pair if pairs[pair] == 1 else f"{pair}#{pairs[pair]}"
        flows.append(
            p.Flow(
                name=name,
                source=traffic.source,
                destination=to,
                port=p.TRAFFIC_PORT + number,
                transport=traffic.transport,
                rate_bps=traffic.rate,
                start_ns=traffic.during.start,
                end_ns=min(scenario.duration, traffic.during.end or scenario.duration),
                phase_ns=int(generator(seed, "traffic phase", name).integers(10_000_000)),
                queue=queues[traffic.slice],
            )
        )
    return flows


def _faults(scenario: Scenario) -> list[p.Fault]:
    """What comes back at a time does so before anything else goes down."""
    faults = [p.Fault(time_ns=f.at, kind=f.kind, name=f.name, up=False) for f in scenario.faults]
    faults += [p.Fault(time_ns=f.end, kind=f.kind, name=f.name, up=True) for f in scenario.faults if f.end is not None]
    return sorted(faults, key=lambda fault: (fault.time_ns, not fault.up))


def _capture(name: str, links: list[p.Link]) -> p.Capture:
    """A link is seen at its end towards the core, where both directions pass; a host at its own interface."""
    link = next((link for link in links if link.name == name), None)
    end = link.ends[1] if link else next(end for link in links for end in link.ends if end.node == name)
    host = "" if end.port else end.node
    return p.Capture(name=name, host=host, interface=end.interface, snap_bytes=CAPTURED_BYTES, packets=CAPTURED_PACKETS)


def _receivers(scenario: Scenario, traffic: Traffic) -> list[str]:
    group = next((device.names for device in scenario.devices if device.name == traffic.to), [traffic.to])
    return [name for name in group if name != traffic.source]
