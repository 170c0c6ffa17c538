"""The libraries' stores, and what they pull from the tiers above."""

from scenarios.records.event import Event


class Served(Event, frozen=True):
    """A library served an object, from its own cache (`hit`) or from upstream."""

    object: str
    bytes: int  # 0 where its size is not known yet
    hit: bool


class Pulled(Event, frozen=True):
    """A library pulled an object, verified, from a tier above (`source`)."""

    object: str
    bytes: int
    source: str


class PullFailed(Event, frozen=True):
    """A tier above was down, too slow or not to be understood when it was asked for so many objects (0: for a connection)."""

    source: str
    objects: int
    reason: str


class Evicted(Event, frozen=True):
    """A library's cache let go of an object, to make room."""

    object: str


class NotKept(Event, frozen=True):
    """A library passed an object on and could not keep it: its disk is full, or broken."""

    object: str
    bytes: int
    reason: str


class Prefetched(Event, frozen=True):
    """A library has pulled what it lacked of a model, `bytes`, as the plan had it; not `complete` where no tier had all."""

    model: str
    bytes: int
    complete: bool
