"""What is cut of a download: no more than must be, at a block, and never what would leave a device without a model."""

from collections.abc import Iterator

import pytest
from builders import manifest_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_nodes.choosing.deadline import Course, Outlook, Pace, Sight, parts
from edge_nodes.models.manifest import Manifest

MS = 10**6
SIZES = (1_000, 4_000, 20_000, 100_000)
MANIFEST = manifest_of(
    "digits",
    [bytes([number]) * size for number, size in enumerate(SIZES)],
    tiny={"blocks": [0], "accuracy": 0.6},
    small={"blocks": [0, 1], "accuracy": 0.7},
    other={"blocks": [0, 3], "accuracy": 0.75},
    large={"blocks": [0, 1, 2], "accuracy": 0.8},
    whole={"blocks": [0, 1, 2, 3], "accuracy": 0.9},
)


def course(planned: str = "whole", held: tuple[int, ...] = (), manifest: Manifest = MANIFEST) -> Course:
    have = [manifest.blocks[index].digest for index in held]
    variant = manifest.variant(planned)
    return Course(manifest, variant, manifest.blocks_of(variant, have), have)


def outlook(rate_bps: int = 8_000_000, left_ms: int = 1000, waiting: int = 0, load: int | None = None) -> Outlook:
    return Outlook(rate_bps, left_ms * MS, waiting, 0, load)


@given(st.sampled_from(["tiny", "small", "other", "large", "whole"]), st.integers(0, 4))
def test_a_plan_becomes_the_best_part_of_it_that_is_no_more_than_what_is_granted(granted: str, before: int) -> None:
    """Whatever has gone by then. A part that is there already costs nothing."""
    one = course()
    for _ in range(before):
        one.next(None)
    lacking = one._missing(MANIFEST.variant(granted))
    one.become(MANIFEST.variant(granted))
    assert one._missing(one.planned) <= lacking
    assert one.planned.accuracy >= MANIFEST.variant(granted).accuracy
    assert sum(block.bytes for block in one.rest) == one._missing(one.planned)


def test_what_is_granted_may_have_blocks_that_were_not_planned() -> None:
    one = course("large")
    one.become(MANIFEST.variant("other"))
    assert one.planned.name == "large", "which needs less than the block that `other` has and it lacks"
    one = course("small")
    one.become(MANIFEST.variant("tiny"))
    assert one.planned.name == "tiny"


def sent(one: Course, outlooks: Iterator[Outlook | None]) -> list[int]:
    """The numbers of the blocks that a course sends, with one outlook after the other."""
    digests = [block.digest for block in MANIFEST.blocks]
    return [digests.index(block.digest) for block in iter(lambda: one.next(next(outlooks)), None)]


def always(one: Outlook | None) -> Iterator[Outlook | None]:
    while True:
        yield one


def test_a_plan_holds_where_nothing_is_known_and_where_all_arrives_in_time() -> None:
    for one in (None, outlook()):
        going = course()
        assert sent(going, always(one)) == [0, 1, 2, 3]
        assert going.variant is going.planned


@pytest.mark.parametrize(
    ("left_ms", "variant", "blocks"),
    [(125, "whole", [0, 1, 2, 3]), (124, "large", [0, 1, 2]), (24, "small", [0, 1]), (4, "tiny", [0])],
)
def test_what_still_arrives_is_sent_the_most_accurate_first(left_ms: int, variant: str, blocks: list[int]) -> None:
    """1 kB takes 1 ms; all that is sent is sent at once here, so time does not pass."""
    going = course()

    def outlooks() -> Iterator[Outlook | None]:
        gone = 0
        for size in (*SIZES, 0):
            yield outlook(left_ms=left_ms, waiting=gone)
            gone += size

    assert sent(going, outlooks()) == blocks
    assert going.variant.name == variant


def test_a_plan_is_cut_in_the_middle_and_taken_up_again_when_the_channel_recovers() -> None:
    going = course()
    good, bad = outlook(), outlook(rate_bps=80_000, left_ms=500)
    assert sent(going, iter([good, bad, bad])) == [0, 1]  # 5 kB at 10 kB/s
    assert going.variant.name == "small"
    assert sent(going, always(good)) == [2, 3]
    assert going.variant is going.planned


