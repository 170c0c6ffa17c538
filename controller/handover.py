"""Handovers, in the three phases of 3GPP's (TS 38.300, 9.2.3.2): the new path is there before the device is.

Preparation: the machine says that a device will be at another cell. Its slice's entries are set on the new path, its sessions are
decided anew and set there, and the switches that only the new path has get routes for what comes from above; whoever is near the
new cell still reaches the device by the old one. Execution: the machine says that it moves the port now. The new path begins where
the two part, at one switch. Completion: a switch reports the port. The new routes are for all, and what only the old path had goes.

A port that comes without a word is followed too, all at once and its route first.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from controller import slices
from controller.paths import Paths
from controller.ryu import hub
from controller.slices import Entry
from scenarios import records
from scenarios.plan import Attachment, Device, Plan


class Moving(Protocol):
    """Moves a device's sessions to where `Paths` has it: sets them on the new path, calls `between`, and clears the old one."""

    def __call__(self, device: str, between: Callable[[], None]) -> None: ...


class Change(Protocol):
    """What installs or removes entries; it returns when every switch has confirmed."""

    def __call__(self, entries: Sequence[Entry]) -> None: ...


class _Handover:
    """One that is under way: what it waits for."""

    def __init__(self, device: Device, place: int) -> None:
        self.device, self.place = device, place
        self.executed, self.arrived, self.completed = hub.Event(), hub.Event(), hub.Event()

    @property
    def attachment(self) -> Attachment:
        return self.device.attachments[self.place]

    def leads_to(self, switch: str, port: int) -> bool:
        return (self.attachment.cell, self.attachment.port) == (switch, port)


class Handovers:
    """All devices' handovers, each in a green thread of its own."""

    def __init__(
        self,
        plan: Plan,
        paths: Paths,
        move_sessions: Moving,
        install: Change,
        remove: Change,
        recorder: records.Recorder,
    ) -> None:
        self._plan, self._paths, self._recorder = plan, paths, recorder
        self._move_sessions, self._install, self._remove = move_sessions, install, remove
        self._devices = {device.host: device for device in plan.devices}
        self._ports = {device.interface: device for device in plan.devices}
        self._under_way: dict[str, _Handover] = {}  # the last of each device
        self._answer: Callable[[bytes], None] = lambda line: None

    def listen(self, channel: Any) -> None:
        """Does what the machine asks for, line by line, for as long as it is there; `channel` is a green socket."""
        self._answer = channel.sendall
        for line in channel.makefile("rb"):
            ((what, about),) = json.loads(line).items()
            device, place = self._devices[about["device"]], about["place"]
            if what == "prepare":
                self._begin(_Handover(device, place))
            elif what == "execute":
                self._under_way[device.host].executed.set()

    def port_appeared(self, switch: str, interface: str, port: int) -> None:
        """A switch has a port that it did not have."""
        if interface not in self._ports:
            return
        device = self._ports[interface]
        handover = self._under_way.get(device.host)
        if handover is None or handover.completed.is_set() or not handover.leads_to(switch, port):
            places = range(len(device.attachments))
            handover = next(h for h in (_Handover(device, n) for n in places) if h.leads_to(switch, port))
            handover.arrived.set()
            self._begin(handover)
        handover.executed.set()
        handover.arrived.set()

    def _begin(self, handover: _Handover) -> None:
        before = self._under_way.get(handover.device.host)
        self._under_way[handover.device.host] = handover
        hub.spawn(self._follow, handover, before)

    def _follow(self, handover: _Handover, before: _Handover | None) -> None:
        if before:
            before.completed.wait()
        device = handover.device
        old_routes, old_slices = self._routes(device), self._slices(device)
        self._paths.moved(device.host, handover.attachment)
        routes, slice_entries = self._routes(device), self._slices(device)
        parting = {entry.switch for entry in old_routes}
        ahead = [self._from_above(entry) for entry in routes if entry.switch not in parting]

        def execute() -> None:
            self._tell("prepared", handover)
            handover.executed.wait()
            self._install([entry for entry in routes if entry.switch in parting and entry not in old_routes])
            self._record(handover, routes)
            self._tell("executed", handover)
            handover.arrived.wait()

        if handover.arrived.is_set():
            self._install([*routes, *slice_entries])
            self._record(handover, routes)
            self._move_sessions(device.host, lambda: None)
        else:
            self._install([*ahead, *slice_entries])
            self._move_sessions(device.host, execute)
            self._install([entry for entry in routes if entry.switch not in parting])
        self._remove([*ahead, *_without(routes, old_routes), *_without(slice_entries, old_slices)])
        handover.completed.set()

    def _from_above(self, entry: Entry) -> Entry:
        """Goes before a route, and holds for what comes from the core's side alone."""
        up = self._paths.up(entry.switch)
        assert up is not None  # the core has a route to every host
        return entry._replace(priority=entry.priority + 1, match=(*entry.match, ("in_port", up.port)))

    def _record(self, handover: _Handover, routes: list[Entry]) -> None:
        host, cell = handover.device.host, handover.attachment.cell
        self._recorder.write(records.Rerouted(self._recorder.now(), "controller", host, cell, len(routes)))

    def _routes(self, device: Device) -> list[Entry]:
        return slices.routes(self._plan, self._paths, device.host)

    def _slices(self, device: Device) -> list[Entry]:
        return slices.slice_entries(self._plan, self._paths, device)

    def _tell(self, what: str, handover: _Handover) -> None:
        self._answer(json.dumps({what: {"device": handover.device.host, "place": handover.place}}).encode() + b"\n")


def _without(new: list[Entry], old: list[Entry]) -> list[Entry]:
    """Of the old entries those in whose place of a table there is no new one."""
    taken = {_place(entry) for entry in new}
    return [entry for entry in old if _place(entry) not in taken]


def _place(entry: Entry) -> tuple[Any, ...]:
    return entry.switch, entry.table, entry.priority, entry.match
