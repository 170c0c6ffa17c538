"""Paths on any network: connected, shortest, to the host where it is now; a packet never goes round in a circle."""

from collections.abc import Iterable, Iterator, Set
from itertools import permutations, product

import msgspec
import pytest
from builders import planned
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import slices
from controller.paths import Hop, NoPath, Paths
from controller.slices import ROUTE, Entry
from scenarios import plan as p
from scenarios.links import LinkSpec
from scenarios.shaping import shape

SOME = settings(max_examples=100, deadline=None)

SHAPES = [
    shape(LinkSpec.model_validate({"rate": "1 Gbit/s", "delay": f"{ms} ms"}), "virtual", wired=False) for ms in range(3)
]


class Wiring:
    """Numbers the ports of a network while its links are named."""

    def __init__(self) -> None:
        self.links: list[p.Link] = []
        self._ports: dict[str, int] = {}

    def port(self, switch: str) -> int:
        self._ports[switch] = self._ports.get(switch, 0) + 1
        return self._ports[switch]

    def join(self, name: str, a: str, b: str, delays: tuple[int, int] = (0, 0)) -> None:
        """A link with a delay in ms of each direction."""
        ends = tuple(self._end(node, SHAPES[ms]) for node, ms in zip((a, b), delays, strict=True))
        self.links.append(p.Link(name, (ends[0], ends[1])))

    def _end(self, node: str, shape: p.Shape) -> p.End:
        port = self.port(node) if node.startswith("s") else 0
        return p.End(node, f"{node}-eth{port}", port, shape, [], 0, "")


@st.composite
def networks(draw: st.DrawFn) -> tuple[p.Plan, list[p.Attachment]]:
    """A connected network of switches, more links than a tree needs, some of them parallel; a free port at each switch."""
    count = draw(st.integers(1, 7))
    pairs = [(draw(st.integers(0, number - 1)), number) for number in range(1, count)]
    if count > 1:
        either = st.permutations(range(count)).map(lambda order: (order[0], order[1]))
        pairs += draw(st.lists(either, max_size=5))
    wiring = Wiring()
    for number, (a, b) in enumerate(draw(st.permutations(pairs))):
        delays = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
        wiring.join(f"link{number}", f"s{a}", f"s{b}", delays)
    homes = draw(st.lists(st.integers(0, count - 1), min_size=2, max_size=4))
    for number, home in enumerate(homes):
        ends = (f"h{number}", f"s{home}") if draw(st.booleans()) else (f"s{home}", f"h{number}")
        wiring.join(f"h{number}-link", *ends)
    free = [p.Attachment(0, "", f"s{number}", wiring.port(f"s{number}")) for number in range(count)]
    hosts = [p.Host(f"h{number}", "device", f"10.0.0.{number}", "", "cubic", False) for number in range(len(homes))]
    switches = [p.Switch(f"s{number}", "core", number + 1) for number in range(count)]
    return replaced(planned(), hosts=hosts, switches=switches, links=wiring.links), free


def replaced(plan: p.Plan, **parts: object) -> p.Plan:

    return msgspec.structs.replace(plan, **parts)


def home_of(plan: p.Plan, host: str) -> p.End:
    """The switch's end of a host's link."""
    ends = next(link.ends for link in plan.links if any(end.node == host for end in link.ends))
    return next(end for end in ends if end.node != host)


def wires(plan: p.Plan) -> Iterator[tuple[Hop, str]]:
    """What leaves a switch by a port, and the switch where it arrives."""
    for link in plan.links:
        for near, far in (link.ends, link.ends[::-1]):
            if near.port and far.port:
                yield Hop(near.node, near.port, link.name), far.node


def distances(plan: p.Plan, start: str, down: Set[str] = frozenset()) -> dict[str, tuple[int, int]]:
    """Delay in ns and links to each switch that is reached, by trying every link as often as there are switches (Bellman, Ford)."""
    found = {start: (0, 0)}
    for _ in plan.switches:
        for hop, far in wires(plan):
            if hop.switch in found and hop.link not in down:
                delay, links = found[hop.switch]
                found[far] = min(found.get(far, (1 << 62, 0)), (delay + delay_of(plan, hop), links + 1))
    return found


