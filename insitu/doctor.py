"""What a machine needs for insitu, and the line that mends what is missing."""

import importlib.util
import os
import shutil
from typing import NamedTuple

from insitu import ryu_environment
from insitu.cache import cache_dir
from insitu.native import probe
from insitu.vm import kernel
from insitu.vm.host import memory_folder, memory_folders

GUEST_BYTES = 3072 << 20
DISK_BYTES = 4 << 30  # a kernel's source and build need this much for a while
# A command that must be there -> Debian's package that has it.
COMMANDS = {
    "mnexec": "mininet",
    "ovs-vsctl": "openvswitch-switch",
    "ovsdb-server": "openvswitch-switch",
    "tc": "iproute2",
    "taskset": "util-linux",
    **kernel.TOOLS,
}
MODULES = ("mininet", "torch", "os_ken", "aiohttp", "msgspec", "safetensors", "sklearn", "polars")


class Finding(NamedTuple):
    fine: bool
    what: str
    mend: str = ""
    optional: bool = False  # nothing that a run in the guest needs


def findings() -> list[Finding]:
    return [_commands(), _modules(), _memory(), _disk(), _kernel(), _ryu(), *_host()]


def _commands() -> Finding:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = sorted({package for command, package in COMMANDS.items() if shutil.which(command, path=path) is None})
    if not missing:
        return Finding(True, "programs: all there")
    return Finding(False, f"programs of {', '.join(missing)}", f"apt-get install {' '.join(missing)}")


def _modules() -> Finding:
    missing = [name for name in MODULES if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding(True, "Python packages: all there")
    return Finding(False, f"Python packages {', '.join(missing)}", "make setup")


def _memory() -> Finding:
    if folder := memory_folder(GUEST_BYTES):
        return Finding(True, f"room for a guest's memory: {folder}")
    return Finding(
        False, f"3 GB of room for a guest's memory in {', '.join(memory_folders())}", "set TMPDIR to a folder with room"
    )


def _disk() -> Finding:
    folder = cache_dir()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free >= DISK_BYTES:
        return Finding(True, f"room for the cache: {free >> 30} GB at {folder}")
    return Finding(False, f"4 GB of room for the cache at {folder}", "set INSITU_CACHE to a folder with room")


def _kernel() -> Finding:
    built = sorted(cache_dir().glob("kernel-*/linux"))
    return Finding(True, "guest kernel: built") if built else Finding(False, "the guest's kernel", "insitu vm build")


def _ryu() -> Finding:
    """What `controller: ryu` needs."""
    if environment := ryu_environment.find():
        return Finding(True, f"for controller: ryu: {environment}")
    return Finding(False, "for controller: ryu: Ryu's environment", "make ryu", optional=True)


def _host() -> list[Finding]:
    """What `--on host` needs."""
    fitness = probe.fitness_of_host()
    found = [Finding(False, f"for --on host: {lack.what}", lack.mend, optional=True) for lack in fitness.lacks]
    if not found:
        found = [Finding(True, "for --on host: namespaces, links and their qdiscs can be made")]
    if fitness.datapath == "netdev":
        found.append(Finding(False, f"for --on host: {probe.NO_SLICES.what}", probe.NO_SLICES.mend, optional=True))
    return found
