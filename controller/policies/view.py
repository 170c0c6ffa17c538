"""What a slicing policy sees and what it decides. Plain data: times are ns of the machine's monotonic clock, rates bit/s.

A view is everything at one moment: `to_json` and `from_json` keep it, so that a decision can be looked at again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
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

    @cached_property
    def taken_bps(self) -> Mapping[Part, int]:
        """What those that run take of each part, if they take anything."""
        sums: dict[Part, int] = {}
        for flow in self.running:
            change(sums, flow, +1)
        return sums

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


def change(sums: dict[Part, int], flow: Flow, by: int) -> None:
    """Adds (`by` is 1) to the sums of parts, or takes from them (-1), what a flow has by itself. No sum is 0."""
    if flow.shared or not flow.down_bps:
        return
    for part, rate in taken(flow, flow.down_bps):
        sums[part] = sums.get(part, 0) + by * rate
        if not sums[part]:
            del sums[part]


class Running:
    """The flows that run, and what they take together, kept up to date: a view does not cost more the more there are."""

    def __init__(self) -> None:
        self._flows: dict[str, Flow] = {}
        self._taken_bps: dict[Part, int] = {}

    def put(self, flow: Flow) -> None:
        """It runs now, or has something else."""
        if before := self._flows.get(flow.request.id):
            change(self._taken_bps, before, -1)
        self._flows[flow.request.id] = flow
        change(self._taken_bps, flow, +1)

    def remove(self, id: str) -> None:
        change(self._taken_bps, self._flows.pop(id), -1)

    def view(
        self,
        now_ns: int,
        links: Mapping[Direction, LinkView],
        slices: Mapping[str, SliceView],
        waiting: tuple[Flow, ...] = (),
    ) -> View:
        """Everything now. One that runs and waits to be decided anew only waits."""
        again = {flow.request.id for flow in waiting} & self._flows.keys()
        flows, sums = self._flows, self._taken_bps.copy()
        if again:
            flows = {id: flow for id, flow in flows.items() if id not in again}
            for id in again:
                change(sums, self._flows[id], -1)
        view = View(now_ns, links, slices, waiting, tuple(flows.values()))
        vars(view)["taken_bps"] = sums  # as the view would find itself
        return view


class Room:
    """What is free of what sessions may have while a policy gives it away."""

    def __init__(self, view: View, kept: Iterable[Flow] | None = None) -> None:
        """Free is what the flows that are `kept`, by default all that run, leave."""
        self._view = view
        self._free: dict[Part, int] = {}
        self._taken = view.taken_bps if kept is None else {}
        for flow in kept or ():
            if not flow.shared:
                self.take(flow, flow.down_bps)

    def free_bps(self, part: Part) -> int:
        """Under 0 where a link has become slower than what was granted on it."""
        if part not in self._free:
            self._free[part] = self._view.reservable_bps(part) - self._taken.get(part, 0)
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
