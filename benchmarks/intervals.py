"""How often a 95 % interval of a mean holds the mean: Student's t beside two bootstraps, for figures as runs have them.

python -m benchmarks.intervals
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.tables import Row, Table
from insitu.study.statistics import estimate

REPETITIONS, RESAMPLES = 2000, 999
COUNTS = (5, 10, 20)
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def share(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """On time: 41 downloads, whose chance is 0.91 on average and differs from run to run."""
    return random.binomial(41, random.beta(20, 2, shape)) / 41


def p95(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """The 95th percentile of 48 latencies."""
    return np.percentile(random.lognormal(0, 0.8, (*shape, 48)), 95, axis=-1)


FIGURES: dict[str, Draw] = {
    "normal": lambda random, shape: random.normal(10, 2, shape),
    "share on time": share,
    "p95 of 48 latencies": p95,
    "lognormal, σ 0.5": lambda random, shape: random.lognormal(0, 0.5, shape),
    "lognormal, σ 1": lambda random, shape: random.lognormal(0, 1, shape),
}


def coverage() -> Table:
    rows = [row(name, draw, n) for name, draw in FIGURES.items() for n in COUNTS]
    note = (
        f"{REPETITIONS} times n runs with made-up figures, %; the bootstraps (SciPy's) have {RESAMPLES} resamples. "
        "Each share is known to a point; runs that are all alike are left out."
    )
    return Table("Intervals that hold the mean", note, ("figure", "runs", "Student's t", "percentile", "BCa"), rows)


def row(name: str, draw: Draw, n: int) -> Row:
    random = np.random.default_rng(1)
    mean = float(draw(random, (500_000,)).mean())
    samples = draw(random, (REPETITIONS, n))
    samples = samples[np.ptp(samples, axis=1) > 0]
    students = np.array([estimate(sample).interval for sample in samples.tolist()])
    found = [students, *(bootstrapped(samples, method) for method in ("percentile", "BCa"))]
    shares = [np.mean((ends[:, 0] <= mean) & (mean <= ends[:, 1])) for ends in found]
    return Row((name, str(n), *(f"{100 * share:.1f}" for share in shares)))


def bootstrapped(samples: Floats, method: str) -> Floats:
    """The ends of each row's interval."""
    parts = [
        stats.bootstrap((part,), np.mean, n_resamples=RESAMPLES, method=method, axis=1, rng=1).confidence_interval
        for part in np.array_split(samples, 20)
    ]
    return np.concatenate([np.stack([part.low, part.high], axis=1) for part in parts])


if __name__ == "__main__":
    print(coverage().markdown())
