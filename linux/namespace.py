"""Network namespaces by name, as `ip netns` keeps them: made, entered for one socket, entered for a whole process."""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

FOLDER = Path("/run/netns")
CLONE_NEWNET = 0x40000000
MS_BIND, MNT_DETACH = 0x1000, 2
_SYSFS = Path("/run/insitu-sysfs")
_libc = ctypes.CDLL(None, use_errno=True)


def path(name: str) -> Path:
    return FOLDER / name


def create(name: str) -> None:
    """Makes a namespace. It lasts, without a process in it, until it is removed. Raises FileExistsError."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    place = path(name)
    place.touch(exist_ok=False)
    # The thread that asks for a namespace is in it; it goes back, and the bind mount keeps what it made
    with open("/proc/thread-self/ns/net") as before:
        try:
            _call("unshare", CLONE_NEWNET)
            _call("mount", b"/proc/thread-self/ns/net", bytes(place), b"none", MS_BIND, None)
        except OSError:
            place.unlink()
            raise
        finally:
            _call("setns", before.fileno(), CLONE_NEWNET)


def remove(name: str) -> None:
    _call("umount2", bytes(path(name)), MNT_DETACH)
    path(name).unlink()


def enter(name: str) -> None:
    """Moves this thread, and so a process that has no other, into a namespace for good."""
    with path(name).open() as file:
        _call("setns", file.fileno(), CLONE_NEWNET)


def unshare() -> None:
    """Moves this thread into a new namespace that has no name and goes with its last socket and process."""
    _call("unshare", CLONE_NEWNET)


def inside(name: str) -> AbstractContextManager[None]:
    """This thread is in the namespace for a while; a socket that is made there belongs there for ever."""
    return inside_of(path(name))


@contextmanager
def inside_of(file: Path) -> Iterator[None]:
    """The same for any namespace's file, such as /proc/PID/ns/net."""
    with open("/proc/thread-self/ns/net") as before, file.open() as there:
        _call("setns", there.fileno(), CLONE_NEWNET)
        try:
            yield
        finally:
            _call("setns", before.fileno(), CLONE_NEWNET)


@contextmanager
def interfaces() -> Iterator[Path]:
    """The folder of the interfaces of this thread's namespace in sysfs, of which each namespace has its own, for a while."""
    _SYSFS.mkdir(exist_ok=True)
    _call("mount", b"sysfs", bytes(_SYSFS), b"sysfs", 0, None)
    try:
        yield _SYSFS / "class" / "net"
    finally:
        _call("umount2", bytes(_SYSFS), MNT_DETACH)


def tcp_socket(name: str) -> socket.socket:
    """A non-blocking TCP socket of a namespace."""
    with inside(name):
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


def listening_socket(name: str, port: int) -> socket.socket:
    """Listens at all addresses of a namespace, also at those that it gets later."""
    made = tcp_socket(name)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind(("0.0.0.0", port))
    made.listen(1024)
    return made


def _call(function: str, *arguments: object) -> None:
    if getattr(_libc, function)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
