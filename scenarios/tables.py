"""What a scenario takes from files beside it: distributions of jitter as netem's tables, and traces of a link's rate."""

import csv
import io
from bisect import bisect_right
from fractions import Fraction
from statistics import NormalDist, fmean, pstdev
from typing import NamedTuple

SCALE = 8192  # netem's unit of a deviation (NETEM_DIST_SCALE)
LONGEST = 16384  # NETEM_DIST_MAX
_POINTS = 4096
_MOST = 32767  # a table's values have 16 bits: four deviations
FRAME_BITS = 1514 * 8  # a full Ethernet frame as HTB and netem count it
MS, SECOND = 10**6, 10**9
_TIMES = {"time_s": SECOND, "time_ms": MS}
_RATES = {"rate_bps": 1, "rate_kbps": 10**3, "rate_mbps": 10**6, "rate_gbps": 10**9}


class Distribution(NamedTuple):
    """How jitter is spread: equally likely distances from the mean, in 1/8192 of the jitter; no table is uniform in ±jitter."""

    name: str
    table: tuple[int, ...] = ()

    @property
    def earliest(self) -> Fraction:
        """The lowest value, in jitters from the mean."""
        return Fraction(min(self.table), SCALE) if self.table else Fraction(-1)


class Trace(NamedTuple):
    """A link's rate over time, repeated when it ends: Mahimahi's packet deliveries (ms), or steps of (ns, bit/s)."""

    name: str
    period_ns: int
    deliveries_ms: tuple[int, ...] = ()
    steps: tuple[tuple[int, int], ...] = ()

    def rates(self, start_ns: int, end_ns: int, every_ns: int) -> list[tuple[int, int]]:
        """(ns, bit/s) from when on which rate holds, between two times of a run; the trace begins at the first."""
        if self.steps:
            return [(t, rate) for t, rate in self._repeated(start_ns, end_ns)]
        return [(t, self._delivered(t - start_ns, every_ns)) for t in range(start_ns, end_ns, every_ns)]

    def _repeated(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        rounds = range(start_ns, end_ns, self.period_ns)
        return [(begin + t, rate) for begin in rounds for t, rate in self.steps if begin + t < end_ns]

    def _delivered(self, since_ns: int, every_ns: int) -> int:
        """The rate of one step; a step without any delivery counts as one, for a link cannot have no rate."""
        before = self._count(since_ns) if since_ns else 0  # a delivery at 0 ms is one of the first step's
        packets = self._count(since_ns + every_ns) - before
        return max(1, packets) * FRAME_BITS * SECOND // every_ns // 8 * 8

    def _count(self, until_ns: int) -> int:
        """Deliveries up to a time since the trace's begin; the last line is the trace's length."""
        rounds, rest = divmod(until_ns, self.period_ns)
        return rounds * len(self.deliveries_ms) + bisect_right(self.deliveries_ms, rest // MS)


def distribution(name: str) -> Distribution | None:
    """A built-in distribution, by name."""
    made = {"uniform": lambda: (), "normal": _normal, "pareto": _pareto}
    return Distribution("" if name == "uniform" else name, tuple(made[name]())) if name in made else None


def _normal() -> list[int]:
    """Quantiles of the standard normal distribution, cut at four deviations."""
    normal = NormalDist()
    return [_cut(normal.inv_cdf((i + 0.5) / _POINTS)) for i in range(_POINTS)]


def _pareto() -> list[int]:
    """Quantiles of Pareto's distribution with shape 3 (as in iproute2) without its far tail, for mean 0 and deviation 1.

    A table's values have 16 bits, so what is over four deviations is left out.
    """
    low, high = 2.0, 100.0  # where the tail ends, in units of the least value
    for _ in range(50):
        end = (low + high) / 2
        table = _standard([(1 - (i + 0.5) / _POINTS * (1 - end**-3)) ** (-1 / 3) for i in range(_POINTS)])
        low, high = (end, high) if table[-1] * SCALE < _MOST else (low, end)
    return [_cut(value) for value in table]


def _standard(values: list[float]) -> list[float]:
    mean, deviation = fmean(values), pstdev(values)
    return [(value - mean) / deviation for value in values]


def _cut(deviations: float) -> int:
    return max(-_MOST, min(_MOST, round(deviations * SCALE)))


def read_distribution(name: str, text: str) -> Distribution:
    """A table in iproute2's format: whole numbers in 1/8192 of the deviation, # begins a comment. Raises ValueError."""
    words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
    try:
        table = tuple(int(word) for word in words)
    except ValueError:
        raise ValueError(
            f"{name} is not a table of whole numbers; write them as iproute2's .dist files have them"
        ) from None
    if not 0 < len(table) <= LONGEST:
        raise ValueError(f"{name} has {len(table)} numbers; a table has 1 to {LONGEST}")
    if any(abs(value) > _MOST for value in table):
        raise ValueError(f"{name} has a number over {_MOST}, four deviations; netem keeps 16 bits")
    return Distribution(name, table)


def read_trace(name: str, text: str) -> Trace:
    """A trace in Mahimahi's format (a line for each packet, in ms) or as CSV with a head: time_s,rate_mbps. Raises ValueError."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError(f"{name} is empty")
    return _mahimahi(name, lines) if lines[0].isdecimal() else _csv(name, text)


def _mahimahi(name: str, lines: list[str]) -> Trace:
    wrong = next((n for n, line in enumerate(lines, 1) if not line.isdecimal()), None)
    if wrong is not None:
        raise ValueError(f'{name}: line {wrong}: "{lines[wrong - 1]}" is not a whole number of ms')
    deliveries = tuple(int(line) for line in lines)
    if list(deliveries) != sorted(deliveries):
        raise ValueError(f"{name}: the times go back; each line is at or after the one before")
    if deliveries[-1] == 0:
        raise ValueError(f"{name}: the last time is 0 ms; it is the trace's length, at least 1")
    return Trace(name, deliveries[-1] * MS, deliveries_ms=deliveries)


def _csv(name: str, text: str) -> Trace:
    rows = csv.reader(io.StringIO(text), skipinitialspace=True)
    head = [word.strip() for word in next(rows)]
    if len(head) != 2 or head[0] not in _TIMES or head[1] not in _RATES:
        known = f"{' or '.join(_TIMES)}, and {', '.join(_RATES)}"
        raise ValueError(f'{name}: begins with neither a number of ms nor a head such as "time_s,rate_mbps" ({known})')
    steps: list[tuple[int, int]] = []
    for number, row in enumerate(rows, 2):
        if row:
            steps.append(_step(f"{name}: line {number}", row, _TIMES[head[0]], _RATES[head[1]]))
            if len(steps) > 1 and steps[-1][0] <= steps[-2][0]:
                raise ValueError(f"{name}: line {number}: is not after the line before")
    if len(steps) < 2 or steps[0][0] != 0:
        raise ValueError(f"{name}: needs two rows at least, the first at time 0; the last one's time ends it")
    return Trace(name, steps[-1][0], steps=tuple(steps[:-1]))


def _step(place: str, row: list[str], time_unit: int, rate_unit: int) -> tuple[int, int]:
    try:
        time, rate = (Fraction(word.strip()) for word in row)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f'{place}: "{",".join(row)}" is not a time and a rate') from None
    bits = int(rate * rate_unit) // 8 * 8
    if time < 0 or bits <= 0:
        raise ValueError(f'{place}: "{",".join(row)}": a time is at least 0, and a rate at least 8 bit/s')
    return int(time * time_unit), bits
