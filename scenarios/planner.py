"""Scenario + seed -> plan. Pure: the same input gives the same plan, and adding an entity leaves the draws of the others."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Literal, NamedTuple

from scenarios import plan as p
from scenarios.device_classes import DEVICE_CLASSES
from scenarios.draws import generator, pauses
from scenarios.names import slice_names
from scenarios.network import Network, tcp_buffer
from scenarios.prefetching import prefetches
from scenarios.profiles import offered
from scenarios.schema import Device, Policies, Scenario, Traffic
from scenarios.shaping import Clock
from scenarios.situations import needs
from scenarios.tables import SECOND

SAMPLE_INTERVAL = SECOND // 10
GUEST_MEMORY_MB = 3072
CAPTURED_BYTES = 256  # of each packet: every header, and the head of an HTTP request
CAPTURED_PACKETS = 250_000  # of each capture: with the 16 bytes that pcap adds to each, at most 68 MB
LIBRARY_PAUSE = SECOND // 10  # at most, before a library asks the tiers above a second time; a device's is its deadline


class Published(NamedTuple):
    """What the plan needs to know of the library's content: SHA-256 of the manifests and of the held-out images, and the bytes
    of all of a model's blocks."""

    models: dict[str, str]
    held_out: str
    sizes: Mapping[str, int] = MappingProxyType({})


def decide(scenario: Scenario, seed: int, published: Published, clock: Clock = "virtual") -> p.Plan:
    """Everything that a run needs to know."""
    slices = _slices(scenario)
    network = Network(scenario, slices, seed, clock)
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


def _libraries(scenario: Scenario, seed: int) -> list[p.Library]:
    def library(host: str, tier: Literal["edge", "local", "central"], upstream: list[str], cache: int) -> p.Library:
        retries = pauses(seed, host, LIBRARY_PAUSE) if upstream else []
        return p.Library(host=host, tier=tier, upstream=upstream, cache_bytes=cache, retry_ns=retries)

    made = [library("central", "central", [], 0)]
    for region in scenario.network.regions:
        local = f"{region.name}-local"
        made.append(library(local, "local", ["central"], scenario.libraries.local.cache))
        for gnb in region.gnbs:
            made.append(library(f"{gnb.name}-edge", "edge", [local, "central"], scenario.libraries.edge.cache))
    return made


def _device(scenario: Scenario, spec: Device, name: str, network: Network, seed: int) -> p.Device:
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
        retry_ns=pauses(seed, name, deadline),
        attachments=attachments,
        needs=needs(scenario, spec, gnbs),
    )


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
