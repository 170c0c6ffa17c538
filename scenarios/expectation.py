"""Expectations of a scenario, `downloads.on_time >= 95 %`: a figure of the summary, a comparison, a value."""

import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from scenarios import quantity
from scenarios.figures import ONE, figure

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_PATTERN = re.compile(
    r"\s*(?P<figure>[\w.-]+)\s*(?P<comparison>>=|<=|==|!=|>|<)"
    r"\s*(?P<value>[0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?P<unit>[^\s0-9.]*)\s*"
)


class Expectation(NamedTuple):
    text: str
    figure: str
    comparison: str
    value: float
    percent: bool

    @classmethod
    def parse(cls, text: object) -> "Expectation":
        """Raises ValueError with what would be right."""
        match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            written = f'"{text}" is not an expectation; ' if isinstance(text, str) else ""
            raise ValueError(f'{written}write a figure, a comparison and a value, as in "downloads.on_time >= 95 %"')
        name, unit, value = match["figure"], match["unit"], float(match["value"])
        if unit and unit != "%":
            value = _in_unit_of(name, match["value"], unit)
        return cls(" ".join(str(text).split()), name, match["comparison"], value, unit == "%")

    def measure(self, summary: dict[str, Any]) -> float:
        """The measured figure, in the unit of `value`. Raises KeyError where the summary has no such figure."""
        measured = _find(summary, self.figure)
        if not self.percent:
            return measured
        share_of = figure(self.figure).share_of
        whole = 1.0 if share_of == ONE else _find(summary, share_of)
        return 100.0 * measured / whole if whole else 100.0

    def holds(self, summary: dict[str, Any]) -> bool:
        return _COMPARE[self.comparison](self.measure(summary), self.value)


def is_share(name: str) -> bool:
    return bool(figure(name).share_of)


def _in_unit_of(figure: str, number: str, unit: str) -> float:
    """A figure's name ends with its unit: latency_ms.p95, peak_bps, time_s.virtual, bytes."""
    units = (("_ms", "time", 10**6), ("_s", "time", 10**9), ("_bps", "rate", 1), ("bytes", "size", 1))
    for suffix, dimension, base in units:
        if any(part.endswith(suffix) for part in figure.split(".")):
            return float(quantity.parse(f"{number} {unit}", dimension) / base)
    raise ValueError(f'"{number} {unit}": {figure} has no unit; write a plain number or "%"')


def _find(summary: dict[str, Any], figure: str) -> float:
    value: Any = summary
    for key in figure.split("."):
        value = value[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise KeyError(figure)
    return float(value)
