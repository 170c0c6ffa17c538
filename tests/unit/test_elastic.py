"""One set of weights, many networks: a sub-network computes what the whole does at its exit and width."""

import pytest
import torch
from torch import Generator

from edge_nodes.architecture import Architecture
from edge_nodes.elastic import Compact, Elastic, pieces, shapes

TINY = Architecture(size=8, classes=10, stages=2, channels=(1, 2), levels=2, step=0.1)


@pytest.fixture
def network() -> Elastic:
    """An untrained network with batch statistics that are not trivial, folded."""
    network = Elastic(TINY, Generator().manual_seed(1))
    network(_images(64, seed=2))
    network.eval()
    network.fold()
    return network


def _images(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=Generator().manual_seed(seed))


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("width", [1, 2])
def test_a_sub_network_computes_what_the_whole_does_at_its_exit_and_width(
    network: Elastic, depth: int, width: int
) -> None:
    state = network.state()
    cut = {name: torch.zeros(shape) for name, shape in shapes(TINY, depth, width).items()}
    for piece in pieces(TINY):
        if piece.stage <= depth and piece.group <= width:
            cut[piece.tensor][piece.where()] = state[piece.tensor][piece.where()]
    images = _images(5, seed=3)
    with torch.inference_mode():
        torch.testing.assert_close(Compact(TINY, depth, cut)(images), network(images)[depth - 1, width - 1])


def test_folding_changes_nothing() -> None:
    network = Elastic(TINY, Generator().manual_seed(1))
    network(_images(64, seed=2))
    network.eval()
    images = _images(5, seed=3)
    with torch.inference_mode():
        before = network(images)
        network.fold()
        torch.testing.assert_close(network(images), before)


def test_pieces_tile_every_weight_below_the_diagonal_once() -> None:
    count = {name: torch.zeros(shape) for name, shape in shapes(TINY, 2, 2).items()}
    for piece in pieces(TINY):
        count[piece.tensor][piece.where()] += 1
        assert count[piece.tensor][piece.where()].shape == piece.shape()
    for name, times in count.items():
        triangular = name.startswith(("conv2", "expand", "project")) and not name.endswith("bias")
        rows, columns = times.shape[0] // 3, times.shape[-1] // 3 if times.dim() == 2 else 1
        above = times[:rows, columns:] if triangular else times[:0]
        assert above.sum() == 0, name
        assert times.sum() == times.numel() - above.numel(), name


def test_gradients_pass_rounded_weights(network: Elastic) -> None:
    network(_images(5, seed=3), bits=1).sum().backward()
    assert network.weights["expand1"].grad is not None
    assert network.weights["expand1"].grad.abs().sum() > 0


def test_rounded_weights_are_multiples_of_the_step(network: Elastic) -> None:
    for bits, step in ((1, 0.1), (2, 0.1 / 3)):
        codes = network.matrix("expand1", bits) / step
        torch.testing.assert_close(codes, codes.round())


def test_compact_counts_what_it_runs(network: Elastic) -> None:
    full = {name: torch.zeros(shape) for name, shape in shapes(TINY, 2, 2).items()}
    compact = Compact(TINY, 2, full)
    assert compact.macs() == 9 * 3 * 64 + 9 * 9 * 16 + 4 * 48 * 48 + 48 * 10
    assert not compact.training
    weights = 9 * 3 + 3 + 81 + 3 + 4 * 48 * 48 + 2 * 48 + 48 * 10 + 10
    assert compact.memory() == 4 * (weights + 64 + 3 * 64)
