"""Measures what links do to single packets: datagrams with a number, sent and received by their kernel time stamps."""

import json
import re
import socket
import struct
import subprocess
import time
from typing import Any

from emulation import emulation, read_plan, write_result

from linux import namespace
from topology.net import Network

_SO_TIMESTAMPNS = 35
_NUMBER = struct.Struct("=IQ")


class Way:
    """Datagrams from one host to another; `sent` and `arrived` are ns by number, a number can arrive more than once."""

    def __init__(self, network: Network, source: str, target: str, payload: int) -> None:
        self.payload = payload
        self.sent: dict[int, int] = {}
        self.arrived: list[tuple[int, int]] = []
        with namespace.inside(target):
            self._receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self._receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._receiver.setblocking(False)
        self._receiver.bind(("0.0.0.0", 9))
        with namespace.inside(source):
            self._sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
        self._sender.connect((network.get(target).IP(), 9))

    def send(self) -> None:
        number = len(self.sent)
        self.sent[number] = time.time_ns()
        self._sender.send(_NUMBER.pack(number, 0).ljust(self.payload, b"\0"))

    def warm_up(self) -> None:
        """The first packet of a flow is looked up in the switches' tables, and the next may overtake it meanwhile."""
        self.send()
        time.sleep(1)
        self.receive()
        self.sent.clear()
        self.arrived.clear()

    def stream(self, count: int, gap_s: float) -> "Way":
        """`count` datagrams, one each `gap_s`, and what arrives within two seconds."""
        self.warm_up()
        begin = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, begin + number * gap_s - time.monotonic()))
            self.send()
            self.receive()
        time.sleep(2)
        self.receive()
        return self

    def receive(self) -> None:
        while True:
            try:
                data, ancillary, _, _ = self._receiver.recvmsg(2048, 64)
            except BlockingIOError:
                return
            seconds, ns = struct.unpack("=qq", ancillary[0][2])
            self.arrived.append((_NUMBER.unpack_from(data)[0], seconds * 10**9 + ns))

    def close(self) -> dict[str, Any]:
        self._receiver.close()
        self._sender.close()
        return {
            "sent": len(self.sent),
            "order": [number for number, _ in self.arrived],
            "delay_ns": [at - self.sent[number] for number, at in self.arrived],
            "sent_ns": [self.sent[number] for number, _ in self.arrived],
            "since_first_ns": [at - min(self.sent.values()) for _, at in self.arrived],
        }


def stream(network: Network, source: str, target: str, count: int, gap_s: float, payload: int = 100) -> dict[str, Any]:
    return Way(network, source, target, payload).stream(count, gap_s).close()


def follow_changes(network: Network) -> dict[str, Any]:
    """A stream of datagrams beside the plan's changes of one link; what was read back after each, and TCP's classes."""
    way = Way(network, "central", "still", 1000)
    way.warm_up()
    begin, readings = time.monotonic(), []
    agenda = [(change.time_ns / 1e9, change) for change in network.plan.changes]
    for number in range(5000):
        at = number / 1000
        time.sleep(max(0.0, begin + at - time.monotonic()))
        while agenda and agenda[0][0] <= at:
            readings += network.change(agenda.pop(0)[1])[1]
        way.send()
        way.receive()
    time.sleep(3)
    way.receive()
    return way.close() | {"begin_ns": min(way.sent.values()), "readings": readings}


def tcp(network: Network, target: str, seconds: int) -> dict[str, Any]:
    """A TCP flow from central, pings beside it in another slice's absence, and what its sender says of itself."""
    server = network.get(target).popen("iperf3 -s -1 -p 9000", stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    address = network.get(target).IP()
    client = network.get("central").popen(f"iperf3 -c {address} -p 9000 -t {seconds} -J", stderr=subprocess.STDOUT)
    time.sleep(seconds / 2)
    state = network.get("central").popen("ss -tin dst " + address).communicate()[0].decode()
    ping = network.get("central").popen(f"ping -c 20 -i 0.05 -q {address}").communicate()[0].decode()
    report = json.loads(client.communicate()[0])
    server.wait()
    return {
        "mbps": report["end"]["sum_received"]["bits_per_second"] / 1e6,
        "retransmits": report["end"]["sum_sent"]["retransmits"],
        "state": state,
        "rtt_ms": float(re.search(r"rtt min/avg/max/mdev = [\d.]+/([\d.]+)/", ping)[1]),
    }


def shown(interface: str) -> str:
    return subprocess.run(["tc", "-s", "qdisc", "show", "dev", interface], capture_output=True, text=True).stdout


def port_of(network: Network, link: str, end: int) -> str:
    return next(planned for planned in network.plan.links if planned.name == link).ends[end].interface


def main() -> None:
    plan = read_plan()
    result: dict[str, Any] = {}
    with emulation(plan) as (network, _):
        result["differing"] = [(r.planned, r.read) for _, r in network.read_back() if r.planned != r.read]
        result["kinds"] = sorted({r.planned.split()[0] for _, r in network.read_back()})
        result["normal"] = stream(network, "central", "normal", 4000, 0.02)
        result["pareto"] = stream(network, "central", "pareto", 4000, 0.02)
        result["table"] = stream(network, "central", "table", 2000, 0.02)
        result["bursts"] = stream(network, "central", "bursts", 20000, 0.001)
        result["up"] = stream(network, "bursts", "central", 2000, 0.001)
        result["mangled"] = stream(network, "central", "mangled", 10000, 0.001)
        result["queue"] = stream(network, "central", "queue", 100, 0, payload=1472)
        result["own"] = stream(network, "central", "own", 20, 0, payload=1472)
        result["fifo"] = tcp(network, "queue", 10)
        result["codel"] = tcp(network, "codel", 10)
        result["codel_qdisc"] = shown(port_of(network, "g-radio", 1))
        control = "sysctl -n net.ipv4.tcp_congestion_control"
        hosts = ("central", "own", "still", "west-local")
        result["control"] = {name: network.get(name).popen(control).communicate()[0].decode().strip() for name in hosts}
        result["changes"] = follow_changes(network)
    write_result(result)


main()
