"""What still arrives in time on a channel that may have turned bad: decided from what the device has acknowledged. Pure."""

from collections import deque
from collections.abc import Collection, Iterable
from typing import NamedTuple

from edge_nodes.models.manifest import Block, Manifest, Variant

# A rate is observed over a round trip, but so long that acknowledgements (one for two segments) do not come by chance
SHORTEST_WINDOW_NS = 5_000_000
ENOUGH = 10 * 1448  # bytes in a window
LONGEST_WINDOW = 10  # round trips; then a channel that carries less is known too
GROWTH = 1.5  # from one window to the next, from which on it is TCP that limits the rate (slow start doubles it), not the channel


class Sight(NamedTuple):
    """What the kernel knows of a connection at a time."""

    time_ns: int
    acknowledged: int  # bytes, since the connection's start
    waiting: int  # bytes that were written and are not acknowledged yet, whether sent or not
    round_trip_ns: int  # the shortest so far


class Pace:
    """The rate at which a device acknowledges, over the last round trip."""

    def __init__(self) -> None:
        self._sights: deque[Sight] = deque()
        self._first: Sight | None = None

    def look(self, sight: Sight) -> None:
        """Takes a sight. A connection that had nothing to send since the last one tells nothing about the channel."""
        self._first = self._first or sight
        if self._sights and not self._sights[-1].waiting:
            self._sights.clear()
        self._sights.append(sight)
        _, older = self._windows()
        while older and self._sights[0] is not older:
            self._sights.popleft()

    def rate_bps(self) -> int | None:
        """None while it is not known: too little was seen, or the rate still grows from one round trip to the next."""
        recent, older = self._windows()
        if recent is None or older is None:
            return None
        rate, rate_before = _rate_bps(recent, self._sights[-1]), _rate_bps(older, recent)
        return None if rate > GROWTH * rate_before else int(rate)

    def _windows(self) -> tuple[Sight | None, Sight | None]:
        """Where the last window begins, and the one before it."""
        recent = self._window_before(self._sights[-1]) if self._sights else None
        return recent, self._window_before(recent) if recent else None

    def mean_bps(self) -> int:
        """The rate since the first look."""
        first, now = self._first, self._sights[-1] if self._sights else None
        return int(_rate_bps(first, now)) if first and now and now.time_ns > first.time_ns else 0

    def _window_before(self, end: Sight) -> Sight | None:
        window = max(SHORTEST_WINDOW_NS, end.round_trip_ns)
        for sight in reversed(self._sights):
            lasts, carried = end.time_ns - sight.time_ns, end.acknowledged - sight.acknowledged
            if lasts >= window and (carried >= ENOUGH or lasts >= LONGEST_WINDOW * window):
                return sight
        return None


class Outlook(NamedTuple):
    """What a device can still get in time: `rate_bps` towards it, `left_ns` until its deadline."""

    rate_bps: int
    left_ns: int
    waiting: int  # bytes that are before anything that is sent now
    round_trip_ns: int
    load_bytes_per_s: int | None  # None: loading takes no time

    def reaches(self, missing: int, size: int) -> bool:
        """Whether `missing` bytes arrive, and the `size` bytes of a variant are loaded, before the deadline."""
        loading = size * 10**9 // self.load_bytes_per_s if self.load_bytes_per_s else 0
        passing = (self.waiting + missing) * 8 * 10**9 // max(1, self.rate_bps)
        return passing + loading + self.round_trip_ns // 2 <= self.left_ns


class Course:
    """Which block comes next in one download: the planned order, cut to what still arrives in time."""

    def __init__(self, manifest: Manifest, planned: Variant, order: Iterable[Block], held: Collection[str]) -> None:
        self.variant = self.planned = planned  # what the download is on its way to now, and what it set out for
        self._manifest, self._gone = manifest, set(held)
        self._rest = {block.digest: block for block in order}
        self._parts: list[Variant] = []

    def next(self, outlook: Outlook | None) -> Block | None:
        """The block to send now; None when `variant` is complete. Without an outlook the plan holds."""
        self.variant = self.planned if outlook is None or self._is_in_time(outlook) else self._within_reach(outlook)
        wanted = {self._manifest.blocks[index].digest for index in self.variant.blocks}
        block = next((block for digest, block in self._rest.items() if digest in wanted), None)
        if block is not None:
            del self._rest[block.digest]
            self._gone.add(block.digest)
        return block

    def become(self, granted: Variant) -> None:
        """The plan is less from now on: the most accurate part of it that lacks no more bytes than `granted`, or the smallest."""
        most = self._missing(granted)
        self.planned = next((part for part in self._in_parts() if self._missing(part) <= most), self._smallest())
        wanted = {self._manifest.blocks[index].digest for index in self.planned.blocks}
        self._rest = {digest: block for digest, block in self._rest.items() if digest in wanted}
        self._parts = []

    @property
    def rest(self) -> list[Block]:
        """What has not been sent of the plan."""
        return list(self._rest.values())

    def _is_in_time(self, outlook: Outlook) -> bool:
        return outlook.reaches(sum(block.bytes for block in self._rest.values()), self.planned.bytes)

    def _within_reach(self, outlook: Outlook) -> Variant:
        """The most accurate variant of the plan that the device has in time. Where there is none: the smallest, late."""
        for variant in self._in_parts():
            missing = self._missing(variant)
            if missing == 0 or outlook.reaches(missing, variant.bytes):
                return variant
        return self._smallest()

    def _smallest(self) -> Variant:
        """The part of the plan of which least is missing."""
        return min(self._in_parts(), key=lambda variant: (self._missing(variant), variant.bytes, variant.name))

    def _in_parts(self) -> list[Variant]:
        self._parts = self._parts or parts(self._manifest, self.planned)
        return self._parts

    def _missing(self, variant: Variant) -> int:
        return sum(block.bytes for block in self._manifest.blocks_of(variant) if block.digest not in self._gone)


def parts(manifest: Manifest, planned: Variant) -> list[Variant]:
    """The variants whose blocks are all part of a plan. The most accurate first, ties by fewer bytes."""
    blocks = set(planned.blocks)
    parts = [variant for variant in manifest.variants if blocks.issuperset(variant.blocks)]
    return sorted(parts, key=lambda variant: (-variant.accuracy, variant.bytes, variant.name))


def _rate_bps(earlier: Sight, later: Sight) -> float:
    """Bit/s that were acknowledged between two sights."""
    return (later.acknowledged - earlier.acknowledged) * 8e9 / (later.time_ns - earlier.time_ns)
