"""A numbered UDP stream from host to host, and when each datagram of it arrived: an interruption as seen from outside."""

import socket
import struct
import threading
import time
from typing import NamedTuple

from linux import namespace
from topology.net import Network

INTERVAL_NS = 1_000_000
PORT = 9001
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


def _socket(host: str) -> socket.socket:
    with namespace.inside(host):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
