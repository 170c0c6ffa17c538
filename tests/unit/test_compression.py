"""The compression policies' choice, and the cache that forgets what was not asked for the longest."""

from collections import OrderedDict

import pytest
from builders import variant
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_nodes.manifest import Block, Manifest, Variant
from edge_nodes.policies import (
    COMPRESSION,
    TRANSFER_SHARE,
    Adaptive,
    Choice,
    DeviceFit,
    Full,
    Limits,
    Lru,
    NothingFits,
    missing_bytes,
)

SOME = settings(max_examples=200, deadline=None)
SECOND = 10**9


def model(sizes: list[int], *variants: Variant) -> Manifest:
    blocks = tuple(Block(f"block{number}", size, 1, 1, number) for number, size in enumerate(sizes))
    return Manifest("digits", None, {}, blocks, variants)


@st.composite
def models(draw: st.DrawFn) -> Manifest:
    """Few different values, so that ties are common."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    some = st.sets(st.integers(0, len(sizes) - 1), min_size=1).map(sorted)
    figure = st.fixed_dictionaries(
        {"macs": st.integers(1, 4), "memory": st.integers(1, 4), "accuracy": st.sampled_from([0.5, 0.7, 0.9])}
    )
    made = draw(st.lists(st.tuples(some, figure), min_size=1, max_size=6))
    return model(sizes, *(variant(f"v{n}", blocks, sizes, **f) for n, (blocks, f) in enumerate(made)))


LIMITS = st.builds(
    Limits,
    memory_bytes=st.integers(0, 4),
    macs_per_s=st.integers(0, 4),
    infer_interval_ns=st.sampled_from([SECOND // 2, SECOND, SECOND + 1]),
    rate_bps=st.integers(0, 200),
    time_left_ns=st.integers(-SECOND, SECOND),
    have=st.frozensets(st.sampled_from([f"block{n}" for n in range(5)])),
)


def to_send(manifest: Manifest, chosen: Variant, limits: Limits) -> int:
    return sum(manifest.blocks[n].bytes for n in chosen.blocks if manifest.blocks[n].digest not in limits.have)


def fits_device(candidate: Variant, limits: Limits) -> bool:
    seconds = limits.infer_interval_ns / SECOND
    return candidate.memory <= limits.memory_bytes and candidate.macs <= limits.macs_per_s * seconds


def arrives(manifest: Manifest, candidate: Variant, limits: Limits) -> bool:
    in_time = limits.rate_bps / 8 * limits.time_left_ns / SECOND * TRANSFER_SHARE
    return to_send(manifest, candidate, limits) <= in_time


def is_best(manifest: Manifest, choice: Choice, candidates: list[Variant], limits: Limits) -> bool:
    """No candidate is more accurate, and none that is as accurate is fewer bytes."""

    def worth(candidate: Variant) -> tuple[float, int]:
        return candidate.accuracy, -to_send(manifest, candidate, limits)

    return choice.variant in candidates and worth(choice.variant) == max(map(worth, candidates))


@SOME
@given(models(), LIMITS)
def test_device_fit_is_the_best_that_fits_memory_and_compute(manifest: Manifest, limits: Limits) -> None:
    fitting = [candidate for candidate in manifest.variants if fits_device(candidate, limits)]
    if not fitting:
        with pytest.raises(NothingFits, match="no variant of digits fits"):
            DeviceFit().choose(manifest, limits)
    else:
        assert is_best(manifest, DeviceFit().choose(manifest, limits), fitting, limits)


@SOME
@given(models(), LIMITS)
def test_adaptive_is_the_best_in_time_or_else_the_fewest_bytes(manifest: Manifest, limits: Limits) -> None:
    fitting = [candidate for candidate in manifest.variants if fits_device(candidate, limits)]
    in_time = [candidate for candidate in fitting if arrives(manifest, candidate, limits)]
    if not fitting:
        with pytest.raises(NothingFits, match="no variant of digits fits"):
            Adaptive().choose(manifest, limits)
        return
    choice = Adaptive().choose(manifest, limits)
    if in_time:
        assert is_best(manifest, choice, in_time, limits)
    else:
        assert choice.variant in fitting
        assert choice.missing_bytes == min(to_send(manifest, candidate, limits) for candidate in fitting)


@SOME
@given(models(), LIMITS, st.sampled_from(sorted(COMPRESSION)))
def test_a_choice_says_what_is_sent_and_why(manifest: Manifest, limits: Limits, policy: str) -> None:
    try:
        choice = COMPRESSION[policy].choose(manifest, limits)
    except NothingFits:
        return
    assert choice.missing_bytes == to_send(manifest, choice.variant, limits)
    assert choice.reason.startswith(f"{choice.variant.name}: {choice.missing_bytes} B, ")
    assert choice == COMPRESSION[policy].choose(manifest, limits)


@given(models())
def test_full_is_the_largest_whatever_the_device(manifest: Manifest) -> None:
    choice = Full().choose(manifest, Limits(0, 0, 1, 0, 0, frozenset()))
    assert choice.variant.bytes == max(candidate.bytes for candidate in manifest.variants)


SIZES = [400, 600]
TWO = model(SIZES, variant("small", [0], SIZES, accuracy=0.8), variant("large", [0, 1], SIZES, accuracy=0.9))
AMPLE = Limits(10, 10, SECOND, 10**9, SECOND, frozenset())


@pytest.mark.parametrize(
    ("changed", "name", "sent"),
    [
        ({}, "large", 1000),
        ({"rate_bps": 16_000}, "large", 1000),  # 2000 B in the time that is left, of which half is for the transfer
        ({"rate_bps": 15_999}, "small", 400),
        ({"rate_bps": 9_600}, "small", 400),
        ({"rate_bps": 9_600, "have": frozenset({"block0"})}, "large", 600),
        ({"rate_bps": 1}, "small", 400),
        ({"rate_bps": 1, "have": frozenset({"block0", "block1"})}, "large", 0),
        ({"time_left_ns": -1, "have": frozenset({"block0"})}, "small", 0),
    ],
)
def test_adaptive_weighs_what_the_device_lacks_against_rate_and_time(
    changed: dict[str, int], name: str, sent: int
) -> None:
    choice = Adaptive().choose(TWO, AMPLE._replace(**changed))  # type: ignore[arg-type]
    assert (choice.variant.name, choice.missing_bytes) == (name, sent)


def test_of_equally_accurate_variants_that_with_fewer_bytes_is_chosen_and_what_the_device_has_costs_nothing() -> None:
    sizes = [300, 200, 900]
    tied = model(sizes, variant("a", [0], sizes), variant("b", [1], sizes), variant("c", [2], sizes))
    assert DeviceFit().choose(tied, AMPLE).variant.name == "b"
    assert DeviceFit().choose(tied, AMPLE._replace(have=frozenset({"block2"}))).variant.name == "c"
    assert missing_bytes(tied, tied.variants[2], {"block2"}) == 0


NAMES = st.sampled_from("abcdefg")


@SOME
@given(st.integers(1, 10), st.lists(NAMES, max_size=60), st.lists(st.integers(0, 12), min_size=7, max_size=7))
def test_lru_holds_what_fits_and_forgets_what_was_not_asked_for_the_longest(
    capacity: int, asks: list[str], sizes: list[int]
) -> None:
    size = dict(zip("abcdefg", sizes, strict=True))
    policy = Lru(capacity)
    held: OrderedDict[str, int] = OrderedDict()  # the longest unused first
    for name in asks:
        if name in held:
            policy.touch(name)
            held.move_to_end(name)
            continue
        evicted = policy.admit(name, size[name])
        if size[name] > capacity:
            assert evicted is None
            continue
        expected = []
        while sum(held.values()) + size[name] > capacity:
            expected.append(held.popitem(last=False)[0])
        held[name] = size[name]
        assert evicted == expected
