"""Keeps the flow tables as they have to be, by what the switches say: ports that go down and up, switches that go and come.

There is one rule for a start, a failure, a switch that comes back and a controller that was killed: what is wanted follows from
the links that are up and from the sessions, what is there is known or read, and what differs is changed.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from controller import slices
from controller.carrier import Carrier
from controller.paths import Paths
from controller.readback import Readback, normal
from controller.slices import Entry
from controller.switches import SwitchError, Switches
from scenarios.plan import Plan

# In which all switches come that will: after a loss Open vSwitch tries again once a second
GATHERING_S = 2.5


class Changed(NamedTuple):
    """Which links are down now, and how many entries were changed."""

    down: set[str]
    flows: int


class Failover:
    """`comes`, `says` and `goes` tell it what is heard, and return at once.

    At first it waits for all switches, so that what it does not know yet looks neither up nor down; then it sets all at once.
    """

    def __init__(
        self,
        plan: Plan,
        paths: Paths,
        switches: Switches,
        readback: Readback,
        of_sessions: Callable[[], Iterable[Entry]],
        hub: Any,
        spawn: Callable[[Callable[[], None]], None],
        changed: Callable[[Changed], None],
    ) -> None:
        """`of_sessions` gives the entries that sessions have; `changed` is told when flows lead over other links than before."""
        self._plan, self._paths, self._switches = plan, paths, switches
        self._readback, self._of_sessions = readback, of_sessions
        self._hub, self._spawn, self._tell = hub, spawn, changed
        self._lock = hub.Semaphore()
        self._carrier = Carrier(plan)
        self._coming: dict[str, dict[int, bool]] = {}  # switches that are connected and not set yet, with their ports
        self._was_set: set[str] = set()
        self._wanted: list[Entry] = []  # beside those of sessions
        self.began = hub.Event()  # those that came in time are set
        self.all_set = hub.Event()

    @property
    def entries(self) -> int:
        """How many are wanted, beside those of sessions."""
        return len(self._wanted)

    def comes(self, switch: str, ports: Mapping[int, bool]) -> None:
        """A switch has connected; of each port whether it is up."""
        self._coming[switch] = dict(ports)
        if self.began.is_set() or len(self._coming) == len(self._plan.switches):
            self._spawn(self._set_anew)
        elif len(self._coming) == 1:
            self._hub.spawn_after(GATHERING_S, self._spawn, self._set_anew)

    def says(self, switch: str, port: int, up: bool) -> None:
        """A switch says of a port whether it is up; one that is gone is not down."""
        if switch in self._coming:
            self._coming[switch][port] = up
            return
        self._carrier.says(switch, port, up)
        if self.began.is_set():
            self._spawn(self._follow)

    def goes(self, switch: str) -> None:
        """The connection to a switch has ended."""
        self._coming.pop(switch, None)
        self._carrier.gone(switch)

    def _set_anew(self) -> None:
        """Gives the switches that have come what they lack, and takes from them what they should not have; then their links
        count."""
        with self._lock:
            if not (names := sorted(self._coming)):
                return  # another has done it
            there = self._readback.entries(self._switches.connected_ones(names))
            before = self._paths.down
            for name in there:
                self._carrier.back(name, self._coming.pop(name, {}))
            changed = self._change(there)
            self._was_set |= there.keys()
        self.began.set()
        if len(self._was_set) == len(self._plan.switches):
            self.all_set.set()
        if changed.down != before:
            self._tell(changed)

    def _follow(self) -> None:
        """Lets the flows go over what is up. What was heard meanwhile is done with the first of several."""
        with self._lock:
            if self._carrier.links_down() == self._paths.down:
                return
            changed = self._change({})
        self._tell(changed)

    def _change(self, there: Mapping[str, list[Entry]]) -> Changed:
        """From what is there (elsewhere: what was wanted before) to what is wanted now."""
        self._paths.set_down(self._carrier.links_down())
        before = [entry for entry in self._wanted if entry.switch not in there]
        before += [entry for entries in there.values() for entry in entries]
        self._wanted = [normal(entry) for entry in slices.fixed_entries(self._plan, self._paths)]
        of_sessions = [normal(entry) for entry in self._of_sessions() if entry.switch in there]
        changed, gone = slices.difference(before, [*self._wanted, *of_sessions])
        flows = self.send(self._switches.add, changed) + self.send(self._switches.remove, gone)
        return Changed(self._paths.down, flows)

    def send(self, carry_out: Callable[[Collection[Entry]], None], entries: Collection[Entry]) -> int:
        """A switch that is not connected, not set yet, or gone meanwhile is set anew. Raises SwitchError when one refuses."""
        connected = self._switches.connected_ones({entry.switch for entry in entries} - self._coming.keys())
        entries = [entry for entry in entries if entry.switch in connected]
        try:
            carry_out(entries)
        except SwitchError:
            if connected == self._switches.connected_ones(connected):
                raise
        return len(entries)
