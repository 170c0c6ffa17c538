"""Measures a network inside the guest, by the tools of its users and by probes of its own.

/run/out/order.json says what: {"steps": [{"do": NAME, ...}, ...]}, NAME a function of STEPS here and the rest its
arguments. The network is that of /run/out/plan.json; or with "stock": {...} a chain of links by stock Mininet's TCLink.
/run/out/result.json gets the answers, in order.
"""

import ctypes
import json
import re
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from emulation import OUT, emulation, read_plan, write_result

from insitu import processes
from linux import namespace

SECOND = 1_000_000_000
CONTROL_PORT, PROBE_PORT = 5201, 9000
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 32, 33, 35  # Linux's, which Python does not name
HEAD = struct.Struct("=IQ")  # of a probe: number, time sent in ns
QUIET_S = 20.0  # a receiver that has heard nothing for so long has heard all


def ping(network: Any, source: str, target: str, **arguments: Any) -> dict[str, Any]:
    """`pings`, after one that is not counted, for which Open vSwitch looks up the flows."""
    network.get(source).popen(
        ["ping", "-c", "1", "-s", str(arguments["payload"]), address(network, target)]
    ).communicate()
    return pings(network, source, target, **arguments)


def pings(network: Any, source: str, target: str, count: int, interval_s: float, payload: int) -> dict[str, Any]:
    """ping's own summary, ms."""
    command = [
        "ping",
        "-c",
        str(count),
        "-i",
        str(interval_s),
        "-s",
        str(payload),
        "-W",
        "30",
        address(network, target),
    ]
    text = network.get(source).popen(command).communicate()[0].decode()
    times = re.search(r"rtt min/avg/max/mdev = ([\d.]+)/([\d.]+)/([\d.]+)/", text)
    received = re.search(r"(\d+) received", text)
    assert times and received, text
    least, mean, most = (float(value) for value in times.groups())
    return {"least_ms": least, "mean_ms": mean, "most_ms": most, "received": int(received[1])}


def iperf(network: Any, source: str, target: str, options: str, skip_s: float) -> dict[str, Any]:
    """Payload per second as iperf3's receiver counted it: in all, or in its whole intervals after `skip_s`.

    The receiver is iperf3's client (-R): one that sends waits for the end of the test without sleeping, and the clock stands still.
    """
    server = network.get(source).popen(["iperf3", "-s", "-1", "-p", str(CONTROL_PORT)], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    command = ["iperf3", "-c", address(network, source), "-R", "-p", str(CONTROL_PORT), "-J", *options.split()]
    report = json.loads(network.get(target).popen(command).communicate()[0])
    server.wait()
    assert "error" not in report, report["error"]
    counted = [entry["sum"] for entry in report["intervals"]][:-1]
    counted = [entry for entry in counted if entry["start"] >= skip_s - 0.01] or [report["end"]["sum_received"]]
    total, seconds = sum(entry["bytes"] for entry in counted), sum(entry["seconds"] for entry in counted)
    return {
        "bits_per_second": total * 8 / seconds,
        "by_interval": [round(entry["bits_per_second"]) for entry in counted],
    }


def series(network: Any, source: str, target: str, count: int, interval_ns: int, payload: int) -> dict[str, Any]:
    """One-way delays of UDP probes, ns by the receiving kernel's stamps: a list for each, empty if it did not come."""
    out = OUT / "probes.json"

    def receive(channel: processes.Channel) -> None:
        with namespaced(network, target, socket.SOCK_DGRAM) as sink:
            sink.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 28)
            sink.bind(("0.0.0.0", PROBE_PORT))
            channel.ready()
            out.write_text(json.dumps(list(arrivals(sink))))

    receiver = processes.spawn("probes", receive, OUT / "logs" / "probes.log")
    processes.wait_until_ready([receiver])
    stamps = []
    with namespaced(network, source, socket.SOCK_DGRAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 28)
        probe.sendto(HEAD.pack(count, time.time_ns()), (address(network, target), PROBE_PORT))  # flows are looked up
        time.sleep(5)
        begin = time.time_ns()
        for number in range(count):
            if interval_ns:  # to look at the clock takes time
                time.sleep(max(0, begin + number * interval_ns - time.time_ns()) / SECOND)
            stamps.append(time.time_ns())
            head = HEAD.pack(number, stamps[-1])
            probe.sendto(head.ljust(payload, b"\0"), (address(network, target), PROBE_PORT))
    assert processes.finish([receiver], count * interval_ns / SECOND + 1000)["probes"] == 0
    delays: list[list[int]] = [[] for _ in range(count + 1)]
    for number, delay in json.loads(out.read_text()):
        delays[number].append(delay)
    return {"delays_ns": delays[:count], "sent_ns": stamps}


