"""An event loop whose timers are exact. asyncio's own selector rounds each wait up to the next millisecond."""

import asyncio
import contextlib
import ctypes
import os
import selectors
import struct
import time

_libc = ctypes.CDLL(None, use_errno=True)
_MONOTONIC, _NONBLOCK_CLOEXEC = 1, 0o4000 | 0o2000000
_SETTING = struct.Struct("=qqqq")  # itimerspec: interval and value, s and ns each


class ExactSelector(selectors.EpollSelector):
    """Waits by a timer descriptor in the epoll set, to the ns."""

    def __init__(self) -> None:
        super().__init__()
        self._timer = _libc.timerfd_create(_MONOTONIC, _NONBLOCK_CLOEXEC)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._timer_key = self.register(self._timer, selectors.EVENT_READ)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return self._without_timer(super().select(timeout))
        ns = max(1, round(timeout * 1e9))
        _libc.timerfd_settime(self._timer, 0, _SETTING.pack(0, 0, *divmod(ns, 10**9)), None)
        return self._without_timer(super().select(None))

    def close(self) -> None:
        os.close(self._timer)
        super().close()

    def _without_timer(self, ready: list[tuple[selectors.SelectorKey, int]]) -> list[tuple[selectors.SelectorKey, int]]:
        if all(key is not self._timer_key for key, _ in ready):
            return ready
        with contextlib.suppress(BlockingIOError):  # it was set anew since
            os.read(self._timer, 8)
        return [(key, events) for key, events in ready if key is not self._timer_key]


def event_loop() -> asyncio.AbstractEventLoop:
    return asyncio.SelectorEventLoop(ExactSelector())


async def sleep_until(ns: int) -> None:
    """Until the monotonic clock shows `ns`; returns at once when it is past."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    handle = loop.call_at(ns / 1e9, _finish, done)
    try:
        await done
    finally:
        handle.cancel()


async def sleep_ns(ns: int) -> None:
    await sleep_until(time.monotonic_ns() + ns)


def _finish(done: "asyncio.Future[None]") -> None:
    if not done.done():
        done.set_result(None)