def delay_of(plan: p.Plan, hop: Hop) -> int:
    ends = next(link.ends for link in plan.links if link.name == hop.link)
    return next(end.shape.delay_ns for end in ends if (end.node, end.port) == (hop.switch, hop.port))


def check_path(plan: p.Plan, path: list[Hop], start: str, last: Hop, down: Set[str] = frozenset()) -> None:
    """It is connected from switch `start` to the port that is the last hop, over what is up, and no other is shorter."""
    assert not {hop.link for hop in path} & down
    arrives = dict(wires(plan))
    assert path[0].switch == start
    assert path[-1] == last
    for hop, after in zip(path, path[1:], strict=False):
        assert arrives[hop] == after.switch
    length = sum(delay_of(plan, hop) for hop in path[:-1]), len(path) - 1
    assert length == distances(plan, start, down)[last.switch]


@SOME
@given(networks())
def test_every_path_is_connected_and_shortest_and_ends_at_the_host(made: tuple[p.Plan, list[p.Attachment]]) -> None:
    plan, _ = made
    paths = Paths(plan)
    for a, b in permutations([host.name for host in plan.hosts], 2):
        end = home_of(plan, b)
        check_path(plan, paths.path(a, b), home_of(plan, a).node, Hop(end.node, end.port, f"{b}-link"))


@SOME
@given(networks(), st.data())
def test_paths_follow_a_device_that_moved_and_the_others_stay(
    made: tuple[p.Plan, list[p.Attachment]], data: st.DataObject
) -> None:
    plan, free = made
    paths, before = Paths(plan), Paths(plan)
    mover, *others = data.draw(st.permutations([host.name for host in plan.hosts]))
    place = data.draw(st.sampled_from(free))
    paths.moved(mover, place)
    for other in others:
        last = Hop(place.cell, place.port, f"{mover}-link")
        check_path(plan, paths.path(other, mover), home_of(plan, other).node, last)
        end = home_of(plan, other)
        check_path(plan, paths.path(mover, other), place.cell, Hop(end.node, end.port, f"{other}-link"))
    for a, b in permutations(others, 2):
        assert paths.path(a, b) == before.path(a, b)
    assert [switch.name for switch in plan.switches if paths.is_last(switch.name, mover)] == [place.cell]


@SOME
@given(networks())
def test_hops_from_any_switch_reach_the_host_without_a_loop(made: tuple[p.Plan, list[p.Attachment]]) -> None:
    plan, _ = made
    paths, arrives = Paths(plan), dict(wires(plan))
    for host in plan.hosts:
        for switch in plan.switches:
            at, seen = switch.name, set()
            while not paths.is_last(at, host.name):
                assert at not in seen
                seen.add(at)
                hop = paths.next_hop(at, host.name)
                assert hop
                at = arrives[hop]
            assert paths.next_hop(at, host.name) == Hop(at, home_of(plan, host.name).port, f"{host.name}-link")


@SOME
@given(networks())
def test_ends_between_hosts_are_those_that_send_on_their_own_links_and_on_the_path(
    made: tuple[p.Plan, list[p.Attachment]],
) -> None:
    plan, _ = made
    paths = Paths(plan)
    for a, b in permutations([host.name for host in plan.hosts], 2):
        ends = paths.ends_between(a, b)
        assert [link for link, _ in ends] == [f"{a}-link", *(hop.link for hop in paths.path(a, b))]
        assert len({link for link, _ in ends}) == len(ends)
        planned_ends = {link.name: link.ends for link in plan.links}
        senders = [a, *(hop.switch for hop in paths.path(a, b))]
        assert [planned_ends[link][end].node for link, end in ends] == senders


