"""One set of weights, many networks: a sub-network computes what the whole does at its exit and width."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Generator, nn

from edge_nodes.models import codec, compact, networks
from edge_nodes.models.elastic import Conv, Elastic, Exit, Linear, Mean, Residual, Stage

WIDTHS = (1, 2, 3)


def own(channels: tuple[int, ...] = WIDTHS, seed: int = 1) -> Elastic:
    """A composition that is none of those that ship: products over flat images, two depths."""
    doubled = tuple(2 * number for number in channels)
    stem = nn.Sequential(nn.Flatten(), Linear((64,), channels, norm=True), nn.ReLU())
    first = Stage(Residual(Linear(channels, doubled), nn.ReLU(), Linear(doubled, channels)), Exit(channels, 10))
    second = Stage(nn.Sequential(nn.ReLU(), Linear(channels, channels, norm=True)), Exit(channels, 10))
    return Elastic((1, 8, 8), stem, [first, second], levels=2, seed=seed)


def pooled(channels: tuple[int, ...] = WIDTHS, seed: int = 1) -> Elastic:
    """A convolutional one with a mean over all positions at its exit."""
    body = Residual(Conv(channels, channels, norm=True), nn.ReLU(), Conv(channels, channels))
    stem = Conv((1,), channels, (2, 2), stride=2, norm=True)
    return Elastic((1, 8, 8), stem, [Stage(body, Exit(channels, 10, Mean()))], levels=2, seed=seed)


MAKERS: list[Callable[..., Elastic]] = [own, pooled, networks.residual, networks.convolutional, networks.mixer]


@pytest.fixture(params=MAKERS, ids=lambda make: make.__name__)
def network(request: pytest.FixtureRequest) -> Elastic:
    """An untrained network with batch statistics that are not trivial, folded."""
    network: Elastic = request.param(channels=WIDTHS, seed=1)
    network(images(64, seed=2))
    network.eval()
    network.fold()
    network.step = 0.1
    return network


def images(n: int, seed: int) -> torch.Tensor:
    return torch.rand(n, 1, 8, 8, generator=Generator().manual_seed(seed))


def cut(network: Elastic, depth: int, width: int) -> dict[str, np.ndarray]:
    """The tensors of a sub-network as a device gets them: what its pieces hold, as far as they reach."""
    tensors, chosen = network.tensors(), [p for p in network.pieces() if p.stage <= depth and p.group <= width]
    result = {}
    for name in {piece.tensor for piece in chosen}:
        own = [piece for piece in chosen if piece.tensor == name]
        result[name] = np.zeros(np.max([piece.stop for piece in own], axis=0), np.float32)
        for piece in own:
            result[name][piece.where()] = tensors[name][piece.where()]
    return result


def test_a_sub_network_computes_what_the_whole_does_at_its_exit_and_width(network: Elastic) -> None:
    seen = images(5, seed=3)
    with torch.inference_mode():
        whole = network(seen)
        for depth in range(1, network.depths + 1):
            for width in range(1, network.widths + 1):
                part = compact.build(network.describe(), depth, cut(network, depth, width))
                torch.testing.assert_close(part(seen), whole[depth - 1, width - 1], msg=f"depth {depth}, width {width}")


def test_a_sub_network_is_found_at_the_same_place_when_rounded_and_specialised(network: Elastic) -> None:
    network.specialise(rank=2, seed=4)
    for layer in network.nested().values():
        assert layer.delta is not None
        layer.delta["left"].data.normal_(generator=Generator().manual_seed(5))
    seen, tensors = images(5, seed=3), cut(network, 1, 2)
    for piece in (p for p in network.pieces() if ".delta." in p.tensor and p.stage == 1 and p.group <= 2):
        tensors[piece.tensor][piece.where()] = codec.rounded_factor(tensors[piece.tensor][piece.where()])
    for delta in (d for d in network.deltas() if d.tensor in tensors):
        rounded = np.rint(tensors[delta.tensor] / 0.1) * 0.1
        product = np.tensordot(tensors[delta.left], tensors[delta.right], 1)
        owned = _owned(network, delta.tensor, rounded.shape)
        tensors[delta.tensor] = ((rounded + product) * owned).astype(np.float32)
    with torch.inference_mode():
        part = compact.build(network.describe(), 1, tensors)
        torch.testing.assert_close(part(seen), network(seen, bits=1)[0, 1], rtol=1e-3, atol=1e-4)


def _owned(network: Elastic, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One where a piece of this tensor lies."""
    result = np.zeros(shape)
    for piece in network.pieces():
        if piece.tensor == name and all(stop <= size for stop, size in zip(piece.stop, shape, strict=True)):
            result[piece.where()] = 1
    return result


