"""Sessions' classes at one port: made, read back, changed and removed while the port, and then its link, is in use."""

import socket
import subprocess
import time
from typing import Any

from emulation import emulation, read_plan, write_result

from linux import namespace, netlink, tree
from scenarios.plan import End
from topology.net import Network

GOLD, FIRST, SECOND = 1, 64, 65  # queues: a slice, two sessions
PORT = 7000


class Port:
    """The gNB's end of the radio, and what the kernel says of it."""

    def __init__(self, network: Network) -> None:
        links = {link.name: link for link in network.plan.links}
        self.end: End = next(end for end in links["a-radio"].ends if end.node == "a")
        self.index = socket.if_nametoindex(self.end.interface)
        self.netlink = netlink.Netlink()
        self.network = network

    def request(self, messages: list[netlink.Message]) -> None:
        self.netlink.request(messages)

    def sessions(self) -> dict[int, list[int]]:
        return {q: list(found) for q, found in tree.sessions(self.index, self.netlink).items()}

    def counts(self) -> dict[int | None, list[int]]:
        every = self.network.counts()
        return {c.queue: [c.bytes, c.dropped] for _, end, c in every if end.interface == self.end.interface}

    def readings(self) -> list[list[str]]:
        return [list(reading) for end, reading in self.network.read_back() if end.interface == self.end.interface]

    def read_session(self, q: int, rate_bps: int) -> list[list[str]]:
        dumped = tree.qdiscs(self.netlink, self.index)
        found = tree.read_back_session(self.end, self.index, GOLD, q, rate_bps, self.netlink, dumped)
        return [list(reading) for reading in found]

    def shown(self) -> str:
        """As `tc` shows it, without what has been sent."""
        commands = [["tc", kind, "show", "dev", self.end.interface] for kind in ("qdisc", "class")]
        return "".join(
            "".join(sorted(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines(True)))
            for command in commands
        )

    def send(self, q: int, frames: int) -> None:
        """Full frames from central to the phone by queue q, all at once; returns when those that fit have arrived."""
        flow = f"table=0,priority=30,udp,udp_dst={PORT},actions=set_queue:{q},goto_table:1"
        subprocess.run(["ovs-ofctl", "-OOpenFlow13", "add-flow", self.end.node, flow], check=True)
        with namespace.inside("central"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.setsockopt(socket.SOL_SOCKET, 32, 1 << 26)  # SO_SNDBUFFORCE
            for _ in range(frames):
                made.sendto(bytes(1472), (self.network.get("phone").IP(), PORT))
        time.sleep(2)


def main() -> None:
    result: dict[str, Any] = {}
    with emulation(read_plan()) as (network, _):
        port = Port(network)
        port.send(0, 1)  # the flow is looked up
        result["before"], result["nothing"] = port.shown(), port.sessions()
        port.request(tree.session_class(port.end, port.index, GOLD, FIRST, 20_000_000))
        port.request(tree.session_class(port.end, port.index, GOLD, SECOND, 10_000_000))
        port.request(tree.default_rate(port.end, port.index, GOLD, tree.left(50_000_000, 30_000_000)))
        result["made"], result["made_readings"] = port.sessions(), port.read_session(FIRST, 20_000_000)
        port.request(tree.session_rate(port.end, port.index, GOLD, FIRST, 25_000_000))
        result["changed"], result["changed_readings"] = port.sessions(), port.read_session(FIRST, 25_000_000)
        port.send(FIRST, 500)  # 60 kB wait; the rest is dropped
        result["sent"], result["counts"] = port.sessions(), port.counts()
        result["after_change"] = [list(reading) for reading in network.change(network.plan.changes[0])[1]]
        result["after_change_sessions"], result["after_change_shown"] = port.sessions(), port.shown()
        result["readings"] = port.readings()
        for q in (FIRST, SECOND):
            port.request(tree.without_session(port.end, port.index, q))
        result["ended"], result["ended_counts"] = port.sessions(), port.counts()
        network.change(network.plan.changes[1])
        result["after"] = port.shown()
        try:
            port.request(tree.session_rate(port.end, port.index, GOLD, FIRST, 8_000))
        except netlink.NetlinkError as error:
            result["refused"] = str(error)
    write_result(result)


main()
