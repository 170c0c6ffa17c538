"""Flow tables, walked as a switch walks them: every packet arrives, in the queue of its slice on every port of its way."""

from collections.abc import Iterable, Iterator
from itertools import permutations
from typing import NamedTuple

import pytest
from builders import planned
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import slices
from controller.paths import Paths
from controller.session import Ports, Request
from controller.slices import CLASSIFY, ROUTE, Entry
from scenarios.plan import LIBRARY_PORT, Device, Flow, Library, Plan, Slice

SOME = settings(max_examples=40, deadline=None)
TCP, UDP = 6, 17
CAMPUS = {
    "network": {
        "regions": [
            {"name": "west", "gnbs": [{"name": "quad"}, {"name": "tunnel"}]},
            {"name": "east", "gnbs": [{"name": "market"}]},
        ]
    },
    "slices": [
        {"name": "models", "guarantee": "40 %"},
        {"name": "video", "guarantee": "30 %"},
        {"name": "other", "guarantee": "10 %"},
        {"name": "default"},
    ],
    "devices": [
        {"name": "phone", "count": 2, "at": "quad", "slice": "models"},
        {"name": "bus", "at": "tunnel", "slice": "other", "route": {"3 s": "market", "6 s": "quad", "7 s": "tunnel"}},
        {"name": "buoy", "at": "market"},
    ],
    "traffic": [
        {"from": "central", "to": "phone", "slice": "video", "rate": "8 Mbit/s"},
        {"from": "bus", "to": "buoy", "slice": "video", "rate": "8 Mbit/s", "transport": "tcp"},
        {"from": "quad-edge", "to": "central", "slice": "other", "rate": "8 Mbit/s", "transport": "tcp"},
        {"from": "buoy", "to": "phone1", "rate": "8 Mbit/s"},
    ],
}
FLOW_SLICES = ["video", "video", "video", "other", "default"]
PLAN = planned(**CAMPUS)
QUEUES = {entry.name: entry.queue for entry in PLAN.slices}
ADDRESSES = {host.name: host.ip for host in PLAN.hosts}
HOSTS = [host.name for host in PLAN.hosts]


class Crossing(NamedTuple):
    """A packet leaves a switch by a port, in a queue; `mac` is what was written into it there."""

    switch: str
    port: int
    queue: int
    mac: str | None


