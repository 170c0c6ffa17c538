"""Handovers, in the three phases of 3GPP's (TS 38.300, 9.2.3.2): the new path is there before the device is.

Preparation: the machine says that a device will be at another cell. Its slice's entries are set on the new path, its sessions are
decided anew and set there, and the switches that only the new path has get routes for what comes from above; whoever is near the
new cell still reaches the device by the old one. Execution: the machine says that it moves the port now. The new path begins where
the two part, at one switch. Completion: a switch reports the port. The new routes are for all, and what only the old path had goes.

A port that comes without a word is followed too, all at once and its route first.
"""

import contextlib
import json
from collections.abc import Callable, Collection
from typing import Any

from controller import slices
from controller.paths import Paths
from controller.sessions import Sessions
from controller.slices import Entry
from scenarios import recording, records
from scenarios.plan import Attachment, Device, Plan


class _Handover:
    """One that is under way, and what it waits for."""

    def __init__(self, device: Device, place: int, new_event: Callable[[], Any]) -> None:
        self.device, self.place = device, place
        self.executed, self.led = new_event(), new_event()
        self.arrived, self.completed = new_event(), new_event()

    @property
    def attachment(self) -> Attachment:
        return self.device.attachments[self.place]

    def release(self) -> None:
        """The device is there."""
        self.executed.set()
        self.arrived.set()


class Handovers:
    """All devices' handovers, each in green threads of its own.

    `add` and `remove` change the tables of all switches that are connected: the others are set anew when they come.
    """

    def __init__(
        self,
        plan: Plan,
        paths: Paths,
        add: Callable[[Collection[Entry]], object],
        remove: Callable[[Collection[Entry]], object],
        sessions: Sessions,
        recorder: recording.Recorder,
        new_event: Callable[[], Any],
        spawn: Callable[..., None],
    ) -> None:
        self._plan, self._paths, self._sessions, self._recorder = plan, paths, sessions, recorder
        self._add, self._remove, self._new_event, self._spawn = add, remove, new_event, spawn
        self._devices = {device.host: device for device in plan.devices}
        self._ports = {device.interface: device for device in plan.devices}
        self._places = dict.fromkeys(self._devices, 0)  # at which of its attachments each device is
        self._under_way: dict[str, _Handover] = {}  # the last of each device
        self._answer: Callable[[bytes], None] = lambda line: None

    def listen(self, channel: Any) -> None:
        """Does what the machine asks for, line by line, for as long as it is there; `channel` is a green socket."""
        self._answer = channel.sendall
        for line in channel.makefile("rb"):
            ((what, about),) = json.loads(line).items()
            if what == "execute":
                self._under_way[about["device"]].executed.set()
            elif about["place"] > self._places[about["device"]]:  # else the port was faster than these words
                self._begin(_Handover(self._devices[about["device"]], about["place"], self._new_event))

    def is_at(self, switch: str, interface: str, port: int) -> None:
        """A switch has a port, as it says when it connects: a device may have moved while there was no controller."""
        if interface in self._ports:
            device = self._ports[interface]
            self._places[device.host] = place = _place(device, switch, port)
            self._paths.moved(device.host, device.attachments[place])

    def port_appeared(self, switch: str, interface: str, port: int) -> None:
        """A switch has a port that it did not have, or had before it was gone."""
        if interface not in self._ports:
            return
        device = self._ports[interface]
        place = _place(device, switch, port)
        if self._places[device.host] == place:
            return
        self._places[device.host] = place
        handover = self._under_way.get(device.host)
        if handover and handover.place == place:
            handover.release()
        else:
            handover = _Handover(device, place, self._new_event)
            handover.release()
            self._begin(handover)

    def _begin(self, handover: _Handover) -> None:
        """Whatever has become of the one before, it is over."""
        before = self._under_way.get(handover.device.host)
        if before:
            before.release()
        self._under_way[handover.device.host] = handover
        self._spawn(self._follow, handover, before)

    def _follow(self, handover: _Handover, before: _Handover | None) -> None:
        if before:
            before.completed.wait()
        device, ahead = handover.device.host, list[Entry]()
        old_routes, old_slices = self._routes(handover), self._slices(handover)
        self._paths.moved(device, handover.attachment)
        self._spawn(self._lead, handover, old_routes)
        if not handover.arrived.is_set():
            parting = {entry.switch for entry in old_routes}
            below = [entry for entry in self._routes(handover) if entry.switch not in parting]
            ahead = [self._from_above(entry) for entry in below if self._paths.up(entry.switch)]
        self._add([*ahead, *self._slices(handover)])
        self._sessions.move(device, lambda: self._let_it_move(handover))
        handover.led.wait()
        self._add(self._routes(handover))
        self._remove(ahead)
        for old, new in ((old_routes, self._routes(handover)), (old_slices, self._slices(handover))):
            self._remove(slices.difference(old, new)[1])
        handover.completed.set()

    def _let_it_move(self, handover: _Handover) -> None:
        """All is prepared; returns when the device has come."""
        self._tell("prepared", handover)
        handover.led.wait()
        self._tell("executed", handover)
        handover.arrived.wait()

    def _lead(self, handover: _Handover, old_routes: list[Entry]) -> None:
        """When it is time, packets take the new path, whether or not the sessions are decided."""
        handover.executed.wait()
        routes = self._routes(handover)
        entries, _ = slices.difference(old_routes, routes)
        if not handover.arrived.is_set():
            # Open vSwitch goes through the flows that it has cached at most every 5 ms: the first change holds at once
            parting = {entry.switch for entry in old_routes}
            entries = [entry for entry in entries if entry.switch in parting]
        self._add(entries)
        host, cell = handover.device.host, handover.attachment.cell
        self._recorder.write(records.Rerouted(self._recorder.now(), "controller", host, cell, len(routes)))
        handover.led.set()

    def _from_above(self, entry: Entry) -> Entry:
        """Goes before a route, and holds for what comes from the core's side alone."""
        up = self._paths.up(entry.switch)
        assert up is not None
        return entry._replace(priority=entry.priority + 1, match=(*entry.match, ("in_port", up.port)))

    def _routes(self, handover: _Handover) -> list[Entry]:
        return slices.routes(self._plan, self._paths, handover.device.host)

    def _slices(self, handover: _Handover) -> list[Entry]:
        return slices.slice_entries(self._plan, self._paths, handover.device)

    def _tell(self, what: str, handover: _Handover) -> None:
        line = json.dumps({what: {"device": handover.device.host, "place": handover.place}}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # nobody is there to wait for it
            self._answer(line)


def _place(device: Device, switch: str, port: int) -> int:
    """Which attachment is at a port of a switch: each has a port of its own."""
    return next(n for n, entry in enumerate(device.attachments) if (entry.cell, entry.port) == (switch, port))