@SOME
@given(networks(), st.data())
def test_whatever_is_down_paths_are_the_shortest_of_what_is_up(
    made: tuple[p.Plan, list[p.Attachment]], data: st.DataObject
) -> None:
    plan, _ = made
    paths, down = Paths(plan), data.draw(st.sets(st.sampled_from([link.name for link in plan.links])))
    paths.set_down(down)
    for a, b in permutations([host.name for host in plan.hosts], 2):
        start, end = home_of(plan, a).node, home_of(plan, b)
        if end.node in distances(plan, start, down) and not {f"{a}-link", f"{b}-link"} & down:
            check_path(plan, paths.path(a, b), start, Hop(end.node, end.port, f"{b}-link"), down)
        else:
            assert not paths.connected(a, b)
            with pytest.raises(NoPath, match=f"from {a} to {b}"):
                paths.path(a, b)


def walked(entries: Iterable[Entry], plan: p.Plan, start: str, ip: str) -> list[Hop]:
    """The hops of a packet from a switch on, by the entries of the table that routes; it ends where none is for it or at a host."""
    table = {(entry.switch, dict(entry.match).get("ipv4_dst")): entry for entry in entries if entry.table == ROUTE}
    arrives, at, hops = dict(wires(plan)), start, list[Hop]()
    leaving = {(e.node, e.port): Hop(e.node, e.port, link.name) for link in plan.links for e in link.ends}
    while entry := table.get((at, ip)) or table.get((at, None)):
        hops.append(leaving[at, entry.port])
        assert len({hop.switch for hop in hops}) == len(hops), "it comes to a switch again"
        if hops[-1] not in arrives:
            break
        at = arrives[hops[-1]]
    return hops


@SOME
@given(networks(), st.data())
def test_entries_reach_every_host_that_is_connected_and_no_packet_goes_in_a_circle(
    made: tuple[p.Plan, list[p.Attachment]], data: st.DataObject
) -> None:
    """After any failures, one set of them after another, by what is changed from one to the next alone."""
    plan, _ = made
    plan = replaced(plan, devices=[], flows=[], libraries=[])
    paths, tables = Paths(plan), dict[tuple[object, ...], Entry]()
    wanted = list[Entry]()
    links = st.sets(st.sampled_from([link.name for link in plan.links]))
    for down in [set[str](), *data.draw(st.lists(links, min_size=1, max_size=3))]:
        paths.set_down(down)
        before, wanted = wanted, slices.fixed_entries(plan, paths)
        changed, gone = slices.difference(before, wanted)
        assert not set(changed) & set(before), "what is there is not set again"
        for entry in gone:
            del tables[entry[:4]]
        tables |= {entry[:4]: entry for entry in changed}
        assert sorted(tables.values(), key=repr) == sorted(wanted, key=repr)
        for switch, host in product(plan.switches, plan.hosts):
            home = home_of(plan, host.name)
            hops = walked(tables.values(), plan, switch.name, host.ip)
            assert not {hop.link for hop in hops if hop.switch != home.node} & down
            connected = home.node in distances(plan, switch.name, down)
            assert (bool(hops) and (hops[-1].switch, hops[-1].port) == (home.node, home.port)) == connected


def test_of_equally_short_paths_that_over_the_first_named_links_is_taken() -> None:
    wiring = Wiring()
    for name, a, b in [("x", "s0", "s1"), ("y", "s0", "s1"), ("h0-link", "h0", "s0"), ("h1-link", "h1", "s1")]:
        wiring.join(name, a, b)
    switches = [p.Switch(f"s{number}", "core", number + 1) for number in range(2)]
    hosts = [p.Host(f"h{number}", "device", f"10.0.0.{number}", "", "cubic", False) for number in range(2)]
    paths = Paths(replaced(planned(), hosts=hosts, switches=switches, links=wiring.links))
    assert paths.ends_between("h0", "h1") == [("h0-link", 0), ("x", 0), ("h1-link", 1)]
    assert paths.ends_between("h1", "h0") == [("h1-link", 0), ("x", 1), ("h0-link", 1)]
