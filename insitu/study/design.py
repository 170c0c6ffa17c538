"""Which settings a sweep tries: a grid, a list of points, a latin hypercube, or every combination of those that are given.

Pure: texts in, points out. A setting's key and value are what `insitu run --set KEY=VALUE` takes.
"""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import SequenceNode

from insitu.study.errors import WrongStudy
from scenarios import quantity

Point = dict[str, str]  # key -> value; a key that is not there is as the file has it
Axis = tuple[str, Sequence[str]]  # a key, and its values

_SEED = 0  # of the latin hypercube: the same command gives the same points
_DIGITS = 4  # of a drawn value


class DesignError(WrongStudy):
    """What is asked for is no design: one line."""


class Range(NamedTuple):
    """What a latin hypercube draws from: whole numbers, numbers, or base units of a dimension of `quantity`."""

    key: str
    low: Fraction
    high: Fraction
    dimension: str  # "" for a number
    whole: bool

    def at(self, share: float) -> str:
        """The value at a share, 0 <= share < 1, of the range; to four digits unless it is whole."""
        if self.whole:
            return str(int(self.low + int(share * (self.high - self.low + 1))))
        value = _rounded(self.low + Fraction(share) * (self.high - self.low))
        if self.dimension not in ("", "share", "frequency"):
            value = Fraction(round(value))  # a scenario wants whole ns, bytes, bit/s
        value = min(max(value, self.low), self.high)  # rounding may have led out of the range
        return quantity.show(value, self.dimension) if self.dimension else _decimal(value)


def combine(grid: Sequence[str], rows: Sequence[Point], latin: Sequence[str], points: int) -> list[Point]:
    """Every combination of the grid's values, the list's rows and the hypercube's points; the last changes first.

    `grid` has KEY=VALUE,VALUE,…; `latin` KEY=LOW..HIGH, of which `points` are drawn. Raises DesignError.
    """
    return combinations([_axis(text) for text in grid], rows, [range_of(text) for text in latin], points)


def combinations(axes: Sequence[Axis], rows: Sequence[Point], ranges: Sequence[Range], points: int) -> list[Point]:
    """As `combine`, of what its texts say. Raises DesignError."""
    _require_distinct([key for key, _ in axes], {key for row in rows for key in row}, [r.key for r in ranges])
    gridded: list[Sequence[Point]] = [[{key: value} for value in values] for key, values in axes]
    drawn = hypercube(ranges, points) if ranges else [{}]
    chosen = itertools.product(*gridded, rows or [{}], drawn)
    return [{key: value for part in parts for key, value in part.items()} for parts in chosen]


def hypercube(ranges: Sequence[Range], points: int) -> list[Point]:
    """Each of `points` equal parts of each range has one point (scipy.stats.qmc.LatinHypercube)."""
    from scipy.stats import qmc

    shares = qmc.LatinHypercube(d=len(ranges), rng=_SEED).random(points)
    return [{r.key: r.at(float(share)) for r, share in zip(ranges, row, strict=True)} for row in shares]


def read_csv(text: str, source: str) -> list[Point]:
    """A header of keys, then a row a point; an empty cell leaves what the scenario says. Raises DesignError."""
    lines = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    rows = [(number, row) for number, row in enumerate(lines, 1) if any(cell.strip() for cell in row)]
    if len(rows) < 2:
        raise DesignError(f"{source}: has no points; write a line of keys, then a line of values for each point")
    (_, keys), *points = rows
    keys = [key.strip() for key in keys]
    if not all(keys) or len(set(keys)) < len(keys):
        raise DesignError(f"{source}:1: every column needs a key of its own, such as policies.slicing")
    for number, row in points:
        if len(row) != len(keys):
            raise DesignError(f"{source}:{number}: has {len(row)} values for {len(keys)} keys")
    return [{key: cell.strip() for key, cell in zip(keys, row, strict=True) if cell.strip()} for _, row in points]


