"""The network: what moves, fails and changes in it, and what was counted and captured."""

from typing import Literal

from scenarios.records.event import Event


class Handover(Event, frozen=True):
    """The device's port moved to another cell; for `away_ns` before it was at none.

    It was `prepared` when its routes led there before. Then these ns are the interruption; else it lasts until `Rerouted`.
    """

    cell: str
    prepared: bool
    away_ns: int


class Rerouted(Event, frozen=True):
    """The controller's flows lead to the device's new cell, all of them confirmed by barriers."""

    device: str
    cell: str
    flows: int


class Fault(Event, frozen=True):
    """The thing called `node` went down, or came back."""

    of: Literal["link", "switch", "controller"]
    up: bool


class Failover(Event, frozen=True):
    """The controller's flows lead over what is up, all of them confirmed by barriers: which links are down, entries changed."""

    down: str  # names, with spaces
    flows: int


class Changed(Event, frozen=True):
    """What the node sends by a link takes another way from now on."""

    link: str
    rate_bps: int
    delay_ns: int
    jitter_ns: int
    loss: float


class LinkUse(Event, frozen=True):
    """Bytes that left one end of a link since the sample before; `node` is that end's."""

    link: str
    bytes: int


class SliceUse(Event, frozen=True):
    """Of a `LinkUse` of a link with several slices: the bytes of one that had any."""

    link: str
    slice: str
    bytes: int


class LinkTotal(Event, frozen=True):
    """One slice's class of one port, or a link's `wire`, from the run's start to its end, as the kernel counted it."""

    link: str
    slice: str
    bytes: int
    dropped: int


class Received(Event, frozen=True):
    """A background flow: payload bytes sent and received over the run."""

    flow: str
    sent: int
    received: int


class Captured(Event, frozen=True):
    """A capture has ended: what its file holds, and what it does not.

    `dropped` packets passed while it was taken and are not in it; it ended with its last packet at `cut_ns` (ns since the run's
    start; 0 where that was before it) when it was full, and -1 says that it holds the whole run. Its time stamps count from 1970 by
    the machine's clock; the run started at `origin_ns` of it.
    """

    capture: str
    packets: int
    dropped: int
    cut_ns: int
    origin_ns: int
