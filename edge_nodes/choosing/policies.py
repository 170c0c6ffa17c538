"""Compression policies. Pure: they see figures and give a choice."""

from pathlib import Path
from typing import NamedTuple, Protocol, cast

import numpy as np

from edge_nodes.choosing import variants
from edge_nodes.choosing.transfer import Channel
from edge_nodes.choosing.variants import Allowed, Figures, Variants
from edge_nodes.models.manifest import Manifest, Variant
from scenarios import own_policies
from scenarios.quantity import about

FIXED = "fixed:"
# Of the time that is left, the share on which a choice counts. The rest is for what no figure tells: jitter, losses, queues.
COUNTED = 0.9
# The same for a rate that is asked for: asking takes time, and the choice comes after it.
RESERVED = 0.8


class Limits(NamedTuple):
    """What a variant has to fit; `rate_bps` is the granted rate, or the channel's where no rate is reserved."""

    memory_bytes: int
    macs_per_s: int
    infer_interval_ns: int
    rate_bps: int
    time_left_ns: int  # from now on, at the library
    have: frozenset[str]
    round_trip_ns: int = 0
    load_bytes_per_s: int | None = None  # None: loading takes no time
    energy_per_mac_j: float = 0.0
    power_w: float | None = None  # what inference may draw on average; None: whatever it takes
    before_bytes: int = 0  # what is sent before the blocks
    before_ns: int = 0  # how long ago that began
    head_bytes: int = 0  # what is sent with each block
    above_ns: int = 0  # the round trip to the tier from which blocks have to come; 0: the library has them


class Choice(NamedTuple):
    variant: Variant
    missing_bytes: int
    reason: str


class CompressionPolicy(Protocol):
    """One that has `deadline_aware = True` leaves the last word to what the network can carry: a slicing policy may choose another
    variant that fits the device, and where the channel turns out to be slower, what was chosen is cut so that it arrives in time.
    """

    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        """The variant for a device. Raises NothingFits."""


class NothingFits(Exception):
    """No variant of the model fits the device, or none is what the policy sends."""


class Full:
    """Always the whole elastic model, whatever the device."""

    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        known = variants.of(manifest)
        if not known.listed:
            raise NothingFits(f"{manifest.model} has no variant that is made of blocks")
        whole = int(known.bytes.argmax())
        return _choice(known, whole, known.missing(limits.have), ", the whole model")


class Fixed:
    """Always the one variant, whatever the device."""

    def __init__(self, name: str) -> None:
        self._name = name

    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        variant = next((variant for variant in manifest.variants if variant.name == self._name), None)
        if variant is None:
            raise NothingFits(f"{manifest.model} has no variant {self._name}")
        missing = sum(block.bytes for block in manifest.blocks_of(variant, limits.have))
        return Choice(variant, missing, f"{variant.name}: {about(missing, 'size')}, always this variant")


class DeviceFit:
    """The most accurate variant that fits the device's memory, compute and power."""

    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        known = variants.of(manifest)
        fitting, missing = _fitting(known, manifest.model, limits), known.missing(limits.have)
        chosen = known.best(fitting, missing)
        return _choice(known, chosen, missing, f", fits the device{_bound(known, chosen, limits)}")


class Adaptive:
    """The most accurate variant that fits the device and arrives in time; what arrives first if none does."""

    deadline_aware = True

    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        known = variants.of(manifest)
        fitting, missing = _fitting(known, manifest.model, limits), known.missing(limits.have)
        budgets = _arriving(limits, known.bytes, COUNTED)
        in_time = fitting & (missing + known.lacking(limits.have) * limits.head_bytes <= budgets)
        if in_time.any():
            chosen = known.best(in_time, missing)
            fit, bound = "of {} that fit {} at {}", _bound(known, chosen, limits)
        else:
            chosen = known.best(fitting & (missing == missing[fitting].min()), missing)
            fit, bound = "is the least there is, {} fit {} at {}", ""
        budget, time, rate = max(0, int(budgets[chosen])), limits.time_left_ns, limits.rate_bps
        why = fit.format(about(budget, "size"), about(time, "time"), about(rate, "rate"))
        return _choice(known, chosen, missing, f" {why}{bound}")


COMPRESSION: dict[str, CompressionPolicy] = {
    "full": Full(),
    "device": DeviceFit(),
    "adaptive": Adaptive(),
    "file": Fixed(variants.FILE),
}


def compression(name: str, folder: Path | None = None) -> CompressionPolicy:
    """The policy of a name: one that ships, of which `fixed:VARIANT` is one for each variant, an entry point of
    `insitu.compression`, or `module:Class`, the module being in `folder` or installed. Raises own_policies.NoPolicy."""
    if name in COMPRESSION:
        return COMPRESSION[name]
    if name.startswith(FIXED):
        return Fixed(name.removeprefix(FIXED))
    return cast(CompressionPolicy, own_policies.make("compression", name, folder))


def is_deadline_aware(policy: CompressionPolicy) -> bool:
    return bool(getattr(policy, "deadline_aware", False))


class Candidate(NamedTuple):
    """A variant that fits a device, what it lacks of it, and the least rate, in bit/s, at which that arrives in time."""

    variant: Variant
    missing_bytes: int
    rate_bps: int


