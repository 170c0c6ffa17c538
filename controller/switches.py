"""OpenFlow input and output: a change goes to each of its switches in one write, and each confirms it or refuses it.

Changes that are made in the same turn of the event loop go together, one bundle for each switch, however many sessions they are
for. All messages of a write have one transaction number, so what comes back, error or barrier, names it. When a switch refuses
a bundle of several changes, it gets each of them by itself, so that only what it cannot take is refused.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from controller import messages
from controller.slices import Entry

BARRIER_LIMIT_S = 10  # in which a switch has to confirm


class SwitchError(Exception):
    """A switch has refused its part of a change, is not connected, or has not answered; the message says which and why."""


class _Change:
    """What somebody waits for: messages by switch, switches that have not answered yet, and what others had against it."""

    def __init__(self, event: Any, parts: Mapping[str, list[bytes]]) -> None:
        self.event, self.parts, self.open = event, parts, set(parts)
        self.errors: list[str] = []

    def answered(self, switch: str, errors: Iterable[str] = ()) -> None:
        self.errors += errors
        self.open.discard(switch)
        if not self.open:
            self.event.set()


class _Write:
    """What went to a switch under one number, and what it has against it so far."""

    def __init__(self, changes: list[_Change]) -> None:
        self.changes = changes
        self.errors: list[str] = []


class Switches:
    """All switches of a network by name. Whoever makes a change is a green thread of `hub`, and waits for it."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._datapaths: dict[str, Any] = {}
        self._outbox: list[_Change] = []  # of this turn
        self._writes: dict[tuple[str, int], _Write] = {}  # by switch and transaction

    def connected(self, name: str, datapath: Any) -> None:
        self._datapaths[name] = datapath

    def connected_ones(self, names: Iterable[str]) -> dict[str, Any]:
        """Of these switches those that are connected, each with its datapath."""
        return {name: self._datapaths[name] for name in names if name in self._datapaths}

    def disconnected(self, name: str) -> None:
        """Nobody waits for a switch that is gone."""
        self._datapaths.pop(name, None)
        for key in [key for key in self._writes if key[0] == name]:
            for change in self._writes.pop(key).changes:
                change.answered(name, [f"{name}: the switch has disconnected"])

    def confirmed(self, name: str, xid: int) -> None:
        """A barrier's reply: everything of that transaction is done, or refused."""
        if not (write := self._writes.pop((name, xid), None)):
            return
        if write.errors and len(write.changes) > 1:
            for change in write.changes:
                self._write(name, [change])
        else:
            for change in write.changes:
                change.answered(name, write.errors)

    def refused(self, name: str, xid: int, why: str) -> bool:
        """An error; whether it belongs to a change that somebody waits for. The barrier's reply is still to come."""
        write = self._writes.get((name, xid))
        if write is not None:
            write.errors.append(f"{name}: {why}")
        return write is not None

    def add(self, entries: Iterable[Entry]) -> None:
        """Returns when all switches have them. Raises SwitchError; a switch then has all of its part, or nothing."""
        self._carry_out(entries, messages.added)

    def remove(self, entries: Iterable[Entry]) -> None:
        """Removes entries by match and priority. Raises SwitchError."""
        self._carry_out(entries, messages.removed)

    def remove_all(self, names: Iterable[str], cookie: int) -> None:
        """Removes all entries with a cookie. A switch that is not connected has none that matter: it is set anew when it comes."""
        part = [messages.removed_all(cookie)]
        self._send({name: part for name in names if name in self._datapaths})

    def _carry_out(self, entries: Iterable[Entry], message: Callable[[Entry], bytes]) -> None:
        parts: dict[str, list[bytes]] = defaultdict(list)
        made: dict[Entry, bytes] = {}  # most entries of a change are the same but for their switch
        for entry in entries:
            what = entry._replace(switch="")
            if what not in made:
                made[what] = message(entry)
            parts[entry.switch].append(made[what])
        if missing := sorted(parts.keys() - self._datapaths.keys()):
            raise SwitchError(f"{missing[0]}: the switch is not connected")
        self._send(parts)

    def _send(self, parts: Mapping[str, list[bytes]]) -> None:
        """Returns when all switches have answered."""
        if not parts:
            return
        change = _Change(self._hub.Event(), parts)
        self._outbox.append(change)
        if len(self._outbox) == 1:
            self._hub.sleep(0)  # until whoever else has something in this turn has said it
            self._write_all()
        if not change.event.wait(timeout=BARRIER_LIMIT_S):
            change.errors += [f"{name}: not confirmed within {BARRIER_LIMIT_S} s" for name in sorted(change.open)]
        if change.errors:
            raise SwitchError("; ".join(sorted(change.errors)))

    def _write_all(self) -> None:
        changes, self._outbox = self._outbox, []
        together: dict[str, list[_Change]] = defaultdict(list)
        for change in changes:
            for name in change.parts:
                together[name].append(change)
        for name, those in together.items():
            self._write(name, those)

    def _write(self, name: str, changes: list[_Change]) -> None:
        if not (datapath := self._datapaths.get(name)):  # any more
            for change in changes:
                change.answered(name, [f"{name}: the switch has disconnected"])
            return
        whole = [message for change in changes for message in change.parts[name]]
        datapath.xid = xid = (datapath.xid + 1) & datapath.ofproto.MAX_XID
        self._writes[name, xid] = _Write(changes)
        part = whole if len(whole) == 1 else messages.bundled(whole)
        datapath.send(messages.numbered([*part, messages.barrier()], xid))