class Tables:
    """The flow tables of all switches, as OpenFlow 1.3 has them."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.paths = plan, Paths(plan)
        self._entries: dict[tuple[str, int, int, frozenset[tuple[str, str | int]]], Entry] = {}
        self._wires = {}
        for link in plan.links:
            for near, far in (link.ends, link.ends[::-1]):
                self._wires[near.node, near.port] = far.node
        self.add(slices.fixed_entries(plan, self.paths))

    def add(self, entries: Iterable[Entry]) -> None:
        """An entry replaces one of the same table, priority and match."""
        for entry in entries:
            self._entries[_key(entry)] = entry

    def moved(self, device: Device, place: int) -> None:
        attachment = device.attachments[place]
        self._wires = {at: node for at, node in self._wires.items() if node != device.host}
        self._wires[attachment.cell, attachment.port] = device.host
        self._wires[device.host, 0] = attachment.cell
        for entry in slices.routes(self.plan, self.paths, device.host):
            del self._entries[_key(entry)]
        self.paths.moved(device.host, attachment)
        self.add(slices.routes(self.plan, self.paths, device.host))
        self.add(slices.slice_entries(self.plan, self.paths, device))

    def walk(self, source: str, destination: str, **header: int) -> list[Crossing]:
        """The way of a packet from a host until it reaches a host, which has to be its destination."""
        packet = {"eth_type": 0x0800, "ipv4_src": ADDRESSES[source], "ipv4_dst": ADDRESSES[destination], **header}
        at, way = self._wires[source, 0], []
        while at not in ADDRESSES:
            assert len(way) < len(self.plan.switches), "it goes round in a circle"
            queue, then = self._look_up(at, CLASSIFY, packet).queue, self._look_up(at, ROUTE, packet)
            assert then.port is not None
            way.append(Crossing(at, then.port, queue or 0, then.mac))
            at = self._wires[at, then.port]
        assert at == destination
        return way

    def _look_up(self, switch: str, table: int, packet: dict[str, str | int]) -> Entry:
        matching = [
            entry
            for (at, its_table, _, match), entry in self._entries.items()
            if (at, its_table) == (switch, table) and all(packet.get(key) == value for key, value in match)
        ]
        top = max(entry.priority for entry in matching)
        best = [entry for entry in matching if entry.priority == top]
        assert len({entry[4:] for entry in best}) == 1, "which entry applies is undefined"
        return best[0]


def _key(entry: Entry) -> tuple[str, int, int, frozenset[tuple[str, str | int]]]:
    return entry.switch, entry.table, entry.priority, frozenset(entry.match)


TABLES = Tables(PLAN)


def queues(way: list[Crossing]) -> set[int]:
    return {crossing.queue for crossing in way}


def library_exchange(tables: Tables, client: str, server: str) -> Iterator[list[Crossing]]:
    yield tables.walk(client, server, ip_proto=TCP, tcp_src=40000, tcp_dst=LIBRARY_PORT)
    yield tables.walk(server, client, ip_proto=TCP, tcp_src=LIBRARY_PORT, tcp_dst=40000)


def libraries_of(plan: Plan, device: Device) -> set[str]:
    """The edges of the cells in which it ever is, and the tiers above them."""
    edges = {f"{attachment.gnb}-edge" for attachment in device.attachments}
    return edges | {host for library in plan.libraries if library.host in edges for host in library.upstream}


@pytest.mark.parametrize(("source", "destination"), list(permutations(HOSTS, 2)))
def test_a_packet_from_any_host_arrives_at_any_other_with_its_address_in_the_default_queue(
    source: str, destination: str
) -> None:
    way = TABLES.walk(source, destination, ip_proto=TCP, tcp_src=40000, tcp_dst=80)
    target = next(host for host in PLAN.hosts if host.name == destination)
    assert [crossing.mac for crossing in way] == [None] * (len(way) - 1) + [target.mac]
    assert [(crossing.switch, crossing.port) for crossing in way] == [
        (hop.switch, hop.port) for hop in TABLES.paths.path(source, destination)
    ]
    assert queues(way) == {0}


def test_an_address_that_nobody_has_is_dropped_at_the_core() -> None:
    """It goes up and comes to an end: a default entry at the core would send it round in a circle."""
    entries = [e for e in slices.fixed_entries(PLAN, TABLES.paths) if e.table == ROUTE and e.priority == 0]
    assert {entry.switch for entry in entries} == {switch.name for switch in PLAN.switches} - {"core"}
    for entry in entries:
        assert entry.port == TABLES.paths.next_hop(entry.switch, "central").port


def test_entries_grow_with_the_devices_and_not_with_devices_times_switches() -> None:
    def entries(cells: int, devices: int) -> int:
        network = {"gnbs": [{"name": f"g{number}"} for number in range(cells)]}
        plan = planned(network=network, devices=[{"name": "phone", "count": devices, "at": "g0"}])
        return len(slices.fixed_entries(plan, Paths(plan)))

    for_each = [(entries(cells, 30) - entries(cells, 10)) / 20 for cells in (1, 10)]
    assert for_each == [12, 12]  # core, region, gNB and cell: a route, and the device's slice in two directions


def test_no_two_entries_of_a_table_have_the_same_match_and_priority() -> None:
    """The later would replace the earlier, unseen."""
    entries = slices.fixed_entries(PLAN, TABLES.paths)
    assert len({(e.switch, e.table, e.priority, frozenset(e.match)) for e in entries}) == len(entries)


@pytest.mark.parametrize("device", PLAN.devices, ids=lambda device: device.host)
def test_what_a_device_and_the_libraries_exchange_is_in_the_devices_slice(device: Device) -> None:
    for library in libraries_of(PLAN, device):
        for way in library_exchange(TABLES, device.host, library):
            assert queues(way) == {QUEUES[device.slice]}


@pytest.mark.parametrize("library", PLAN.libraries, ids=lambda library: library.host)
def test_pulls_are_in_the_slice_of_the_libraries(library: Library) -> None:
    for upstream in library.upstream:
        for way in library_exchange(TABLES, library.host, upstream):
            assert queues(way) == {QUEUES[PLAN.library_slice]} == {QUEUES["models"]}


@pytest.mark.parametrize(
    ("flow", "slice_name"),
    list(zip(PLAN.flows, FLOW_SLICES, strict=True)),
    ids=lambda part: getattr(part, "name", part),
)
def test_background_flows_are_in_their_slice_both_ways(flow: Flow, slice_name: str) -> None:
    if flow.transport == "udp":
        ways = [TABLES.walk(flow.source, flow.destination, ip_proto=UDP, udp_src=40000, udp_dst=flow.port)]
    else:
        ways = [
            TABLES.walk(flow.source, flow.destination, ip_proto=TCP, tcp_src=40000, tcp_dst=flow.port),
            TABLES.walk(flow.destination, flow.source, ip_proto=TCP, tcp_src=flow.port, tcp_dst=40000),
        ]
    assert [queues(way) for way in ways] == [{QUEUES[slice_name]}] * len(ways)


def test_the_same_port_between_other_hosts_is_not_of_the_flow() -> None:
    flow = next(flow for flow in PLAN.flows if flow.queue and flow.transport == "udp")
    assert queues(TABLES.walk(flow.source, "buoy", ip_proto=UDP, udp_dst=flow.port)) == {0}
    assert queues(TABLES.walk(flow.source, flow.destination, ip_proto=TCP, tcp_dst=flow.port)) == {0}


@SOME
@given(st.permutations(range(4)))
def test_after_each_handover_packets_arrive_and_downloads_keep_their_slice(places: list[int]) -> None:
    bus = next(device for device in PLAN.devices if device.host == "bus")
    tables = Tables(PLAN)
    for place in places:
        tables.moved(bus, place)
        for other in (host for host in HOSTS if host != bus.host):
            for way in (tables.walk(other, bus.host), tables.walk(bus.host, other)):
                assert way[-1].mac is not None
                assert all(crossing.mac is None for crossing in way[:-1])
        for library in libraries_of(PLAN, bus):
            for way in library_exchange(tables, bus.host, library):
                assert queues(way) == {QUEUES["other"]}


@SOME
@given(st.sampled_from(PLAN.devices), st.sampled_from(PLAN.libraries), st.sampled_from(PLAN.slices))
def test_a_session_takes_its_flow_into_its_queue_both_ways_and_no_other(
    device: Device, library: Library, session: Slice
) -> None:
    tables = Tables(PLAN)
    ports = (Ports(LIBRARY_PORT, LIBRARY_PORT),)
    request = Request("id", device.host, library.host, session.name, "", 8000, 8000, 1, server_ports=ports)
    names = [switch.name for switch in PLAN.switches]
    tables.add(slices.session_entries(tables.paths, request, session.queue, 64, names))
    for way in library_exchange(tables, device.host, library.host):
        assert queues(way) == {session.queue}
    assert queues(tables.walk(library.host, device.host, ip_proto=TCP, tcp_src=80, tcp_dst=40000)) == {0}
    other = next(d for d in PLAN.devices if d != device)
    for way in library_exchange(tables, other.host, library.host):
        assert queues(way) == next(queues(before) for before in library_exchange(TABLES, other.host, library.host))


@pytest.mark.parametrize("slice_name", QUEUES)
def test_the_queue_of_a_slice_is_a_class_of_every_port(slice_name: str) -> None:
    for link in PLAN.links:
        for end in (end for end in link.ends if end.port):
            assert [q.slice for q in end.queues if q.number == slices.queue_of(PLAN, slice_name)] == [slice_name]


PORT = st.integers(0, 65535)


@given(ends=st.tuples(PORT, PORT).map(sorted), port=PORT)
def test_a_range_of_ports_is_matched_once_and_nothing_beside_it(ends: list[int], port: int) -> None:
    first, last = ends
    request = Request("id", "quad-edge", "central", "models", "", 1, 1, 1, server_ports=(Ports(first, last),))
    entries = slices.session_entries(Paths(PLAN), request, 64, 64, ["core"])
    wanted = [dict(entry.match)["udp_src"] for entry in entries if "udp_src" in dict(entry.match)]
    for tried in {port, first, last, max(0, first - 1), min(65535, last + 1)}:
        hits = [v for v in wanted if (tried == v if isinstance(v, int) else tried & v[1] == v[0])]
        assert len(hits) == (first <= tried <= last)
