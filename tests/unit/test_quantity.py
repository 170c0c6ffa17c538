"""Quantities: what is written is what is meant, exactly, or the message says what would be right."""

import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenarios.quantity import UNITS, parse, parse_integer, show

UNIT = st.sampled_from([(dimension, unit) for dimension, units in UNITS.items() for unit in units])


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("10 Gbit/s", "rate", 10**10),
        ("0.1 Mbit/s", "rate", 10**5),
        ("5ms", "time", 5 * 10**6),
        (" 1.5  min ", "time", 90 * 10**9),
        ("64 MB", "size", 64 * 10**6),
        ("64 MiB", "size", 64 * 2**20),
        ("0.01 %", "share", Fraction(1, 10000)),
        ("10/s", "frequency", 10),
        ("1/min", "frequency", Fraction(1, 60)),
        ("-0 s", "time", 0),
    ],
)
def test_read_exactly(text: str, dimension: str, value: Fraction) -> None:
    assert parse(text, dimension) == value


@pytest.mark.parametrize(
    ("text", "dimension", "message"),
    [
        ("1 Gbps", "rate", '"1 Gbps": unknown unit; write "1 Gbit/s"'),
        ("1 gbit/s", "rate", '"1 gbit/s": unknown unit; write "1 Gbit/s"'),
        ("5 µs", "time", '"5 µs": unknown unit; write "5 us"'),
        ("5 hz", "frequency", '"5 hz": unknown unit; write "5/s"'),
        ("2 MB", "time", '"2 MB" is a size; write a time such as "5 ms"'),
        ("5 mb", "size", '"5 mb": unknown unit; write "5 MB"'),
        ("5", "time", '"5": no unit; write a time such as "5 ms"'),
        ("", "time", '"" is not a time; write it as "5 ms"'),
        ("1e3 s", "time", '"1e3 s" is not a time; write it as "5 ms"'),
        ("1,5 s", "time", '"1,5 s" is not a time; write it as "5 ms"'),
        ("٣ s", "time", '"٣ s" is not a time; write it as "5 ms"'),
        ("nan s", "time", '"nan s" is not a time; write it as "5 ms"'),
        ("-5 ms", "time", '"-5 ms" is negative; a time is at least 0'),
        ("1001 h", "time", '"1001 h" is too much; a time is at most 3600000 s'),
        ("9" * 5000 + " s", "time", f'"{"9" * 5000} s" is not a time; write it as "5 ms"'),
        (5, "time", 'write a time here, such as "5 ms"'),
        (None, "size", 'write a size here, such as "64 MB"'),
        (["5 ms"], "rate", 'write a rate here, such as "10 Mbit/s"'),
    ],
)
def test_message_says_what_would_be_right(text: object, dimension: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        parse(text, dimension)


def test_a_fraction_of_the_smallest_unit_is_refused_with_the_next_whole_one() -> None:
    assert parse_integer("0.5 us", "time") == 500
    with pytest.raises(ValueError, match='^"1.5 bit/s" is not a whole number of bit/s; write "2 bit/s"$'):
        parse_integer("1.5 bit/s", "rate")


@given(UNIT, st.decimals(min_value=0, max_value=100, places=3))
def test_value_is_number_times_unit(unit: tuple[str, str], number: object) -> None:
    dimension, name = unit
    assert parse(f"{number} {name}", dimension) == Fraction(str(number)) * UNITS[dimension][name]


@given(st.one_of(st.text(), st.integers(), st.none(), st.from_regex(r"[0-9. ]{1,6}[a-zA-Z/%]{0,6}")))
def test_anything_is_read_or_refused_with_a_reason(text: object) -> None:
    for dimension in UNITS:
        try:
            assert parse(text, dimension) >= 0
        except ValueError as error:
            assert "write" in str(error) or "at least" in str(error) or "at most" in str(error)


@pytest.mark.parametrize(
    ("value", "dimension", "text"),
    [
        (2.5e9, "rate", "2.5 Gbit/s"),
        (10**12, "rate", "1000 Gbit/s"),
        (0, "rate", "0 bit/s"),
        (100 * 10**9, "time", "100 s"),
        (60_000_100_000, "time", "60000100 us"),
        (1_234_567, "time", "1234567 ns"),
        (0, "time", "0 s"),
        (0.5, "time", "0.5 ns"),
        (64 * 10**6, "size", "64 MB"),
        (1 / 3, "share", "33.33 %"),
        (Fraction(1, 6000), "frequency", "0.01/min"),
        (10, "frequency", "10/s"),
    ],
)
def test_shown_in_the_unit_that_a_person_would_choose(value: float, dimension: str, text: str) -> None:
    assert show(value, dimension) == text


@given(st.integers(1, 3600 * 10**12))
def test_a_shown_whole_time_is_that_time(value: int) -> None:
    assert parse(show(value, "time"), "time") == value
