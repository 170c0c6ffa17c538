"""What a summary's figures are, for whoever compares, plots or expects them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.figures import ONE, Figure, figure, figures, flat

SUMMARY = {
    "time_s": {"virtual": 60.0},
    "downloads": {"requested": 48, "on_time": 36, "latency_ms": {"p95": None}},
    "slices": {"models": {"violations": 0}},
    "links": {"quad-radio": {"peak_bps": 9.5e8}},
}
NAMES = figures(["default", "models"], ["quad-radio"])


def test_each_figure_has_one_name_and_says_what_it_is() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert [figure(name).name for name in NAMES] == NAMES


def test_what_a_share_is_a_share_of_is_a_figure_itself() -> None:
    wholes = {figure(name).share_of for name in NAMES} - {"", ONE}
    assert wholes <= set(NAMES)


def test_a_slices_or_links_figure_is_that_of_its_own() -> None:
    assert figure("slices.models.lost") == Figure("slices.models.lost", "", "less", "slices.models.sessions")
    assert figure("links.quad-radio.peak_bps") == Figure(
        "links.quad-radio.peak_bps", "bit/s", "", "links.quad-radio.rate_bps"
    )


@pytest.mark.parametrize("name", ["downloads.on_tme", "downloads", "links.quad-radio", "links.quad-radio.x", "", "*"])
def test_what_is_no_figure_is_an_error(name: str) -> None:
    with pytest.raises(KeyError):
        figure(name)


def test_a_flat_summary_has_all_figures_and_none_where_there_is_no_value() -> None:
    found = flat(SUMMARY)
    assert list(found) == figures(["models"], ["quad-radio"])
    assert found["downloads.on_time"] == 36.0
    assert found["links.quad-radio.peak_bps"] == 9.5e8
    assert found["downloads.latency_ms.p95"] is None
    assert found["accuracy.mean"] is None


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("downloads.latency_ms.p95", 77.0, "77 ms"),
        ("downloads.latency_ms.p95", 1234.567, "1234.567 ms"),
        ("links.quad-radio.peak_bps", 13340396.0, "13.34 Mbit/s"),
        ("downloads.bytes", 51380224.0, "51.38 MB"),
        ("accuracy.mean", 0.9697, "96.97 %"),
        ("downloads.on_time", 36.0, "36"),
        ("accuracy.after", None, "none: no model was swapped"),
    ],
)
def test_values_are_shown_with_their_units(name: str, value: float | None, shown: str) -> None:
    assert figure(name).show(value) == shown


@given(st.sampled_from(NAMES), st.floats(0, 1e12))
def test_any_value_of_any_figure_can_be_shown(name: str, value: float) -> None:
    assert figure(name).show(value)
