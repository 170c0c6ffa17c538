"""Linear layers by rank: any number of first ranks is the best matrix of that rank, and more weights never take a rank away."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edge_nodes.models import low_rank

matrices = arrays(
    np.float32, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12), elements=st.floats(-4, 4, width=32)
)


def nearest(matrix: np.ndarray, rank: int) -> np.ndarray:
    """The best approximation of that rank (Eckart and Young, 1936), computed as textbooks do."""
    u, s, v = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    s[rank:] = 0
    return (u * s) @ v


@given(matrices, st.data())
def test_any_number_of_first_ranks_makes_the_best_matrix_of_that_rank(matrix: np.ndarray, data: st.DataObject) -> None:
    left, right, singular = low_rank.factors(matrix)
    rank = data.draw(st.integers(0, len(singular)))
    first, second = low_rank.product(left[:, :rank], right[:rank])
    error, least = (np.linalg.norm(matrix - made) for made in (first @ second, nearest(matrix, rank)))
    assert error <= least + 1e-4 * (1 + np.linalg.norm(matrix))


@given(matrices)
def test_all_ranks_that_matter_make_the_matrix(matrix: np.ndarray) -> None:
    left, right, _ = low_rank.factors(matrix)
    first, second = low_rank.product(left, right)
    norm = np.linalg.norm(matrix)
    assert np.linalg.norm(matrix - first @ second) <= 1e-5 * norm


@given(matrices, st.floats(0, 50))
def test_what_is_left_out_has_no_more_energy_than_is_hidden(matrix: np.ndarray, hidden: float) -> None:
    made = low_rank.factors(matrix, hidden)
    rest = matrix - np.matmul(*low_rank.product(made.left, made.right))
    norm = np.linalg.norm(matrix)
    assert np.linalg.norm(rest) <= hidden**0.5 + 1e-4 * (1 + norm)
    assert len(made.singular) == 1 or np.linalg.norm(rest) ** 2 + made.singular[-1] ** 2 >= hidden - 1e-3 * (
        1 + norm**2
    )


def test_rounded_factors_disturb_a_weight_no_more_than_rounding_itself() -> None:
    random = np.random.default_rng(1)
    matrix = random.normal(0, 0.05, (96, 160)).astype(np.float32)
    rank = int(matrix.size / sum(matrix.shape))  # as many weights as the matrix has
    left, right = low_rank.factors(matrix).left[:, :rank], low_rank.factors(matrix).right[:rank]
    step = 0.01
    exact, rounded = (
        np.matmul(*low_rank.product(*pair))
        for pair in ((left, right), (np.rint(left / step) * step, np.rint(right / step) * step))
    )
    assert np.std(rounded - exact) == pytest.approx(step / 12**0.5, rel=0.1)


def test_a_rank_that_was_rounded_away_adds_nothing() -> None:
    first, second = low_rank.product(np.array([[1, 0], [1, 0]], np.float32), np.array([[1, 1], [0, 0]], np.float32))
    assert np.isfinite(first).all() and np.isfinite(second).all()
    assert (second[1] == 0).all()


spectra = st.lists(st.lists(st.floats(0.01, 10), min_size=1, max_size=8), min_size=1, max_size=4)


@given(spectra, st.lists(st.floats(0, 300), min_size=1, max_size=5).map(sorted))
def test_ranks_nest_fill_their_budget_and_never_go_over_it(values: list[list[float]], budgets: list[float]) -> None:
    singular = {f"l{n}": np.sort(np.array(s))[::-1] for n, s in enumerate(values)}
    sizes = {name: 3 + 2 * n for n, name in enumerate(singular)}
    counts = low_rank.ranks(singular, sizes, budgets)
    least = sum(sizes.values())
    for k, budget in enumerate(budgets):
        used = sum(sizes[name] * counts[name][k] for name in singular)
        assert used <= max(budget, least)
        if any(counts[name][k] < len(s) for name, s in singular.items()):
            assert used + max(sizes.values()) > budget
    for name, s in singular.items():
        assert counts[name] == sorted(counts[name])
        assert counts[name][0] >= 1 and counts[name][-1] <= len(s)


def test_the_layer_that_needs_ranks_more_gets_them() -> None:
    flat, steep = np.ones(10), 2.0 ** -np.arange(10)
    counts = low_rank.ranks({"flat": flat, "steep": steep}, {"flat": 1, "steep": 1}, [10])
    assert counts["flat"] > counts["steep"]
