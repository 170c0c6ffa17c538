"""Flow tables: which slice a packet is of (table 0) and which port it leaves by (table 1). Pure.

`set_queue` in table 0 holds until table 1 puts the packet out, so one entry for a flow and one for a destination are enough.
Table 1 has a default entry, the way up to the core, which itself has none. Only the switches where that is not the way to a host
have an entry for it; a tree's entries grow with its hosts, not with hosts times switches. So every switch sends a packet by the one
hop that `Paths` has towards its host, and no packet goes round in a circle; one for a host to which there is no way ends at the
core. What is cut off from the core has no default entry.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from controller.paths import Paths
from controller.session import Ports, Request
from scenarios.plan import LIBRARY_PORT, Device, Plan

CLASSIFY, ROUTE = 0, 1
_IPV4, _TCP, _UDP = 0x0800, 6, 17


Match = tuple[tuple[str, str | int | tuple[int, int]], ...]  # field, and value or value and mask
WITHOUT_PORTS, WITH_PORTS = 20, 30  # priorities of sessions' flows: the closer description of a packet wins


class Entry(NamedTuple):
    """A flow entry in OpenFlow's terms; `mac` is written as the destination's before output."""

    switch: str
    table: int
    priority: int
    match: Match
    queue: int | None = None
    mac: str | None = None
    port: int | None = None  # none: go on to the table that routes
    cookie: int = 0  # a session's queue, by which its entries are removed


def fixed_entries(plan: Plan, paths: Paths) -> list[Entry]:
    """What is installed before anything runs: routes to every host, background flows, pulls between the tiers."""
    entries = [Entry(switch.name, CLASSIFY, 0, ()) for switch in plan.switches]
    for switch in plan.switches:
        if up := paths.up(switch.name):
            entries.append(Entry(switch.name, ROUTE, 0, (("eth_type", _IPV4),), port=up.port))
    for host in plan.hosts:
        entries += routes(plan, paths, host.name)
    for device in plan.devices:
        entries += slice_entries(plan, paths, device)
    return [*entries, *_background(plan), *_pulls(plan, paths)]


def routes(plan: Plan, paths: Paths, host: str) -> list[Entry]:
    """The entries for one destination. The last switch writes the host's own MAC address."""
    target = paths.hosts[host]
    hops = [paths.next_hop(switch.name, host) for switch in plan.switches]
    return [
        Entry(
            hop.switch,
            ROUTE,
            1,
            (("eth_type", _IPV4), ("ipv4_dst", target.ip)),
            mac=target.mac if paths.is_last(hop.switch, host) else None,
            port=hop.port,
        )
        for hop in hops
        if hop and hop != paths.up(hop.switch)
    ]


def slice_entries(plan: Plan, paths: Paths, device: Device) -> list[Entry]:
    """What a device exchanges with libraries is of the device's slice, with a session or without.

    The entries are on the way to the edge library of every cell in which it ever is, since a download goes on after a handover,
    and to the tiers above, which give what the edge cannot; where there is no path now, there is none.
    """
    edges = {f"{attachment.gnb}-edge" for attachment in device.attachments}
    upstream = {host for library in plan.libraries if library.host in edges for host in library.upstream}
    queue, ip = queue_of(plan, device.slice), paths.hosts[device.host].ip
    libraries = sorted(library for library in edges | upstream if paths.connected(library, device.host))
    to_device = [hop for library in libraries for hop in paths.path(library, device.host)]
    from_device = [hop for library in libraries for hop in paths.path(device.host, library)]
    return [
        Entry(
            switch, CLASSIFY, 10, (("eth_type", _IPV4), ("ip_proto", _TCP), (address, ip), (port, LIBRARY_PORT)), queue
        )
        for address, port, hops in (("ipv4_dst", "tcp_src", to_device), ("ipv4_src", "tcp_dst", from_device))
        for switch in sorted({hop.switch for hop in hops})
    ]