def arrivals(sink: socket.socket) -> Iterator[tuple[int, int]]:
    """(number, delay in ns) of each probe, in the order of arrival, until it is quiet."""
    sink.settimeout(QUIET_S)
    while True:
        try:
            data, extra, _, _ = sink.recvmsg(2048, 64)
        except TimeoutError:
            return
        seconds, fraction = struct.unpack("=qq", extra[0][2])
        number, sent = HEAD.unpack_from(data)
        yield number, seconds * SECOND + fraction - sent


def ping_beside(network: Any, floods: list[dict[str, Any]], ping_start_s: float, **arguments: Any) -> dict[str, Any]:
    """`pings` while UDP floods run, each with the arguments of `send_flood`. `full`: they sent all they should."""

    def sender(flood: dict[str, Any]) -> Callable[[processes.Channel], None]:
        return lambda _: send_flood(network, begin, **flood)

    ping(network, **{**arguments, "count": 1})
    begin = time.monotonic_ns() + 2 * SECOND
    senders = [
        processes.spawn(f"flood{n}", sender(flood), OUT / "logs" / f"flood{n}.log") for n, flood in enumerate(floods)
    ]
    time.sleep(max(0, begin - time.monotonic_ns()) / SECOND + ping_start_s)
    result = pings(network, **arguments)
    statuses = processes.finish(senders, 1000)
    return {**result, "full": not any(statuses.values())}


def send_flood(
    network: Any, begin: int, source: str, target: str, port: int, rate_bps: int, start_s: float, seconds: float
) -> None:
    """Full frames at `rate_bps`, evenly, at most 20 at once. Ends with an error when that many could not be sent."""
    frame_ns = 1514 * 8 * SECOND / rate_bps
    start = begin + round(start_s * SECOND)
    data = bytes(1472)
    there = (address(network, target), port)
    with (
        namespaced(network, source, socket.SOCK_DGRAM) as probe,
        namespaced(network, target, socket.SOCK_DGRAM) as sink,
    ):
        sink.bind(("0.0.0.0", port))  # or the target's kernel answers that nobody listens
        probe.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 1 << 24)
        probe.sendto(data, there)  # flows are looked up
        sent = 0
        while (now := time.monotonic_ns()) < start + seconds * SECOND:
            due = int((now - start) / frame_ns) + 1 if now >= start else 0
            for _ in range(due - sent):
                probe.sendto(data, there)
            sent = max(sent, due)
            time.sleep(max(start - now, frame_ns if frame_ns > 10_000 else 20 * frame_ns) / SECOND)
    if sent * frame_ns < 0.99 * seconds * SECOND:
        raise RuntimeError(f"sent {sent} frames of {seconds * SECOND / frame_ns:.0f}")


def read_back(network: Any) -> list[list[str]]:
    """Each setting: interface, what it is, as planned, as the kernel has it."""
    return [[end.interface, *reading] for end, reading in network.read_back()]


def shell(network: Any, command: str) -> str:
    """A command in the root namespace; what it says."""
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True).stdout


STEPS: dict[str, Callable[..., Any]] = {
    "ping": ping,
    "iperf": iperf,
    "series": series,
    "ping_beside": ping_beside,
    "read_back": read_back,
    "shell": shell,
}


def address(network: Any, host: str) -> str:
    return str(network.get(host).IP())


@contextmanager
def namespaced(network: Any, host: str, kind: int) -> Iterator[socket.socket]:
    with namespace.inside(host):
        made = socket.socket(socket.AF_INET, kind)
    with made:
        yield made


@contextmanager
def stock(hops: int, rate_mbps: float, delay: str, queue: int | None = None) -> Iterator[Any]:
    """h1 - s1 - … - h2 by Mininet as it comes: TCLink's defaults, one bridge for each hop but the last."""
    from mininet.link import TCLink
    from mininet.net import Mininet
    from mininet.node import OVSBridge

    network = Mininet(controller=None, switch=OVSBridge, link=TCLink)
    chain = [network.addHost("h1"), *(network.addSwitch(f"s{n + 1}") for n in range(hops - 1)), network.addHost("h2")]
    for a, b in zip(chain, chain[1:], strict=False):
        network.addLink(a, b, bw=rate_mbps, delay=delay, **({"max_queue_size": queue} if queue else {}))
    network.start()
    network.staticArp()
    time.sleep(5)
    yield network
    network.stop()


def main() -> None:
    ctypes.CDLL(None).prctl(29, 1)  # PR_SET_TIMERSLACK: or every sleep of ours is 50 us late
    (OUT / "logs").mkdir(exist_ok=True)
    order = json.loads((OUT / "order.json").read_text())
    results = []
    up = stock(**order["stock"]) if "stock" in order else emulation(read_plan())
    with up as given:
        network = given if "stock" in order else given[0]
        for step in order["steps"]:
            results.append(STEPS[step.pop("do")](network, **step))
    write_result({"results": results})


main()
