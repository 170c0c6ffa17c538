"""Keeps the flow tables as they have to be, by what the switches say: ports that go down and up, switches that go and come.

There is one rule for a start, a failure, a switch that comes back and a controller that was killed: what is wanted follows from
the links that are up and from the sessions, what is there is known or read, and what differs is changed.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from controller import slices
from controller.carrier import Carrier
from controller.paths import Paths
from controller.readback import Readback, normal
from controller.slices import Entry
from controller.switches import SwitchError, Switches
from scenarios.plan import Plan

Ports = Mapping[int, bool]  # OpenFlow port -> whether it is up


class Changed(NamedTuple):
    """Which links are down, how many entries were changed, and how many are wanted beside those of sessions."""

    down: list[str]
    flows: int
    wanted: int


class Failover:
    """`comes`, `says` and `goes` note what is heard and return at once; `set_anew` and `follow` are for green threads."""

    def __init__(
        self,
        plan: Plan,
        paths: Paths,
        switches: Switches,
        readback: Readback,
        of_sessions: Callable[[], Collection[Entry]],
        lock: AbstractContextManager[Any],
    ) -> None:
        """`of_sessions` gives the entries that sessions have; the lock lets one change after another be made."""
        self._plan, self._paths, self._switches = plan, paths, switches
        self._readback, self._of_sessions, self._lock = readback, of_sessions, lock
        self._carrier = Carrier(plan)
        self._coming: dict[str, dict[int, bool]] = {}  # switches that are connected, but not set
        self._wanted: list[Entry] = []  # beside those of sessions

    def comes(self, switch: str, ports: Ports) -> None:
        self._coming[switch] = dict(ports)

    def says(self, switch: str, ports: Ports) -> None:
        if switch in self._coming:
            self._coming[switch] |= ports
            return
        for port, up in ports.items():
            self._carrier.says(switch, port, up)

    def goes(self, switch: str) -> None:
        self._coming.pop(switch, None)
        self._carrier.gone(switch)

    def set_anew(self, names: Collection[str]) -> Changed:
        """Gives switches that have come what they lack, and takes from them what they should not have. Their links count from
        now on."""
        with self._lock:
            there = self._readback.entries(self._switches.connected_ones(names))
            for name in there:
                self._carrier.back(name, self._coming.pop(name, {}))
            return self._change(there)

    def follow(self) -> Changed | None:
        """If other links are down than before, lets the flows go over what is up. What was heard meanwhile is done with the
        first call."""
        with self._lock:
            if self._carrier.links_down() == self._paths.down:
                return None
            return self._change({})

    def _change(self, there: Mapping[str, list[Entry]]) -> Changed:
        """From what is there (elsewhere: what was wanted before) to what is wanted now."""
        self._paths.set_down(self._carrier.links_down())
        before = [entry for entry in self._wanted if entry.switch not in there]
        before += [entry for entries in there.values() for entry in entries]
        self._wanted = [normal(entry) for entry in slices.fixed_entries(self._plan, self._paths)]
        of_sessions = [normal(entry) for entry in self._of_sessions() if entry.switch in there]
        changed, gone = slices.difference(before, [*self._wanted, *of_sessions])
        count = self._send(self._switches.add, changed) + self._send(self._switches.remove, gone)
        return Changed(sorted(self._paths.down), count, len(self._wanted))

    def _send(self, carry_out: Callable[[Collection[Entry]], None], entries: Collection[Entry]) -> int:
        """A switch that is not connected, or no more, is set anew when it comes. Raises SwitchError when one refuses."""
        connected = self._switches.connected_ones({entry.switch for entry in entries})
        entries = [entry for entry in entries if entry.switch in connected]
        try:
            carry_out(entries)
        except SwitchError:
            if connected == self._switches.connected_ones(connected):
                raise
        return len(entries)
