"""The controller as an application of os-ken or Ryu: it puts the parts together and passes on what switches say.

It is told by its environment: INSITU_PLAN, the plan's file; INSITU_EVENTS, the folder for its records; INSITU_NORTHBOUND, a
listening socket's descriptor in the NEF's namespace; INSITU_READY, a descriptor that gets one byte when every switch is set.
"""

import logging
import os
import signal
import socket
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from controller.ryu import app_manager, handler, hub, ofp_event, ofproto_v1_3  # isort: skip - it patches sockets
from controller import policies, slices
from controller.classes import Classes
from controller.northbound.events import Event
from controller.northbound.northbound import application
from controller.paths import Paths
from controller.sessions import Sessions
from controller.switches import SwitchError, Switches
from linux import namespace
from linux.netlink import Netlink
from scenarios import plan, records

_LOG = logging.getLogger(__name__)


class SliceController(app_manager.OSKenApp):
    """Installs flows before they are needed: no flooding, no learning, no ARP."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        file, events = Path(os.environ["INSITU_PLAN"]), Path(os.environ["INSITU_EVENTS"])
        self._plan = plan.parse(file.read_bytes())
        self._paths = Paths(self._plan)
        self._recorder = records.Recorder(events, "controller")
        self._switches = Switches(hub.Event)
        self._sessions = Sessions(
            self._plan,
            self._paths,
            policies.slicing(self._plan.policies.slicing, file.parent / plan.OWN_POLICIES),
            self._switches,
            Classes(self._plan, Netlink(), socket.if_nametoindex),
            self._recorder,
            hub,
            views=events.parent / "logs",
        )
        self._names = {switch.dpid: switch.name for switch in self._plan.switches}
        self._devices = {device.interface: device for device in self._plan.devices}
        self._fixed: dict[str, list[slices.Entry]] = defaultdict(list)
        for entry in slices.fixed_entries(self._plan, self._paths):
            self._fixed[entry.switch].append(entry)
        self._set = 0
        signal.signal(signal.SIGTERM, self._end)

    @handler.set_ev_cls(ofp_event.EventOFPStateChange, [handler.MAIN_DISPATCHER, handler.DEAD_DISPATCHER])
    def _state_changed(self, event: Any) -> None:
        datapath = event.datapath
        if event.state == handler.MAIN_DISPATCHER:
            name = self._names[datapath.id]
            self._switches.connected(name, datapath)
            hub.spawn(self._prepare, name)
        elif datapath.id in self._names:
            self._switches.disconnected(self._names[datapath.id])

    @handler.set_ev_cls(ofp_event.EventOFPBarrierReply, handler.MAIN_DISPATCHER)
    def _confirmed(self, event: Any) -> None:
        self._switches.confirmed(self._names[event.msg.datapath.id], event.msg.xid)

    @handler.set_ev_cls(ofp_event.EventOFPErrorMsg, handler.MAIN_DISPATCHER)
    def _refused(self, event: Any) -> None:
        message = event.msg
        name, why = self._names[message.datapath.id], f"refused, type {message.type}, code {message.code}"
        if not self._switches.refused(name, message.xid, why):
            _LOG.error("%s %s: %s", name, why, message)

    @handler.set_ev_cls(ofp_event.EventOFPPortStatus, handler.MAIN_DISPATCHER)
    def _port_changed(self, event: Any) -> None:
        message = event.msg
        interface = message.desc.name.decode()
        if message.reason == message.datapath.ofproto.OFPPR_ADD and interface in self._devices:
            cell = self._names[message.datapath.id]
            device = self._devices[interface]
            attachment = next(a for a in device.attachments if (a.cell, a.port) == (cell, message.desc.port_no))
            hub.spawn(self._reroute, device, attachment)

    def _prepare(self, name: str) -> None:
        try:
            self._switches.add(self._fixed[name])
        except SwitchError as error:
            _LOG.error("%s", error)
            os._exit(1)  # a network that is not as planned gives no results
        self._set += 1
        if self._set == len(self._plan.switches):
            flows = sum(len(entries) for entries in self._fixed.values())
            self._recorder.write(records.Ready(self._recorder.now(), "controller", "flows", flows))
            self._serve_northbound()
            os.write(int(os.environ["INSITU_READY"]), b"R")

    def _reroute(self, device: plan.Device, attachment: plan.Attachment) -> None:
        before = slices.routes(self._plan, self._paths, device.host)
        self._paths.moved(device.host, attachment)
        entries = slices.routes(self._plan, self._paths, device.host)
        left = [entry for entry in before if entry.switch not in {route.switch for route in entries}]
        entries += slices.slice_entries(self._plan, self._paths, device)
        self._switches.add(entries)
        self._sessions.move(device.host)
        self._switches.remove(left)
        now = self._recorder.now()
        self._recorder.write(records.Rerouted(now, "controller", device.host, attachment.cell, len(entries)))

    def _serve_northbound(self) -> None:
        from eventlet import greenio, wsgi  # after the hub is patched

        nef = next(host.name for host in self._plan.hosts if host.role == "nef")
        serve = application(
            self._plan,
            self._sessions,
            open_socket=lambda: _socket_at(nef),
            spawn=hub.spawn,
            delivered=self._delivered,
            now=self._recorder.now,
            calendar_ns=time.time_ns() - time.monotonic_ns(),
        )
        listening = greenio.GreenSocket(socket.socket(fileno=int(os.environ["INSITU_NORTHBOUND"])))

        def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            try:
                return serve(environ, start_response)
            except Exception:
                _LOG.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
                os._exit(1)  # a run whose controller has a fault gives no results

        hub.spawn(wsgi.server, listening, answer, log_output=False, debug=False)

    def _delivered(self, event: Event, attempts: int, answer: int) -> None:
        now = self._recorder.now()
        self._recorder.write(records.Notified(now, "nef", event.session, event.status, attempts, answer))

    def _end(self, *_: Any) -> None:
        self._recorder.close()
        os._exit(0)


def _socket_at(host: str) -> socket.socket:
    with namespace.inside(host):
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


if __name__ == "__main__":
    from controller import ryu

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    ryu.run("controller.app", plan.OPENFLOW_PORT)
