"""Clients of the northbound in the guest: one connection to the NEF each, kept open."""

import json
import re
import socket
from typing import Any

from linux import namespace
from scenarios.plan import NORTHBOUND_PORT, Plan

DOWNLOADS, SESSIONS = "/insitu/v1/downloads", "/quality-on-demand/v1/sessions"


class Client:
    """A connection from a host. `sent` and `received` are the bytes of the last call and of its answer."""

    def __init__(self, plan: Plan, host: str) -> None:
        self._addresses = {entry.name: entry.ip for entry in plan.hosts}
        self._socket = namespace.tcp_socket(host)
        self._socket.setblocking(True)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.connect((self._addresses["nef"], NORTHBOUND_PORT))
        self.sent = self.received = 0

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: nef\r\nContent-Type: application/json\r\n"
        request = head.encode() + b"Content-Length: %d\r\n\r\n" % len(data) + data
        self._socket.sendall(request)
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += self._more()
        heads, _, rest = answer.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *(\d+)", heads)
        while length and len(rest) < int(length[1]):
            rest += self._more()
        self.sent, self.received = len(request), len(heads) + 4 + len(rest)
        return int(heads.split()[1]), json.loads(rest) if rest else None

    def create(self, device: str, server: str, rate: int, duration_ns: int) -> tuple[int, Any]:
        """A session for a download."""
        body = {
            "device": self.named(device),
            "applicationServer": {"ipv4Address": self._addresses[server]},
            "slice": "models",
            "download": "random",
            "rate": rate,
            "time_left_ns": duration_ns,
            "duration_ns": duration_ns,
        }
        return self.call("POST", DOWNLOADS, body)

    def named(self, device: str) -> dict[str, Any]:
        """A device as CAMARA identifies it."""
        return {"ipv4Address": {"publicAddress": self._addresses[device], "privateAddress": self._addresses[device]}}

    def _more(self) -> bytes:
        received = self._socket.recv(65536)
        assert received, "the NEF has closed the connection"
        return received