def read_yaml(text: str, source: str) -> list[Point]:
    """A list of points, each with keys and values: `- {policies.slicing: joint, devices.phone.count: 5}`. Raises DesignError."""
    reader = YAML(typ="base", pure=True)  # every scalar stays the text that it is
    try:
        rows = reader.load(text)
    except YAMLError as error:
        raise DesignError(f"{source}: is not YAML: {_first_line(error)}") from None
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) and row for row in rows):
        raise DesignError(f"{source}: is no list of points; write a line `- {{policies.slicing: joint}}` for each")
    return [{str(key): _as_value(value) for key, value in row.items()} for row in rows]


def _as_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _axis(text: str) -> tuple[str, list[str]]:
    """A key, and its values in their own words. Commas inside brackets and quotes part nothing."""
    key, values = _key_and_values("--grid", text, "devices.phone.count=5,10,20")
    flow = f"[{values}]"
    try:
        node = YAML(typ="safe", pure=True).compose(flow)
    except YAMLError as error:
        raise DesignError(f"--grid {text}: {_first_line(error)}") from None
    if not isinstance(node, SequenceNode) or node.end_mark.index != len(flow):
        raise DesignError(f"--grid {text}: is not KEY=VALUE,VALUE; write devices.phone.count=5,10,20")
    found = [flow[part.start_mark.index : part.end_mark.index].strip() for part in node.value]
    if not found or not all(found) or len(set(found)) < len(found):
        raise DesignError(f"--grid {text}: write each value once, with a comma between two")
    return key, found


def range_of(text: str) -> Range:
    """KEY=LOW..HIGH; a unit at HIGH alone holds for LOW too."""
    key, values = _key_and_values("--latin", text, "requests.deadline=50 ms..500 ms")
    low, dots, high = (part.strip() for part in values.partition(".."))
    if not dots or not low or not high:
        raise DesignError(f"--latin {text}: is not KEY=LOW..HIGH; write requests.deadline=50 ms..500 ms")
    number, unit = quantity_of(high) or ("", "")
    if not number:
        raise DesignError(
            f'--latin {text}: "{high}" is not a number with or without a unit; write 5..20 or 1..10 Gbit/s'
        )
    if quantity_of(low) == (low, ""):
        low = f"{low} {unit}".strip()
    try:
        made = _between(key, low, high, unit)
    except ValueError as error:
        raise DesignError(f"--latin {text}: {error}") from None
    if made.low >= made.high:
        raise DesignError(f"--latin {text}: {low} is not less than {high}")
    return made


def _between(key: str, low: str, high: str, unit: str) -> Range:
    if not unit:
        return Range(key, Fraction(low), Fraction(high), "", whole="." not in low + high)
    dimension = next((name for name, units in quantity.UNITS.items() if unit in units), None)
    if dimension is None:
        known = ", ".join(name for units in quantity.UNITS.values() for name in units)
        raise ValueError(f'unknown unit "{unit}"; known are {known}')
    return Range(key, quantity.parse(low, dimension), quantity.parse(high, dimension), dimension, whole=False)


def quantity_of(text: str) -> tuple[str, str] | None:
    """A number as it is written, and its unit, "" if it has none; None if the text is something else."""
    match = quantity.PATTERN.fullmatch(text)
    return (match["number"], match["unit"]) if match else None


def _key_and_values(option: str, text: str, example: str) -> tuple[str, str]:
    key, equals, values = text.partition("=")
    if not equals or not key.strip() or not values.strip():
        raise DesignError(f"{option} {text}: write KEY=…, such as {example}")
    return key.strip(), values.strip()


def _require_distinct(*groups: Iterable[str]) -> None:
    keys = [key for group in groups for key in group]
    for key in keys:
        if keys.count(key) > 1:
            raise DesignError(f"{key}: is given twice; leave it to one of --grid, --list and --latin")


def _rounded(value: Fraction) -> Fraction:
    return Fraction(f"{float(value):.{_DIGITS}g}")


def _decimal(value: Fraction) -> str:
    """Without an exponent, which a scenario does not have."""
    return f"{float(value):.12f}".rstrip("0").rstrip(".")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "problem", None) or error).partition("\n")[0]
