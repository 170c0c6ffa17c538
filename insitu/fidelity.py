"""What tells whether a machine with a real clock kept up: idle CPU, lateness of timers and packets, packets that were lost.

The figures become records; `insitu/verdict.py` judges them. With the virtual clock only lost packets can tell anything.
"""

import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from insitu.processes import Channel
from linux import namespace, netlink
from scenarios import recording, records
from scenarios.plan import Plan

SECOND = 1_000_000_000
INTERVAL_NS = SECOND // 50  # between two samples of timers and packets: seldom enough not to load a guest's core
PROBE_DELAY_NS = 5_000_000  # of the probe link, which carries nothing else
_LAST_PACKET_S = 1.0  # in which a packet of the probe link that is still to come comes
_ETHERTYPE = 0x88B5  # IEEE 802's own for experiments: nobody else's packets
_MACS = ("02:03:00:00:00:01", "02:03:00:00:00:02")
_STAMP, _TIMESPEC = struct.Struct("=q"), struct.Struct("=qq")
_SO_TIMESTAMPNS = 35


class CpuTimes(NamedTuple):
    """What CPUs have done since they started, in ticks: in all, and idle (waiting for a disk is idle)."""

    total: int
    idle: int


def cpu_times(stat: str, cpu: int | None) -> CpuTimes:
    """Reads /proc/stat: one CPU's line, or all CPUs' for None."""
    name = "cpu" if cpu is None else f"cpu{cpu}"
    line = next(line for line in stat.splitlines() if line.split()[0] == name)
    ticks = [int(field) for field in line.split()[1:9]]  # what guests of this machine took is in `user` already
    return CpuTimes(sum(ticks), ticks[3] + ticks[4])


class IdleCpu:
    """The idle share, second by second of a run, of the CPU that its machine is on, or of all for None; seen from outside.

    A User-Mode Linux guest counts its own idle time wrongly (a CPU that is half idle shows 65 %), and does not see what else runs
    on its CPU. So the one who waits for the machine looks: from the start on, whenever it hears of another second.
    """

    def __init__(self, cpu: int | None, second: int) -> None:
        self._cpu, self._second = cpu, second
        self._before = self._read()
        self.events: list[records.Idle] = []

    def see(self, second: int) -> None:
        """The run has come to this second. Seconds that are heard of at once share what was between."""
        now = self._read()
        share = round((now.idle - self._before.idle) / max(1, now.total - self._before.total), 3)
        self.events += [records.Idle(s * SECOND, "machine", share) for s in range(self._second + 1, second + 1)]
        self._second, self._before = second, now

    def _read(self) -> CpuTimes:
        return cpu_times(Path("/proc/stat").read_text(), self._cpu)


class ProbeLink:
    """A link in a namespace without a name: packets sent into it come out PROBE_DELAY_NS later, if the machine keeps up."""

    def __init__(self) -> None:
        namespace.unshare()
        with_kernel = netlink.Netlink()
        with_kernel.request([netlink.veth("probe0", "probe1", *_MACS)])
        delay = ["delay", f"{PROBE_DELAY_NS // 1000}us"]
        subprocess.run(["tc", "qdisc", "add", "dev", "probe0", "root", "netem", *delay], check=True)
        names = ("probe0", "probe1")
        with_kernel.request([netlink.up(socket.if_nametoindex(name), name) for name in names])
        with_kernel.close()
        self._sender, self._receiver = (socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0) for _ in names)
        self._receiver.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._receiver.bind(("probe1", _ETHERTYPE))
        self._receiver.setblocking(False)

    def send(self) -> None:
        to = ("probe0", _ETHERTYPE, 0, 0, bytes.fromhex(_MACS[1].replace(":", "")))
        self._sender.sendto(_STAMP.pack(time.time_ns()), to)

    def lateness(self) -> Iterator[int]:
        """ns by which each packet that has come was late: by the kernel's own stamp of its arrival."""
        while True:
            try:
                data, ancillary, _, _ = self._receiver.recvmsg(64, socket.CMSG_SPACE(_TIMESPEC.size))
            except BlockingIOError:
                return
            seconds, ns = _TIMESPEC.unpack(ancillary[0][2])
            yield seconds * SECOND + ns - _STAMP.unpack_from(data)[0] - PROBE_DELAY_NS


def sample(plan: Plan, folder: Path, channel: Channel) -> None:
    """The body of a process: fifty times a second, how late it wakes, and how late the probe link's packets are."""
    recorder = recording.Recorder(folder / "events", "fidelity")
    link = ProbeLink()
    channel.ready()
    origin = channel.wait_for_start()

    def note_packets() -> int:
        late = list(link.lateness())
        for ns in late:
            recorder.write(records.Lateness(recorder.now(), "machine", "packet", ns))
        return len(late)

    missing = 0
    for due in range(origin, origin + plan.duration_ns, INTERVAL_NS):
        time.sleep(max(0, due - time.monotonic_ns()) / SECOND)
        recorder.write(records.Lateness(recorder.now(), "machine", "timer", time.monotonic_ns() - due))
        link.send()
        missing += 1 - note_packets()
    end = time.monotonic() + _LAST_PACKET_S
    while missing and time.monotonic() < end:
        time.sleep(INTERVAL_NS / SECOND)
        missing -= note_packets()
    recorder.close()


class Losses:
    """Packets that were lost since now where the plan has no queue: at the switches' ports, and between two steps of the kernel."""

    def __init__(self, plan: Plan) -> None:
        self._ports = {end.interface: end.node for link in plan.links for end in link.ends if end.port}
        self._before = self._read()

    def events(self) -> Iterable[records.Lost]:
        """The backlog's always, so that it shows that somebody looked; a port's where there are some."""
        for interface, now in self._read().items():
            packets = now - self._before[interface]
            if packets or interface == BACKLOG:
                yield records.Lost(recording.Recorder.now(), self._ports.get(interface, "machine"), interface, packets)

    def _read(self) -> dict[str, int]:
        ports = port_losses(Path("/proc/net/dev").read_text())
        backlog = backlog_losses(Path("/proc/net/softnet_stat").read_text())
        return {BACKLOG: backlog, **{name: ports[name] for name in self._ports if name in ports}}


BACKLOG = "backlog"


def port_losses(dev: str) -> dict[str, int]:
    """Reads /proc/net/dev: interface -> packets dropped in both directions. What queues drop does not count there."""
    lines = (line.partition(":") for line in dev.splitlines()[2:])
    return {name.strip(): int(rest.split()[3]) + int(rest.split()[11]) for name, _, rest in lines}


def backlog_losses(softnet_stat: str) -> int:
    """Reads /proc/net/softnet_stat, a line of hexadecimal figures for each CPU, the second the packets dropped."""
    return sum(int(line.split()[1], 16) for line in softnet_stat.splitlines())
