"""Segments of TCP and how many of them the kernel handles at once.

`exact`: on every link one packet is one segment. Only a host merges what has arrived in order (generic receive offload, as a
network card's driver does), because calling TCP and its reader for each packet takes most of the wall time. A packet that ends
a message is not held, nor is anything but TCP.

`bulk`: packets of up to 64 kB travel as one, which is several times faster; loss, queue limits and shares act on them as one.
"""

import ctypes
import os
import socket
import struct
from pathlib import Path

from topology import offload
from topology.netlink import ACK, REQUEST, RTM_NEWLINK, Message, Netlink, attribute

MOST = {"exact": 1, "bulk": 65535}  # segments in a packet on a link
FRAME_BITS = 1514 * 8
HELD_NS = 500_000  # for which merging may hold the first of many packets: 64 kB at 1 Gbit/s
LARGEST = 65536  # bytes, the kernel's default
_IFLA_GRO_IPV4_MAX_SIZE = 64
_MNT_DETACH = 2
_SYSFS = Path("/run/insitu-sysfs")
_libc = ctypes.CDLL(None, use_errno=True)


def split_before_host(interface: str) -> None:
    """At the interface that leads to a host: a veth whose peer shall merge packets must not itself send merged ones."""
    offload.switch(interface, offload.SEGMENTATION, False)


def merge_received(netlink: Netlink, interface: str, index: int, rate_bps: int) -> None:
    """At a host's interface, in this thread's namespace, to which its link sends at a rate.

    Where fewer than four would be merged within HELD_NS, under 100 Mbit/s, none are: there is little to save.
    """
    packets = rate_bps * HELD_NS // (FRAME_BITS * 10**9)
    if packets < 4:
        return
    size = struct.pack("=I", min(LARGEST, packets * 1514))
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0) + attribute(_IFLA_GRO_IPV4_MAX_SIZE, size)
    netlink.request([Message(RTM_NEWLINK, REQUEST | ACK, body, f"{interface}: merged size")])
    # The wait for the next packet, which comes after one packet's time, or later from a slower link before this one
    wait_ns = 2 * FRAME_BITS * 10**9 // min(rate_bps, 10**9)
    _write_settings(interface, gro_flush_timeout=wait_ns, napi_defer_hard_irqs=1)
    offload.switch(interface, offload.MERGING, True)


def _write_settings(interface: str, **settings: int) -> None:
    """Settings that are only in sysfs, of which each namespace has its own."""
    _SYSFS.mkdir(exist_ok=True)
    _call("mount", b"sysfs", bytes(_SYSFS), b"sysfs", 0, None)
    try:
        for name, value in settings.items():
            (_SYSFS / "class" / "net" / interface / name).write_text(str(value))
    finally:
        _call("umount2", bytes(_SYSFS), _MNT_DETACH)


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
