"""Child processes that never outlive us, and signals that clean up as Ctrl-C does."""

import ctypes
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before any fork, where little is safe


def dies_with_parent(parent: int, cpu: int | None = None) -> Callable[[], None]:
    """A `preexec_fn`: the child is killed when `parent` (our process id) dies, however it dies. It leaves no core file.

    It is pinned to `cpu` if given, and may open as many files as the system allows: a guest keeps many open.
    """

    def prepare() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})

    return prepare


@contextmanager
def cleaning_up_on_signals() -> Iterator[None]:
    """Within it SIGTERM and SIGHUP raise SystemExit, so that every `finally` runs (in the main thread only)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    # One that is ignored (nohup) stays so.
    signals = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
