"""Costs are those of what runs: products that a layer does not own, fused operations, and values that are kept, count too."""

import pytest
import torch
from torch import nn

from edge_nodes.models import cost


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.zeros(5, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.matrix.t()


ATTENTION = 7 * 32 * 32 * 4 + 2 * 7 * 7 * 32 + 2 * 7 * 32 * 64


@pytest.mark.parametrize(
    ("module", "shape", "macs"),
    [
        (nn.Linear(7, 5), (7,), 35),
        (nn.Linear(7, 5), (3, 7), 105),
        (Functional(), (7,), 35),
        (nn.Conv2d(2, 4, 3, padding=1), (2, 8, 8), 64 * 4 * 2 * 9),
        (nn.Conv2d(8, 8, 3, padding=1, groups=8), (8, 8, 8), 64 * 8 * 9),
        (nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), (7, 32), ATTENTION),
        (nn.ReLU(), (7,), 0),
    ],
)
def test_macs_are_those_of_every_product(module: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    assert cost.macs(module.eval(), shape) == macs


def test_recurrent_layers_count_every_step() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = nn.LSTM(8, 16, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.cells(x)[0]  # type: ignore[no-any-return]

    assert cost.macs(Last().eval(), (5, 8)) == 5 * 4 * 16 * (8 + 16)


def test_memory_is_the_weights_and_the_most_that_lives_at_once() -> None:
    chain = nn.Sequential(nn.Linear(10, 100), nn.Linear(100, 10), nn.Linear(10, 10))
    weights = 1100 + 1010 + 110
    assert cost.memory(chain, (10,)) == 4 * (weights + 10 + 100 + 10)
    kept = Residual(nn.Sequential(nn.Linear(10, 10, bias=False), nn.ReLU(inplace=True)))
    assert cost.memory(kept, (10,)) == 4 * (100 + 10 + 10 + 10)


def test_shared_weights_are_loaded_once() -> None:
    layer = nn.Linear(10, 10, bias=False)
    twice = nn.Sequential(layer, layer)
    assert cost.memory(twice, (10,)) == 4 * (100 + 10 + 10 + 10)
