"""Expectations of a scenario, `downloads.on_time >= 95 %`: a figure of the summary, a comparison, a value."""

import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from scenarios import quantity

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
# What a percentage is a percentage of; a figure that is not listed is a share of 1 itself.
_WHOLE = {f"downloads.{figure}": "downloads.requested" for figure in ("on_time", "better_on_time", "completed")}


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
        figure, unit, value = match["figure"], match["unit"], float(match["value"])
        if unit and unit != "%":
            value = _in_unit_of(figure, match["value"], unit)
        return cls(" ".join(str(text).split()), figure, match["comparison"], value, unit == "%")

    def measure(self, summary: dict[str, Any]) -> float:
        """The measured figure, in the unit of `value`. Raises KeyError where the summary has no such figure."""
        measured = _find(summary, self.figure)
        if not self.percent:
            return measured
        whole = _find(summary, _WHOLE[self.figure]) if self.figure in _WHOLE else 1.0
        return 100.0 * measured / whole if whole else 100.0

    def holds(self, summary: dict[str, Any]) -> bool:
        return _COMPARE[self.comparison](self.measure(summary), self.value)


def is_share(figure: str) -> bool:
    return figure in _WHOLE or figure.startswith("accuracy.")


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


def figures(slices: Sequence[str], links: Sequence[str]) -> list[str]:
    """The names of all figures that a summary has, for these slices and links."""
    names = [f"time_s.{key}" for key in ("virtual", "wall")]
    names += [f"downloads.{key}" for key in ("requested", "completed", "failed", "on_time", "better_on_time")]
    names += [f"downloads.{key}" for key in ("cut", "resumed", "rolled_back", "bytes")]
    names += [f"downloads.latency_ms.{key}" for key in ("p50", "p95", "p99", "max")]
    names += [f"accuracy.{key}" for key in ("mean", "before", "after")]
    names += [
        f"handovers.{key}" for key in ("count", "prepared", "never_led", "interruption_ms.p50", "interruption_ms.max")
    ]
    decisions = ("sessions", "granted", "reduced", "refused", "violations")
    names += [f"slices.{name}.{key}" for name in slices for key in decisions]
    names += [f"links.{name}.{key}" for name in links for key in ("rate_bps", "mean_bps", "peak_bps", "dropped")]
    return names
