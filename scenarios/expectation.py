"""Expectations of a scenario, `downloads.on_time >= 95 %`: figures of the summary compared with values, or with one another.

expectation = chain { "and" chain }
chain       = operand comparison operand [ comparison operand ]
operand     = figure | number [ unit ]
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from scenarios import quantity
from scenarios.figures import ONE, Figure, figure, of_unit

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_AND = re.compile(r"(?:^|\s)and(?:\s|$)")
_SIGN = re.compile("(" + "|".join(_COMPARE) + ")")
_NUMBER = re.compile(r"(?P<number>[0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?P<unit>[^\s0-9.]*)")
_NAME = re.compile(r"[A-Za-z_][\w-]*(?:\.[\w-]+)*")
_RIGHT = 'write a figure, a comparison and a value, as in "downloads.on_time >= 95 %"'


class Value(NamedTuple):
    """In the unit of the figure that it is compared with; a `share` is a fraction, 0 … 1, of what that figure is a share of."""

    number: float
    share: bool = False


class Comparison(NamedTuple):
    left: Figure | Value
    sign: str
    right: Figure | Value


class Measured(NamedTuple):
    """An expectation beside what came out: the values of its figures, and the same as people read it."""

    text: str
    holds: bool
    figures: dict[str, float | None]
    said: str


class Expectation(NamedTuple):
    text: str
    comparisons: tuple[Comparison, ...]

    @classmethod
    def parse(cls, text: object) -> "Expectation":
        """A figure that no summary has is let pass: which slices and links there are, the scenario knows (`checks/measuring.py`).

        Raises ValueError with what would be right.
        """
        if not isinstance(text, str):
            raise ValueError(_RIGHT)
        text = " ".join(text.split())
        comparisons = [comparison for chain in _AND.split(text) for comparison in _chain(chain, text)]
        return cls(text, tuple(comparisons))

    @property
    def figures(self) -> list[Figure]:
        sides = (side for one in self.comparisons for side in (one.left, one.right))
        return list(dict.fromkeys(side for side in sides if isinstance(side, Figure)))

    def measure(self, summary: Mapping[str, Any]) -> Measured:
        """It does not hold where one of its figures has no value."""
        holds = True
        said: dict[str, str] = {}
        for left, sign, right in self.comparisons:
            share = any(isinstance(side, Value) and side.share for side in (left, right))
            one, other = _number(left, share, summary), _number(right, share, summary)
            holds = holds and one is not None and other is not None and _COMPARE[sign](one, other)
            said |= {side.name: _said(side, share, summary) for side in (left, right) if isinstance(side, Figure)}
        text = ", ".join(what if len(said) == 1 else f"{name} {what}" for name, what in said.items())
        return Measured(self.text, holds, {of.name: of.measure(summary) for of in self.figures}, text)


def _chain(text: str, expectation: str) -> Iterator[Comparison]:
    """`a <= b <= c` is a <= b and b <= c. Raises ValueError."""
    parts = [part.strip() for part in _SIGN.split(text)]
    operands, signs = parts[::2], parts[1::2]
    well_written = all(_NAME.fullmatch(operand) or _NUMBER.fullmatch(operand) for operand in operands)
    if not well_written or not 1 <= len(signs) <= 2:
        raise ValueError(f'"{expectation}" is not an expectation; {_RIGHT}')
    for sign, (left, right) in zip(signs, pairwise(operands), strict=True):
        if not _NAME.fullmatch(left) and not _NAME.fullmatch(right):
            raise ValueError(f'"{left} {sign} {right}" compares no figure; {_RIGHT}')
        yield Comparison(_operand(left, right), sign, _operand(right, left))


def _operand(text: str, beside: str) -> Figure | Value:
    """Raises ValueError where it cannot be compared with what is beside it."""
    value = _NUMBER.fullmatch(text)
    of, other = _known(text), _known(beside)
    if value is None:
        if of and other and (of.unit, of.share_of == ONE) != (other.unit, other.share_of == ONE):
            raise ValueError(f"{of.name} is {_kind(of)}, and {other.name} {_kind(other)}; compare what is alike")
        return of or Figure(text)
    number, unit = value["number"], value["unit"]
    if other is None:
        return Value(float(number))
    if not unit:
        if other.share_of == ONE and float(number) > 1:
            raise ValueError(f'{other.name} is a share, 0 to 1; write "{number} %"')
        return Value(float(number))
    if unit == "%":
        if not other.share_of:
            raise ValueError(f"{other.name} is not a share; write its value without %")
        return Value(float(quantity.parse(f"{number} %", "share")), share=True)
    if not other.unit:
        plain = 'a plain number or "%"' if other.share_of else "a plain number"
        raise ValueError(f'"{number} {unit}": {other.name} has no unit; write {plain}')
    dimension, base = of_unit(other.unit)
    return Value(float(quantity.parse(f"{number} {unit}", dimension) / base))


def _known(name: str) -> Figure | None:
    try:
        return figure(name)
    except KeyError:
        return None


def _kind(of: Figure) -> str:
    return f"in {of.unit}" if of.unit else "a share" if of.share_of == ONE else "a count"


def _number(side: Figure | Value, share: bool, summary: Mapping[str, Any]) -> float | None:
    if isinstance(side, Value):
        return side.number
    measured = side.measure(summary)
    if not share or side.share_of == ONE or measured is None:
        return measured
    whole = figure(side.share_of).measure(summary)
    return measured / whole if whole else None


def _said(of: Figure, share: bool, summary: Mapping[str, Any]) -> str:
    """`36 of 48, 75 %`, `77 ms`, `none: no model was swapped`."""
    part = of.show(of.measure(summary))
    if not share or of.share_of == ONE:
        return part
    whole = figure(of.share_of)
    fraction = _number(of, share, summary)
    return f"{part} of {whole.show(whole.measure(summary))}" + ("" if fraction is None else f", {100 * fraction:.4g} %")
