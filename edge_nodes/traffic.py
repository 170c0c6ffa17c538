"""Background traffic: constant streams between hosts, all in one process, sent in bursts every few milliseconds.

A UDP receiver never wakes: its socket has a filter that refuses every packet, and the kernel counts what it refused.
"""

import contextlib
import ctypes
import heapq
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Protocol

from scenarios import recording, records
from scenarios.plan import Flow

BURST_NS = 5_000_000
PAYLOAD = 1472  # bytes of a UDP datagram that fills an Ethernet frame
_SO_ATTACH_FILTER = 26
_REFUSE_ALL = struct.pack("=HBBI", 0x06, 0, 0, 0)  # BPF: return 0


class OpenSocket(Protocol):
    """Makes a socket of a kind (SOCK_DGRAM or SOCK_STREAM) at a host."""

    def __call__(self, host: str, kind: int) -> socket.socket: ...


class UdpStream:
    """One flow of datagrams."""

    def __init__(self, flow: Flow, address: str, open_socket: OpenSocket) -> None:
        self.flow, self.sent = flow, 0
        self._receiver = open_socket(flow.destination, socket.SOCK_DGRAM)
        program = ctypes.create_string_buffer(_REFUSE_ALL)
        self._receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", 1, ctypes.addressof(program)))
        self._receiver.bind((address, flow.port))
        self._sender = open_socket(flow.source, socket.SOCK_DGRAM)
        self._sender.connect((address, flow.port))

    def send(self, due_bytes: int) -> None:
        """Sends whole datagrams until no more than `due_bytes` were sent in all."""
        while self.sent + PAYLOAD <= due_bytes:
            # A host's own queue may be full: the datagram is lost, as it would be in a real one
            with contextlib.suppress(BlockingIOError):
                self._sender.send(_FILLING[:PAYLOAD])
            self.sent += PAYLOAD

    def received(self, netns_udp: Callable[[str], str]) -> int:
        """Bytes that arrived, as the kernel counted them."""
        for line in netns_udp(self.flow.destination).splitlines()[1:]:
            fields = line.split()
            if int(fields[1].split(":")[1], 16) == self.flow.port:
                return int(fields[-1]) * PAYLOAD
        raise LookupError(f"{self.flow.name}: its receiving socket is gone")


class TcpStream:
    """One flow over TCP; what does not fit the send buffer in time is sent later."""

    def __init__(self, flow: Flow, address: str, open_socket: OpenSocket) -> None:
        self.flow, self.sent = flow, 0
        self._received = 0
        self._listener = open_socket(flow.destination, socket.SOCK_STREAM)
        self._listener.bind((address, flow.port))
        self._listener.listen()
        self._receiver: socket.socket | None = None
        self._sender = open_socket(flow.source, socket.SOCK_STREAM)
        self._sender.connect_ex((address, flow.port))

    def send(self, due_bytes: int) -> None:
        try:
            while self.sent < due_bytes:
                self.sent += self._sender.send(_FILLING[: min(due_bytes - self.sent, len(_FILLING))])
        except (BlockingIOError, BrokenPipeError):
            pass  # not connected yet, or the buffer is full: the next burst tries again
        self._read()

    def received(self, netns_udp: Callable[[str], str]) -> int:
        self._read()
        return self._received

    def _read(self) -> None:
        try:
            if self._receiver is None:
                self._receiver, _ = self._listener.accept()
                self._receiver.setblocking(False)
            while data := self._receiver.recv(1 << 18):
                self._received += len(data)
        except BlockingIOError:
            pass  # nothing more has come


_FILLING = bytes(1 << 16)


def run(
    flows: Iterable[Flow],
    addresses: dict[str, str],
    open_socket: OpenSocket,
    netns_udp: Callable[[str], str],
    recorder: recording.Recorder,
    wait_for_start: Callable[[], int],
) -> None:
    """Sends all flows from the run's start, which `wait_for_start` gives, to the end of the last one."""
    streams = [_stream(flow, addresses[flow.destination], open_socket) for flow in flows]
    origin = wait_for_start()
    bursts = [(min(s.flow.start_ns + s.flow.phase_ns % BURST_NS, s.flow.end_ns), n) for n, s in enumerate(streams)]
    heapq.heapify(bursts)
    while bursts:
        at, number = heapq.heappop(bursts)
        stream = streams[number]
        _sleep_until(origin + at)
        stream.send(stream.flow.rate_bps * (at - stream.flow.start_ns) // (8 * 10**9))
        if at < stream.flow.end_ns:  # the last burst, at the end, completes what is due
            heapq.heappush(bursts, (min(at + BURST_NS, stream.flow.end_ns), number))
    time.sleep(1)  # what is still on its way arrives
    for stream in streams:
        received = stream.received(netns_udp)
        recorder.write(
            records.Received(recorder.now(), stream.flow.destination, stream.flow.name, stream.sent, received)
        )


def _stream(flow: Flow, address: str, open_socket: OpenSocket) -> UdpStream | TcpStream:
    kind = UdpStream if flow.transport == "udp" else TcpStream
    return kind(flow, address, open_socket)


def _sleep_until(ns: int) -> None:
    left = ns - time.monotonic_ns()
    if left > 0:
        time.sleep(left / 1e9)
