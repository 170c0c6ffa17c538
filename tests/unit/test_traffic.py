"""Background traffic: as many bytes as rate and time make, when they are due, and counted where they arrive."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from builders import Notes
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_nodes import traffic
from scenarios import records
from scenarios.plan import Flow

HERE = "127.0.0.1"
MS = 1_000_000
SECOND = 1000 * MS
LIMIT_S = 10.0  # in which what was sent over the loopback arrives


def free_port(kind: int) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def flow(transport: str = "udp", start: int = 0, end: int = SECOND, rate: int = 8_000_000, phase: int = 0) -> Flow:
    port = free_port(socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM)
    return Flow(f"{transport}:{port}", "a", "b", port, transport, rate, start, end, phase, 0)  # type: ignore[arg-type]


def open_socket(host: str, kind: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, kind)
    made.setblocking(False)
    return made


def udp_sockets(_: str) -> str:
    return Path("/proc/net/udp").read_text()


def eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + LIMIT_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


@pytest.mark.parametrize(("due", "sent"), [(0, 0), (1471, 0), (1472, 1472), (2943, 1472), (294_400, 294_400)])
def test_udp_sends_whole_datagrams_and_the_kernel_counts_those_that_arrive(due: int, sent: int) -> None:
    stream = traffic.UdpStream(flow(), HERE, open_socket)
    stream.send(due)
    assert stream.sent == sent
    assert eventually(lambda: stream.received(udp_sockets) == sent)


def test_udp_sends_only_what_was_not_sent_before() -> None:
    stream = traffic.UdpStream(flow(), HERE, open_socket)
    for due in (2000, 4000, 4000, 1000, 14720):
        stream.send(due)
    assert stream.sent == 14720
    assert eventually(lambda: stream.received(udp_sockets) == 14720)


def test_udp_counts_each_flow_by_itself() -> None:
    one, other = (traffic.UdpStream(flow(), HERE, open_socket) for _ in range(2))
    one.send(10 * traffic.PAYLOAD)
    other.send(3 * traffic.PAYLOAD)
    assert eventually(lambda: one.received(udp_sockets) == one.sent and other.received(udp_sockets) == other.sent)
    assert (one.sent, other.sent) == (10 * traffic.PAYLOAD, 3 * traffic.PAYLOAD)


def test_a_receiver_that_is_gone_is_an_error() -> None:
    stream = traffic.UdpStream(flow(), HERE, open_socket)
    with pytest.raises(LookupError, match=f"{stream.flow.name}: its receiving socket is gone"):
        stream.received(lambda _: "  sl  local_address\n")


def test_tcp_sends_exactly_what_is_due_and_what_arrives_is_read() -> None:
    stream = traffic.TcpStream(flow("tcp"), HERE, open_socket)
    for due in (1, 1000, 200_001):
        assert eventually(lambda due=due: stream.send(due) or stream.sent == due)  # type: ignore[func-returns-value]
    stream.send(5)
    assert stream.sent == 200_001
    assert eventually(lambda: stream.received(udp_sockets) == 200_001)


def test_tcp_sends_later_what_does_not_fit_the_buffer() -> None:
    stream = traffic.TcpStream(flow("tcp"), HERE, open_socket)
    due = 64 << 20
    stream.send(due)
    assert stream.sent < due
    assert eventually(lambda: stream.send(due) or stream.sent == due)  # type: ignore[func-returns-value]
    assert eventually(lambda: stream.received(udp_sockets) == due)


def test_a_run_sends_rate_times_time_of_each_flow_and_records_what_arrived() -> None:
    flows = [flow("udp", 10 * MS, 111 * MS, phase=7 * MS), flow("tcp", 0, 63 * MS, 80_000_000), flow("udp", 0, 3 * MS)]
    notes = Notes()
    traffic.run(flows, {"b": HERE}, open_socket, udp_sockets, notes, time.monotonic_ns)  # type: ignore[arg-type]
    whole = 101_000 // traffic.PAYLOAD * traffic.PAYLOAD
    received = [(event.node, event.flow, event.sent, event.received) for event in notes.of(records.Received)]
    assert received == [
        ("b", flows[0].name, whole, whole),
        ("b", flows[1].name, 630_000, 630_000),
        ("b", flows[2].name, 2 * traffic.PAYLOAD, 2 * traffic.PAYLOAD),
    ]


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self, now: int) -> None:
        self.now = now

    def monotonic_ns(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


FLOWS = st.builds(
    lambda start, length, rate, phase: (start, start + length, rate, phase),
    start=st.integers(0, SECOND),
    length=st.integers(1, 60 * MS),
    rate=st.integers(8, 10**10),
    phase=st.integers(0, 10 * MS),
)


@settings(max_examples=100, deadline=None)
@given(st.lists(FLOWS, min_size=1, max_size=4), st.integers(0, 10**12))
def test_bursts_are_on_time_and_make_rate_times_time_in_all(made: list[tuple[int, int, int, int]], origin: int) -> None:
    clock, sent = Clock(origin), {}

    class Stream(traffic.UdpStream):
        """Notes when it was told to send, and up to how much."""

        def __init__(self, flow: Flow, *_: object) -> None:
            self.flow, self.sent = flow, 0
            sent[flow.name] = self.told = []

        def send(self, due_bytes: int) -> None:
            self.told.append((clock.now - origin, due_bytes))

        def received(self, _: object) -> int:
            return 0

    flows = [
        Flow(str(n), "a", "b", n, "udp", rate, start, end, phase, 0) for n, (start, end, rate, phase) in enumerate(made)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(traffic, "time", clock)
        patch.setattr(traffic, "UdpStream", Stream)
        traffic.run(flows, {"b": HERE}, open_socket, udp_sockets, Notes(), lambda: origin)  # type: ignore[arg-type]
    for entry in flows:
        times = [at for at, _ in sent[entry.name]]
        assert entry.start_ns <= times[0] <= entry.start_ns + traffic.BURST_NS
        assert times[-1] == entry.end_ns
        assert all(0 < later - at <= traffic.BURST_NS for at, later in zip(times, times[1:], strict=False))
        for at, due in sent[entry.name]:
            assert due == entry.rate_bps * (at - entry.start_ns) // (8 * SECOND)
