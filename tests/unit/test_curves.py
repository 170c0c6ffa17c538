"""The comparison at equal quality: bytes are read off a codec's own curve, and never invented beyond it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import nncodec
from benchmarks.curves import Point, bytes_at_accuracy, bytes_at_divergence, monotone

CURVE = [Point(100, 0.1, 0.5), Point(1000, 0.01, 0.7), Point(10000, 0.001, 0.9)]


def test_a_points_own_quality_gives_its_bytes() -> None:
    for point in CURVE:
        assert bytes_at_accuracy(CURVE, point.accuracy) == pytest.approx(point.bytes)
        assert bytes_at_divergence(CURVE, point.divergence) == pytest.approx(point.bytes)


def test_between_points_bytes_grow_by_the_same_factor() -> None:
    assert bytes_at_accuracy(CURVE, 0.8) == pytest.approx(1000 * 10**0.5)
    assert bytes_at_divergence(CURVE, 0.001 * 10**0.5) == pytest.approx(1000 * 10**0.5)


@pytest.mark.parametrize("wanted", [0.49, 0.91])
def test_beyond_the_curve_there_are_no_bytes(wanted: float) -> None:
    assert bytes_at_accuracy(CURVE, wanted) is None
    assert bytes_at_divergence(CURVE, 0.11 if wanted < 0.5 else 0.0009) is None


def test_a_plateau_counts_from_its_fewest_bytes() -> None:
    assert bytes_at_accuracy([*CURVE, Point(10**5, 0.0001, 0.9)], 0.9) == pytest.approx(10000)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_pooling_never_falls_keeps_the_mean_and_leaves_alone_what_never_fell(values: list[float]) -> None:
    pooled = monotone(values)
    assert len(pooled) == len(values)
    assert all(a <= b for a, b in pairwise(pooled))
    assert pooled.mean() == pytest.approx(sum(values) / len(values))
    assert monotone(sorted(values)).tolist() == sorted(values)


@given(st.integers(-100, 40))
def test_a_quantisation_parameter_is_the_largest_with_a_step_up_to_the_wanted_one(qp: int) -> None:
    step = (4 + qp % 4) * 2.0 ** (qp // 4 - 2)
    assert [nncodec.parameter(step * factor) for factor in (0.999, 1, 1.001)] == [qp - 1, qp, qp]
