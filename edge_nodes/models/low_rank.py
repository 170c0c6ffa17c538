"""Linear layers of which any number of first ranks can be had, each number as good as that many ranks can be."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class Factors(NamedTuple):
    """A matrix `[m, n]` as two, and its singular values; `product` makes a matrix of any first ranks."""

    left: Array  # [m, rank]
    right: Array  # [rank, n]
    singular: NDArray[np.float64]  # [rank], from the largest on


def factors(matrix: Array, hidden: float = 0.0) -> Factors:
    """With singular values s, left is U s and right is s V^T; without the last ranks, whose energy is at most `hidden`.

    So each rank is rounded as finely as it matters: errors of variance d in both add d r (m + n) / (m n) to the variance of each
    weight, as much as in a matrix that has as many weights as the two.
    """
    u, s, v = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    energy_from = np.cumsum(s[::-1] ** 2)[::-1]  # of this rank and all that follow
    rank = max(1, int((energy_from > hidden).sum()))
    left, right = u[:, :rank] * s[:rank], s[:rank, None] * v[:rank]
    return Factors(left.astype(np.float32), right.astype(np.float32), s[:rank])


def product(left: Array, right: Array) -> tuple[Array, Array]:
    """Two matrices `[m, rank]` and `[rank, n]` to multiply, from rounded factors: s is their columns' and rows' length."""
    length = np.sqrt(np.linalg.norm(left, axis=0) * np.linalg.norm(right, axis=1))
    length[length == 0] = 1
    return left, right / length[:, None]


def ranks(
    singular: Mapping[str, NDArray[np.float64]], sizes: Mapping[str, int], budgets: Sequence[float]
) -> dict[str, list[int]]:
    """How many ranks each layer has within each budget of weights, at least one; more budget never takes one away.

    `sizes` are the weights that one rank of a layer takes. The next rank is the one that adds most for each weight to its own
    layer's share of energy (its singular values' squares). The same share of every layer's weights is far worse: a classifier of
    ten classes loses most of them.
    """
    worth = sorted(
        (-(value**2) / (values**2).sum() / sizes[layer], layer)
        for layer, values in singular.items()
        for value in values[1:]
    )
    taken: dict[str, list[int]] = {layer: [] for layer in singular}
    for budget in budgets:
        count, used = dict.fromkeys(singular, 1), sum(sizes.values())
        for _, layer in worth:
            used += sizes[layer]
            if used > budget:
                break
            count[layer] += 1
        for layer, number in count.items():
            taken[layer].append(number)
    return taken
