"""Values with their intervals as people read them: as many digits as the interval is worth."""

from collections.abc import Sequence
from math import floor, log10
from typing import Literal

from insitu.study.statistics import Estimate, Interval
from scenarios import quantity
from scenarios.figures import ONE, Figure, of_unit


def amount(value: float, interval: Interval | None, unit: str, sign: Literal["", "+"] = "") -> str:
    """12.1 % [9.8, 14.2]: the interval's half width to two digits, the rest to the same place. `sign` "+": +12.1 % [+9.8, +14.2]"""
    unit = f" {unit}" if unit else ""
    if interval is None or interval.low == interval.high:
        return f"{value:{sign}.4g}{unit}"
    places = max(0, 1 - floor(log10((interval.high - interval.low) / 2)))
    shown, low, high = (
        f"{round(number, places) + 0.0:{sign},.{places}f}" for number in (value, *interval)
    )  # + 0.0: no -0
    return f"{shown}{unit} [{low}, {high}]"


def estimated(figure: Figure, found: Estimate) -> str:
    """A figure's mean with its interval: 96.1 % [95.2, 97.0]"""
    factor, unit = scale(figure, found.mean)
    return amount(factor * found.mean, scaled(found.interval, factor), unit)


def scale(figure: Figure, value: float) -> tuple[float, str]:
    """In which unit values about this large are told, and by what they are multiplied for that: shares in %, bytes in kB or MB."""
    if figure.share_of == ONE:
        return 100.0, "%"
    if figure.unit not in ("B", "bit/s"):
        return 1.0, figure.unit
    dimension, _ = of_unit(figure.unit)
    unit = quantity.about(abs(value), dimension).partition(" ")[2]
    return float(1 / quantity.UNITS[dimension][unit]), unit


def scaled(interval: Interval | None, factor: float, shift: float = 0.0) -> Interval | None:
    """factor · interval + shift, the smaller end first."""
    return interval and Interval(*sorted(factor * end + shift for end in interval))


def seed_count(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def some(names: Sequence[str]) -> str:
    """The first three, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
