"""From a link as it is described to what the kernel is told, and from `dynamics` to its changes in time. Pure."""

from collections.abc import Sequence
from fractions import Fraction
from math import ceil
from typing import Literal

from scenarios import plan as p
from scenarios.links import Dynamics, LinkSpec
from scenarios.quantity import show
from scenarios.tables import FRAME_BITS, SCALE, SECOND, Distribution

QUEUEING = SECOND // 20  # a port holds 50 ms of traffic where nothing else is said
SMALLEST_FRAME_BITS = 60 * 8
FEWEST_PACKETS = 20  # an initial window of TCP, twice (RFC 6928)
FRAME_BYTES = FRAME_BITS // 8
KERNEL_MOST = 2**32 - 1  # of bytes in a queue, of packets on a link
# What a class may make up for after a pause. A netem behind it paces a plain link, so that this only has to cover the timer's
# steps. With a wire it is how far a queue's end is off, and how late a timer may be: never under the virtual clock.
BURST_BYTES, FAST_BURST_BYTES, FAST = 16_000, 128_000, 40 * 10**9
WIRED_BURST_NS = {"virtual": 1_000, "real": 200_000}

Clock = Literal["virtual", "real"]


def needs_wire(spec: LinkSpec) -> bool:
    """Whether one direction of a link asks for more than a rate, a delay, uniform jitter and independent losses."""
    extras = (spec.bursts, spec.corrupt, spec.duplicate, spec.reorder, spec.queue, spec.aqm)
    return any(extras) or bool(spec.distribution and spec.distribution.table)


def shape(spec: LinkSpec, clock: Clock, *, wired: bool, first_rate: int | None = None) -> p.Shape:
    """One direction of a link. The length of a queue comes from the rate at the start (`first_rate`), not from what it becomes."""
    distribution = spec.distribution or Distribution("")
    latest = Fraction(max(distribution.table), SCALE) if distribution.table else Fraction(1)
    on_the_way = spec.rate * (spec.delay + spec.jitter * latest) / SECOND
    waiting = spec.rate * QUEUEING // SECOND
    packets = on_the_way / SMALLEST_FRAME_BITS if wired else (on_the_way + waiting) / FRAME_BITS
    bursts = spec.bursts
    burst_bytes = BURST_BYTES if spec.rate < FAST else FAST_BURST_BYTES
    return p.Shape(
        rate_bps=spec.rate,
        delay_ns=spec.delay,
        jitter_ns=spec.jitter,
        distribution=distribution.name,
        loss=float(spec.loss),
        bursts=None if bursts is None else p.Bursts(**{name: float(share) for name, share in bursts}),
        corrupt=float(spec.corrupt or 0),
        duplicate=float(spec.duplicate or 0),
        reorder=float(spec.reorder or 0),
        limit=max(FEWEST_PACKETS, ceil(packets)),
        queue=_buffer(spec, first_rate or spec.rate) if wired else None,
        burst_ns=WIRED_BURST_NS[clock] if wired else burst_bytes * 8 * SECOND // spec.rate,
    )


def _buffer(spec: LinkSpec, rate: int) -> p.Buffer:
    discipline = spec.aqm or "fifo"
    ecn = discipline == "fq_codel" and spec.ecn is not False
    return p.Buffer(discipline=discipline, bytes=queue_bytes(spec, rate), ecn=ecn)


def queue_bytes(spec: LinkSpec, rate: int) -> int:
    if spec.queue is None:
        return max(10 * FRAME_BYTES, rate * QUEUEING // (8 * SECOND))
    return spec.queue.amount if spec.queue.unit == "bytes" else rate * spec.queue.amount // (8 * SECOND)


def queue_problem(spec: LinkSpec) -> str:
    """What is wrong with the queue of a link with a wire: no room for one full packet, or more than the kernel counts."""
    held = queue_bytes(spec, spec.rate)
    if held > KERNEL_MOST:
        return f"this queue would hold {show(held, 'size')}; the kernel's hold at most {KERNEL_MOST} B, so write less"
    if held >= FRAME_BYTES:
        return ""
    if spec.queue is not None and spec.queue.unit == "bytes":
        return f"a queue has to hold a full packet; write at least {FRAME_BYTES} B"
    least = -(-FRAME_BITS * SECOND // spec.rate)
    return f"a queue has to hold a full packet, at this rate {show(least, 'time')}; write at least that"


def way_problem(spec: LinkSpec, *, wired: bool) -> str:
    """What is wrong with a link on which more is under way than the kernel counts."""
    if shape(spec, "virtual", wired=wired).limit <= KERNEL_MOST:
        return ""
    return "more packets would be on their way than the kernel counts; lower the rate or the delay"


def timeline(dynamics: Sequence[Dynamics], spec: LinkSpec, duration: int) -> list[tuple[int, LinkSpec]]:
    """What one direction of a link is from which ns on, by the changes that are its own; those of one value do not overlap."""
    tracks: dict[str, list[tuple[int, int | Fraction]]] = {}
    for change in sorted(dynamics, key=lambda d: d.window.start):
        if change.trace is not None:
            end = min(duration, change.window.end or duration)
            tracks.setdefault("rate", []).extend(change.trace.rates(change.window.start, end, change.every))
        for name, target in change.values.items():
            track = tracks.setdefault(name, [])
            before = track[-1][1] if track else getattr(spec, name)
            track.extend(_way_to(change, name, before, target))
    states: dict[int, LinkSpec] = {}
    for time, name, value in sorted((time, name, value) for name, track in tracks.items() for time, value in track):
        if time < duration:
            spec = states[time] = spec.model_copy(update={name: value})
    return list(states.items())


def _way_to(
    change: Dynamics, name: str, before: int | Fraction, target: int | Fraction
) -> list[tuple[int, int | Fraction]]:
    """A step's one point, or a ramp's points: the last is the target, at the window's end."""
    if change.at is not None:
        return [(change.at, target)]
    start, end = change.window.start, change.window.end
    assert end is not None, "a ramp has an end; read so"
    steps = max(1, -(-(end - start) // change.every))
    points = [
        (start + (end - start) * i // steps, before + Fraction(target - before) * i / steps)
        for i in range(1, steps + 1)
    ]
    return [(time, _whole(name, value)) for time, value in points]


def _whole(name: str, value: Fraction) -> int | Fraction:
    """Kernel units: whole bytes a second, whole ns."""
    if name == "loss":
        return value
    return int(value) // 8 * 8 if name == "rate" else int(value)
