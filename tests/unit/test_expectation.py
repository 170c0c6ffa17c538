"""Expectations: a figure, a comparison, a value; held against a summary."""

import operator
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.expectation import Expectation

SUMMARY = {
    "time_s": {"virtual": 60.0},
    "downloads": {"requested": 48, "completed": 48, "on_time": 36, "bytes": 5_000_000, "latency_ms": {"p95": 77.0}},
    "accuracy": {"mean": 0.75, "before": None},
    "slices": {"models": {"violations": 0, "isolated": True}},
    "links": {"quad-radio": {"peak_bps": 9.5e8}},
}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("downloads.on_time >= 75 %", True),
        ("downloads.on_time > 75 %", False),
        ("downloads.on_time == 36", True),
        ("downloads.on_time != 36", False),
        ("accuracy.mean >= 75 %", True),
        ("accuracy.mean >= 0.76", False),
        ("downloads.latency_ms.p95 <= 77 ms", True),
        ("downloads.latency_ms.p95 < 0.077 s", False),
        ("downloads.latency_ms.p95 <= 76", False),
        ("links.quad-radio.peak_bps < 1 Gbit/s", True),
        ("links.quad-radio.peak_bps < 950 Mbit/s", False),
        ("downloads.bytes <= 5 MB", True),
        ("downloads.bytes < 5 MB", False),
        ("time_s.virtual == 1 min", True),
        ("slices.models.violations == 0", True),
        ("  downloads.completed>=100%  ", True),
    ],
)
def test_holds_as_written(text: str, holds: bool) -> None:
    assert Expectation.parse(text).holds(SUMMARY) is holds


@pytest.mark.parametrize("figure", ["downloads.none", "nothing", "accuracy.before", "slices.models.isolated", "slices"])
def test_a_figure_that_is_not_there_is_no_success(figure: str) -> None:
    with pytest.raises(KeyError):
        Expectation.parse(f"{figure} >= 0").holds(SUMMARY)


HINT = 'write a figure, a comparison and a value, as in "downloads.on_time >= 95 %"'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("downloads.on_time", f'"downloads.on_time" is not an expectation; {HINT}'),
        ("downloads.on_time => 5", f'"downloads.on_time => 5" is not an expectation; {HINT}'),
        ("downloads.on_time >= ", f'"downloads.on_time >= " is not an expectation; {HINT}'),
        ("5 <= downloads.on_time", f'"5 <= downloads.on_time" is not an expectation; {HINT}'),
        ("accuracy.mean >= 1e3", f'"accuracy.mean >= 1e3" is not an expectation; {HINT}'),
        ("accuracy.mean >= 0.9 and more", f'"accuracy.mean >= 0.9 and more" is not an expectation; {HINT}'),
        (95, HINT),
        (None, HINT),
        ("downloads.latency_ms.p95 <= 1 MB", '"1 MB" is a size; write a time such as "5 ms"'),
        ("links.x.peak_bps <= 1 Gbps", '"1 Gbps": unknown unit; write "1 Gbit/s"'),
        ("accuracy.mean >= 1 s", '"1 s": accuracy.mean has no unit; write a plain number or "%"'),
    ],
)
def test_message_says_what_would_be_right(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Expectation.parse(text)


def test_text_is_kept_on_one_line() -> None:
    assert Expectation.parse("downloads.on_time\n  >= 95 %").text == "downloads.on_time >= 95 %"


@given(
    st.sampled_from([(">=", operator.ge), ("<=", operator.le), ("==", operator.eq), ("!=", operator.ne)]),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_compares_as_python_does(comparison: tuple[str, object], measured: int, value: int) -> None:
    sign, compare = comparison
    assert Expectation.parse(f"x {sign} {value}").holds({"x": measured}) is compare(measured, value)  # type: ignore[operator]


def test_a_percentage_of_nothing_requested_is_whole() -> None:
    nothing = {"downloads": {"requested": 0, "on_time": 0}}
    assert Expectation.parse("downloads.on_time >= 100 %").holds(nothing)
