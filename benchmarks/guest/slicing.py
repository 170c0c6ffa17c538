"""Measures one port's slices and sessions inside the guest: floods of UDP and TCP in every class, downloads and pings beside them.

/run/out/order.json has {"steps": [{"do": NAME, ...}, ...]} as for measure.py. The port is the core's end of west-link; what goes to
port PORTS + 10 q is of queue q there. Floods go from central to phone; pings and downloads from nef to probe, whose own links are
idle: a host's link is a FIFO, and its NAPI may hold a packet that comes close behind others for 24 us. Rates are at the link,
headers included; times are virtual.
"""

import ctypes
import itertools
import json
import selectors
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from emulation import OUT, emulation, read_plan, write_result

from insitu import processes
from linux import namespace, tree
from linux.netlink import Netlink
from scenarios.plan import End
from topology.net import Network

SECOND, FRAME, UDP_PAYLOAD, TCP_PAYLOAD = 1_000_000_000, 1514, 1472, 1448
PORTS, SERVER = 10_000, 9_000
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS, UDP_SEGMENT = 32, 33, 35, 103
WARM_UP_S = 0.1  # before a window begins
DRAIN_S = 0.002  # how often receivers look: what waits meanwhile has its kernel's stamp
PROBE = 1  # a port's offset from a queue's, for a download beside the floods: the same class, another flow
_identities = itertools.count(1)  # of pings: late answers to others are not ours

Flood = dict[str, Any]  # of one class: queue, transport, rate_bps (of UDP), from_s and to_s


