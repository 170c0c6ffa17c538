"""What a few runs say about a figure: its mean, how sure that is, how many more runs are wanted, and whether two sides differ.

Intervals are Student's: a run with its own seed is one independent observation of each figure (the method of independent
replications; Law, Simulation Modeling and Analysis, 5th ed., 9.4.1). docs/comparing.md has why not the bootstrap, measured.
"""

from bisect import bisect_left
from collections.abc import Sequence
from math import sqrt
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
MOST_RUNS = 10**6  # more than that many are not counted
_ROUNDING = 1e-12  # of the values: differences that differ by less are the same
_FEWEST_ALIKE = 6  # equal differences that show a side: the sign test's 2 · (1/2)^n is under 5 % from here on


class Interval(NamedTuple):
    low: float
    high: float


class Estimate(NamedTuple):
    """Of one figure over `n` runs. `deviation` is the sample's standard deviation; it and `interval` need two runs."""

    n: int
    mean: float
    interval: Interval | None
    deviation: float | None
    least: float
    most: float


class Difference(NamedTuple):
    """Of the second side from the first, over `n` pairs of runs with the same seed.

    `effect` is Cohen's d_z, the mean over the standard deviation of the differences (Statistical Power Analysis, 2nd ed., 2.3.5);
    None where they do not vary. `more`, `less` and `equal` count the pairs in which the second side has that.
    """

    n: int
    mean: float
    interval: Interval | None
    effect: float | None
    more: int
    less: int
    equal: int

    @property
    def shown(self) -> Literal["more", "less", ""]:
        """What the second side has, as far as the interval shows it: "" where that contains 0.

        Differences that are all the same have an interval without width, however few they are; then the sign test decides.
        """
        if self.interval is None or self.interval.low <= 0 <= self.interval.high:
            return ""
        if self.effect is None and self.n < _FEWEST_ALIKE:
            return ""
        return "more" if self.mean > 0 else "less"


class Ratio(NamedTuple):
    value: float
    interval: Interval


def estimate(values: Sequence[float], confidence: float = CONFIDENCE) -> Estimate:
    """At least one value. The interval of the mean is mean ± t(n - 1) · deviation / √n."""
    sample = np.asarray(values, float)
    n, mean, deviation = len(sample), *_moments(sample, float(np.abs(sample).max()))
    interval = None if deviation is None else _around(mean, _half_width(n, deviation, confidence))
    return Estimate(n, mean, interval, deviation, float(sample.min()), float(sample.max()))


def more_runs(found: Estimate, within: float, confidence: float = CONFIDENCE) -> int | None:
    """How many more runs bring the interval to mean ± `within` · |mean|, if mean and deviation stay; 0: it is there.

    None: that cannot be said of one run, and no number of runs does it where the mean is 0 (a million do not, for that matter).
    """
    if found.deviation is None:
        return None
    wanted, deviation = within * abs(found.mean), found.deviation
    needed = range(found.n, MOST_RUNS)
    more = bisect_left(needed, True, key=lambda n: _half_width(n, deviation, confidence) <= wanted)
    return more if more < len(needed) else None


def difference(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Difference:
    """Paired: the values at one place have one seed (common random numbers; Law, 11.2). At least one pair."""
    one, other = np.asarray(first, float), np.asarray(second, float)
    scale = float(max(np.abs(one).max(), np.abs(other).max()))
    apart = other - one
    apart[np.abs(apart) <= _ROUNDING * scale] = 0.0
    n, mean, deviation = len(apart), *_moments(apart, scale)
    return Difference(
        n,
        mean,
        None if deviation is None else _around(mean, _half_width(n, deviation, confidence)),
        mean / deviation if deviation else None,
        *(int(count) for count in ((apart > 0).sum(), (apart < 0).sum(), (apart == 0).sum())),
    )


def ratio(first: Sequence[float], second: Sequence[float], confidence: float = CONFIDENCE) -> Ratio | None:
    """The second side's mean over the first's, of paired values, with Fieller's interval (Fieller 1954, J. R. Stat. Soc. B 16).

    It contains 1 exactly if the interval of `difference` contains 0. None where the first side's mean is too near 0 for a
    ratio (its own interval contains 0), and with fewer than two pairs.
    """
    one, other = np.asarray(first, float), np.asarray(second, float)
    n = len(one)
    if n < 2:
        return None
    a, b = float(one.mean()), float(other.mean())
    (aa, ab), (_, bb) = np.cov(one, other) * _quantile(n, confidence) ** 2 / n
    # All r with |b - r·a| <= t · s(b - r·a) / √n: between the roots of p·r² - 2·q·r + c
    p, q, c = a * a - aa, a * b - ab, b * b - bb
    if p <= _ROUNDING * a * a:
        return None
    root = sqrt(max(0.0, q * q - p * c))
    return Ratio(b / a, Interval((q - root) / p, (q + root) / p))


def _moments(sample: np.ndarray, scale: float) -> tuple[float, float | None]:
    """Mean and standard deviation, exact where all values are the same."""
    if np.ptp(sample) <= _ROUNDING * scale:
        return float(sample[0]), 0.0 if len(sample) > 1 else None
    return float(sample.mean()), float(sample.std(ddof=1))


def _quantile(n: int, confidence: float) -> float:
    return float(stdtrit(n - 1, (1 + confidence) / 2))


def _half_width(n: int, deviation: float, confidence: float) -> float:
    return _quantile(n, confidence) * deviation / sqrt(n)


def _around(mean: float, half_width: float) -> Interval:
    return Interval(mean - half_width, mean + half_width)
