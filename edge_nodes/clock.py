"""An event loop whose timers are exact. asyncio's own selector rounds each wait up to the next millisecond."""

import asyncio
import selectors
import time

from linux.timer import Timer


class ExactSelector(selectors.EpollSelector):
    """Waits by a timer in the epoll set, to the ns."""

    def __init__(self) -> None:
        super().__init__()
        self._timer = Timer()
        self._timer_key = self.register(self._timer, selectors.EVENT_READ)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            self._timer.set(timeout)
            timeout = None
        return [(key, events) for key, events in super().select(timeout) if key is not self._timer_key]

    def close(self) -> None:
        self._timer.close()
        super().close()


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
