"""The multiple-choice knapsack with many capacities: at most one item of each group, the greatest value.

Its linear relaxation, by HiGHS, leaves few groups undecided: at most one for each capacity that binds (Sinha and Zoltners, The
multiple-choice knapsack problem, Operations Research 27, 1979). These are rounded down, and what is free is filled by the
greatest value for its price, the price being the relaxation's. If that is within TOLERANCE of the relaxation's bound, it is taken.
Otherwise HiGHS solves the integer programme of the items that can still be in something better: one whose reduced cost is over
the gap cannot (Balas and Zemel, An algorithm for large zero-one knapsack problems, Operations Research 28, 1980). It has limits
of size and nodes, not of time, so that the same problem always has the same answer; where it reaches them, the better of its
solution and the filled one is taken.
"""

from itertools import groupby
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
    steps = _steps(values, within, scaled)
    bound, prices, shares = _relaxed(steps, values, scaled)
    taken = _rounded(steps, shares, within)
    while not _fits(taken, uses, capacities):  # HiGHS holds a constraint to a ten-millionth
        taken.remove(min(taken, key=lambda item: values[item]))
    taken = _fill(taken, values, within, uses, capacities, (prices + 1e-6) @ scaled)
    gap = bound - float(values[taken].sum())
    if gap > TOLERANCE * bound:
        worth = values - prices @ scaled
        of_groups = np.zeros(len(there))
        np.maximum.at(of_groups, within, worth)
        better = _programme(np.flatnonzero(worth - of_groups[within] >= -gap), values, within, scaled)
        if values[better].sum() > values[taken].sum() and _fits(better, uses, capacities):
            taken = better
    return Solution(sorted(taken), bound)


def _relaxed(steps: Numbers, values: Figures, uses: Figures) -> tuple[float, Figures, Figures]:
    """The relaxation's bound, its price of each capacity, and of each step the share that is taken.

    A step is an item instead of the one before it. They need no constraint that keeps their order: each has less value for its
    use than the one before, at any prices, since all items of a group use the same capacities.
    """
    if not len(uses):
        return float(_gains(steps, values).sum()), np.zeros(0), np.ones(len(steps))
    rows = _gains(steps, uses)
    relaxed = linprog(-_gains(steps, values), A_ub=rows, b_ub=np.ones(len(uses)), bounds=(0, 1), method="highs-ds")
    return float(-relaxed.fun), np.maximum(0.0, -relaxed.ineqlin.marginals), relaxed.x


def _gains(steps: Numbers, figures: Figures) -> Figures:
    """What each step adds to a figure of its group, [..., steps]."""
    after, before = figures[..., steps[:, 0]], figures[..., steps[:, 1]]
    return np.where(steps[:, 1] < 0, after, after - before)


def _fits(taken: list[int], uses: Figures, capacities: Figures) -> bool:
    return bool((uses[:, taken].sum(axis=1) <= capacities).all())


def _steps(values: Figures, groups: Numbers, uses: Figures) -> Numbers:
    """[steps, 2]: an item, and the one before it or -1; only items that no mixture of others of their group is better than."""
    weight = uses.sum(axis=0)
    steps: list[tuple[int, int]] = []
    order = sorted(range(len(values)), key=lambda item: (groups[item], weight[item], -values[item], item))
    for _, items in groupby(order, key=lambda item: groups[item]):
        corner: list[int] = []
        for item in items:
            if corner and values[item] <= values[corner[-1]]:
                continue
            while corner and _under(corner, item, values, weight):
                corner.pop()
            corner.append(item)
        steps += zip(corner, [-1, *corner], strict=False)
    return np.array(steps, np.int64)


def _under(corner: list[int], item: int, values: Figures, weight: Figures) -> bool:
    """Whether the last corner lies on or under the line from the one before it, or from nothing, to an item."""
    last = corner[-1]
    x, y = (float(weight[corner[-2]]), float(values[corner[-2]])) if len(corner) > 1 else (0.0, 0.0)
    rise, run = float(values[item]) - y, float(weight[item]) - x
    return (float(values[last]) - y) * run <= rise * (float(weight[last]) - x)


def _rounded(steps: Numbers, shares: Figures, groups: Numbers) -> list[int]:
    """What is reached by whole steps, from a group's first on."""
    reached: dict[int, int] = {}
    for (item, before), share in zip(steps.tolist(), shares, strict=True):
        if share > 1 - 1e-7 and reached.get(int(groups[item]), -1) == before:
            reached[int(groups[item])] = item
    return list(reached.values())


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


def _programme(items: Numbers, values: Figures, groups: Numbers, scaled: Figures) -> list[int]:
    """The best of some items, by the integer programme; none where it is too large or does not end within its nodes."""
    if not 0 < len(items) <= MOST_ITEMS:
        return []
    one_each = (np.unique(groups[items])[:, None] == groups[items]).astype(np.float64)
    rows = csc_array(np.vstack([one_each, scaled[:, items]]))
    found = milp(
        -values[items],
        integrality=np.ones(len(items)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(rows, -np.inf, 1.0),
        options={"node_limit": NODES, "mip_rel_gap": TOLERANCE},
    )
    return [] if found.x is None else [int(item) for item in items[found.x > 0.5]]
