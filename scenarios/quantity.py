"""Quantities as people write them ("10 Gbit/s", "5 ms", "64 MB", "40 %"), read into exact integers or fractions."""

import re
from fractions import Fraction
from functools import lru_cache
from math import ceil

# dimension -> unit -> how many base units; the base units are bit/s, ns, byte, 1 (shares), 1/s and uW.
UNITS: dict[str, dict[str, Fraction]] = {
    "rate": {"bit/s": Fraction(1), "kbit/s": Fraction(10**3), "Mbit/s": Fraction(10**6), "Gbit/s": Fraction(10**9)},
    "time": {
        "ns": Fraction(1),
        "us": Fraction(10**3),
        "ms": Fraction(10**6),
        "s": Fraction(10**9),
        "min": Fraction(60 * 10**9),
        "h": Fraction(3600 * 10**9),
    },
    "size": {
        "B": Fraction(1),
        "kB": Fraction(10**3),
        "MB": Fraction(10**6),
        "GB": Fraction(10**9),
        "KiB": Fraction(2**10),
        "MiB": Fraction(2**20),
        "GiB": Fraction(2**30),
    },
    "share": {"%": Fraction(1, 100)},
    "frequency": {"/s": Fraction(1), "/min": Fraction(1, 60)},
    "power": {"uW": Fraction(1), "mW": Fraction(10**3), "W": Fraction(10**6)},
}
_EXAMPLE = {"rate": "10 Mbit/s", "time": "5 ms", "size": "64 MB", "share": "40 %", "frequency": "10/s", "power": "5 mW"}
_NOT_SHOWN = ("min", "h", "KiB", "MiB", "GiB")
_COMMON_SLIPS = {
    "bps": "bit/s",
    "kbps": "kbit/s",
    "mbps": "Mbit/s",
    "gbps": "Gbit/s",
    "kbit": "kbit/s",
    "mbit": "Mbit/s",
    "gbit": "Gbit/s",
    "µs": "us",
    "µw": "uW",
    "watt": "W",
    "sec": "s",
    "seconds": "s",
    "m": "min",
    "hz": "/s",
    "percent": "%",
}
# What a scenario can need at most, in base units: 1 Tbit/s, 1000 h, 1000 TB, a million a second, 1 MW.
_MOST = {"rate": 10**12, "time": 3600 * 10**12, "size": 10**15, "share": 100, "frequency": 10**6, "power": 10**12}
PATTERN = re.compile(r"\s*(?P<number>[+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?P<unit>[^\s0-9]*)\s*")


def parse(text: object, dimension: str) -> Fraction:
    """Reads a quantity of one dimension ("rate", "time", "size", "share", "frequency" or "power") in its base unit.

    Raises ValueError with a message that says what would be right.
    """
    units, example = UNITS[dimension], _EXAMPLE[dimension]
    if not isinstance(text, str):
        raise ValueError(f'write a {dimension} here, such as "{example}"')
    match = PATTERN.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a {dimension}; write it as "{example}"')
    number, unit = match["number"], match["unit"]
    if unit not in units:
        right = _nearest_unit(unit, units)
        other = next((name for name in UNITS if unit in UNITS[name]), None)
        if other and not right:
            raise ValueError(f'"{text}" is a {other}; write a {dimension} such as "{example}"')
        hint = f'write "{_written(number, right)}"' if right else f'write a {dimension} such as "{example}"'
        raise ValueError(f'"{text}": {"unknown unit" if unit else "no unit"}; {hint}')
    value = Fraction(number) * units[unit]
    if value < 0:
        raise ValueError(f'"{text}" is negative; a {dimension} is at least 0')
    if value > _MOST[dimension]:
        raise ValueError(f'"{text}" is too much; a {dimension} is at most {show(_MOST[dimension], dimension)}')
    return value


def parse_integer(text: object, dimension: str) -> int:
    """Like `parse`, for what must be a whole number of base units (bit/s, ns, bytes)."""
    value = parse(text, dimension)
    if value.denominator != 1:
        smallest = next(iter(UNITS[dimension]))
        raise ValueError(f'"{text}" is not a whole number of {smallest}; write "{ceil(value)} {smallest}"')
    return int(value)


@lru_cache(1 << 12)
def show(number: float | Fraction, dimension: str) -> str:
    """Writes a value in base units with the largest unit that keeps it at or over 1: 2.5e9 -> "2.5 Gbit/s".

    A unit that shows the value exactly goes before one that would round it to four digits.
    """
    value = Fraction(number)
    if value == 0:
        return "0 s" if dimension == "time" else _written("0", next(iter(UNITS[dimension])))
    units = sorted(((f, u) for u, f in UNITS[dimension].items() if u not in _NOT_SHOWN), reverse=True)
    fitting = [(factor, unit) for factor, unit in units if abs(value) >= factor] or units[-1:]
    exact = [(factor, unit) for factor, unit in fitting if Fraction(_digits(value / factor)) * factor == value]
    factor, unit = (exact or fitting)[0]
    return _written(_digits(value / factor), unit)


def about(number: float, dimension: str) -> str:
    """Writes a measured value, to four digits: 13340396 -> "13.34 Mbit/s"."""
    return show(float(f"{number:.4g}"), dimension)


def _digits(value: Fraction) -> str:
    return f"{float(value):.4g}" if abs(value) < 10_000 else f"{float(value):.0f}"


def _written(number: str, unit: str) -> str:
    return f"{number}{unit}" if unit.startswith("/") else f"{number} {unit}"


def _nearest_unit(unit: str, units: dict[str, Fraction]) -> str | None:
    by_lower = {name.lower(): name for name in units}
    wanted = _COMMON_SLIPS.get(unit.lower(), unit)
    return wanted if wanted in units else by_lower.get(wanted.lower())
