"""The multiple-choice knapsack: never over a capacity, never far from the optimum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from controller.policies import knapsack
from controller.policies.knapsack import TOLERANCE, Figures, Numbers

Problem = tuple[Figures, Numbers, Figures, Figures]


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Groups in two cells behind one link, with items as a Pareto front has them; each item fits by itself."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    groups, each = draw(st.integers(1, 30)), draw(st.integers(1, 8))
    weights = np.sort(random.integers(1, 20, (groups, each)), axis=1).ravel()
    values = np.sort(random.uniform(0.2, 1, (groups, each)), axis=1).ravel()
    numbers = np.repeat(np.arange(groups), each)
    cells = random.integers(0, 2, groups)[numbers]
    uses = np.array([weights * (cells == 0), weights * (cells == 1), weights], np.float64)
    loads = draw(st.tuples(*[st.floats(0.05, 1)] * 3))
    most = np.array([max((uses[row][numbers == g].max() for g in range(groups)), default=0) for row in range(3)])
    return values, numbers, uses, np.maximum(np.floor(uses.sum(axis=1) * loads / each), np.maximum(most, 1))


def optimum(problem: Problem) -> float:
    values, numbers, uses, capacities = problem
    one_each = (np.arange(numbers.max() + 1)[:, None] == numbers).astype(float)
    found = milp(
        -values,
        integrality=np.ones(len(values)),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(np.vstack([one_each, uses]), -np.inf, [*np.ones(len(one_each)), *capacities]),
        options={"mip_rel_gap": 0},
    )
    return float(-found.fun)


@settings(max_examples=60, deadline=None)
@given(problems())
def test_a_solution_fits_is_the_same_again_and_is_near_the_optimum(problem: Problem) -> None:
    """Within 0.2 % where the integer programme was small enough to be solved; within 5 % always."""
    values, numbers, uses, capacities = problem
    chosen = knapsack.solve(*problem).chosen
    assert chosen == knapsack.solve(*problem).chosen
    assert len(set(numbers[chosen])) == len(chosen)
    assert (uses[:, chosen].sum(axis=1) <= capacities).all()
    best = optimum(problem)
    assert values[chosen].sum() >= 0.95 * best
    if len(values) <= knapsack.MOST_ITEMS:
        assert values[chosen].sum() >= (1 - TOLERANCE) * best - 1e-9


@settings(max_examples=60, deadline=None)
@given(problems())
def test_without_the_integer_programme_it_is_near_too(problem: Problem) -> None:
    """What is taken where the programme is too large, or does not end within its nodes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(knapsack, "MOST_ITEMS", 0)
        found = knapsack.solve(*problem)
    value = float(problem[0][found.chosen].sum())
    undecided = len(problem[3]) * float(problem[0].max())  # at most one group for each capacity
    assert found.bound - undecided - 1e-6 <= value <= found.bound + 1e-6


def test_nothing_to_choose_from_is_nothing_chosen() -> None:
    nothing = np.zeros(0)
    assert knapsack.solve(nothing, np.zeros(0, np.int64), np.zeros((0, 0)), nothing).chosen == []


def test_without_a_capacity_everybody_has_the_best() -> None:
    values, groups = np.array([0.5, 0.9, 0.4, 0.3]), np.array([0, 0, 1, 1])
    assert knapsack.solve(values, groups, np.zeros((0, 4)), np.zeros(0)).chosen == [1, 2]
