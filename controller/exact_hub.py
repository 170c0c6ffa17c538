"""An event loop of eventlet's whose timers are exact: its own rounds each wait up to the next millisecond."""

import select

from eventlet.hubs import epolls

from linux.timer import Timer


class ExactHub(epolls.Hub):
    """Waits by a timer in the epoll set, to the ns."""

    is_available = staticmethod(epolls.is_available)

    def __init__(self, clock: object = None) -> None:
        super().__init__(clock)
        self._timer = Timer()
        self.poll.register(self._timer, select.EPOLLIN)

    def do_poll(self, seconds: float) -> list[tuple[int, int]]:
        if seconds > 0:
            self._timer.set(seconds)
        ready = self.poll.poll(None if seconds > 0 else 0)
        return [(descriptor, events) for descriptor, events in ready if descriptor != self._timer.fileno()]
