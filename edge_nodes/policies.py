"""Compression policies. Pure: they see figures and give a choice."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

from edge_nodes.manifest import Manifest, Variant
from scenarios.quantity import about

# Of the time that is left, the share in which the blocks must pass at the granted rate. The rest is for what the rate does not
# tell: slow start, blocks that come from an upper tier, loading.
TRANSFER_SHARE = 0.5


class Limits(NamedTuple):
    """What a variant has to fit; `rate_bps` is the granted rate, or the channel's where no rate is reserved."""

    memory_bytes: int
    macs_per_s: int
    infer_interval_ns: int
    rate_bps: int
    time_left_ns: int
    have: frozenset[str]


class Choice(NamedTuple):
    variant: Variant
    missing_bytes: int
    reason: str


class CompressionPolicy(Protocol):
    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        """The variant for a device. Raises NothingFits."""


class NothingFits(Exception):
    """No variant of the model fits the device's memory and compute."""


class Full:
    """Always the whole model, whatever the device."""

    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        return _choice(manifest, max(manifest.variants, key=lambda v: v.bytes), limits, "the whole model")


class DeviceFit:
    """The most accurate variant that fits the device's memory and compute."""

    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        return _choice(manifest, _best(manifest, _fitting(manifest, limits), limits), limits, "fits the device")


class Adaptive:
    """The most accurate variant that fits the device and arrives in time at its rate; the smallest one if none does."""

    def choose(self, manifest: Manifest, limits: Limits) -> Choice:
        fitting = _fitting(manifest, limits)
        budget = int(limits.rate_bps / 8 * TRANSFER_SHARE * limits.time_left_ns / 10**9)
        in_time = [v for v in fitting if missing_bytes(manifest, v, limits.have) <= budget]
        time, rate = about(limits.time_left_ns, "time"), about(limits.rate_bps, "rate")
        if not in_time:
            smallest = min(fitting, key=lambda v: (missing_bytes(manifest, v, limits.have), v.bytes, v.name))
            return _choice(
                manifest, smallest, limits, f"nothing fits {about(budget, 'size')} in {time} at {rate}; the smallest"
            )
        return _choice(
            manifest, _best(manifest, in_time, limits), limits, f"of {about(budget, 'size')} that fit {time} at {rate}"
        )


COMPRESSION: dict[str, CompressionPolicy] = {"full": Full(), "device": DeviceFit(), "adaptive": Adaptive()}


def missing_bytes(manifest: Manifest, variant: Variant, have: Iterable[str]) -> int:
    return sum(block.bytes for block in manifest.blocks_of(variant, have))


def _fitting(manifest: Manifest, limits: Limits) -> list[Variant]:
    fitting = [
        v
        for v in manifest.variants
        if v.memory <= limits.memory_bytes and v.macs * 10**9 <= limits.macs_per_s * limits.infer_interval_ns
    ]
    if not fitting:
        raise NothingFits(f"no variant of {manifest.model} fits {about(limits.memory_bytes, 'size')} of memory")
    return fitting


def _best(manifest: Manifest, variants: list[Variant], limits: Limits) -> Variant:
    return max(variants, key=lambda v: (v.accuracy, -missing_bytes(manifest, v, limits.have), v.name))


def _choice(manifest: Manifest, variant: Variant, limits: Limits, why: str) -> Choice:
    missing = missing_bytes(manifest, variant, limits.have)
    return Choice(variant, missing, f"{variant.name}: {about(missing, 'size')}, {why}")
