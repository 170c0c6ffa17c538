"""The controller as an application of os-ken or Ryu: it puts the parts together and passes on what switches say.

`python -m controller.app`, or `ryu-manager controller/app.py`; `options` is what the environment or the configuration tells it.
"""

import gc
import json
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # Ryu takes the file alone
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from controller.ryu import App, handler, hub, ofp_event, ofproto_v1_3, run  # isort: skip - it patches sockets
from msgspec import Raw

from controller import options, policies
from controller.classes import Classes
from controller.failover import Changed, Failover
from controller.handover import Handovers
from controller.northbound.application import Application
from controller.northbound.events import Event
from controller.northbound.northbound import application
from controller.paths import Paths
from controller.readback import Readback
from controller.sessions import Sessions
from controller.switches import Switches
from linux import namespace, tree
from linux.netlink import Netlink
from scenarios import plan, records

_LOG = logging.getLogger(__name__)


class SliceController(App):
    """Installs flows before they are needed: no flooding, no learning, no ARP."""

    OFP_VERSIONS = [ofproto_v1_3.OFP_VERSION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        file = options.plan_file()
        self._plan = options.plan(file)
        self._paths = Paths(self._plan)
        self._recorder = options.recorder()
        self._switches = Switches(hub)
        self._journal = options.journal()
        found, netlink = self._journal.found, Netlink()
        classes = Classes(self._plan, netlink, socket.if_nametoindex)
        self._sessions = Sessions(
            self._plan,
            self._paths,
            policies.slicing(self._plan.policies.slicing, file.parent / plan.OWN_POLICIES),
            self._switches,
            classes,
            self._recorder,
            hub,
            views=options.logs(),
            journal=self._journal.write,
        )
        if not self._journal.is_new:
            kept = self._sessions.restore(found)
            classes.restore(kept, lambda index: tree.sessions(index, netlink))
        self._northbound = self._make_northbound(found.resources)
        self._names = {switch.dpid: switch.name for switch in self._plan.switches}
        self._ports: dict[int, dict[int, bool]] = {}  # of switches that are about to be connected
        self._readback = Readback(hub.Event)
        self._failover = Failover(
            self._plan,
            self._paths,
            self._switches,
            self._readback,
            self._sessions.entries,
            hub,
            self._spawn,
            self._changed,
        )
        self._handovers = Handovers(
            self._plan,
            self._paths,
            partial(self._failover.send, self._switches.add),
            partial(self._failover.send, self._switches.remove),
            self._sessions,
            self._recorder,
            hub.Event,
            self._spawn,
        )
        self._spawn(self._begin)
        signal.signal(signal.SIGTERM, self._end)

    @handler.set_ev_cls(ofp_event.EventOFPPortDescStatsReply, handler.CONFIG_DISPATCHER)
    def _described(self, event: Any) -> None:
        """Asked for by os-ken itself, before a switch counts as connected. Where devices are shows in its ports too."""
        if event.msg.datapath.id not in self._names:
            return
        ports = self._ports.setdefault(event.msg.datapath.id, {})
        ports |= {port.port_no: _is_up(event.msg.datapath, port) for port in event.msg.body}
        note = self._handovers.port_appeared if self._failover.began.is_set() else self._handovers.is_at
        for port in event.msg.body:
            note(self._names[event.msg.datapath.id], port.name.decode(), port.port_no)

    @handler.set_ev_cls(ofp_event.EventOFPStateChange, [handler.MAIN_DISPATCHER, handler.DEAD_DISPATCHER])
    def _state_changed(self, event: Any) -> None:
        datapath = event.datapath
        if datapath.id not in self._names:
            if event.state == handler.MAIN_DISPATCHER:
                _LOG.warning("a switch that the plan does not have is left alone: datapath %016x", datapath.id)
        elif event.state == handler.MAIN_DISPATCHER:
            name = self._names[datapath.id]
            self._switches.connected(name, datapath)
            self._failover.comes(name, self._ports.pop(datapath.id, {}))
        else:
            name = self._names[datapath.id]
            self._switches.disconnected(name)
            self._readback.disconnected(name)
            self._failover.goes(name)

    @handler.set_ev_cls(ofp_event.EventOFPFlowStatsReply, handler.MAIN_DISPATCHER)
    def _read(self, event: Any) -> None:
        message = event.msg
        more = bool(message.flags & message.datapath.ofproto.OFPMPF_REPLY_MORE)
        self._readback.arrived(self._names[message.datapath.id], message.body, more)

    @handler.set_ev_cls(ofp_event.EventOFPBarrierReply, handler.MAIN_DISPATCHER)
    def _confirmed(self, event: Any) -> None:
        self._switches.confirmed(self._names[event.msg.datapath.id], event.msg.xid)

    @handler.set_ev_cls(ofp_event.EventOFPErrorMsg, handler.MAIN_DISPATCHER)
    def _refused(self, event: Any) -> None:
        message = event.msg
        if message.datapath.id not in self._names:
            return  # nothing was asked of it but by the framework
        name, why = self._names[message.datapath.id], f"refused, type {message.type}, code {message.code}"
        if not self._switches.refused(name, message.xid, why):
            _LOG.error("%s %s: %s", name, why, message)

    @handler.set_ev_cls(ofp_event.EventOFPPortStatus, handler.MAIN_DISPATCHER)
    def _port_changed(self, event: Any) -> None:
        message, ofproto = event.msg, event.msg.datapath.ofproto
        if message.datapath.id not in self._names:
            return
        switch, port = self._names[message.datapath.id], message.desc
        gone = message.reason == ofproto.OFPPR_DELETE
        self._failover.says(switch, port.port_no, gone or _is_up(message.datapath, port))
        if message.reason == ofproto.OFPPR_ADD:
            self._handovers.port_appeared(switch, port.name.decode(), port.port_no)

    def _begin(self) -> None:
        """Requests are answered from when all switches are set, or those that are there; the machine goes on when all are."""
        self._failover.began.wait()
        self._sessions.reroute(
            self._paths.down
        )  # those of a controller that was killed: paths may have changed meanwhile
        self._serve_northbound()
        self._listen_to_the_machine()
        self._failover.all_set.wait()
        gc.freeze()  # what is there now stays: going through it made sessions wait for a tenth of a second
        flows = self._failover.entries
        self._recorder.write(records.Ready(self._recorder.now(), self._recorder.process, "flows", flows))
        options.tell_ready()

    def _changed(self, changed: Changed) -> None:
        """Flows lead over other links now; sessions follow."""
        now, down = self._recorder.now(), " ".join(sorted(changed.down))
        self._recorder.write(records.Failover(now, "controller", down, changed.flows))
        self._sessions.reroute(changed.down)

    def _spawn(self, task: Callable[..., None], *args: Any) -> None:
        """In a green thread of its own."""

        def guarded() -> None:
            try:
                task(*args)
            except Exception:
                _LOG.exception("%s failed", task.__name__)
                os._exit(1)  # a network that is not as planned gives no results

        hub.spawn(guarded)

    def _make_northbound(self, found: Mapping[str, Raw]) -> Application:
        nef = next(host.name for host in self._plan.hosts if host.role == "nef")
        return application(
            self._plan,
            self._sessions,
            open_socket=lambda: _socket_at(nef),
            spawn=hub.spawn,
            delivered=self._delivered,
            now=self._recorder.now,
            calendar_ns=time.time_ns() - time.monotonic_ns(),
            journal=self._journal.write,
            found=found,
        )

    def _serve_northbound(self) -> None:
        from eventlet import wsgi  # after the hub is patched

        def answer(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            try:
                return self._northbound(environ, start_response)
            except Exception:
                _LOG.exception("%s %s", environ["REQUEST_METHOD"], environ["PATH_INFO"])
                os._exit(1)  # a run whose controller has a fault gives no results

        hub.spawn(wsgi.server, options.northbound(), answer, log_output=False, debug=False)

    def _listen_to_the_machine(self) -> None:
        if channel := options.machine():
            self._spawn(self._listen, channel)

    def _listen(self, channel: Any) -> None:
        """Does what the machine asks for, line by line, for as long as it is there; `channel` is a green socket."""
        self._handovers.answer_by(channel.sendall)
        for line in channel.makefile("rb"):
            ((what, about),) = json.loads(line).items()
            if what == "changed":
                self._spawn(self._sessions.reshape, self._plan.changes[about["number"]])
            elif what == "prepare":
                self._handovers.prepare(**about)
            else:
                self._handovers.execute(**about)

    def _delivered(self, event: Event, attempts: int, answer: int) -> None:
        now = self._recorder.now()
        self._recorder.write(records.Notified(now, "nef", event.session, event.status, attempts, answer))

    def _end(self, *_: Any) -> None:
        self._recorder.close()
        os._exit(0)


def _is_up(datapath: Any, port: Any) -> bool:
    ofproto = datapath.ofproto
    return not port.config & ofproto.OFPPC_PORT_DOWN and not port.state & ofproto.OFPPS_LINK_DOWN


def _socket_at(host: str) -> socket.socket:
    with namespace.inside(host):
        return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


if __name__ == "__main__":
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    run("controller.app", sys.argv[1:])
