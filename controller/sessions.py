"""The life of sessions: asked for, decided, set up, changed, moved, ended. Called from green threads.

A session is at the ports of its path as classes and on its switches as flows. Classes come first and go last, so that no packet
ever names a queue that is not there. Whatever refuses, the kernel or a switch, undoes the session, and the run goes on.
"""

from collections.abc import Callable, Collection
from typing import Any

from controller.session import Request, Session

# Why a session ended: CAMARA's statusInfo
EXPIRED, NETWORK, DELETED = "DURATION_EXPIRED", "NETWORK_TERMINATED", "DELETE_REQUESTED"


class Refused(Exception):
    """There is no session, and nothing of it is left; the message says why."""


class Sessions:
    """All sessions. A request is in `sessions` from when it is granted; what is there is AVAILABLE, or on the way to it."""

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        # Told of each change after it: "AVAILABLE" (set up), "EXTENDED", why a rate or a path is another one
        # ("POLICY", "HANDOVER", "FAILURE"), or, when `ended` is set, why it ended
        self.on_change: list[Callable[[Session, str], None]] = []

    def new_id(self) -> str:
        """The next session's id: a UUID of the plan's seed and a counter."""
        raise NotImplementedError

    def create(self, request: Request) -> Session:
        """Returns when the session is AVAILABLE. Raises Refused."""
        raise NotImplementedError

    def end(self, id: str, cause: str = DELETED) -> Session | None:
        """Returns when nothing of the session is left; None when there is no such session (any more)."""
        raise NotImplementedError

    def extend(self, id: str, duration_ns: int) -> Session | None:
        """The session lasts so much longer; None when there is no such session (any more)."""
        raise NotImplementedError

    def move(self, device: str) -> None:
        """A device's sessions follow it to where `Paths` has it now: decided anew, the new path first, then the old one goes."""
        raise NotImplementedError

    def reroute(self, links_down: Collection[str]) -> None:
        """Sessions whose path is another one now, by `Paths`, follow it: these links are down."""
        raise NotImplementedError

    def renew(self, direction: Any) -> None:
        """A port's tree is new (its interface has moved): sessions' classes are set there again."""
        raise NotImplementedError
