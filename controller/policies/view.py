"""What a slicing policy sees and what it decides. Plain data: times are ns of the machine's monotonic clock, rates bit/s.

A view is everything at one moment: `to_json` and `from_json` keep it, so that a decision can be looked at again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from controller.session import Direction, Request

Part = tuple[Direction, str]  # a slice's share of one direction of a link, which is what sessions take from

# Of a slice's guarantee, what its sessions may have together, whatever the policy. The rest stays with the slice's default class,
# which has handshakes, requests, manifests and whoever has no session: where sessions had everything, some were heard half a
# second after they had asked. As much is reservable by default in Cisco's RSVP (IOS, `ip rsvp bandwidth`).
RESERVABLE = 0.75


@dataclass(frozen=True)
class LinkView:
    """One direction of a link."""

    capacity_bps: int


@dataclass(frozen=True)
class SliceView:
    """A slice; `guarantee` and `ceiling` are shares, 0 … 1, of every link's capacity. Of lent rate, `priority` 0 gets first."""

    guarantee: float
    ceiling: float = 1.0
    priority: int = 0


@dataclass(frozen=True)
class Flow:
    """A request on its path, and, once it runs, what it has.

    The request has the device, the deadline and, where it is for a download, its candidates: of all variants that fit the
    device's memory, compute and power and arrive in time by its channel, those that no other beats in both rate and accuracy.
    """

    request: Request
    path: tuple[Direction, ...]  # towards the device
    back: tuple[Direction, ...] = ()
    down_bps: int = 0  # granted; 0 while it waits
    variant: str = ""  # that was granted; "" where the library chooses
    shared: bool = False  # its rate is its slice's, not its own
    since_ns: int = 0  # when it was granted


@dataclass(frozen=True)
class View:
    """Everything at `now_ns`. `waiting` are in the order in which they came."""

    now_ns: int
    links: Mapping[Direction, LinkView]
    slices: Mapping[str, SliceView]
    waiting: tuple[Flow, ...] = ()
    running: tuple[Flow, ...] = ()

    def guaranteed_bps(self, part: Part) -> int:
        """What a slice has in one direction of a link."""
        direction, name = part
        return int(self.links[direction].capacity_bps * self.slices[name].guarantee)

    def reservable_bps(self, part: Part) -> int:
        """What of that its sessions may have together."""
        return int(self.guaranteed_bps(part) * RESERVABLE)


@dataclass(frozen=True)
class Grant:
    """A rate towards the device, which nobody else gets, and perhaps the variant that is to be sent.

    `shared`: the rate is only told, and the session stays in its slice's class with all others that are there.
    """

    down_bps: int
    variant: str = ""  # one of the candidates; "" leaves it to the library
    shared: bool = False


@dataclass(frozen=True)
class Decision:
    """By session id. One that waits is refused by 0, or by not being named; one that runs and is not named keeps what it has."""

    grants: Mapping[str, Grant] = field(default_factory=dict)


class SlicingPolicy(Protocol):
    def decide(self, view: View) -> Decision:
        """Rates for those that wait, and perhaps other rates for those that run. Pure: one view, one decision."""


def taken(flow: Flow, down_bps: int) -> list[tuple[Part, int]]:
    """What a session of its own rate takes: `down_bps` on its path, and what its device sends on the way back."""
    name = flow.request.slice
    down = [((direction, name), down_bps) for direction in flow.path]
    return down + [((direction, name), flow.request.up_bps) for direction in flow.back if flow.request.up_bps]


class Room:
    """What is free of what sessions may have while a policy gives it away."""

    def __init__(self, view: View, kept: tuple[Flow, ...] | None = None) -> None:
        """Free is what the flows that are `kept`, by default all that run, leave."""
        self._view = view
        self._free: dict[Part, int] = {}
        for flow in view.running if kept is None else kept:
            if not flow.shared:
                self.take(flow, flow.down_bps)

    def free_bps(self, part: Part) -> int:
        """Under 0 where a link has become slower than what was granted on it."""
        if part not in self._free:
            self._free[part] = self._view.reservable_bps(part)
        return self._free[part]

    def most_bps(self, flow: Flow) -> int:
        """The highest rate that the flow can have now, 0 if there is none."""
        back = [(direction, flow.request.slice) for direction in flow.back]
        if flow.request.up_bps and any(self.free_bps(part) < flow.request.up_bps for part in back):
            return 0
        return self.least_bps(flow)

    def least_bps(self, flow: Flow) -> int:
        """What is free where least is on the way to the device."""
        return max(0, min(self.free_bps((direction, flow.request.slice)) for direction in flow.path))

    def take(self, flow: Flow, down_bps: int) -> None:
        for part, rate in taken(flow, down_bps):
            self.spend(part, rate)

    def spend(self, part: Part, rate_bps: int) -> None:
        self._free[part] = self.free_bps(part) - rate_bps


def to_json(view: View) -> bytes:
    """A view as JSON; links are a list, since their keys are pairs."""
    links = [[name, end, entry.capacity_bps] for (name, end), entry in sorted(view.links.items())]
    whole: dict[str, Any] = {"now_ns": view.now_ns, "links": links, "slices": dict(sorted(view.slices.items()))}
    return msgspec.json.encode(whole | {"waiting": view.waiting, "running": view.running})


def from_json(data: bytes) -> View:
    """Raises msgspec.DecodeError."""

    class Whole(msgspec.Struct):
        now_ns: int
        links: list[tuple[str, int, int]]
        slices: dict[str, SliceView]
        waiting: tuple[Flow, ...]
        running: tuple[Flow, ...]

    whole = msgspec.json.decode(data, type=Whole)
    links = {(name, end): LinkView(capacity) for name, end, capacity in whole.links}
    return View(whole.now_ns, links, whole.slices, whole.waiting, whole.running)