def candidates(manifest: Manifest, limits: Limits, only: Variant | None = None) -> list[Candidate]:
    """The variants that fit the device and arrive in time by its channel, the least first, each more accurate than those that take
    less; or `only` that one, whether or not it fits. Raises NothingFits where none fits the device."""
    if only:
        blocks = manifest.blocks_of(only, limits.have)
        bytes_ = sum(block.bytes for block in blocks)
        all_ = bytes_ + len(blocks) * limits.head_bytes
        in_time = _arrives(all_, only, limits, limits.rate_bps)
        return [Candidate(only, bytes_, _least_rate(all_, only, limits))] if in_time else []
    known = variants.of(manifest)
    fitting, missing = _fitting(known, manifest.model, limits), known.missing(limits.have)
    sent = missing + known.lacking(limits.have) * limits.head_bytes
    found: list[Candidate] = []
    best = -1.0
    for number in sorted(np.flatnonzero(fitting), key=lambda n: (sent[n], -known.listed[n].accuracy, n)):
        variant = known.listed[number]
        if variant.accuracy > best and _arrives(int(sent[number]), variant, limits, limits.rate_bps):
            best = variant.accuracy
            rate = _least_rate(int(sent[number]), variant, limits)
            found.append(Candidate(variant, int(missing[number]), rate))
    return found


def rate_for(manifest: Manifest, choice: Choice, limits: Limits) -> int:
    """The least rate, in bit/s and to 1 %, at which what is missing of a choice arrives in time, with time to ask for that rate;
    at most `limits.rate_bps`, also where that is not enough. What comes from above is not counted."""
    blocks = manifest.blocks_of(choice.variant, limits.have)
    return _least_rate(choice.missing_bytes + len(blocks) * limits.head_bytes, choice.variant, limits)


def _least_rate(sent: int, variant: Variant, limits: Limits) -> int:
    least, most = 0, max(1, limits.rate_bps)
    while most - least > max(1, most // 100):
        middle = (least + most) // 2
        if _arrives(sent, variant, limits, middle):
            most = middle
        else:
            least = middle
    return most


def _arrives(sent: int, variant: Variant, limits: Limits, rate_bps: int) -> bool:
    """Whether what is sent of a variant arrives at a rate in the share of the time that is counted on when a rate is asked for."""
    loading = variant.bytes / limits.load_bytes_per_s * 1e9 if limits.load_bytes_per_s else 0.0
    free = limits.time_left_ns * RESERVED - loading
    channel = Channel(max(1, rate_bps), limits.round_trip_ns)
    behind = channel.bytes_by(free + limits.before_ns) - limits.before_bytes
    return free >= 0 and min(channel.bytes_by(free), behind) >= sent


def _arriving(limits: Limits, loaded: Figures, share: float) -> Figures:
    """How many bytes of blocks can arrive in a share of the time that is left, for each number of bytes that is loaded then;
    fewer than none where that is too short for what comes before."""
    left = limits.time_left_ns * share
    loading = loaded / limits.load_bytes_per_s * 1e9 if limits.load_bytes_per_s else np.zeros_like(loaded)
    channel, free = Channel(limits.rate_bps, limits.round_trip_ns), left - loading
    behind = channel.bytes_within(free + limits.before_ns) - limits.before_bytes
    arriving = np.minimum(channel.bytes_within(free), behind)
    if limits.above_ns:  # a connection that starts slowly too, from when it was asked
        above = Channel(limits.rate_bps, limits.above_ns)
        arriving = np.minimum(arriving, above.bytes_within(free - (limits.above_ns + limits.round_trip_ns) / 2))
    return np.where(free < 0, -1.0, arriving)


def _fitting(known: Variants, model: str, limits: Limits) -> Allowed:
    """The variants that a device can run. Raises NothingFits."""
    fitting: Allowed = (known.memory <= limits.memory_bytes) & (known.macs <= min(_computed(limits), _powered(limits)))
    if not fitting.any():
        small = not (known.memory <= limits.memory_bytes).any()
        what = f"{about(limits.memory_bytes, 'size')} of memory" if small else "the device's memory, compute and power"
        raise NothingFits(f"no variant of {model} fits {what}")
    return fitting


def _computed(limits: Limits) -> int:
    """Multiply-accumulates that a device can do from one inference to the next."""
    return limits.macs_per_s * limits.infer_interval_ns // 10**9


def _powered(limits: Limits) -> float:
    """Multiply-accumulates that its power allows an inference."""
    if limits.power_w is None or not limits.energy_per_mac_j:
        return np.inf
    return limits.power_w * (limits.infer_interval_ns / 1e9) / limits.energy_per_mac_j


def _bound(known: Variants, chosen: int, limits: Limits) -> str:
    """What of the device keeps it from the next better variant, if something does."""
    number = known.next_better(chosen)
    if number is None:
        return ""
    better, interval = known.listed[number], limits.infer_interval_ns
    if better.memory > limits.memory_bytes:
        return f"; {better.name} takes {about(better.memory, 'size')} of {about(limits.memory_bytes, 'size')} of memory"
    if better.macs > _computed(limits):
        return f"; {better.name} takes {better.macs:,} of {_computed(limits):,} MACs for an inference"
    if better.macs > _powered(limits) and limits.power_w is not None:
        drawn, allowed = better.macs * limits.energy_per_mac_j / interval * 1e15, limits.power_w * 1e6
        return f"; {better.name} takes {about(drawn, 'power')} of {about(allowed, 'power')}"
    return ""


def _choice(known: Variants, chosen: int, missing: Figures, why: str) -> Choice:
    variant, size = known.listed[chosen], int(missing[chosen])
    return Choice(variant, size, f"{variant.name}: {about(size, 'size')}{why}")
