"""Handovers, in the three phases of 3GPP's (TS 38.300, 9.2.3.2): the new path is there before the device is.

Preparation: the machine says that a device will be at another cell. Its slice's entries are set on the new path, its sessions are
decided anew and set there, and the switches that only the new path has get routes for what comes from above; whoever is near the
new cell still reaches the device by the old one. Execution: the machine says that it moves the port now. The new path begins where
the two part, at one switch. Completion: a switch reports the port. The new routes are for all, and what only the old path had goes.

A port that comes without a word is followed too, all at once and its route first.
"""

import json
from collections.abc import Callable
from typing import Any

from controller import slices
from controller.paths import Paths
from controller.sessions import Sessions
from controller.slices import Entry
from controller.switches import Switches
from scenarios import records
from scenarios.plan import Attachment, Device, Plan


class _Handover:
    """One that is under way, and what it waits for."""

    def __init__(self, device: Device, place: int, new_event: Callable[[], Any]) -> None:
        self.device, self.place = device, place
        self.executed, self.arrived, self.completed = new_event(), new_event(), new_event()

    @property
    def attachment(self) -> Attachment:
        return self.device.attachments[self.place]

    def leads_to(self, switch: str, port: int) -> bool:
        return (self.attachment.cell, self.attachment.port) == (switch, port)


class Handovers:
    """All devices' handovers, each in a green thread of its own. `hub` is os-ken's or Ryu's."""

    def __init__(
        self, plan: Plan, paths: Paths, switches: Switches, sessions: Sessions, recorder: records.Recorder, hub: Any
    ) -> None:
        self._plan, self._paths, self._switches, self._sessions = plan, paths, switches, sessions
        self._recorder, self._hub = recorder, hub
        self._devices = {device.host: device for device in plan.devices}
        self._ports = {device.interface: device for device in plan.devices}
        self._under_way: dict[str, _Handover] = {}  # the last of each device
        self._answer: Callable[[bytes], None] = lambda line: None

    def listen(self, channel: Any) -> None:
        """Does what the machine asks for, line by line, for as long as it is there; `channel` is a green socket."""
        self._answer = channel.sendall
        for line in channel.makefile("rb"):
            ((what, about),) = json.loads(line).items()
            if what == "prepare":
                self._begin(_Handover(self._devices[about["device"]], about["place"], self._hub.Event))
            elif what == "execute":
                self._under_way[about["device"]].executed.set()

    def is_at(self, switch: str, interface: str, port: int) -> None:
        """A switch has a port, as it says when it connects: a device may have moved while there was no controller."""
        if interface in self._ports:
            device = self._ports[interface]
            at = next(a for a in device.attachments if (a.cell, a.port) == (switch, port))
            self._paths.moved(device.host, at)

    def port_appeared(self, switch: str, interface: str, port: int) -> None:
        """A switch has a port that it did not have."""
        if interface not in self._ports:
            return
        device = self._ports[interface]
        handover = self._under_way.get(device.host)
        if handover is None or handover.completed.is_set() or not handover.leads_to(switch, port):
            possible = (_Handover(device, place, self._hub.Event) for place in range(len(device.attachments)))
            handover = next(one for one in possible if one.leads_to(switch, port))
            handover.arrived.set()
            self._begin(handover)
        handover.executed.set()
        handover.arrived.set()

    def _begin(self, handover: _Handover) -> None:
        before = self._under_way.get(handover.device.host)
        self._under_way[handover.device.host] = handover
        self._hub.spawn(self._follow, handover, before)

    def _follow(self, handover: _Handover, before: _Handover | None) -> None:
        if before:
            before.completed.wait()
        device = handover.device.host
        old_routes, old_slices = self._routes(handover), self._slices(handover)
        self._paths.moved(device, handover.attachment)
        if handover.arrived.is_set():
            self._switches.add([*self._routes(handover), *self._slices(handover)])
            self._note_that_it_leads_there(handover)
            self._sessions.move(device)
        else:
            parting = {entry.switch for entry in old_routes}
            below = [entry for entry in self._routes(handover) if entry.switch not in parting]
            ahead = [self._from_above(entry) for entry in below if self._paths.up(entry.switch)]
            self._switches.add([*ahead, *self._slices(handover)])
            self._sessions.move(device, lambda: self._let_it_move(handover, old_routes))
            self._switches.add(self._routes(handover))
            self._switches.remove(ahead)
        for old, new in ((old_routes, self._routes(handover)), (old_slices, self._slices(handover))):
            self._switches.remove(slices.difference(old, new)[1])
        handover.completed.set()

    def _let_it_move(self, handover: _Handover, old_routes: list[Entry]) -> None:
        """All is prepared; returns when the device has come."""
        self._tell("prepared", handover)
        handover.executed.wait()
        parting = {entry.switch for entry in old_routes}
        changed, _ = slices.difference(old_routes, self._routes(handover))
        self._switches.add([entry for entry in changed if entry.switch in parting])
        self._note_that_it_leads_there(handover)
        self._tell("executed", handover)
        handover.arrived.wait()

    def _from_above(self, entry: Entry) -> Entry:
        """Goes before a route, and holds for what comes from the core's side alone."""
        up = self._paths.up(entry.switch)
        assert up is not None
        return entry._replace(priority=entry.priority + 1, match=(*entry.match, ("in_port", up.port)))

    def _note_that_it_leads_there(self, handover: _Handover) -> None:
        flows, attachment = len(self._routes(handover)), handover.attachment
        event = records.Rerouted(self._recorder.now(), "controller", handover.device.host, attachment.cell, flows)
        self._recorder.write(event)

    def _routes(self, handover: _Handover) -> list[Entry]:
        return slices.routes(self._plan, self._paths, handover.device.host)

    def _slices(self, handover: _Handover) -> list[Entry]:
        return slices.slice_entries(self._plan, self._paths, handover.device)

    def _tell(self, what: str, handover: _Handover) -> None:
        self._answer(json.dumps({what: {"device": handover.device.host, "place": handover.place}}).encode() + b"\n")
