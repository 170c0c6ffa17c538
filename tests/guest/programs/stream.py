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
_END = 0xFFFFFFFF


class Arrivals(NamedTuple):
    """Of the datagrams that arrived, in the order in which they did: the number, and ns of the monotonic clock."""

    numbers: list[int]
    times: list[int]
    sent: int


class Stream:
    """One datagram each INTERVAL_NS, from when it is made until it is ended."""

    def __init__(self, network: Network, source: str, target: str, size: int = 64) -> None:
        self._filling = bytes(size - _NUMBER.size)
        self._receiver, self._sender = _socket(target), _socket(source)
        self._receiver.bind(("0.0.0.0", PORT))
        self._receiver.settimeout(2.0)
        self._sender.connect((network.get(target).IP(), PORT))
        self._sent, self._ending = 0, False
        self._numbers: list[int] = []
        self._times: list[int] = []
        self._threads = [threading.Thread(target=work) for work in (self._receive, self._send)]
        for thread in self._threads:
            thread.start()

    def end(self) -> Arrivals:
        self._ending = True
        for thread in self._threads:
            thread.join()
        self._sender.close()
        self._receiver.close()
        return Arrivals(self._numbers, self._times, self._sent)

    def _send(self) -> None:
        began = time.monotonic_ns()
        while not self._ending:
            self._sender.send(_NUMBER.pack(self._sent) + self._filling)
            self._sent += 1
            time.sleep(max(0, began + self._sent * INTERVAL_NS - time.monotonic_ns()) / 1e9)

    def _receive(self) -> None:
        """Until nothing has come for two seconds."""
        while True:
            try:
                data = self._receiver.recv(2048)
            except TimeoutError:
                return
            self._times.append(time.monotonic_ns())
            self._numbers.append(_NUMBER.unpack_from(data)[0])


def interruption(arrivals: Arrivals, began: int) -> dict[str, float]:
    """The longest time between two arrivals in a row, and when it was, in ms since `began`; how many datagrams never came."""
    gaps = [after - before for before, after in zip(arrivals.times, arrivals.times[1:], strict=False)]
    last = gaps.index(max(gaps))
    return {
        "gap_ms": max(gaps) / 1e6,
        "last_ms": (arrivals.times[last] - began) / 1e6,
        "first_ms": (arrivals.times[last + 1] - began) / 1e6,
        "lost": arrivals.sent - len(arrivals.numbers),
    }


def _socket(host: str) -> socket.socket:
    with namespace.inside(host):
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
