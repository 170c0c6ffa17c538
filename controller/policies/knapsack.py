"""The multiple-choice knapsack with many capacities: at most one item of each group, the greatest value.

Its linear relaxation, by HiGHS, leaves few groups undecided: at most one for each capacity that binds (Sinha and Zoltners, The
multiple-choice knapsack problem, Operations Research 27, 1979). These are rounded down, and what is free is filled by the
greatest value for its price, the price being the relaxation's. If that is within TOLERANCE of the relaxation's bound, it is taken.
Otherwise HiGHS solves the integer programme of the items that can still be in something better: one whose reduced cost is over
the gap cannot (Balas and Zemel, An algorithm for large zero-one knapsack problems, Operations Research 28, 1980). It has limits
of size and nodes, not of time, so that the same problem always has the same answer; where it reaches them, the better of its
solution and the filled one is taken.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csc_array

TOLERANCE = 0.002
MOST_ITEMS = 40  # of an integer programme, which HiGHS ends in the time that a decision may take
NODES = 20

Figures = NDArray[np.float64]
Numbers = NDArray[np.int64]


class Solution(NamedTuple):
    """The items that are taken, in order, and what no solution's value is over."""

    chosen: list[int]
    bound: float


def solve(values: Figures, groups: Numbers, uses: Figures, capacities: Figures) -> Solution:
    """`values` and `groups` are [items], `uses` [capacities, items]; uses and capacities are whole numbers, none under 0."""
    if not len(values):
        return Solution([], 0.0)
    scaled = uses / np.maximum(capacities, 1.0)[:, None]
    there, within = np.unique(groups, return_inverse=True)
    one_each = (np.arange(len(there))[:, None] == within).astype(np.float64)
    hull = _hull(values, within, scaled)
    rows = csc_array(np.vstack([one_each[:, hull], scaled[:, hull]]))
    limits = np.ones(len(there) + len(capacities))
    relaxed = linprog(-values[hull], A_ub=rows, b_ub=limits, bounds=(0, None), method="highs-ds")
    duals = np.maximum(0.0, -relaxed.ineqlin.marginals)
    of_groups, prices = duals[: len(there)], duals[len(there) :]
    bound = float(-relaxed.fun)
    taken = _rounded(hull, relaxed.x, values, within)
    while not _fits(taken, uses, capacities):  # HiGHS holds a constraint to a ten-millionth
        taken.remove(min(taken, key=lambda item: values[item]))
    taken = _fill(taken, values, within, uses, capacities, (prices + 1e-6) @ scaled)
    gap = bound - float(values[taken].sum())
    if gap > TOLERANCE * bound:
        reduced = values - prices @ scaled - of_groups[within]
        better = _programme(np.flatnonzero(reduced >= -gap), values, one_each, scaled)
        if values[better].sum() > values[taken].sum() and _fits(better, uses, capacities):
            taken = better
    return Solution(sorted(taken), bound)


def _fits(taken: list[int], uses: Figures, capacities: Figures) -> bool:
    return bool((uses[:, taken].sum(axis=1) <= capacities).all())


def _hull(values: Figures, groups: Numbers, uses: Figures) -> Numbers:
    """The items that a mixture of others of their group is not better than; only these are in the relaxation's solution."""
    weight = uses.sum(axis=0)
    kept: list[int] = []
    for group in range(int(groups.max()) + 1):
        items = [int(item) for item in np.flatnonzero(groups == group)]
        corner: list[int] = []
        for item in sorted(items, key=lambda item: (weight[item], -values[item], item)):
            if corner and values[item] <= values[corner[-1]]:
                continue
            while corner and _under(corner, item, values, weight):
                corner.pop()
            corner.append(item)
        kept += corner
    return np.array(sorted(kept), np.int64)


def _under(corner: list[int], item: int, values: Figures, weight: Figures) -> bool:
    """Whether the last corner lies on or under the line from the one before it, or from nothing, to an item."""
    last = corner[-1]
    x, y = (float(weight[corner[-2]]), float(values[corner[-2]])) if len(corner) > 1 else (0.0, 0.0)
    rise, run = float(values[item]) - y, float(weight[item]) - x
    return (float(values[last]) - y) * run <= rise * (float(weight[last]) - x)


def _rounded(items: Numbers, shares: Figures, values: Figures, groups: Numbers) -> list[int]:
    """The relaxation's solution with each group's least: its smallest item, or none where its shares are not 1 together."""
    sums = np.bincount(groups[items], weights=shares, minlength=int(groups.max()) + 1)
    least: dict[int, int] = {}
    for item in items[shares > 1e-7]:
        group = int(groups[item])
        if sums[group] > 1 - 1e-7 and (group not in least or values[item] < values[least[group]]):
            least[group] = int(item)
    return list(least.values())


def _fill(
    taken: list[int], values: Figures, groups: Numbers, uses: Figures, capacities: Figures, price: Figures
) -> list[int]:
    """Takes more and better items, that with most value for its price first, as long as one fits."""
    of_group = np.full(int(groups.max()) + 1, -1)
    of_group[groups[taken]] = taken
    while True:
        now = of_group[groups]
        has = now >= 0
        gain = values - np.where(has, values[now], 0.0)
        more = uses - np.where(has, uses[:, now], 0.0)
        free = capacities - uses[:, of_group[of_group >= 0]].sum(axis=1)
        fits = (gain > 1e-12) & (more <= free[:, None]).all(axis=0)
        if not fits.any():
            return [int(item) for item in of_group if item >= 0]
        dearer = price - np.where(has, price[now], 0.0)
        best = int(np.where(fits, gain / np.maximum(dearer, 1e-12), -np.inf).argmax())
        of_group[groups[best]] = best


def _programme(items: Numbers, values: Figures, one_each: Figures, scaled: Figures) -> list[int]:
    """The best of some items, by the integer programme; none where it is too large or does not end within its nodes."""
    if not 0 < len(items) <= MOST_ITEMS:
        return []
    rows = csc_array(np.vstack([one_each[:, items], scaled[:, items]]))
    found = milp(
        -values[items],
        integrality=np.ones(len(items)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(rows, -np.inf, 1.0),
        options={"node_limit": NODES, "mip_rel_gap": TOLERANCE},
    )
    return [] if found.x is None else [int(item) for item in items[found.x > 0.5]]
