"""What a guest takes from the host: a CPU of its own, and a place for its memory."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path


@contextmanager
def reserved_cpu() -> Iterator[int]:
    """Hold the CPU that the fewest other guests of this machine are on, of those that we may run on.

    A guest is as fast on one CPU as it can be. Each holds a socket with a name that says where it is; the kernel lets
    go of it when we die.
    """
    cpus = sorted(os.sched_getaffinity(0), reverse=True)  # the host's own work tends to be on the first
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as holder:
        for slot in count():
            for cpu in cpus:
                try:
                    holder.bind(f"\0insitu-cpu-{cpu}-slot-{slot}")
                except OSError:
                    continue  # taken
                yield cpu
                return


def memory_folder(size: int) -> Path | None:
    """A folder with room for the guest's memory (a sparse, unlinked file of `size` bytes), or None.

    $TMPDIR if it is set; else memory itself before a disk.
    """
    for name in memory_folders():
        folder = Path(name)
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            continue
        executable = not os.statvfs(folder).f_flag & os.ST_NOEXEC  # the guest's programs run from its memory
        if executable and shutil.disk_usage(folder).free >= size:
            return folder
    return None


def memory_folders() -> list[str]:
    """Where `memory_folder` looks, in that order."""
    chosen = os.environ.get("TMPDIR")
    return [*([chosen] if chosen else []), "/dev/shm", "/tmp", "/var/tmp"]