def sessions(network: Network, sessions: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
    """Makes classes for (slice's queue, q, rate), sets the slices' default classes, and sends by port into queues."""
    end = port(network)
    index = socket.if_nametoindex(end.interface)
    messages = []
    for slice_queue, q, rate in sessions:
        messages += tree.session_class(end, index, slice_queue, q, rate)
    for queue in end.queues:
        taken = sum(rate for slice_queue, _, rate in sessions if slice_queue == queue.number)
        messages += tree.default_rate(end, index, queue.number, tree.left(queue.rate_bps, taken))
    netlink = Netlink()
    netlink.request(messages)
    queues = [*(queue.number for queue in end.queues), *(q for _, q, _ in sessions)]
    flows = [
        f"table=0,priority=30,{kind},{kind}_dst={PORTS + 10 * q + more},actions=set_queue:{q},goto_table:1\n"
        for q in queues
        for kind, more in (("udp", 0), ("tcp", 0), ("tcp", PROBE))
    ]
    subprocess.run(["ovs-ofctl", "-OOpenFlow13", "add-flows", end.node, "-"], input="".join(flows).encode(), check=True)
    return {"there": {q: found.rate_bps for q, found in tree.sessions(index, netlink).items()}}


def port(network: Network) -> End:
    return next(
        end for link in network.plan.links for end in link.ends if (link.name, end.node) == ("west-link", "core")
    )


def pings_in(network: Network, q: int) -> None:
    """Pings go by queue q of the port from now on."""
    end = port(network)
    flow = f"table=0,priority=30,icmp,actions=set_queue:{q},goto_table:1"
    subprocess.run(["ovs-ofctl", "-OOpenFlow13", "add-flow", end.node, flow], check=True)


def flood(
    network: Network,
    floods: list[Flood],
    seconds: float,
    bin_s: float = 0.0,
    download: dict[str, int] | None = None,
    ping: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What arrived in `seconds` after the warm-up: bit/s by queue, the least of all together in a bin (0: not asked), and by how
    many us the latest frame of each UDP stream was late. A download or pings run beside the floods meanwhile.
    """
    begin = time.time_ns() + SECOND // 10
    window = (begin + int(WARM_UP_S * SECOND), begin + int((WARM_UP_S + seconds) * SECOND))
    result = OUT / "arrived.json"
    udp = [entry for entry in floods if entry["transport"] == "udp"]
    tcp = [entry for entry in floods if entry["transport"] == "tcp"]
    address = network.get("phone").IP()
    running = [
        spawn("receive", lambda channel: receive(channel, udp, tcp, window, bin_s, result)),
        spawn("udp", lambda _: send_udp(address, udp, begin, window[1])),
        spawn("tcp", lambda _: send_tcp(address, tcp, begin, window[1])),
    ]
    processes.wait_until_ready(running[:1])
    answers: dict[str, Any] = {}
    sleep_until(window[0])
    if download is not None:
        answers["download_s"] = downloads(network, **download)
    if ping is not None:
        answers["ping"] = pings(network, **ping)
    statuses = processes.finish(running, 1000)
    assert not any(statuses.values()), statuses
    return {**answers, **json.loads(result.read_text())}


def spawn(name: str, work: Callable[[processes.Channel], None]) -> processes.Service:
    return processes.spawn(name, work, OUT / "logs" / f"{name}.log")


def sleep_until(when_ns: int) -> None:
    time.sleep(max(0, when_ns - time.time_ns()) / SECOND)


def port_of(entry: Flood) -> int:
    return PORTS + 10 * int(entry["queue"])


def send_udp(address: str, floods: list[Flood], begin: int, end: int) -> None:
    """Full frames, evenly: each as soon as it is due, or with those that are due within 50 us."""
    sockets = []
    for entry in floods:
        with namespace.inside("central"):
            made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        made.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 28)
        made.setsockopt(socket.SOL_UDP, UDP_SEGMENT, UDP_PAYLOAD)
        made.connect((address, port_of(entry)))
        sockets.append(made)
    plans = [
        (made, FRAME * 8 * SECOND / entry["rate_bps"], begin + int(entry.get("from_s", 0) * SECOND),
         min(end, begin + int(entry["to_s"] * SECOND)) if "to_s" in entry else end)
        for made, entry in zip(sockets, floods, strict=True)
    ]  # fmt: skip
    sent = [0] * len(plans)
    frames = [bytes(UDP_PAYLOAD * count) for count in range(41)]
    sleep_until(begin)
    while plans and (now := time.time_ns()) < end:
        for place, (made, gap, first, last) in enumerate(plans):
            if first <= now < last:
                due = int((now - first) / gap) + 1 - sent[place]
                sent[place] += due
                while due > 0:
                    made.send(frames[min(due, 40)])
                    due -= 40
        time.sleep(max(50_000, min(gap for _, gap, _, _ in plans)) / SECOND)


def send_tcp(address: str, floods: list[Flood], begin: int, end: int) -> None:
    """As much as the sockets take. What the kernel remembers of floods before would keep some from filling their classes."""
    with namespace.inside("central"):
        Path("/proc/sys/net/ipv4/tcp_no_metrics_save").write_text("1")
    data = memoryview(bytes(1 << 20))
    waiting = selectors.DefaultSelector()
    for entry in floods:
        with namespace.inside("central"):
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sleep_until(begin + int(entry.get("from_s", 0) * SECOND))
        made.setblocking(False)
        made.connect_ex((address, port_of(entry)))
        waiting.register(made, selectors.EVENT_WRITE)
    while floods and (now := time.time_ns()) < end:
        for key, _ in waiting.select((end - now) / SECOND):
            try:
                key.fileobj.send(data)  # type: ignore[union-attr]
            except BlockingIOError:
                continue


def receive(
    channel: processes.Channel, udp: list[Flood], tcp: list[Flood], window: tuple[int, int], bin_s: float, result: Any
) -> None:
    """Notes when what arrived; link bytes, by queue."""
    arrived: dict[int, list[tuple[int, int]]] = {entry["queue"]: [] for entry in (*udp, *tcp)}
    sinks, streams = [], selectors.DefaultSelector()
    for entry in udp:
        with namespace.inside("phone"):
            sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sink.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
        sink.setblocking(False)
        sink.bind(("0.0.0.0", port_of(entry)))
        sinks.append((sink, arrived[entry["queue"]]))
    for entry in tcp:
        with namespace.inside("phone"):
            listening = socket.create_server(("0.0.0.0", port_of(entry)))
        streams.register(listening, selectors.EVENT_READ, (arrived[entry["queue"]], True))
    channel.ready()
    place = memoryview(bytearray(1 << 20))
    while time.time_ns() < window[1] + SECOND // 100:
        if tcp:
            for key, _ in streams.select(DRAIN_S):
                note, accepts = key.data
                if accepts:
                    connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                    connection.setblocking(False)
                    streams.register(connection, selectors.EVENT_READ, (note, False))
                else:
                    length = key.fileobj.recv_into(place)  # type: ignore[union-attr]
                    if length:
                        note.append((time.time_ns(), length * FRAME // TCP_PAYLOAD))
                    else:
                        streams.unregister(key.fileobj)
        else:
            time.sleep(DRAIN_S)
        for sink, note in sinks:
            drain(sink, note)
    notes = {queue: np.array(entries).T for queue, entries in arrived.items() if entries}
    times, sizes = np.concatenate(list(notes.values()), axis=1)
    edges = np.arange(window[0], window[1] + 1, int(bin_s * SECOND) if bin_s else window[1] - window[0])
    bins = np.histogram(times, edges, weights=sizes)[0] * 8 * SECOND / (edges[1] - edges[0])
    late = {}
    for entry in udp:
        came = notes[entry["queue"]][0]
        first, gap = (
            window[0] - WARM_UP_S * SECOND + entry.get("from_s", 0) * SECOND,
            FRAME * 8 * SECOND / entry["rate_bps"],
        )
        late[entry["queue"]] = float((came - first - np.arange(len(came)) * gap).max()) / 1000
    rates = {queue: within(entries, window) for queue, entries in notes.items()}
    result.write_text(json.dumps({"rates": rates, "least": float(bins.min()), "late_us": late}))


def within(arrivals: Any, window: tuple[int, int]) -> float:
    """Bit/s of a window."""
    times, sizes = arrivals
    inside = (times >= window[0]) & (times < window[1])
    return float(sizes[inside].sum() * 8 * SECOND / (window[1] - window[0]))


def drain(sink: socket.socket, note: list[tuple[int, int]]) -> None:
    while True:
        try:
            _, extra, _, _ = sink.recvmsg(0, 64)
        except BlockingIOError:
            return
        seconds, fraction = struct.unpack("=qq", extra[0][2])
        note.append((seconds * SECOND + fraction, FRAME))


def downloads(network: Network, queue: int, size: int, count: int = 1) -> list[float]:
    """Seconds from the connection's first packet to the last of `size` bytes, by a stream of nef in a queue's class."""
    times = []
    for _ in range(count):
        with namespace.inside("probe"):
            listening = socket.create_server(("0.0.0.0", PORTS + 10 * queue + PROBE))

        def send(_: processes.Channel) -> None:
            with namespace.inside("nef"):
                made = socket.create_connection((network.get("probe").IP(), PORTS + 10 * queue + PROBE))
            made.sendall(bytes(size))
            made.close()

        began = time.time_ns()
        sender = spawn("download", send)
        connection, _ = listening.accept()
        left = size
        while left:
            left -= len(connection.recv(left))
        times.append((time.time_ns() - began) / SECOND)
        assert not any(processes.finish([sender], 1000).values())
        connection.close()
        listening.close()
    return times


def pings(network: Network, count: int, gap_ns: int, payload: int = 56) -> dict[str, float]:
    """Round-trip times from nef to probe, us: least, median, 99th percentile and greatest."""
    address = network.get("probe").IP()
    with namespace.inside("nef"):
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    made.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    made.setblocking(False)
    identity = next(_identities)
    sent: dict[int, int] = {}
    took: dict[int, int] = {}
    begin = time.time_ns()
    for number in range(count):
        sleep_until(begin + number * gap_ns)
        collect(made, identity, sent, took)
        packet = struct.pack("!BBHHH", 8, 0, 0, identity, number) + bytes(payload)
        packet = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
        sent[number] = time.time_ns()
        made.sendto(packet, (address, 0))
    time.sleep(0.05)
    collect(made, identity, sent, took)
    made.close()
    times = np.array(sorted(took.values())) / 1000
    least, median, late = np.percentile(times, [0, 50, 99]).tolist()
    return {"least": least, "median": median, "p99": late, "most": float(times[-1]), "lost": count - len(took)}


def collect(made: socket.socket, identity: int, sent: dict[int, int], took: dict[int, int]) -> None:
    while True:
        try:
            data, extra, _, _ = made.recvmsg(2048, 64)
        except BlockingIOError:
            return
        kind, _, _, whose, number = struct.unpack_from("!BBHHH", data, 20)
        if (kind, whose) == (0, identity):
            seconds, fraction = struct.unpack("=qq", extra[0][2])
            took[number] = seconds * SECOND + fraction - sent[number]


def checksum(packet: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


STEPS: dict[str, Callable[..., Any]] = {
    "sessions": sessions,
    "pings_in": pings_in,
    "flood": flood,
    "downloads": downloads,
    "pings": pings,
    "settle": lambda _: time.sleep(2),  # until the queues of the floods before are empty
}


def main() -> None:
    ctypes.CDLL(None).prctl(29, 1)  # PR_SET_TIMERSLACK: or every sleep of ours is 50 us late
    (OUT / "logs").mkdir(exist_ok=True)
    results = []
    with emulation(read_plan()) as (network, _):
        for step in json.loads((OUT / "order.json").read_text())["steps"]:
            results.append(STEPS[step.pop("do")](network, **step))
    write_result({"results": results})


main()
