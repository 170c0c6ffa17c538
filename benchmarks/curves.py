"""How many bytes a codec needs for a given quality, from what it gives at some of its settings."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Point(NamedTuple):
    """A model as somebody codes it: its bytes, its KL from the model in float32, its accuracy."""

    bytes: int
    divergence: float
    accuracy: float


def bytes_at_accuracy(points: Sequence[Point], wanted: float) -> float | None:
    """Return the bytes at which a codec has an accuracy; None where it never does, or has more at its fewest bytes."""
    return _bytes_at(points, [point.accuracy for point in points], wanted)


def best_accuracy(points: Sequence[Point]) -> float:
    """Return the best accuracy that a codec has at any size, neighbours pooled as for `bytes_at_accuracy`."""
    return float(monotone([point.accuracy for point in points])[-1])


def bytes_at_divergence(points: Sequence[Point], wanted: float) -> float | None:
    """Return the bytes at which a codec has a divergence; None beyond its points."""
    return _bytes_at(points, [-float(np.log(point.divergence)) for point in points], -float(np.log(wanted)))


def _bytes_at(points: Sequence[Point], qualities: Sequence[float], wanted: float) -> float | None:
    """Interpolate linearly in the logarithm of bytes, of points in their order. Of equally good ones the smallest counts."""
    heights, sizes = monotone(qualities), np.log([point.bytes for point in points])
    if not heights[0] <= wanted <= heights[-1]:
        return None
    first = np.flatnonzero(np.diff(heights, prepend=-np.inf) > 0)
    return float(np.exp(np.interp(wanted, heights[first], sizes[first])))


def monotone(values: Sequence[float]) -> Floats:
    """Return the closest sequence, in least squares, that never falls: neighbours that do are pooled (Ayer et al., 1955)."""
    pools: list[tuple[float, int]] = []
    for value in values:
        pools.append((value, 1))
        while len(pools) > 1 and pools[-2][0] > pools[-1][0]:
            (a, n), (b, m) = pools[-2:]
            pools[-2:] = [((a * n + b * m) / (n + m), n + m)]
    return np.array([mean for mean, count in pools for _ in range(count)])
