"""A timer as a descriptor, exact to the ns. `epoll_wait` and what is made of it, asyncio and eventlet, count in ms and round."""

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_MONOTONIC, _NONBLOCK_CLOEXEC = 1, 0o4000 | 0o2000000
_SETTING = struct.Struct("=qqqq")  # itimerspec: interval and value, s and ns each


class Timer:
    """Its descriptor is readable when the time is over, until it is set anew."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._descriptor: int = _libc.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def fileno(self) -> int:
        return self._descriptor

    def set(self, seconds: float | None) -> None:
        """It is time after so long, from now on (1 ns at the earliest), or never."""
        ns = 0 if seconds is None else max(1, round(seconds * 1e9))
        _libc.timerfd_settime(self._descriptor, 0, _SETTING.pack(0, 0, *divmod(ns, 10**9)), None)

    def close(self) -> None:
        os.close(self._descriptor)
