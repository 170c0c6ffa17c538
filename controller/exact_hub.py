"""An event loop of eventlet's whose timers are exact: its own rounds each wait up to the next millisecond."""

import select
from time import monotonic

from eventlet.hubs import epolls

from linux.timer import Timer


class ExactHub(epolls.Hub):
    """Waits by a timer in the epoll set, to the ns. It reads the clock twice in a turn, not for each timer: in the guest that is a
    system call, of which a session made a hundred."""

    is_available = staticmethod(epolls.is_available)

    def __init__(self, clock: object = None) -> None:
        self._began = monotonic()  # this turn; no virtual time passes in it
        super().__init__(lambda: self._began)
        self._timer = Timer()
        self.poll.register(self._timer, select.EPOLLIN)

    def wait(self, seconds: float | None = None) -> None:
        if any(self.listeners.values()):
            super().wait(seconds)
        else:
            self.do_poll(seconds or 0)

    def do_poll(self, seconds: float) -> list[tuple[int, int]]:
        if seconds > 0:
            self._timer.set(seconds - (monotonic() - self._began))
        ready = self.poll.poll(None if seconds > 0 else 0)
        self._began = monotonic()
        return [(descriptor, events) for descriptor, events in ready if descriptor != self._timer.fileno()]
