"""The controller: all the OpenFlow input and output, and the northbound's sockets. What to do is decided elsewhere.

It runs under os-ken and Ryu: `python -m controller.app`, `ryu-manager controller/app.py`; `options` says how it is told what.
"""

import json
import logging
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

if not __package__:  # `ryu-manager` takes this file alone
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from controller import options, qod, slices
from controller.paths import Paths
from controller.ryu import App, handler, hub, ofp_event, ofproto_v1_3, run
from scenarios import plan, records

_LOG = logging.getLogger(__name__)
_BARRIER_LIMIT = 10  # seconds in which a switch has to confirm


class SliceController(App):
    """Installs flows before they are needed: no flooding, no learning, no ARP."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plan = options.plan()
        self._paths = Paths(self._plan)
        self._book = qod.Book(self._plan, self._paths)
        self._recorder = options.recorder()
        self._names = {switch.dpid: switch.name for switch in self._plan.switches}
        self._devices = {device.interface: device for device in self._plan.devices}
        self._switches: dict[str, Any] = {}
        self._barriers: dict[tuple[int, int], Any] = {}
        self._fixed: dict[str, list[slices.Entry]] = defaultdict(list)
        for entry in slices.fixed_entries(self._plan, self._paths):
            self._fixed[entry.switch].append(entry)
        self._set = 0
        signal.signal(signal.SIGTERM, self._end)

    @handler.set_ev_cls(ofp_event.EventOFPStateChange, handler.MAIN_DISPATCHER)
    def _connected(self, event: Any) -> None:
        name = self._names[event.datapath.id]
        self._switches[name] = event.datapath
        hub.spawn(self._prepare, name)

    @handler.set_ev_cls(ofp_event.EventOFPBarrierReply, handler.MAIN_DISPATCHER)
    def _confirmed(self, event: Any) -> None:
        self._barriers.pop((event.msg.datapath.id, event.msg.xid)).set()

    @handler.set_ev_cls(ofp_event.EventOFPErrorMsg, handler.MAIN_DISPATCHER)
    def _refused(self, event: Any) -> None:
        _LOG.error("%s refused: %s", self._names[event.msg.datapath.id], event.msg)
        os._exit(1)  # a network that is not as planned gives no results

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
        self._send(self._fixed[name], self._add)
        self._set += 1
        if self._set == len(self._plan.switches):
            flows = sum(len(entries) for entries in self._fixed.values())
            self._recorder.write(records.Ready(self._recorder.now(), "controller", "flows", flows))
            self._serve_northbound()
            options.tell_ready()

    def _reroute(self, device: plan.Device, attachment: plan.Attachment) -> None:
        sessions = [s for s in self._book.sessions.values() if s.device == device.host]
        for session in sessions:
            self._send(self._entries(session), self._remove)
        before = slices.routes(self._plan, self._paths, device.host)
        self._paths.moved(device.host, attachment)
        self._book.moved(device.host)
        entries = slices.routes(self._plan, self._paths, device.host)
        left = [entry for entry in before if entry.switch not in {route.switch for route in entries}]
        entries += slices.slice_entries(self._plan, self._paths, device)
        entries += [entry for session in sessions for entry in self._entries(session)]
        self._send(entries, self._add)
        self._send(left, self._remove)
        now = self._recorder.now()
        self._recorder.write(records.Rerouted(now, "controller", device.host, attachment.cell, len(entries)))

    def _entries(self, session: qod.Reservation) -> list[slices.Entry]:
        return slices.session_entries(self._paths, session.device, session.server, session.queue)

    def _send(self, entries: Iterable[slices.Entry], change: Callable[[Any, slices.Entry], Any]) -> None:
        """Sends changes to all their switches; returns when every switch has confirmed."""
        waiting = []
        for name in sorted({entry.switch for entry in entries}):
            datapath = self._switches[name]
            for entry in (entry for entry in entries if entry.switch == name):
                datapath.send_msg(change(datapath, entry))
            barrier = datapath.ofproto_parser.OFPBarrierRequest(datapath)
            datapath.set_xid(barrier)
            confirmed = hub.Event()
            self._barriers[datapath.id, barrier.xid] = confirmed
            datapath.send_msg(barrier)
            waiting.append((name, confirmed))
        for name, confirmed in waiting:
            if not confirmed.wait(timeout=_BARRIER_LIMIT):
                raise TimeoutError(f"{name} has not confirmed its flows within {_BARRIER_LIMIT} s")

    @staticmethod
    def _add(datapath: Any, entry: slices.Entry) -> Any:
        parser, protocol = datapath.ofproto_parser, datapath.ofproto
        actions = []
        if entry.queue is not None:
            actions.append(parser.OFPActionSetQueue(entry.queue))
        if entry.mac is not None:
            actions.append(parser.OFPActionSetField(eth_dst=entry.mac))
        if entry.port is not None:
            actions.append(parser.OFPActionOutput(entry.port))
        instructions = [parser.OFPInstructionActions(protocol.OFPIT_APPLY_ACTIONS, actions)]
        if entry.port is None:
            instructions.append(parser.OFPInstructionGotoTable(slices.ROUTE))
        return parser.OFPFlowMod(
            datapath,
            table_id=entry.table,
            priority=entry.priority,
            match=parser.OFPMatch(**dict(entry.match)),
            instructions=instructions,
        )

    @staticmethod
    def _remove(datapath: Any, entry: slices.Entry) -> Any:
        parser, protocol = datapath.ofproto_parser, datapath.ofproto
        return parser.OFPFlowMod(
            datapath,
            command=protocol.OFPFC_DELETE_STRICT,
            table_id=entry.table,
            priority=entry.priority,
            match=parser.OFPMatch(**dict(entry.match)),
            out_port=protocol.OFPP_ANY,
            out_group=protocol.OFPG_ANY,
        )

    def _serve_northbound(self) -> None:
        from eventlet import greenio, wsgi  # after the hub is patched

        listening = greenio.GreenSocket(options.northbound())
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
        self._send(self._entries(session), self._add)
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
            self._send(self._entries(session), self._remove)
        self._recorder.write(records.SessionEnded(self._recorder.now(), "nef", session.id, session.slice))

    def _end(self, *_: Any) -> None:
        self._recorder.close()
        os._exit(0)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    run("controller.app", sys.argv[1:])
