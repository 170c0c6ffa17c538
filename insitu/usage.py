"""What the links carry while a run goes on: bytes since the last sample, of each direction and of each slice in it."""

import os
import socket
import time
from pathlib import Path

from linux import tree
from linux.netlink import Netlink
from scenarios import records
from scenarios.plan import End, Plan


class LinkUsage:
    """Bytes that left each end of the links since the last sample; the devices' own links are left out."""

    def __init__(self, plan: Plan) -> None:
        devices = {device.host for device in plan.devices}
        self._ends: dict[
            str, tuple[str, str, str | None]
        ] = {}  # interface -> link, its node, the host at the other end
        self._sliced: dict[
            tuple[str, str], tuple[int, End]
        ] = {}  # (link, its node) -> an interface with several slices
        for link in plan.links:
            for end, other in (link.ends, link.ends[::-1]):
                if end.port and other.node not in devices:
                    self._ends[end.interface] = (link.name, end.node, None if other.port else other.node)
                    if len(end.queues) > 1:
                        self._sliced[link.name, end.node] = (socket.if_nametoindex(end.interface), end)
        self._netlink = Netlink()
        self._packets_file = open("/proc/net/softnet_stat", "rb", buffering=0)  # noqa: SIM115 - open for the whole run
        self._packets, self._before = self._count_packets(), self._read()
        self._slices = {key: self._read_slices(key) for key in self._sliced}

    def sample(self) -> list[records.LinkUse | records.SliceUse]:
        packets = self._count_packets()
        if packets == self._packets:
            return []  # in an idle hour that saves looking at all interfaces 36,000 times
        self._packets = packets
        t, now = time.monotonic_ns(), self._read()
        grown = [(key, sent - self._before[key]) for key, sent in now.items() if sent != self._before[key]]
        self._before = now
        events: list[records.LinkUse | records.SliceUse] = []
        for (link, node), grown_by in grown:
            events.append(records.LinkUse(t, node, link, grown_by))
            if (link, node) in self._sliced:
                events += self._sample_slices(t, link, node)
        return events

    def _sample_slices(self, t: int, link: str, node: str) -> list[records.SliceUse]:
        before, now = self._slices[link, node], self._read_slices((link, node))
        self._slices[link, node] = now
        return [
            records.SliceUse(t, node, link, name, sent - before[name])
            for name, sent in now.items()
            if sent != before[name]
        ]

    def _read_slices(self, key: tuple[str, str]) -> dict[str, int]:
        index, end = self._sliced[key]
        return tree.sent(end, index, self._netlink)

    def _count_packets(self) -> bytes:
        """Changes with every packet that any interface of the machine receives."""
        return os.pread(self._packets_file.fileno(), 1 << 12, 0)

    def _read(self) -> dict[tuple[str, str], int]:
        """(link, the node that sends) -> bytes sent since it came up; what a host sends its switch has received."""
        sent = {}
        for line in Path("/proc/net/dev").read_text().splitlines()[2:]:
            name, _, figures = line.partition(":")
            if name.strip() in self._ends:
                link, node, host = self._ends[name.strip()]
                fields = figures.split()
                sent[link, node] = int(fields[8])
                if host:
                    sent[link, host] = int(fields[0])
        return sent