def difference(before: Iterable[Entry], after: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """From one state of the tables to another: what is set (an entry replaces one of the same match), and what goes."""
    old, new = ({entry[:4]: entry for entry in entries} for entries in (before, after))
    changed = [entry for place, entry in new.items() if old.get(place) != entry]
    return changed, [entry for place, entry in old.items() if place not in new]


def queue_of(plan: Plan, slice_name: str) -> int:
    return next(entry.queue for entry in plan.slices if entry.name == slice_name)


def session_entries(paths: Paths, request: Request, queue: int, cookie: int, switches: Iterable[str]) -> list[Entry]:
    """A session's flow, both directions, on the switches of its path."""
    device, server = paths.hosts[request.device].ip, paths.hosts[request.server].ip
    down = _flow(server, device, request.server_ports, request.device_ports)
    up = _flow(device, server, request.device_ports, request.server_ports)
    priority = WITH_PORTS if request.device_ports or request.server_ports else WITHOUT_PORTS
    matches = [*down, *up]
    return [Entry(switch, CLASSIFY, priority, match, queue, cookie=cookie) for switch in switches for match in matches]


def _flow(source: str, target: str, from_ports: Sequence[Ports], to_ports: Sequence[Ports]) -> Iterator[Match]:
    """What matches packets from one address to another, of these ports alone where any are given."""
    ends: Match = (("ipv4_src", source), ("ipv4_dst", target))
    if not from_ports and not to_ports:
        yield (("eth_type", _IPV4), *ends)
        return
    for name, number in (("tcp", _TCP), ("udp", _UDP)):
        for sent in _port_matches(f"{name}_src", from_ports):
            for arriving in _port_matches(f"{name}_dst", to_ports):
                yield (("eth_type", _IPV4), ("ip_proto", number), *ends, *sent, *arriving)


def _port_matches(field: str, ranges: Sequence[Ports]) -> Iterator[Match]:
    """Ranges of ports as values with masks: the fewest blocks of a power of two."""
    if not ranges:
        yield ()
    for first, last in ranges:
        while first <= last:
            size = first & -first or 1 << 16
            while first + size - 1 > last:
                size //= 2
            yield ((field, first if size == 1 else (first, 0x10000 - size)),)
            first += size


def _background(plan: Plan) -> Iterator[Entry]:
    addresses = {host.name: host.ip for host in plan.hosts}
    for flow in plan.flows:
        protocol, number = ("udp", _UDP) if flow.transport == "udp" else ("tcp", _TCP)
        ends = (("ipv4_src", addresses[flow.source]), ("ipv4_dst", addresses[flow.destination]))
        back = (("ipv4_src", addresses[flow.destination]), ("ipv4_dst", addresses[flow.source]))
        for switch in plan.switches:
            kind = (("eth_type", _IPV4), ("ip_proto", number))
            yield Entry(switch.name, CLASSIFY, 10, (*kind, *ends, (f"{protocol}_dst", flow.port)), queue=flow.queue)
            if flow.transport == "tcp":
                yield Entry(switch.name, CLASSIFY, 10, (*kind, *back, ("tcp_src", flow.port)), queue=flow.queue)


def _pulls(plan: Plan, paths: Paths) -> Iterator[Entry]:
    queue = queue_of(plan, plan.library_slice)
    for library in plan.libraries:
        for upstream in library.upstream:
            if paths.connected(upstream, library.host):
                yield from _between(paths, upstream, library.host, queue, priority=10)


def _between(paths: Paths, server: str, client: str, queue: int, priority: int) -> Iterator[Entry]:
    """A library's answers to a client and the client's requests, in a queue."""
    for source, destination, side in ((server, client, "tcp_src"), (client, server, "tcp_dst")):
        match = (
            ("eth_type", _IPV4),
            ("ip_proto", _TCP),
            ("ipv4_src", paths.hosts[source].ip),
            ("ipv4_dst", paths.hosts[destination].ip),
            (side, LIBRARY_PORT),
        )
        for hop in paths.path(source, destination):
            yield Entry(hop.switch, CLASSIFY, priority, match, queue=queue)
