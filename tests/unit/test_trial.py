"""When a new model has to go: never by bad luck alone, always where it was made for another situation."""

import random

import pytest

from edge_nodes.devices import trial


def outcomes(accuracy: float, draw: random.Random, count: int = trial.IMAGES) -> list[bool]:
    return [draw.random() < accuracy for _ in range(count)]


@pytest.mark.parametrize(
    ("both", "lost", "won", "worse"),
    [(20, 0, 0, False), (16, 4, 0, False), (15, 5, 0, True), (10, 5, 5, False), (0, 14, 6, False), (0, 15, 5, True)],
)
def test_only_the_images_that_tell_the_models_apart_count(both: int, lost: int, won: int, worse: bool) -> None:
    old = [True] * (both + lost) + [False] * won
    new = [True] * both + [False] * lost + [True] * won
    assert trial.is_worse(old, new) is worse


@pytest.mark.parametrize(
    ("old", "new", "least", "most"), [(0.88, 0.18, 0.99, 1), (0.88, 0.88, 0, 0.03), (0.5, 0.9, 0, 0)]
)
def test_a_model_of_another_situation_goes_and_an_equal_one_stays(
    old: float, new: float, least: float, most: float
) -> None:
    """A specialised model has 16 to 20 % right on clear images, the base model 88 %."""
    draw = random.Random(1)
    worse = sum(trial.is_worse(outcomes(old, draw), outcomes(new, draw)) for _ in range(1000)) / 1000
    assert least <= worse <= most
