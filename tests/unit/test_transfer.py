"""What TCP brings by when: beside a calculation round by round in whole fractions, and beside what is plain."""

from fractions import Fraction
from math import floor

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from edge_nodes.choosing.transfer import FIRST_WINDOW, FRAME, SEGMENT, Channel

MS = 10**6
CHANNELS = st.builds(Channel, st.integers(8_000, 10**10), st.integers(0, 10**9))


def round_by_round(channel: Channel, time_ns: int) -> Fraction:
    """What has arrived at a time."""
    rate = Fraction(channel.rate_bps, 8 * 10**9) * SEGMENT / FRAME
    left, window, arrived = Fraction(time_ns) - Fraction(channel.round_trip_ns, 2), Fraction(FIRST_WINDOW), Fraction(0)
    if left <= 0:
        return arrived
    while window < rate * channel.round_trip_ns and left >= channel.round_trip_ns:
        arrived, left, window = arrived + window, left - channel.round_trip_ns, 2 * window
    if window < rate * channel.round_trip_ns:
        return arrived + min(window, rate * left)
    return arrived + rate * left


@given(CHANNELS, st.lists(st.integers(-(10**9), 10**11), min_size=1, max_size=5))
def test_bytes_within_is_what_rounds_of_slow_start_bring(channel: Channel, times: list[int]) -> None:
    for time, brought in zip(times, channel.bytes_within(np.array(times, np.float64)), strict=True):
        exact = round_by_round(channel, time)
        assert abs(brought - floor(exact)) <= 1 + exact * Fraction(1, 10**9)


@given(CHANNELS, st.lists(st.integers(-(10**9), 10**11), min_size=2, max_size=9).map(sorted))
def test_more_time_never_brings_less(channel: Channel, times: list[int]) -> None:
    assert (np.diff(channel.bytes_within(np.array(times, np.float64))) >= 0).all()


def within(rate_bps: int, round_trip_ns: int, time_ns: float) -> float:
    return float(Channel(rate_bps, round_trip_ns).bytes_within(np.array([time_ns]))[0])


def test_without_a_round_trip_only_the_rate_counts() -> None:
    assert within(8 * 1514 * 1000, 0, 1e9) == 1448 * 1000


def test_the_first_window_comes_after_half_a_round_trip_and_the_second_a_round_trip_later() -> None:
    fast = 100 * 10**9
    assert within(fast, 100 * MS, 50 * MS) == 0
    assert within(fast, 100 * MS, 60 * MS) == within(fast, 100 * MS, 149 * MS) == FIRST_WINDOW
    assert within(fast, 100 * MS, 160 * MS) == 3 * FIRST_WINDOW


def test_a_link_without_a_rate_brings_nothing() -> None:
    assert within(0, 0, 1e9) == 0


@given(CHANNELS, st.lists(st.floats(-1e9, 1e11), min_size=1, max_size=5))
def test_for_one_time_it_is_the_same(channel: Channel, times: list[float]) -> None:
    assert [channel.bytes_by(time) for time in times] == channel.bytes_within(np.array(times)).tolist()