def test_loading_and_what_waits_and_half_a_round_trip_count() -> None:
    assert outlook(left_ms=10).reaches(10_000, 10_000)
    assert not outlook(left_ms=10, waiting=1).reaches(10_000, 10_000)
    assert not outlook(left_ms=10, load=1_000_000).reaches(10_000, 10_000)
    assert outlook(left_ms=20, load=1_000_000).reaches(10_000, 10_000)
    assert not Outlook(8_000_000, 10 * MS, 0, 2, None).reaches(10_000, 10_000)


@pytest.mark.parametrize("late", [outlook(left_ms=0), outlook(left_ms=-500), outlook(rate_bps=0)])
def test_after_the_deadline_the_smallest_that_runs_is_still_brought_and_no_more(late: Outlook) -> None:
    assert sent(course(), always(late)) == [0]
    assert sent(course(held=(1, 2)), always(late)) == [0]
    going = course(held=(0, 1))
    assert sent(going, always(late)) == []
    assert going.variant.name == "small"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.none(), st.tuples(st.integers(0, 10**8), st.integers(-100, 1000))), min_size=1))
def test_whatever_the_channel_does_it_ends_with_a_complete_variant_and_sends_no_block_twice(
    seen: list[tuple[int, int] | None],
) -> None:
    going = course()
    outlooks = [one and outlook(*one) for one in seen]
    blocks = sent(going, iter([*outlooks, *[outlooks[-1]] * 5]))
    assert len(set(blocks)) == len(blocks)
    assert set(going.variant.blocks) <= set(blocks)


def test_parts_of_a_variant_are_those_that_need_nothing_else() -> None:
    assert [part.name for part in parts(MANIFEST, MANIFEST.variant("large"))] == ["large", "small", "tiny"]


# The rate that is observed


def pace(*acknowledged: int, step_ms: int = 10, round_trip_ms: int = 10) -> Pace:
    made = Pace()
    for number, size in enumerate(acknowledged):
        made.look(Sight(number * step_ms * MS, size, 1, round_trip_ms * MS))
    return made


def test_a_steady_rate_is_known_after_two_round_trips() -> None:
    assert pace().rate_bps() is None
    assert pace(0, 20_000).rate_bps() is None
    assert pace(0, 20_000, 40_000).rate_bps() == 16_000_000
    assert pace(0, 10_000, 20_000, step_ms=5).rate_bps() is None


def test_while_the_rate_doubles_each_round_trip_the_channel_is_not_to_blame() -> None:
    assert pace(0, 15_000, 45_000, 105_000).rate_bps() is None
    assert pace(0, 15_000, 45_000, 75_000).rate_bps() == 24_000_000


def test_a_channel_that_turns_bad_is_noticed_when_it_has_carried_enough_to_tell() -> None:
    assert pace(0, 100_000, 200_000, 215_000).rate_bps() == 12_000_000
    assert pace(0, 100_000, *[200_000 + 1_000 * n for n in range(15)]).rate_bps() == 800_000


def test_a_channel_that_is_dead_is_noticed_in_the_end() -> None:
    assert pace(*range(0, 10**6, 10**5), *[10**6] * 25).rate_bps() == 0


def test_a_rate_is_known_also_where_one_looks_seldom() -> None:
    assert pace(0, 100_000, 200_000, 300_000, step_ms=100).rate_bps() == 8_000_000


def test_a_pause_in_which_nothing_was_to_be_sent_is_no_slow_channel() -> None:
    made = pace(0, 100_000, 200_000)
    made.look(Sight(30 * MS, 300_000, 0, 10 * MS))
    made.look(Sight(500 * MS, 300_000, 1, 10 * MS))
    assert made.rate_bps() is None


@given(st.integers(1, 10**6), st.integers(3, 50), st.integers(1, 30), st.integers(0, 100))
def test_a_steady_rate_is_observed_as_it_is_however_often_one_looks(
    per_ms: int, looks: int, step_ms: int, round_trip_ms: int
) -> None:
    made = Pace()
    for number in range(looks):
        made.look(Sight(number * step_ms * MS, number * step_ms * per_ms, 1, round_trip_ms * MS))
    assert made.rate_bps() in (None, per_ms * 8000)
    assert made.mean_bps() == per_ms * 8000


def test_what_is_remembered_does_not_grow() -> None:
    made = Pace()
    for number in range(1000):
        made.look(Sight(number * MS, number, 1, 10 * MS))
    assert len(made._sights) < 250
