"""A numbered UDP stream and a TCP transfer from host to host, and when what arrived came: an interruption seen from outside.

Both come from a library's port, so that they are in the session of a download from there, where one is.
"""

import socket
import struct
import threading
import time
from typing import NamedTuple

from linux import namespace
from scenarios.plan import LIBRARY_PORT
from topology.net import Network

INTERVAL_NS = 1_000_000
PORT = 9001
_SECOND = 10**9
_NUMBER = struct.Struct("=I")


class Arrivals(NamedTuple):
    """Of the datagrams that arrived, in the order in which they did: when they were sent, and when they came, ns."""

    sent: list[int]
    came: list[int]
    never_came: int


class Stream:
    """One datagram each INTERVAL_NS, from when it is made until it is ended."""

    def __init__(self, network: Network, source: str, target: str, size: int = 64) -> None:
        self._filling = bytes(size - _NUMBER.size)
        self._receiver, self._sender = _socket(target), _socket(source)
        self._receiver.bind(("0.0.0.0", PORT))
        self._receiver.settimeout(2.0)
        self._sender.bind(("0.0.0.0", LIBRARY_PORT))
        self._sender.connect((network.get(target).IP(), PORT))
        self._sent: list[int] = []
        self._ending = False
        self._numbers: list[int] = []
        self._came: list[int] = []
        self._threads = [threading.Thread(target=work) for work in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def end(self) -> Arrivals:
        self._ending = True
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._receiver.close()
        sent = [self._sent[number] for number in self._numbers]
        return Arrivals(sent, self._came, len(self._sent) - len(self._numbers))

    def _send(self) -> None:
        at = time.monotonic_ns()
        while not self._ending:
            self._sender.send(_NUMBER.pack(len(self._sent)) + self._filling)
            self._sent.append(time.monotonic_ns())
            at += INTERVAL_NS
            time.sleep(max(0, at - time.monotonic_ns()) / 1e9)

    def _receive(self) -> None:
        """Until nothing has come for two seconds."""
        while True:
            try:
                data = self._receiver.recv(2048)
            except TimeoutError:
                return
            self._came.append(time.monotonic_ns())
            self._numbers.append(_NUMBER.unpack_from(data)[0])


def interruption(arrivals: Arrivals, began: int) -> dict[str, float]:
    """What a stream saw of a change of its path, in ms since `began`: by its delay a datagram tells which path it took."""
    delays = [came - sent for sent, came in zip(*arrivals[:2], strict=True)]
    old = [abs(delay - delays[0]) < abs(delay - delays[-1]) for delay in delays]
    last = max(came for came, by_old in zip(arrivals.came, old, strict=True) if by_old)
    first = min(came for came, by_old in zip(arrivals.came, old, strict=True) if not by_old)
    gaps = [after - before for before, after in zip(arrivals.came, arrivals.came[1:], strict=False)]
    return {
        "last_by_old_ms": (last - began) / 1e6,
        "first_by_new_ms": (first - began) / 1e6,
        "gap_ms": max(gaps) / 1e6,
        "lost": arrivals.never_came,
    }


class Transfer:
    """As much as TCP can carry, from when it is made until it is ended."""

    def __init__(self, network: Network, source: str, target: str) -> None:
        listener = _socket(source, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", LIBRARY_PORT))
        listener.listen()
        self._receiver = _socket(target, socket.SOCK_STREAM)
        self._receiver.connect((network.get(source).IP(), LIBRARY_PORT))
        self._sender, _ = listener.accept()
        listener.close()
        self._ending = False
        self._came: list[tuple[int, int]] = []
        self._threads = [threading.Thread(target=work) for work in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def end(self) -> list[tuple[int, int]]:
        """When something came, ns, and how many bytes."""
        self._ending = True
        for thread in self._threads:
            thread.join()
        self._receiver.close()
        return self._came

    def _send(self) -> None:
        while not self._ending:
            self._sender.sendall(bytes(1 << 16))
        self._sender.close()

    def _receive(self) -> None:
        while data := self._receiver.recv(1 << 20):
            self._came.append((time.monotonic_ns(), len(data)))


def goodput(came: list[tuple[int, int]], began: int) -> dict[str, float]:
    """The longest time without a byte after `began`, and what was missing in the first second beside the second half of it."""
    times = [began, *(at for at, _ in came if at >= began)]
    silences = [after - before for before, after in zip(times, times[1:], strict=False)]
    first = sum(size for at, size in came if 0 <= at - began < _SECOND)
    later = 2 * sum(size for at, size in came if _SECOND // 2 <= at - began < _SECOND)
    return {"silent_ms": max(silences) / 1e6, "missed_ms": 1e3 * (later - first) / later, "mbit_s": later * 8 / 1e6}


def _socket(host: str, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    with namespace.inside(host):
        return socket.socket(socket.AF_INET, kind)
