"""The compression policies' choice, beside one by brute force."""

from itertools import pairwise
from math import ceil
from typing import Any

import numpy as np
import pytest
from builders import variant
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_nodes.choosing.policies import (
    COUNTED,
    RESERVED,
    Adaptive,
    Choice,
    DeviceFit,
    Fixed,
    Full,
    Limits,
    NothingFits,
    candidates,
    compression,
    rate_for,
)
from edge_nodes.choosing.transfer import Channel
from edge_nodes.models.manifest import Block, Manifest, Variant
from scenarios.own_policies import NoPolicy

SOME = settings(max_examples=200, deadline=None)
SECOND = 10**9
POLICIES = ["full", "device", "adaptive", "fixed:v0", "file"]


def model(sizes: list[int], *variants: Variant) -> Manifest:
    blocks = tuple(Block(f"block{number}", size, 1, 1, number) for number, size in enumerate(sizes))
    return Manifest("digits", None, {}, blocks, variants)


@st.composite
def models(draw: st.DrawFn) -> Manifest:
    """Few different values, so that ties are common; the plain file is the best and the smallest, so that it tempts."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    some = st.sets(st.integers(0, len(sizes) - 1), min_size=1).map(sorted)
    figure = st.fixed_dictionaries(
        {"macs": st.integers(1, 4), "memory": st.integers(1, 4), "accuracy": st.sampled_from([0.5, 0.7, 0.9])}
    )
    made = draw(st.lists(st.tuples(some, figure), min_size=1, max_size=6))
    variants = [variant(f"v{n}", blocks, sizes, **f) for n, (blocks, f) in enumerate(made)]
    if draw(st.booleans()):
        variants.append(variant("file", [len(sizes)], [*sizes, 1], accuracy=1.0))
        sizes = [*sizes, 1]
    return model(sizes, *variants)


LIMITS = st.builds(
    Limits,
    memory_bytes=st.integers(0, 4),
    macs_per_s=st.integers(0, 4),
    infer_interval_ns=st.sampled_from([SECOND // 2, SECOND, SECOND + 1]),
    rate_bps=st.integers(0, 200),
    time_left_ns=st.integers(-SECOND, SECOND),
    have=st.frozensets(st.sampled_from([f"block{n}" for n in range(5)])),
    round_trip_ns=st.sampled_from([0, SECOND // 10]),
    load_bytes_per_s=st.sampled_from([None, 10, 100]),
    energy_per_mac_j=st.just(0.5),
    power_w=st.sampled_from([None, 0.4, 1.0, 1.5]),
    before_bytes=st.integers(0, 5),
    before_ns=st.sampled_from([0, SECOND // 5]),
    head_bytes=st.integers(0, 1),
    above_ns=st.sampled_from([0, SECOND // 20]),
)


def to_send(manifest: Manifest, chosen: Variant, limits: Limits) -> int:
    return sum(manifest.blocks[n].bytes for n in chosen.blocks if manifest.blocks[n].digest not in limits.have)


def elastic(manifest: Manifest) -> list[Variant]:
    return [candidate for candidate in manifest.variants if candidate.name != "file"]


def fits_device(candidate: Variant, limits: Limits) -> bool:
    seconds = limits.infer_interval_ns / SECOND
    power = candidate.macs * limits.energy_per_mac_j / seconds
    within_power = limits.power_w is None or power <= limits.power_w
    return candidate.memory <= limits.memory_bytes and candidate.macs <= limits.macs_per_s * seconds and within_power


def arrives(manifest: Manifest, candidate: Variant, limits: Limits) -> bool:
    loading = candidate.bytes / limits.load_bytes_per_s * SECOND if limits.load_bytes_per_s else 0
    left = limits.time_left_ns * COUNTED - loading
    channel = Channel(limits.rate_bps, limits.round_trip_ns)
    brought, brought_with_all = (int(b) for b in channel.bytes_within(np.array([left, left + limits.before_ns])))
    above = Channel(limits.rate_bps, limits.above_ns)
    if limits.above_ns:
        brought = min(
            brought, int(above.bytes_within(np.array([left - (limits.above_ns + limits.round_trip_ns) / 2]))[0])
        )
    heads = len(manifest.blocks_of(candidate, limits.have)) * limits.head_bytes
    sent = to_send(manifest, candidate, limits) + heads
    return left >= 0 and sent <= brought and sent + limits.before_bytes <= brought_with_all


def is_best(manifest: Manifest, choice: Choice, candidates: list[Variant], limits: Limits) -> bool:
    """No candidate is more accurate, and none that is as accurate is fewer bytes."""

    def worth(candidate: Variant) -> tuple[float, int]:
        return candidate.accuracy, -to_send(manifest, candidate, limits)

    return choice.variant in candidates and worth(choice.variant) == max(map(worth, candidates))


@SOME
@given(models(), LIMITS)
def test_device_fit_is_the_best_that_fits_memory_compute_and_power(manifest: Manifest, limits: Limits) -> None:
    fitting = [candidate for candidate in elastic(manifest) if fits_device(candidate, limits)]
    if not fitting:
        with pytest.raises(NothingFits, match="no variant of digits fits"):
            DeviceFit().choose(manifest, limits)
    else:
        assert is_best(manifest, DeviceFit().choose(manifest, limits), fitting, limits)


@SOME
@given(models(), LIMITS)
def test_adaptive_is_the_best_in_time_or_else_the_fewest_bytes(manifest: Manifest, limits: Limits) -> None:
    fitting = [candidate for candidate in elastic(manifest) if fits_device(candidate, limits)]
    in_time = [candidate for candidate in fitting if arrives(manifest, candidate, limits)]
    if not fitting:
        with pytest.raises(NothingFits, match="no variant of digits fits"):
            Adaptive().choose(manifest, limits)
        return
    choice = Adaptive().choose(manifest, limits)
    if in_time:
        assert is_best(manifest, choice, in_time, limits)
    else:
        fewest = min(to_send(manifest, candidate, limits) for candidate in fitting)
        assert choice.missing_bytes == fewest
        soonest = [candidate for candidate in fitting if to_send(manifest, candidate, limits) == fewest]
        assert is_best(manifest, choice, soonest, limits)


@SOME
@given(models(), LIMITS)
def test_no_choice_is_off_the_pareto_front_of_what_fits(manifest: Manifest, limits: Limits) -> None:
    try:
        choice = Adaptive().choose(manifest, limits)
    except NothingFits:
        return
    for other in elastic(manifest):
        if fits_device(other, limits) and other.accuracy >= choice.variant.accuracy:
            fewer = to_send(manifest, other, limits) < choice.missing_bytes
            assert not (fewer and arrives(manifest, other, limits))


@SOME
@given(models(), LIMITS, st.sampled_from(POLICIES))
def test_a_choice_says_what_is_sent_and_why(manifest: Manifest, limits: Limits, policy: str) -> None:
    try:
        choice = compression(policy).choose(manifest, limits)
    except NothingFits:
        return
    assert choice.missing_bytes == to_send(manifest, choice.variant, limits)
    assert choice.reason.startswith(f"{choice.variant.name}: {choice.missing_bytes} B")
    assert choice == compression(policy).choose(manifest, limits)
    assert (choice.variant.name == "file") == (policy == "file")


@SOME
@given(models(), LIMITS)
def test_a_reserved_rate_is_enough_for_the_choice_and_hardly_more(manifest: Manifest, limits: Limits) -> None:
    try:
        choice = Adaptive().choose(manifest, limits)
    except NothingFits:
        return
    rate = rate_for(manifest, choice, limits)
    assert 1 <= rate <= max(1, limits.rate_bps)
    then = limits._replace(time_left_ns=ceil(limits.time_left_ns * RESERVED / COUNTED))
    if rate < limits.rate_bps:
        assert arrives(manifest, choice.variant, then._replace(rate_bps=rate))
    if rate > 2 and arrives(manifest, choice.variant, then):
        less = int(rate * 0.98) - 1
        assert not arrives(manifest, choice.variant, then._replace(rate_bps=less))


@given(models(), LIMITS)
def test_candidates_are_the_front_of_what_fits_and_arrives_and_adaptive_is_no_better(
    manifest: Manifest, limits: Limits
) -> None:
    fitting = [candidate for candidate in elastic(manifest) if fits_device(candidate, limits)]
    if not fitting:
        with pytest.raises(NothingFits):
            candidates(manifest, limits)
        return
    found = candidates(manifest, limits)
    for less, more in pairwise(found):
        assert less.missing_bytes <= more.missing_bytes and less.variant.accuracy < more.variant.accuracy
    for candidate in found:
        assert candidate.variant in fitting
        choice = Choice(candidate.variant, candidate.missing_bytes, "")
        assert candidate.rate_bps == rate_for(manifest, choice, limits) <= max(1, limits.rate_bps)
    best = max((candidate.variant.accuracy for candidate in found), default=0.0)
    counted = limits._replace(time_left_ns=int(limits.time_left_ns * RESERVED / COUNTED))
    assert all(one.accuracy <= best for one in fitting if arrives(manifest, one, counted._replace(above_ns=0)))


@given(models())
def test_full_is_the_largest_whatever_the_device(manifest: Manifest) -> None:
    choice = Full().choose(manifest, Limits(0, 0, 1, 0, 0, frozenset()))
    assert choice.variant.bytes == max(candidate.bytes for candidate in elastic(manifest))


def test_a_variant_that_the_model_does_not_have_is_told() -> None:
    with pytest.raises(NothingFits, match="^digits has no variant d9w9b9$"):
        Fixed("d9w9b9").choose(TWO, AMPLE)
    with pytest.raises(NothingFits, match="^digits has no variant file$"):
        compression("file").choose(TWO, AMPLE)
    with pytest.raises(NoPolicy):
        compression("zip")


SIZES = [400, 600]
TWO = model(SIZES, variant("small", [0], SIZES, accuracy=0.8), variant("large", [0, 1], SIZES, accuracy=0.9))
AMPLE = Limits(10, 10, SECOND, 10**9, SECOND, frozenset())
LEAST = 9295  # bit/s: 1000 bytes of payload, as frames, in nine tenths of a second


@pytest.mark.parametrize(
    ("changed", "name", "sent"),
    [
        ({}, "large", 1000),
        ({"rate_bps": LEAST}, "large", 1000),
        ({"rate_bps": LEAST - 1}, "small", 400),
        ({"rate_bps": LEAST - 1, "have": frozenset({"block0"})}, "large", 600),
        ({"rate_bps": LEAST, "round_trip_ns": 1_000_000}, "small", 400),
        ({"rate_bps": LEAST, "before_bytes": 1}, "small", 400),
        ({"rate_bps": LEAST, "head_bytes": 1}, "small", 400),
        ({"rate_bps": LEAST, "before_bytes": 1, "before_ns": 1_000_000}, "large", 1000),
        ({"rate_bps": LEAST, "load_bytes_per_s": 1_000_000}, "small", 400),
        ({"rate_bps": 1}, "small", 400),
        ({"rate_bps": 1, "have": frozenset({"block0", "block1"})}, "large", 0),
        ({"time_left_ns": -1, "have": frozenset({"block0"})}, "small", 0),
        ({"load_bytes_per_s": 500, "have": frozenset({"block0", "block1"})}, "small", 0),
    ],
)
def test_adaptive_weighs_what_the_device_lacks_against_rate_time_and_loading(
    changed: dict[str, Any], name: str, sent: int
) -> None:
    choice = Adaptive().choose(TWO, AMPLE._replace(**changed))
    assert (choice.variant.name, choice.missing_bytes) == (name, sent)


HEAVY = {"macs": 2_000_000, "memory": 900_000}
REASONS = model(
    [46_000, 366_000],
    variant("d1w1b1", [0], [46_000, 366_000], accuracy=0.8, macs=1_000_000, memory=300_000),
    variant("d3w4b4", [0, 1], [46_000, 366_000], accuracy=0.9, **HEAVY),
)
BUSY = Limits(1_000_000, 290_000_000, SECOND // 10, 40_000_000, SECOND // 10, frozenset())


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, "d3w4b4: 412 kB of 430.4 kB that fit 100 ms at 40 Mbit/s"),
        ({"rate_bps": 8_000_000}, "d1w1b1: 46 kB of 86.08 kB that fit 100 ms at 8 Mbit/s"),
        ({"rate_bps": 800_000}, "d1w1b1: 46 kB is the least there is, 8.607 kB fit 100 ms at 800 kbit/s"),
        (
            {"memory_bytes": 750_000},
            "d1w1b1: 46 kB of 430.4 kB that fit 100 ms at 40 Mbit/s; d3w4b4 takes 900 kB of 750 kB of memory",
        ),
        (
            {"macs_per_s": 10_000_000},
            "d1w1b1: 46 kB of 430.4 kB that fit 100 ms at 40 Mbit/s; "
            "d3w4b4 takes 2,000,000 of 1,000,000 MACs for an inference",
        ),
        (
            {"power_w": 0.02, "energy_per_mac_j": 1.5e-9},
            "d1w1b1: 46 kB of 430.4 kB that fit 100 ms at 40 Mbit/s; d3w4b4 takes 30 mW of 20 mW",
        ),
    ],
)
def test_a_reason_names_what_bound_the_choice(changed: dict[str, Any], reason: str) -> None:
    assert Adaptive().choose(REASONS, BUSY._replace(**changed)).reason == reason


def test_of_equally_accurate_variants_that_with_fewer_bytes_is_chosen_and_what_the_device_has_costs_nothing() -> None:
    sizes = [300, 200, 900]
    tied = model(sizes, variant("a", [0], sizes), variant("b", [1], sizes), variant("c", [2], sizes))
    assert DeviceFit().choose(tied, AMPLE).variant.name == "b"
    assert DeviceFit().choose(tied, AMPLE._replace(have=frozenset({"block2"}))).variant.name == "c"
