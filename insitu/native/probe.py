"""Can this machine carry a run itself? Found out by making, in a throw-away network namespace, what a run makes."""

import ctypes
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from typing import Literal, NamedTuple

from insitu.vm.machine import SYSTEM_PATH
from linux.netlink import (
    ACK,
    CREATE,
    EXCLUSIVE,
    REQUEST,
    Message,
    Netlink,
    NetlinkError,
    attribute,
    attributes,
    text,
    veth,
)

Datapath = Literal["system", "netdev"]

_NEWNET = 0x40000000
_NEWQDISC, _GETQDISC = 36, 38
_TC = struct.Struct("=BxxxiIII")  # tcmsg: family, ifindex, handle, parent, info
_ROOT = 0xFFFFFFFF
_KIND, _OPTIONS = 1, 2
_SEED = 14  # TCA_NETEM_PRNG_SEED
_HTB = attribute(2, struct.pack("=IIIII", 3, 10, 1, 0, 0))  # TCA_HTB_INIT
_NETEM = struct.pack("=IIIIII", 0, 1000, 0, 0, 0, 0) + attribute(_SEED, struct.pack("=Q", 7))
_NETEM_FIXED = 24  # bytes of netem's options before its attributes
_PROGRAMS = {
    "ovs-vswitchd": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "ovsdb-tool": "openvswitch-switch",
    "mnexec": "mininet",
    "ip": "iproute2",
    "mount": "mount",
}
_MOUNTS = [("tmpfs", "/run"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/dev/shm")]
_MODULES = "boot a kernel that has it, or use --on vm"


class Lack(NamedTuple):
    """Something that a run on this host would need, and what mends it."""

    what: str
    mend: str


# What it sends goes through a packet socket, which does not say the packet's priority: three slices of 50, 30 and 20 % of a full
# 4 Mbit/s link got 1.16, 1.31 and 1.34 Mbit/s, all of it counted in class 1:1; by the kernel's datapath 1.91, 1.15 and 0.70.
NO_SLICES = Lack(
    "no Open vSwitch datapath in the kernel (openvswitch), and its userspace datapath ignores slices",
    f"{_MODULES}, or a scenario without slices",
)


class Fitness(NamedTuple):
    """What is missing; and Open vSwitch's datapath: the kernel's if there is one, else its userspace one."""

    lacks: list[Lack]
    datapath: Datapath


class UnfitHost(Exception):
    """A run on this host is not possible; the message says all that is missing, a line each."""


def require_fit(slices: int) -> Datapath:
    """The datapath for a run with so many slices. Raises UnfitHost."""
    fitness = fitness_of_host()
    lacks = list(fitness.lacks)
    if fitness.datapath == "netdev" and slices > 1:
        lacks.append(NO_SLICES)
    if lacks:
        raise UnfitHost("\n".join(f"--on host: {lack.what}; {lack.mend}" for lack in lacks))
    return fitness.datapath


def fitness_of_host() -> Fitness:
    if os.geteuid() != 0:
        return Fitness([Lack("needs root", "use sudo, or --on vm, which needs no root")], "system")
    lacks = [*_programs(), *_namespaces()]
    if len(lacks) > len(_programs()):
        return Fitness(lacks, "system")
    found: list[Fitness] = []
    # A namespace belongs to a thread, and ends with it
    thread = threading.Thread(target=lambda: found.append(_network()))
    thread.start()
    thread.join()
    return Fitness([*lacks, *found[0].lacks], found[0].datapath)


def _programs() -> list[Lack]:
    absent = {program: package for program, package in _PROGRAMS.items() if not shutil.which(program, path=SYSTEM_PATH)}
    return (
        [Lack(f"no {', '.join(absent)}", f"apt-get install {' '.join(sorted(set(absent.values())))}")] if absent else []
    )


def _namespaces() -> list[Lack]:
    """The namespaces and mounts of a run, made and given up again."""
    mounts = ["mount -n --make-rprivate /", *(f"mount -n -t {kind} none {place}" for kind, place in _MOUNTS)]
    shell = ["/bin/sh", "-e", "-c", "; ".join(mounts)]
    enter = [sys.executable, "-I", "-S", str(Path(__file__).with_name("enter.py")), *shell]
    done = subprocess.run(enter, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode == 0:
        return []
    reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return [
        Lack(f"no namespaces with mounts of their own ({reason})", "a container needs --privileged, or use --on vm")
    ]


def _network() -> Fitness:
    """Links and their qdiscs as a run makes them, in a network namespace that ends with this thread."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "network namespace")
    netlink = Netlink()
    datapath: Datapath = "system" if _kernel_datapath() else "netdev"
    try:
        netlink.request([veth("insitu0", "insitu1", "02:00:00:00:00:01", "02:00:00:00:00:02")])
    except NetlinkError as error:
        return Fitness([_module("veth", "veth links", error)], datapath)
    lacks = []
    for interface, module, what, options in (
        ("insitu0", "sch_htb", "htb", _HTB),
        ("insitu1", "sch_netem", "netem", _NETEM),
    ):
        index = socket.if_nametoindex(interface)
        try:
            netlink.request([_qdisc(index, what, options)])
        except NetlinkError as error:
            lacks.append(_module(module, f"qdisc {what}", error))
            continue
        if what == "netem" and not _has_seed(netlink, index):
            lacks.append(Lack("this kernel's netem takes no seed", "Linux 6.6 or later, or use --on vm"))
    return Fitness(lacks, datapath)


def _module(name: str, what: str, error: NetlinkError) -> Lack:
    return Lack(f"no {what} ({name}: {os.strerror(error.errno or 0)})", _MODULES)


def _qdisc(index: int, kind: str, options: bytes) -> Message:
    body = _TC.pack(0, index, 0x10000, _ROOT, 0) + attribute(_KIND, text(kind)) + attribute(_OPTIONS, options)
    return Message(_NEWQDISC, REQUEST | ACK | CREATE | EXCLUSIVE, body, kind)


def _has_seed(netlink: Netlink, index: int) -> bool:
    for body in netlink.dump(_GETQDISC, _TC.pack(0, index, 0, 0, 0)):
        found = attributes(body[_TC.size :])
        if _TC.unpack_from(body)[1] == index and found[_KIND] == text("netem"):
            return _SEED in attributes(found[_OPTIONS][_NETEM_FIXED:])
    return False


def _kernel_datapath() -> bool:
    """Asking for its netlink family loads Open vSwitch's module, if there is one."""
    GENERIC, CONTROL, GETFAMILY, FAMILY_NAME, ERROR = 16, 16, 3, 2, 2
    body = struct.pack("=BBH", GETFAMILY, 1, 0) + attribute(FAMILY_NAME, text("ovs_datapath"))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, GENERIC) as asking:
        asking.send(struct.pack("=IHHII", 16 + len(body), CONTROL, REQUEST, 1, 0) + body)
        (kind,) = struct.unpack_from("=4xH", asking.recv(8192))
    return bool(kind != ERROR)
