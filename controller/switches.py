"""OpenFlow input and output: a change goes to each of its switches in one write, and each confirms it or refuses it.

All messages of a change to one switch have one transaction number, so what comes back, error or barrier, names the change.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controller import messages
from controller.slices import Entry

BARRIER_LIMIT_S = 10  # in which a switch has to confirm
_Write = tuple[str, list[bytes]]


class SwitchError(Exception):
    """A switch has refused its part of a change, is not connected, or has not answered; the message says which and why."""


class _Change:
    """Switches that have not answered yet, and what others had against it."""

    def __init__(self, event: Any, switches: Iterable[str]) -> None:
        self.event, self.open = event, set(switches)
        self.errors: list[str] = []

    def answered(self, switch: str) -> None:
        self.open.discard(switch)
        if not self.open:
            self.event.set()


class Switches:
    """All switches of a network by name. Whoever makes a change is a green thread, and waits for it."""

    def __init__(self, new_event: Callable[[], Any]) -> None:
        self._new_event = new_event
        self._datapaths: dict[str, Any] = {}
        self._changes: dict[tuple[str, int], _Change] = {}  # by switch and transaction

    def connected(self, name: str, datapath: Any) -> None:
        self._datapaths[name] = datapath

    def connected_ones(self, names: Iterable[str]) -> dict[str, Any]:
        """Of these switches those that are connected, each with its datapath."""
        return {name: self._datapaths[name] for name in names if name in self._datapaths}

    def disconnected(self, name: str) -> None:
        """Nobody waits for a switch that is gone."""
        self._datapaths.pop(name, None)
        for switch, xid in [key for key in self._changes if key[0] == name]:
            change = self._changes.pop((switch, xid))
            change.errors.append(f"{name}: the switch has disconnected")
            change.answered(name)

    def confirmed(self, name: str, xid: int) -> None:
        """A barrier's reply: everything of that transaction is done."""
        if change := self._changes.pop((name, xid), None):
            change.answered(name)

    def refused(self, name: str, xid: int, why: str) -> bool:
        """An error; whether it belongs to a change that somebody waits for. The barrier's reply is still to come."""
        change = self._changes.get((name, xid))
        if change is not None:
            change.errors.append(f"{name}: {why}")
        return change is not None

    def add(self, entries: Iterable[Entry]) -> None:
        """Returns when all switches have them. Raises SwitchError; a switch then has all of its part, or nothing."""
        self._carry_out(entries, messages.added)

    def remove(self, entries: Iterable[Entry]) -> None:
        """Removes entries by match and priority. Raises SwitchError."""
        self._carry_out(entries, messages.removed)

    def remove_all(self, names: Iterable[str], cookie: int) -> None:
        """Removes all entries with a cookie. A switch that is not connected has none that matter: it is set anew when it comes."""
        there = [name for name in names if name in self._datapaths]
        if there:
            message = messages.removed_all(self._datapaths[there[0]], cookie)
            self._send({name: [message] for name in there})

    def _carry_out(self, entries: Iterable[Entry], message: Callable[[Any, Entry], bytes]) -> None:
        parts: dict[str, list[bytes]] = defaultdict(list)
        made: dict[Entry, bytes] = {}  # most entries of a change are the same but for their switch
        for entry in entries:
            what = entry._replace(switch="")
            if what not in made:
                made[what] = message(self._datapath(entry.switch), entry)
            parts[entry.switch].append(made[what])
        self._send(parts)

    def _send(self, parts: Mapping[str, list[bytes]]) -> None:
        """One write for each switch; returns when all have answered."""
        datapaths = {name: self._datapath(name) for name in parts}
        change = _Change(self._new_event(), parts)
        for name, datapath in datapaths.items():
            part = parts[name] if len(parts[name]) == 1 else messages.bundled(datapath, parts[name])
            datapath.xid = xid = (datapath.xid + 1) & datapath.ofproto.MAX_XID
            self._changes[name, xid] = change
            datapath.send(messages.numbered([*part, messages.barrier(datapath)], xid))
        if parts and not change.event.wait(timeout=BARRIER_LIMIT_S):
            change.errors += [f"{name}: not confirmed within {BARRIER_LIMIT_S} s" for name in sorted(change.open)]
        if change.errors:
            raise SwitchError("; ".join(sorted(change.errors)))

    def _datapath(self, name: str) -> Any:
        if name not in self._datapaths:
            raise SwitchError(f"{name}: the switch is not connected")
        return self._datapaths[name]
