"""Failover with switches in memory: whatever fails and comes back, the tables are those of what is up."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

from builders import planned
from hypothesis import given, settings
from hypothesis import strategies as st

from controller import slices
from controller.carrier import Carrier
from controller.failover import Changed, Failover
from controller.paths import Paths
from controller.readback import normal
from controller.slices import Entry

SOME = settings(max_examples=60, deadline=None)
PLAN = planned(
    network={
        "regions": [
            {"name": "west", "gnbs": [{"name": "quad"}, {"name": "tunnel"}]},
            {"name": "east", "gnbs": [{"name": "market"}]},
        ],
        "links": [
            {"from": "quad", "to": "east", "rate": "1 Gbit/s", "delay": "8 ms"},
            {"from": "tunnel", "to": "quad", "rate": "1 Gbit/s", "delay": "1 ms"},
        ],
    },
    devices=[{"name": "phone", "count": 2, "at": "quad"}, {"name": "cam", "at": "market"}],
)
SWITCHES = [switch.name for switch in PLAN.switches]
ENDS = {link.name: [(end.node, end.port) for end in link.ends if end.port] for link in PLAN.links}
LINKS = [name for name, ends in ENDS.items() if len(ends) == 2]


class Network:
    """Switches that hold entries, say of their ports whether they are up, and can be without power."""

    def __init__(self) -> None:
        self.tables: dict[str, dict[tuple[Any, ...], Entry]] = {name: {} for name in SWITCHES}
        self.off, self.down = set[str](), set[str]()
        self.told: list[Changed] = []
        self._waiting: list[Callable[[], None]] = []
        hub = SimpleNamespace(Semaphore=nullcontext, Event=Flag, spawn_after=lambda *_: None)
        memory: Any = self
        self.failover = Failover(PLAN, Paths(PLAN), memory, memory, list, hub, self._waiting.append, self.told.append)
        for name in SWITCHES:
            self.failover.comes(name, self.ports(name))
        self.settle()

    def is_up(self, link: str) -> bool:
        return link not in self.down and not self.off & {switch for switch, _ in ENDS[link]}

    def ports(self, switch: str) -> dict[int, bool]:
        return {port: self.is_up(link) for link, ends in ENDS.items() for node, port in ends if node == switch}

    def settle(self) -> None:
        while self._waiting:
            self._waiting.pop(0)()

    def flip_link(self, link: str) -> None:
        was = {name: self.is_up(name) for name in ENDS}
        self.down ^= {link}
        self._say(was)

    def flip_switch(self, switch: str, first: str) -> None:
        """Its neighbours hear of it before (`first` is "ports") or after its connection has ended."""
        was = {name: self.is_up(name) for name in ENDS}
        self.off ^= {switch}
        if switch in self.off:
            self.tables[switch].clear()
            acts = [lambda: self._say(was), lambda: self.failover.goes(switch)]
            for act in acts if first == "ports" else reversed(acts):
                act()
        else:
            self._say(was)
            self.failover.comes(switch, self.ports(switch))

    def _say(self, was: Mapping[str, bool]) -> None:
        for link, ends in ENDS.items():
            for switch, port in ends:
                if was[link] != self.is_up(link) and switch not in self.off:
                    self.failover.says(switch, port, self.is_up(link))

    def connected_ones(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: name for name in names if name not in self.off}

    def entries(self, switches: Mapping[str, Any]) -> dict[str, list[Entry]]:
        return {name: list(self.tables[name].values()) for name in switches}

    def add(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.tables[entry.switch][entry[:4]] = entry

    def remove(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            del self.tables[entry.switch][entry[:4]]


class Flag:
    def __init__(self) -> None:
        self._set = False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True


EVENTS = st.one_of(
    st.tuples(st.just("link"), st.sampled_from(LINKS), st.booleans()),
    st.tuples(st.just("switch"), st.sampled_from(SWITCHES), st.booleans()),
)


@SOME
@given(st.lists(EVENTS, max_size=8), st.sampled_from(["ports", "connection"]))
def test_tables_are_those_of_what_is_up(events: list[tuple[str, str, bool]], first: str) -> None:
    """Each event is followed at once, or only with the next."""
    network = Network()
    for kind, name, at_once in events:
        if kind == "link":
            network.flip_link(name)
        else:
            network.flip_switch(name, first)
        if at_once:
            network.settle()
    network.settle()
    paths = Paths(PLAN)
    paths.set_down({link for link in ENDS if not network.is_up(link)})
    wanted = [normal(entry) for entry in slices.fixed_entries(PLAN, paths)]
    for switch in SWITCHES:
        if switch not in network.off:
            here = {entry[:4]: entry for entry in wanted if entry.switch == switch}
            assert network.tables[switch] == here, switch


def test_a_link_counts_when_the_switch_behind_it_has_its_flows_again() -> None:
    carrier = Carrier(PLAN)
    for switch in SWITCHES:
        carrier.back(switch, {})
    (west, up), (core, core_port) = ENDS["west-link"]
    carrier.says(core, core_port, False)
    carrier.gone(west)
    carrier.says(core, core_port, True)
    assert carrier.links_down() == {"west-link"}, "there is carrier, and no flow behind it"
    carrier.back(west, {up: True})
    assert carrier.links_down() == set()


def test_nothing_is_sent_where_nothing_differs() -> None:
    """A controller that comes back finds what it wants."""
    network = Network()
    before = {name: dict(table) for name, table in network.tables.items()}
    sent: list[Entry] = []
    network.add = sent.extend  # type: ignore[method-assign]
    for name in SWITCHES:
        network.failover.comes(name, network.ports(name))
    network.settle()
    assert sent == []
    assert network.tables == before
