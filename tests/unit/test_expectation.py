"""Expectations: figures compared with values and with one another, held against a summary."""

import operator
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.expectation import Expectation
from scenarios.figures import figure, figures

SUMMARY = {
    "time_s": {"virtual": 60.0},
    "downloads": {
        "requested": 48,
        "completed": 48,
        "on_time": 36,
        "bytes": 5_000_000,
        "latency_ms": {"p50": 31.25, "p95": 77.0},
    },
    "accuracy": {"mean": 0.75, "before": None, "after": 0.9},
    "handovers": {"count": 0, "prepared": 0},
    "slices": {"models": {"violations": 0, "sessions": 48}},
    "links": {"quad-radio": {"peak_bps": 9.5e8, "rate_bps": 1e9}},
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
        ("links.quad-radio.peak_bps <= 95 %", True),
        ("links.quad-radio.peak_bps < 95 %", False),
        ("downloads.bytes <= 5 MB", True),
        ("downloads.bytes < 5 MB", False),
        ("time_s.virtual == 1 min", True),
        ("slices.models.violations == 0", True),
        ("  downloads.completed>=100%  ", True),
        ("70 % <= downloads.on_time < 80 %", True),
        ("70 % <= downloads.on_time < 75 %", False),
        ("80 % <= downloads.on_time < 90 %", False),
        ("30 ms < downloads.latency_ms.p50 <= downloads.latency_ms.p95", True),
        ("accuracy.mean < accuracy.after", True),
        ("downloads.completed == downloads.requested", True),
        ("downloads.on_time >= downloads.completed", False),
        ("downloads.on_time >= 75 % and slices.models.violations == 0", True),
        ("downloads.on_time >= 75 % and slices.models.violations > 0", False),
        ("downloads.on_time > 75 % and slices.models.violations == 0", False),
    ],
)
def test_holds_as_written(text: str, holds: bool) -> None:
    assert Expectation.parse(text).measure(SUMMARY).holds is holds


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accuracy.before >= 0", "none: no model was swapped"),
        ("accuracy.before != 1", "none: no model was swapped"),
        ("accuracy.before >= 50 %", "none: no model was swapped"),
        ("downloads.latency_ms.p99 <= 1 s", "none: no download was completed"),
        ("handovers.prepared == 100 %", "0 of 0"),
    ],
)
def test_what_has_no_value_does_not_hold_and_says_why(text: str, said: str) -> None:
    measured = Expectation.parse(text).measure(SUMMARY)
    assert not measured.holds
    assert measured.said == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("downloads.on_time >= 95 %", "36 of 48, 75 %"),
        ("downloads.on_time >= 40", "36"),
        ("links.quad-radio.peak_bps <= 90 %", "950 Mbit/s of 1 Gbit/s, 95 %"),
        ("downloads.latency_ms.p50 <= 0.03 s", "31.25 ms"),
        ("accuracy.mean >= 0.9", "75 %"),
        (
            "accuracy.mean >= 0.9 and downloads.latency_ms.p50 <= 1 s",
            "accuracy.mean 75 %, downloads.latency_ms.p50 31.25 ms",
        ),
        ("5 <= downloads.on_time <= 6", "36"),
    ],
)
def test_what_was_measured_is_said_as_it_was_asked(text: str, said: str) -> None:
    assert Expectation.parse(text).measure(SUMMARY).said == said


def test_the_figures_values_are_there_for_machines() -> None:
    measured = Expectation.parse("accuracy.before >= 0 and downloads.on_time >= 95 %").measure(SUMMARY)
    assert measured.figures == {"accuracy.before": None, "downloads.on_time": 36.0}


RIGHT = 'write a figure, a comparison and a value, as in "downloads.on_time >= 95 %"'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "downloads.on_time",
        "downloads.on_time => 5",
        "downloads.on_time >=",
        ">= 5",
        "accuracy.mean >= 1e3",
        "accuracy.mean >= -1",
        "accuracy.mean >= 0.9 and more",
        "accuracy.mean >= 0.9 and",
        "and accuracy.mean >= 0.9",
        "accuracy.mean >= 0.9 or accuracy.mean < 0.1",
        "0 < accuracy.mean < 1 < 2",
        "not accuracy.mean > 0",
        "accuracy.mean >= (0.9)",
        "__import__('os').system('true') == 0",
        "accuracy.mean.__class__() == 0",
    ],
)
def test_what_is_not_the_grammars_is_no_expectation(text: str) -> None:
    message = f'"{text}" is not an expectation; {RIGHT}'
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Expectation.parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (95, RIGHT),
        (None, RIGHT),
        ("5 < 6", f'"5 < 6" compares no figure; {RIGHT}'),
        ("5 <= 6 <= downloads.failed", f'"5 <= 6" compares no figure; {RIGHT}'),
        ("downloads.latency_ms.p95 <= 1 MB", '"1 MB" is a size; write a time such as "5 ms"'),
        ("links.x.peak_bps <= 1 Gbps", '"1 Gbps": unknown unit; write "1 Gbit/s"'),
        ("accuracy.mean >= 1 s", '"1 s": accuracy.mean has no unit; write a plain number or "%"'),
        ("handovers.count >= 1 s", '"1 s": handovers.count has no unit; write a plain number'),
        ("accuracy.mean >= 95", 'accuracy.mean is a share, 0 to 1; write "95 %"'),
        ("downloads.bytes >= 5 %", "downloads.bytes is not a share; write its value without %"),
        (
            "downloads.bytes > time_s.wall",
            "downloads.bytes is in B, and time_s.wall in s; compare what is alike",
        ),
        (
            "accuracy.mean > downloads.late",
            "accuracy.mean is a share, and downloads.late a count; compare what is alike",
        ),
    ],
)
def test_message_says_what_would_be_right(text: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Expectation.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_an_expectation_or_a_message(text: str) -> None:
    try:
        Expectation.parse(text).measure({})
    except ValueError as error:
        assert str(error)


def test_text_is_kept_on_one_line() -> None:
    assert Expectation.parse("downloads.on_time\n  >= 95 %").text == "downloads.on_time >= 95 %"


@given(
    st.sampled_from([(">=", operator.ge), ("<=", operator.le), ("==", operator.eq), ("!=", operator.ne)]),
    st.integers(0, 5),
    st.integers(0, 5),
)
def test_compares_as_python_does(comparison: tuple[str, object], measured: int, value: int) -> None:
    sign, compare = comparison
    summary = {"downloads": {"failed": measured}}
    holds = compare(measured, value)  # type: ignore[operator]
    assert Expectation.parse(f"downloads.failed {sign} {value}").measure(summary).holds is holds
    assert (
        Expectation.parse(f"{measured} {sign} downloads.failed").measure({"downloads": {"failed": value}}).holds
        is holds
    )


@given(st.integers(0, 400), st.integers(1, 400))
def test_a_percentage_that_is_met_exactly_holds(part: int, hundreds: int) -> None:
    summary = {"downloads": {"on_time": part * hundreds, "requested": 100 * hundreds}}
    assert Expectation.parse(f"downloads.on_time == {part} %").measure(summary).holds


def test_every_figure_can_be_expected() -> None:
    for name in figures(["default", "models"], ["quad-radio"]):
        assert Expectation.parse(f"{name} >= 1").figures == [figure(name)]
