"""Sessions in memory, and the northbound over them at a real port."""

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from builders import planned

from controller.northbound.application import Application
from controller.northbound.events import Event
from controller.northbound.northbound import application
from controller.session import Request, Session
from controller.sessions import DELETED, EXPIRED, Refused, Sessions

START_NS, CALENDAR_NS = 5 * 10**9, 1_700_000_000 * 10**9

PLAN = planned(
    network={"gnbs": [{"name": "square"}, {"name": "market"}]},
    slices=[{"name": "models", "guarantee": "40 %", "profiles": ["QOS_L"]}, {"name": "default"}],
    devices=[{"name": "phone", "count": 2, "at": "square"}, {"name": "bus", "at": "market", "slice": "models"}],
    profiles=[
        {"name": "VIDEO", "down": "25 kbit/s", "up": "8 kbit/s", "delay": "1500 us", "duration": "2 s..30 s"},
        {"name": "PAST", "down": "1 Mbit/s", "up": "1 Mbit/s", "status": "DEPRECATED"},
    ],
)  # fmt: skip
ADDRESSES = {host.name: host.ip for host in PLAN.hosts}


class Memory(Sessions):
    """Grants everything; `refuse` says why not, where it does not. Its clock stands still until `pass_time`."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.on_change: list[Callable[[Session, str], None]] = []
        self.now_ns = START_NS
        self.refuse = ""
        self.asked: list[Request] = []
        self._made = 0

    def now(self) -> int:
        return self.now_ns

    def new_id(self) -> str:
        self._made += 1
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"session {self._made}"))

    def create(self, request: Request) -> Session:
        self.asked.append(request)
        if self.refuse:
            raise Refused(self.refuse)
        ends = self.now_ns + request.duration_ns
        session = Session(request, 64, request.down_bps, request.up_bps, "", "AVAILABLE", self.now_ns, ends)
        self.sessions[request.id] = session
        self.tell(session, "AVAILABLE")
        return session

    def end(self, id: str, cause: str = DELETED) -> Session | None:
        session = self.sessions.pop(id, None)
        if session:
            session.ended, session.status = cause, "UNAVAILABLE"
            self.tell(session, cause)
        return session

    def extend(self, id: str, duration_ns: int) -> Session | None:
        session = self.sessions.get(id)
        if session:
            session.expires_ns += duration_ns
            self.tell(session, "EXTENDED")
        return session

    def tell(self, session: Session, cause: str) -> None:
        for told in self.on_change:
            told(session, cause)

    def pass_time(self, ns: int) -> None:
        self.now_ns += ns
        for id in [id for id, session in self.sessions.items() if session.expires_ns <= self.now_ns]:
            self.end(id, EXPIRED)


def spawn(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def northbound(engine: Memory, delivered: Callable[[Event, int, int], None] = lambda *_: None) -> Application:
    return application(PLAN, engine, socket.socket, spawn, delivered, engine.now, CALENDAR_NS)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def served(app: Application) -> Iterator[int]:
    """The port of the loopback interface at which it answers."""
    with make_server("127.0.0.1", 0, app, server_class=_Server, handler_class=_Quiet) as server:  # type: ignore[arg-type]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    with served(northbound(Memory())) as port:
        print(port, flush=True)
        time.sleep(100000)
