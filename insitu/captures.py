"""Captures of a run: one tcpdump for each, in the namespace of its interface, listening before the run starts.

Its files are pcap with ns stamps of the machine's clock, which Wireshark's own tools read.
"""

import os
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from insitu import processes
from insitu.processes import Channel, ProcessError, Service
from linux import namespace
from scenarios import plan as plans
from scenarios import recording, records

# The kernel hands packets to tcpdump at the latest two of its timeouts (1 s) after they passed; what it holds at the end is lost.
SETTLE_S = 2.1
BUFFER_KIB = 8 * 1024  # between kernel and tcpdump: more than 20,000 packets
LISTEN_LIMIT_S = 30.0  # of the machine's time
_HEADER, _PACKET = struct.Struct("=IHHiIII"), struct.Struct("=IIII")
_NANOSECONDS = 0xA1B23C4D


def process_name(capture: plans.Capture) -> str:
    """No node has a point in its name."""
    return f"capture.{capture.name}"


class Captures:
    """All captures of a run, their files in `folder`/captures."""

    def __init__(self, planned: list[plans.Capture], folder: Path) -> None:
        self._planned, self._folder = planned, folder

    def spawn(self) -> list[Service]:
        if self._planned:
            (self._folder / "captures").mkdir()
        return [self._spawn(capture) for capture in self._planned]

    def wait_until_listening(self, services: list[Service]) -> None:
        """Raises ProcessError when one dies or does not listen in time."""
        end = time.monotonic() + LISTEN_LIMIT_S
        for capture, service in zip(self._planned, services, strict=True):
            while not (self._log(capture).exists() and "listening on" in self._log(capture).read_text()):
                died = os.waitid(os.P_PID, service.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if died or time.monotonic() > end:
                    what = "ended before it listened" if died else f"does not listen after {LISTEN_LIMIT_S:.0f} s"
                    raise ProcessError(f"{service.name} {what}; see logs/{self._log(capture).name}")
                time.sleep(0.01)

    def settle(self) -> None:
        """Waits until tcpdump has all packets of the run."""
        if self._planned:
            time.sleep(SETTLE_S)

    def events(self, origin: int) -> Iterator[records.Captured]:
        """What the captures hold once all have ended; `origin` is the run's start on the monotonic clock."""
        start = origin + time.time_ns() - time.monotonic_ns()
        for capture in self._planned:
            counted = counts(self._log(capture).read_text())
            if counted is None:
                continue  # it died, and its exit status says so
            captured, passed = counted
            full = captured >= capture.packets
            cut = max(0, last_stamp(self._file(capture)) - start) if full else -1
            missing = 0 if full else passed - captured
            yield records.Captured(recording.Recorder.now(), "machine", capture.name, captured, missing, cut, start)

    def _spawn(self, capture: plans.Capture) -> Service:
        command = ["tcpdump", "-n", "-i", capture.interface, "-w", str(self._file(capture)), "-Z", "root"]
        command += ["-s", str(capture.snap_bytes), "-c", str(capture.packets), "--time-stamp-precision=nano"]
        command += ["-B", str(BUFFER_KIB)]

        def body(_: Channel) -> None:
            if capture.host:
                namespace.enter(capture.host)
            os.execvp(command[0], command)

        return processes.spawn(process_name(capture), body, self._log(capture))

    def _file(self, capture: plans.Capture) -> Path:
        return self._folder / "captures" / f"{capture.name}.pcap"

    def _log(self, capture: plans.Capture) -> Path:
        return self._folder / "logs" / f"{process_name(capture)}.log"


def counts(messages: str) -> tuple[int, int] | None:
    """Packets that tcpdump wrote, and that passed it; None if it did not come to say so."""
    found = [re.search(rf"^(\d+) packets? {what}", messages, re.M) for what in ("captured", "received by filter")]
    captured, passed = (int(match[1]) if match else None for match in found)
    return None if captured is None or passed is None else (captured, passed)


def last_stamp(file: Path) -> int:
    """When the last packet of a pcap file passed, ns since 1970. Raises ValueError when it has none, or no ns stamps."""
    stamp: int | None = None
    with file.open("rb") as packets:
        if _HEADER.unpack(packets.read(_HEADER.size))[0] != _NANOSECONDS:
            raise ValueError(f"{file.name} has no ns stamps")
        while header := packets.read(_PACKET.size):
            seconds, ns, length, _ = _PACKET.unpack(header)
            packets.seek(length, os.SEEK_CUR)
            stamp = seconds * 10**9 + ns
    if stamp is None:
        raise ValueError(f"{file.name} holds no packet")
    return stamp
