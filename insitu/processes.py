"""The processes of a run: each is forked from one that has imported what it needs, and talks to it by two pipes."""

import asyncio
import os
import resource
import select
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

READY_LIMIT_S = 120.0  # of the machine's time
_ORIGIN = struct.Struct("=q")


class ProcessError(Exception):
    """A process of the run died, or was not ready in time; the message says which."""


class Channel(NamedTuple):
    """The child's side: it says that it is ready and waits for the run's start."""

    ready_fd: int
    start_fd: int

    def ready(self) -> None:
        os.write(self.ready_fd, b"R")

    def wait_for_start(self) -> int:
        """The start of the run on the monotonic clock, ns."""
        return int(_ORIGIN.unpack(os.read(self.start_fd, _ORIGIN.size))[0])

    async def started(self) -> int:
        """As `wait_for_start`, while others run."""
        loop, told = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self.start_fd, told.set)
        try:
            await told.wait()
        finally:
            loop.remove_reader(self.start_fd)
        return self.wait_for_start()


class Service(NamedTuple):
    """The parent's side of a process."""

    name: str
    pid: int
    ready_fd: int
    start_fd: int | None


def spawn(name: str, body: Callable[[Channel], None], log: Path) -> Service:
    """Forks a process that runs `body`, its output into a log of its own. It ends with status 1 when `body` raises."""
    ready, child_ready = os.pipe()
    child_start, start = os.pipe()
    pid = os.fork()
    if pid:
        os.close(child_ready)
        os.close(child_start)
        return Service(name, pid, ready, start)
    os.close(ready)
    os.close(start)  # so that the wait for the start ends when the one who would give it is gone
    status = 1
    try:
        with log.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        body(Channel(child_ready, child_start))
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait_until_ready(services: list[Service], meanwhile: Callable[[], None] = lambda: None) -> None:
    """Returns when all are; calls `meanwhile` a hundred times a second until then.

    Raises ProcessError when one dies or takes longer than READY_LIMIT_S.
    """
    waiting = {service.ready_fd: service for service in services}
    end = time.monotonic() + READY_LIMIT_S
    while waiting:
        ready, _, _ = select.select(list(waiting), [], [], 0.01)
        meanwhile()
        if time.monotonic() > end:
            names = ", ".join(service.name for service in waiting.values())
            raise ProcessError(f"{names}: not ready within {READY_LIMIT_S:.0f} s")
        for fd in ready:
            service = waiting.pop(fd)
            if os.read(fd, 1) != b"R":
                raise ProcessError(f"{service.name} died before it was ready; see its log")


def start(services: list[Service], origin: int) -> None:
    for service in services:
        if service.start_fd is not None:
            os.write(service.start_fd, _ORIGIN.pack(origin))


def ended(services: list[Service]) -> dict[str, int]:
    """The exit statuses of those that have ended; a signal counts as its negative number."""
    statuses = {}
    for service in services:
        pid, status = os.waitpid(service.pid, os.WNOHANG)
        if pid:
            statuses[service.name] = os.waitstatus_to_exitcode(status)
    return statuses


def finish(services: list[Service], limit_s: float) -> dict[str, int]:
    """Waits for processes that end by themselves; what is left after `limit_s` is killed and counts as killed."""
    statuses: dict[str, int] = {}
    end = time.monotonic() + limit_s
    while len(statuses) < len(services) and time.monotonic() < end:
        statuses |= ended([service for service in services if service.name not in statuses])
        time.sleep(0.01)
    for service in (service for service in services if service.name not in statuses):
        os.kill(service.pid, signal.SIGKILL)
        statuses[service.name] = os.waitstatus_to_exitcode(os.waitpid(service.pid, 0)[1])
    return statuses


def stop(services: list[Service], limit_s: float) -> dict[str, int]:
    """Asks processes to end, then waits as `finish` does."""
    for service in services:
        os.kill(service.pid, signal.SIGTERM)
    return finish(services, limit_s)
