"""What a few runs say about a figure, beside scipy's own answers."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from insitu.study.statistics import Interval, difference, estimate, more_runs, ratio

VALUES = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=2, max_size=30)
PAIRS = st.lists(st.tuples(st.floats(1, 1e4), st.floats(1, 1e4)), min_size=2, max_size=30)


@given(VALUES)
def test_the_interval_is_scipys_t_interval(values: list[float]) -> None:
    assume(len(set(values)) > 1)
    found = estimate(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert found.interval == pytest.approx((expected.low, expected.high), abs=1e-6)
    assert (found.least, found.most) == (min(values), max(values))
    assert found.deviation == pytest.approx(stats.tstd(values))


@given(st.floats(-1e6, 1e6), st.integers(2, 30))
def test_runs_that_are_all_alike_have_no_spread(value: float, n: int) -> None:
    found = estimate([value] * n)
    assert (found.mean, found.deviation, found.interval) == (value, 0.0, Interval(value, value))
    assert more_runs(found, 0.05) == 0


def test_one_run_has_neither_spread_nor_interval() -> None:
    found = estimate([3.0])
    assert (found.n, found.mean, found.interval, found.deviation) == (1, 3.0, None, None)
    assert more_runs(found, 0.05) is None


def test_19_times_of_20_the_interval_holds_the_mean() -> None:
    """10,000 times 8 normal draws: the share is within four of its own standard deviations."""
    draws = np.random.default_rng(1).normal(10.0, 3.0, (10_000, 8))
    held = [found.low <= 10.0 <= found.high for found in (estimate(row).interval for row in draws) if found]
    assert len(held) == 10_000
    assert np.mean(held) == pytest.approx(0.95, abs=4 * 0.0022)


@given(st.floats(1, 100), st.floats(0.1, 10), st.floats(0.05, 0.5), st.integers(2, 40))
def test_the_runs_that_are_missing_are_the_fewest_that_do(mean: float, deviation: float, within: float, n: int) -> None:
    found = estimate([1.0, 2.0])._replace(n=n, mean=mean, deviation=deviation)
    more = more_runs(found, within)

    def wide(runs: int) -> bool:
        return float(stats.t.ppf(0.975, runs - 1)) * deviation / runs**0.5 > within * mean

    assert more is not None
    assert not wide(n + more)
    assert more == 0 or wide(n + more - 1)


def test_no_number_of_runs_gets_within_a_share_of_nothing() -> None:
    assert more_runs(estimate([-1.0, 1.0]), 0.05) is None


@given(PAIRS)
def test_the_difference_is_scipys_paired_test(pairs: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    apart = np.subtract(second, first)
    assume(np.ptp(apart) > 1e-3)
    found, expected = difference(first, second), stats.ttest_rel(second, first)
    interval = expected.confidence_interval(0.95)
    assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-6)
    assert found.more + found.less + found.equal == found.n == len(pairs)
    assert found.effect == pytest.approx(apart.mean() / apart.std(ddof=1))
    if abs(expected.pvalue - 0.05) > 1e-9:
        assert bool(found.shown) == (expected.pvalue < 0.05)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_a_side_does_not_differ_from_itself(values: list[float]) -> None:
    found = difference(values, values)
    assert (found.mean, found.effect, found.shown, found.equal) == (0.0, None, "", len(values))


@given(PAIRS)
def test_sides_exchanged_differ_the_other_way(pairs: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    there, back = difference(first, second), difference(second, first)
    assert there.mean == -back.mean
    assert {there.shown, back.shown} in ({""}, {"more", "less"})


@pytest.mark.parametrize(("n", "shown"), [(1, ""), (2, ""), (5, ""), (6, "more")])
def test_equal_differences_show_a_side_from_six_on(n: int, shown: str) -> None:
    """Two seeds with one late download less each have no spread; that proves nothing."""
    first = [0.1 * seed for seed in range(n)]
    assert difference(first, [value + 0.7 for value in first]).shown == shown


@given(PAIRS)
def test_a_ratio_is_1_exactly_where_no_difference_is_shown(pairs: list[tuple[float, float]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    assume(np.ptp(np.subtract(second, first)) > 1e-3)
    found, apart = ratio(first, second), difference(first, second)
    assume(found is not None and apart.interval is not None)
    assert found is not None and apart.interval is not None
    assert found.interval.low - 1e-9 <= found.value <= found.interval.high + 1e-9
    edge = min(abs(apart.interval.low), abs(apart.interval.high))
    if edge > 1e-6 * max(first):
        assert (found.interval.low <= 1 <= found.interval.high) == (apart.shown == "")


@given(PAIRS, st.floats(0.2, 5))
def test_a_constant_factor_is_found_exactly(pairs: list[tuple[float, float]], factor: float) -> None:
    first = [value for value, _ in pairs]
    found = ratio(first, [factor * value for value in first])
    if found is not None:
        assert found == (pytest.approx(factor), pytest.approx((factor, factor), rel=1e-3))


def test_19_times_of_20_fiellers_interval_holds_the_ratio() -> None:
    generator = np.random.default_rng(2)
    first = generator.normal(50.0, 10.0, (4_000, 10))
    second = 0.8 * first + generator.normal(0.0, 5.0, first.shape)
    found = [ratio(a, b) for a, b in zip(first, second, strict=True)]
    held = [one.interval.low <= 0.8 <= one.interval.high for one in found if one]
    assert len(held) == 4_000
    assert np.mean(held) == pytest.approx(0.95, abs=4 * 0.0035)


@pytest.mark.parametrize("first", [[0.0, 0.0, 0.0], [-1.0, 0.0, 2.0], [5.0]])
def test_there_is_no_ratio_to_what_may_be_nothing(first: list[float]) -> None:
    assert ratio(first, [1.0] * len(first)) is None
