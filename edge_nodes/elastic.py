"""The elastic network: one set of weights that runs at several depths, widths and bit levels.

Depth: a convolutional stem, then residual stages, each with an exit (a classifier) of its own.
Width: channels come in ordered groups, and a group reads only itself and those before it, so every weight matrix is
block lower triangular. What a channel computes therefore does not depend on the width: one batch norm serves every
width and folds away, the rows of a group are a plain rectangle, and one pass gives the outputs of all depths and
widths.
Bits: see `codec`.
"""

from collections.abc import Mapping
from itertools import product
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from edge_nodes.architecture import Architecture
from edge_nodes.manifest import Piece

Weights = Mapping[str, Tensor]
EPSILON = 1e-5  # of batch norm


def shapes(a: Architecture, depth: int, width: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight tensor of the sub-network of this depth and width."""
    channels = sum(a.channels[:width])
    features = channels * a.cells
    result: dict[str, tuple[int, ...]] = {
        "conv1": (channels, 1, 3, 3),
        "conv1_bias": (channels,),
        "conv2": (channels, channels, 3, 3),
        "conv2_bias": (channels,),
    }
    for stage in range(1, depth + 1):
        result[f"expand{stage}"] = result[f"project{stage}"] = (features, features)
        result[f"expand{stage}_bias"] = (features,)
        result[f"exit{stage}"] = (a.classes, features)
        result[f"exit{stage}_bias"] = (width, a.classes)  # each group adds its own
    return result


def pieces(a: Architecture) -> tuple[Piece, ...]:
    """Return what each stage and group own, in the order of coding. The stem goes with the first stage."""
    result = []
    for stage, group in product(range(1, a.stages + 1), range(1, a.groups + 1)):
        start, stop = sum(a.channels[: group - 1]), sum(a.channels[:group])
        first, end = start * a.cells, stop * a.cells
        if stage == 1:
            result += [
                Piece("conv1", stage, group, (start, 0, 0, 0), (stop, 1, 3, 3), nested=False),
                Piece("conv1_bias", stage, group, (start,), (stop,), nested=False),
                Piece("conv2", stage, group, (start, 0, 0, 0), (stop, stop, 3, 3), nested=False),
                Piece("conv2_bias", stage, group, (start,), (stop,), nested=False),
            ]
        result += [
            Piece(f"expand{stage}", stage, group, (first, 0), (end, end), nested=True),
            Piece(f"expand{stage}_bias", stage, group, (first,), (end,), nested=False),
            Piece(f"project{stage}", stage, group, (first, 0), (end, end), nested=True),
            Piece(f"exit{stage}", stage, group, (0, first), (a.classes, end), nested=False),
            Piece(f"exit{stage}_bias", stage, group, (group - 1, 0), (group, a.classes), nested=False),
        ]
    return tuple(result)


class Elastic(nn.Module):
    """The whole network, for training. `norms` is emptied by `fold`, once batch statistics are good."""

    def __init__(self, architecture: Architecture, generator: Generator) -> None:
        super().__init__()
        a = self.architecture = architecture
        self.features = [channels * a.cells for channels in a.channels]
        full = shapes(a, a.stages, a.groups)
        self.weights = nn.ParameterDict({name: _initial(name, shape, generator) for name, shape in full.items()})
        self.norms = nn.ModuleDict(
            {"conv1": nn.BatchNorm2d(full["conv1"][0], EPSILON), "conv2": nn.BatchNorm2d(full["conv2"][0], EPSILON)}
        )
        for stage in range(1, a.stages + 1):
            self.norms[f"expand{stage}"] = nn.BatchNorm1d(full[f"expand{stage}"][0], EPSILON)
        for name, shape in full.items():
            if name.startswith(("conv2", "expand", "project")) and not name.endswith("bias"):
                self.register_buffer(f"mask_{name}", _triangle(a, shape), persistent=False)

    @classmethod
    def folded(cls, architecture: Architecture, weights: Weights) -> Self:
        """Return a network without norms that starts from a copy of these weights."""
        network = cls(architecture, Generator())
        network.norms.clear()
        network.weights.load_state_dict(weights)
        return network.eval()

    def forward(self, images: Tensor, bits: int | None = None) -> Tensor:
        """Map images `[N, 1, size, size]` to the logits of every exit and width, `[stages, groups, N, classes]`.

        With `bits`, the coded weights are rounded to that level, and gradients pass straight through
        (Bengio, Léonard, Courville, 2013). Without, they are used as they are.
        """
        a, w = self.architecture, self.weights
        y = F.relu(self._norm("conv1", F.conv2d(images, w["conv1"], w["conv1_bias"], padding=1)))
        y = F.conv2d(y, self.matrix("conv2"), w["conv2_bias"], stride=2, padding=1)
        y = F.relu(self._norm("conv2", y)).flatten(1)
        logits = []
        for stage in range(1, a.stages + 1):
            expand, project = (self.matrix(f"{name}{stage}", bits) for name in ("expand", "project"))
            hidden = F.relu(self._norm(f"expand{stage}", F.linear(y, expand, w[f"expand{stage}_bias"])))
            y = y + F.linear(hidden, project)
            logits.append(self._exits(stage, y))
        return torch.stack(logits)

    def _exits(self, stage: int, y: Tensor) -> Tensor:
        """Return the logits of a stage at every width, `[groups, N, classes]`: each group adds to those before it."""
        weight, bias = self.weights[f"exit{stage}"], self.weights[f"exit{stage}_bias"]
        by_group = zip(
            y.split_with_sizes(self.features, 1), weight.split_with_sizes(self.features, 1), bias, strict=True
        )
        return torch.stack([F.linear(*group) for group in by_group]).cumsum(0)

    @torch.no_grad()
    def fold(self) -> None:
        """Fold every batch norm into the weights before it, using its running statistics."""
        for name, norm in self.norms.items():
            mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
            weight, bias = self.weights[name], self.weights[f"{name}_bias"]
            scale = norm.get_parameter("weight") / (variance + EPSILON).sqrt()
            weight.mul_(scale.view(-1, *[1] * (weight.dim() - 1)))
            bias.sub_(mean).mul_(scale).add_(norm.get_parameter("bias"))
        self.norms.clear()

    def state(self) -> dict[str, Tensor]:
        """Return the weights under their names in `shapes`. Above the block diagonal they mean nothing."""
        return {name: weight.detach() for name, weight in self.weights.items()}

    def _norm(self, name: str, y: Tensor) -> Tensor:
        normed: Tensor = self.norms[name](y) if name in self.norms else y
        return normed

    def matrix(self, name: str, bits: int | None = None) -> Tensor:
        """Return a weight without what is above its block diagonal, rounded to a bit level where one is given."""
        weight: Tensor = self.weights[name] * self.get_buffer(f"mask_{name}")
        if bits is None:
            return weight
        step = self.architecture.step / 3 ** (bits - 1)
        rounded: Tensor = weight + ((weight / step).round() * step - weight).detach()
        return rounded


def _triangle(a: Architecture, shape: tuple[int, ...]) -> Tensor:
    """Return what to multiply a weight by: one where a channel group reads itself or one before it, else zero."""
    group = torch.repeat_interleave(torch.arange(a.groups), torch.tensor(a.channels))
    rows, columns = (group.repeat_interleave(length // len(group)) for length in shape[:2])
    return (rows.unsqueeze(1) >= columns).float().view(*shape[:2], *[1] * (len(shape) - 2))


def _initial(name: str, shape: tuple[int, ...], generator: Generator) -> nn.Parameter:
    """Initialise after He et al. 2015; smaller where a sum follows, so that stages start close to the identity."""
    if "bias" in name:
        return nn.Parameter(torch.zeros(shape))
    gain = 1.0 if name.startswith(("project", "exit")) else 2.0
    fan_in = torch.Size(shape[1:]).numel()
    return nn.Parameter(
        torch.randn(shape, generator=generator) * (gain / fan_in) ** 0.5 * (0.3 if gain == 1.0 else 1.0)
    )


class Compact(nn.Module):
    """One variant as a device runs it: one depth, one width, float32 weights, nothing but products and ReLU."""

    def __init__(self, architecture: Architecture, depth: int, weights: Weights) -> None:
        super().__init__()
        self.architecture, self.depth = architecture, depth
        stages = range(1, depth + 1)
        stem = (weights["conv1"], weights["conv1_bias"], weights["conv2"], weights["conv2_bias"])
        self.stem = nn.ParameterList(_frozen(weight) for weight in stem)
        self.expand = nn.ParameterList(_frozen(weights[f"expand{stage}"]) for stage in stages)
        self.bias = nn.ParameterList(_frozen(weights[f"expand{stage}_bias"]) for stage in stages)
        self.project = nn.ParameterList(_frozen(weights[f"project{stage}"]) for stage in stages)
        self.exit = _frozen(weights[f"exit{depth}"])
        self.exit_bias = _frozen(weights[f"exit{depth}_bias"].sum(0))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[N, 1, size, size]` to logits `[N, classes]`."""
        conv1, bias1, conv2, bias2 = self.stem
        y = F.conv2d(images, conv1, bias1, padding=1).relu_()
        y = F.conv2d(y, conv2, bias2, stride=2, padding=1).relu_().flatten(1)
        for expand, bias, project in zip(self.expand, self.bias, self.project, strict=True):
            y = torch.addmm(y, F.linear(y, expand, bias).relu_(), project.t())
        return F.linear(y, self.exit, self.exit_bias)

    def macs(self) -> int:
        """Multiply-accumulate operations of one inference, as it runs (the zeros above the block diagonal count)."""
        pixels = self.architecture.size**2
        conv1, _, conv2, _ = self.stem
        matrices: int = sum(weight.numel() for weight in (*self.expand, *self.project, self.exit))
        stem: int = conv1.numel() * pixels + conv2.numel() * pixels // 4
        return stem + matrices

    def memory(self) -> int:
        """Bytes when loaded: the weights, and the most that is alive at once while one image is inferred."""
        pixels, channels = self.architecture.size**2, len(self.stem[0])
        features = channels * pixels // 4
        alive = max(pixels + channels * pixels, channels * pixels + features, 3 * features)
        return 4 * (sum(weight.numel() for weight in self.parameters()) + alive)


def _frozen(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight, requires_grad=False)


def build(network: Mapping[str, Any], depth: int, weights: Mapping[str, NDArray[np.float32]]) -> Compact:
    """Return what runs the decoded weights of a variant."""
    tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
    return Compact(Architecture.of(network), depth, tensors)
