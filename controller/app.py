"""The controller: all the OpenFlow input and output, and the northbound's sockets. What to do is decided elsewhere.

It is told by its environment: INSITU_PLAN, the plan's file; INSITU_EVENTS, the folder for its records; INSITU_NORTHBOUND, a
listening socket's descriptor in the NEF's namespace; INSITU_READY, a descriptor that gets one byte when every switch is set.
"""

import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controller import qod, slices
from controller.failover import Changed, Failover
from controller.paths import Paths
from controller.readback import Readback
from controller.ryu import app_manager, handler, hub, ofp_event, ofproto_v1_3
from controller.switches import Switches
from scenarios import plan, records

_LOG = logging.getLogger(__name__)
GATHERING_S = 2.5  # in which all switches have come that will: after a loss Open vSwitch tries again once a second


class SliceController(app_manager.OSKenApp):
    """Installs flows before they are needed: no flooding, no learning, no ARP."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plan = plan.parse(Path(os.environ["INSITU_PLAN"]).read_bytes())
        self._paths = Paths(self._plan)
        self._book = qod.Book(self._plan, self._paths)
        self._recorder = records.Recorder(Path(os.environ["INSITU_EVENTS"]), os.environ["INSITU_NAME"], at_once=True)
        self._names = {switch.dpid: switch.name for switch in self._plan.switches}
        self._devices = {device.interface: device for device in self._plan.devices}
        self._ports: dict[int, dict[int, bool]] = {}  # of switches that are about to be connected
        self._switches = Switches(hub.Event)
        self._readback = Readback(hub.Event)
        self._failover = Failover(self._plan, self._paths, self._switches, self._readback, list, hub.Semaphore())
        self._waiting: set[str] = set()  # switches that are connected and not set
        self._was_set: set[str] = set()
        self._begun = self._ready = False
        signal.signal(signal.SIGTERM, self._end)

    @handler.set_ev_cls(ofp_event.EventOFPPortDescStatsReply, handler.CONFIG_DISPATCHER)
    def _described(self, event: Any) -> None:
        """Asked for by os-ken itself, before a switch counts as connected."""
        ports = self._ports.setdefault(event.msg.datapath.id, {})
        ports |= {port.port_no: _is_up(event.msg.datapath, port) for port in event.msg.body}

    @handler.set_ev_cls(ofp_event.EventOFPStateChange, [handler.MAIN_DISPATCHER, handler.DEAD_DISPATCHER])
    def _connected(self, event: Any) -> None:
        datapath = event.datapath
        if datapath.id not in self._names:
            return  # it has never said which it is
        name = self._names[datapath.id]
        if event.state == handler.DEAD_DISPATCHER:
            self._switches.disconnected(name)
            self._readback.disconnected(name)
            self._failover.goes(name)
            return
        self._switches.connected(name, datapath)
        self._failover.comes(name, self._ports.pop(datapath.id, {}))
        self._waiting.add(name)
        if self._begun:
            self._spawn(self._set_anew)
        elif len(self._waiting) == len(self._plan.switches):
            self._spawn(self._begin)
        elif len(self._waiting) == 1:
            hub.spawn_after(GATHERING_S, self._guarded, self._begin)

    @handler.set_ev_cls(ofp_event.EventOFPBarrierReply, handler.MAIN_DISPATCHER)
    def _confirmed(self, event: Any) -> None:
        self._switches.confirmed(self._names[event.msg.datapath.id], event.msg.xid)

    @handler.set_ev_cls(ofp_event.EventOFPFlowStatsReply, handler.MAIN_DISPATCHER)
    def _read(self, event: Any) -> None:
        more = event.msg.flags & event.msg.datapath.ofproto.OFPMPF_REPLY_MORE
        self._readback.arrived(self._names[event.msg.datapath.id], event.msg.body, bool(more))

    @handler.set_ev_cls(ofp_event.EventOFPErrorMsg, handler.MAIN_DISPATCHER)
    def _refused(self, event: Any) -> None:
        name = self._names[event.msg.datapath.id]
        if not self._switches.refused(name, event.msg.xid, str(event.msg)):
            _LOG.error("%s refused: %s", name, event.msg)
            os._exit(1)  # a network that is not as planned gives no results

    @handler.set_ev_cls(ofp_event.EventOFPPortStatus, handler.MAIN_DISPATCHER)
    def _port_changed(self, event: Any) -> None:
        message, ofproto = event.msg, event.msg.datapath.ofproto
        interface, cell = message.desc.name.decode(), self._names[message.datapath.id]
        gone = message.reason == ofproto.OFPPR_DELETE
        self._failover.says(cell, {message.desc.port_no: gone or _is_up(message.datapath, message.desc)})
        if self._begun:
            self._spawn(self._follow)
        if message.reason == ofproto.OFPPR_ADD and interface in self._devices:
            device = self._devices[interface]
            attachment = next(a for a in device.attachments if (a.cell, a.port) == (cell, message.desc.port_no))
            self._spawn(self._reroute, device, attachment)

    def _begin(self) -> None:
        """When all switches are connected; or some, and the others do not come."""
        if self._begun:
            return
        self._begun = True
        self._set_anew()
        self._serve_northbound()

    def _set_anew(self) -> None:
        names, self._waiting = self._waiting, set()
        changed = self._failover.set_anew(sorted(names))
        self._was_set |= names
        if len(self._was_set) == len(self._plan.switches) and not self._ready:
            self._ready = True
            self._recorder.write(records.Ready(self._recorder.now(), self._recorder.process, "flows", changed.wanted))
            os.write(int(os.environ["INSITU_READY"]), b"R")
        else:
            self._note(changed)

    def _follow(self) -> None:
        if changed := self._failover.follow():
            self._note(changed)

    def _note(self, changed: Changed) -> None:
        now = self._recorder.now()
        self._recorder.write(records.Failover(now, "controller", " ".join(changed.down), changed.flows))

    def _spawn(self, task: Callable[..., None], *args: Any) -> None:
        hub.spawn(self._guarded, task, *args)

    def _guarded(self, task: Callable[..., None], *args: Any) -> None:
        """A run whose controller has a fault gives no results."""
        try:
            task(*args)
        except Exception:
            _LOG.exception("%s", task.__name__)
            os._exit(1)

    def _reroute(self, device: plan.Device, attachment: plan.Attachment) -> None:
        before = slices.routes(self._plan, self._paths, device.host)
        self._paths.moved(device.host, attachment)
        self._book.moved(device.host)
        entries = slices.routes(self._plan, self._paths, device.host)
        left = [entry for entry in before if entry.switch not in {route.switch for route in entries}]
        entries += slices.slice_entries(self._plan, self._paths, device)
        self._switches.add(entries)
        self._switches.remove(left)
        now = self._recorder.now()
        self._recorder.write(records.Rerouted(now, "controller", device.host, attachment.cell, len(entries)))

    def _serve_northbound(self) -> None:
        from eventlet import greenio, wsgi  # after the hub is patched

        listening = greenio.GreenSocket(socket.socket(fileno=int(os.environ["INSITU_NORTHBOUND"])))
        hub.spawn(wsgi.server, listening, self._answer, log_output=False, debug=False)

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        """The WSGI application of the northbound."""
        try:
            status, body = self._call(environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["wsgi.input"].read())
        except qod.ApiError as error:
            status, body = error.status, error.body()
        except Exception:
            _LOG.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
            os._exit(1)  # a run whose controller has a fault gives no results
        data = b"" if body is None else json.dumps(body).encode()
        start_response(f"{status} -", [("Content-Type", "application/json"), ("Content-Length", str(len(data)))])
        return [data]

    def _call(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if (method, path) == ("POST", f"{qod.ROOT}/sessions"):
            return 201, self._create_session(body)
        wanted = qod.session_id(path)
        if wanted is None:
            raise qod.ApiError(404, "NOT_FOUND", f"no resource {path}")
        session = self._book.sessions.get(wanted)
        if session is None:
            raise qod.ApiError(404, "NOT_FOUND", f"no session {wanted}")
        if method == "DELETE":
            self._end_session(session.id)
            return 204, None
        if method == "GET":
            return 200, qod.session_info(session)
        raise qod.ApiError(405, "METHOD_NOT_ALLOWED", f"{method} is not for {path}")

    def _create_session(self, body: bytes) -> dict[str, Any]:
        asked = qod.parse(body, self._plan)
        session, verdict = self._book.decide(asked, time.time_ns())
        self._recorder.write(
            records.Session(
                self._recorder.now(),
                "nef",
                session.id,
                session.slice,
                session.device,
                session.requested_bps,
                session.granted_bps,
                verdict,
            )  # fmt: skip
        )
        if verdict == "refused":
            raise qod.ApiError(
                409, "CONFLICT", f'slice "{session.slice}" has nothing left on the path to {session.device}'
            )
        self._book.sessions[session.id] = session
        hub.spawn_after(session.duration_s, self._end_session, session.id)
        return qod.session_info(session)

    def _end_session(self, wanted: str) -> None:
        """Ends a session that is still there."""
        session = self._book.sessions.pop(wanted, None)
        if session is None:
            return
        same_flow = [
            s for s in self._book.sessions.values() if (s.device, s.server) == (session.device, session.server)
        ]
        if not same_flow:
            pass
        self._recorder.write(records.SessionEnded(self._recorder.now(), "nef", session.id, session.slice))

    def _end(self, *_: Any) -> None:
        self._recorder.close()
        os._exit(0)


def _is_up(datapath: Any, port: Any) -> bool:
    ofproto = datapath.ofproto
    return not port.config & ofproto.OFPPC_PORT_DOWN and not port.state & ofproto.OFPPS_LINK_DOWN


if __name__ == "__main__":
    from controller import ryu

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    ryu.run("controller.app", plan.OPENFLOW_PORT)
