"""Distributions of jitter and traces of rates, as built in and as read from files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios import tables
from scenarios.tables import FRAME_BITS, MS, SECOND


@pytest.mark.parametrize("name", ["normal", "pareto"])
def test_a_built_in_distribution_has_mean_0_deviation_1_and_fits_the_kernel(name: str) -> None:
    made = tables.distribution(name)
    assert made is not None
    values = np.array(made.table) / tables.SCALE
    assert abs(values.mean()) < 1e-3
    assert abs(values.std() - 1) < 1e-3
    assert np.abs(made.table).max() <= 32767
    assert list(made.table) == sorted(made.table)


def test_uniform_needs_no_table() -> None:
    assert tables.distribution("uniform") == tables.Distribution("")
    assert tables.distribution("uniform").earliest == -1  # type: ignore[union-attr]


def test_an_unknown_distribution_is_none() -> None:
    assert tables.distribution("gauss") is None


@given(st.lists(st.integers(-32767, 32767), min_size=1, max_size=50))
def test_a_table_is_read_with_its_comments(values: list[int]) -> None:
    text = "# made by hand\n" + "\n".join(f"{value}  # {n}" for n, value in enumerate(values))
    assert tables.read_distribution("my.dist", text).table == tuple(values)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("1 2 x", "not a table of whole numbers"),
        ("# nothing", "has 0 numbers"),
        ("40000", "over 32767"),
        ("1 " * 20000, "has 20000 numbers"),
    ],
)
def test_a_bad_table_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        tables.read_distribution("my.dist", text)


@given(
    st.lists(st.integers(0, 2000), min_size=1, max_size=300).map(sorted).filter(lambda times: times[-1] > 0),
    st.integers(1, 400),
)
def test_a_mahimahi_trace_lets_a_packet_through_for_each_line(times: list[int], step_ms: int) -> None:
    """In every step as many as its deliveries, over and over again; one where there are none: a link cannot have no rate."""
    trace = tables.read_trace("cell.mahi", "\n".join(map(str, times)))
    steps, length = 50, times[-1]
    deliveries = [round_ * length + time for round_ in range(steps * step_ms // length + 1) for time in times]
    rates = trace.rates(5 * SECOND, 5 * SECOND + steps * step_ms * MS, step_ms * MS)
    for number, (time, rate) in enumerate(rates):
        begin, end = number * step_ms, (number + 1) * step_ms
        inside = sum(begin < at <= end or at == number == 0 for at in deliveries)
        assert time == 5 * SECOND + begin * MS
        assert rate == max(1, inside) * FRAME_BITS * 1000 // step_ms // 8 * 8


def test_a_steady_mahimahi_trace_is_its_rate() -> None:
    """A packet each ms is 12.112 Mbit/s of frames."""
    trace = tables.read_trace("steady", "\n".join(str(n) for n in range(1, 1001)))
    assert {rate for _, rate in trace.rates(0, 3 * SECOND, 100 * MS)} == {FRAME_BITS * 1000}


def test_a_csv_trace_gives_its_steps_again_and_again() -> None:
    trace = tables.read_trace("lte.csv", "time_s, rate_mbps\n0, 10\n1.5, 2.5\n2, 10\n")
    expected = [(0, 10_000_000), (1_500_000_000, 2_500_000), (2_000_000_000, 10_000_000), (3_500_000_000, 2_500_000)]
    assert trace.rates(0, 4 * SECOND, 1) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("1\n2\nx", 'line 3: "x" is not a whole number of ms'),
        ("5\n3", "go back"),
        ("0\n0", "at least 1"),
        ("seconds,rate\n0,1", "begins with neither"),
        ("time_s,rate_mbps\n0,1\nx,2", 'line 3: "x,2" is not a time and a rate'),
        ("time_s,rate_mbps\n0,1\n1,0", "line 3.*at least 8 bit/s"),
        ("time_s,rate_mbps\n0,1\n0,2", "line 3: is not after"),
        ("time_s,rate_mbps\n0,1", "two rows"),
        ("time_s,rate_mbps\n1,1\n2,1", "the first at time 0"),
    ],
)
def test_a_bad_trace_is_refused_with_its_line(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        tables.read_trace("bad", text)