@pytest.mark.parametrize("make", MAKERS)
def test_folding_changes_nothing(make: Callable[..., Elastic]) -> None:
    network = make(channels=WIDTHS, seed=1)
    network(images(64, seed=2))
    network.eval()
    seen = images(5, seed=3)
    with torch.inference_mode():
        before = network(seen)
        network.fold()
        torch.testing.assert_close(network(seen), before)


def test_pieces_hold_every_weight_that_is_not_zero_once(network: Elastic) -> None:
    tensors = network.tensors()
    count = {name: np.zeros(tensor.shape) for name, tensor in tensors.items()}
    for piece in network.pieces():
        count[piece.tensor][piece.where()] += 1
        assert all(stop <= size for stop, size in zip(piece.stop, tensors[piece.tensor].shape, strict=True))
    for name, times in count.items():
        assert times.max() == 1, name
        assert not tensors[name][times == 0].any(), name


def test_what_is_nested_are_the_weights_inside_stages(network: Elastic) -> None:
    nested = {piece.tensor for piece in network.pieces() if piece.nested}
    assert nested == {f"{name}.weight" for name in network.nested()}
    assert all(".body." in name for name in nested)


def test_gradients_pass_rounded_weights(network: Elastic) -> None:
    network(images(5, seed=3), bits=1).sum().backward()
    for name, layer in network.nested().items():
        assert layer.weight.grad is not None
        assert layer.weight.grad.abs().sum() > 0, name


def test_rounded_weights_are_multiples_of_the_levels_step(network: Elastic) -> None:
    for bits, step in ((1, 0.1), (2, 0.1 / 3)):
        network(images(1, seed=3), bits)
        for layer in network.nested().values():
            codes = layer.effective() / step
            torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-3)


def test_a_specialisation_starts_as_its_base_and_leaves_the_nested_weights_alone(network: Elastic) -> None:
    seen = images(5, seed=3)
    before = network(seen).detach()
    network.specialise(rank=2, seed=4)
    torch.testing.assert_close(network(seen), before)
    network(seen).sum().backward()
    for layer in network.nested().values():
        assert layer.weight.grad is None


def test_a_layer_that_cannot_be_described_is_named() -> None:
    network = Elastic((1, 8, 8), nn.Flatten(), [Stage(nn.Sequential(nn.Tanh()), Exit((64,), 10))], levels=1, seed=0)
    with pytest.raises(TypeError, match=r"stages\.0\.body\.0 is a Tanh"):
        network.describe()


def test_a_network_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match='kind "other"'):
        compact.build({"kind": "other"}, 1, {})


def test_compact_counts_what_it_runs() -> None:
    network = networks.residual(WIDTHS, stages=1, blocks=1)
    net = compact.build(network.describe(), 1, network.tensors())
    assert net.macs() == 9 * 6 * 64 + 9 * 36 * 16 + 2 * 96 * 96 + 96 * 10
    weights = 9 * 6 + 6 + 9 * 36 + 6 + 2 * (96 * 96 + 96) + 96 * 10 + 10
    assert net.memory() == 4 * (weights + 2 * 6 * 64)  # the first ReLU
    assert not net.training


def test_a_convolution_over_fewer_places_costs_less() -> None:
    layers = Conv((1,), (2,), stride=2), Conv((1,), (2,))
    costs = [
        compact.Conv({"c.weight": layer.weight.detach().numpy(), "c.bias": layer.bias.detach().numpy()}, "c", layer.stride, [1, 1])
        .cost((1, 8, 8), held=7) for layer in layers
    ]  # fmt: skip
    assert [cost.shape for cost in costs] == [(2, 4, 4), (2, 8, 8)]
    assert [cost.macs for cost in costs] == [18 * 16, 18 * 64]
    assert [cost.alive for cost in costs] == [7 + 64 + 32, 7 + 64 + 128]
