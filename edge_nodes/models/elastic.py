"""Elastic networks: one set of weights that runs at several depths, widths and bit levels. Layers to compose them from.

Depth: a stem, then stages, each with an exit (a classifier) of its own.
Width: channels come in ordered groups, and a group reads only itself and those before it, so weights are block lower
triangular. What a channel computes therefore does not depend on the width: one batch norm serves every width and folds
away, the rows of a group are a plain rectangle, and one pass gives the outputs of all depths and widths.
Bits: the weights inside stages can be rounded to nested levels (see `codec`); the stem and the exits are sent once.

A composition, of one's own too, is made of `Linear`, `Conv`, `Residual`, `Mean`, `Exit`, and PyTorch's `Sequential`,
`ReLU` and `Flatten`; see `networks`. How it is cut into blocks (`Elastic.pieces`) and what a device has to run
(`Elastic.describe`, which `build` reads) follow from its layers.
"""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from edge_nodes.models import codec, numerics
from edge_nodes.models.compact import Compact, build
from edge_nodes.models.manifest import Delta, Piece

Groups = tuple[int, ...]  # channels of each group, in order; a single group is read by all
__all__ = ["Compact", "Conv", "Elastic", "Exit", "Groups", "Linear", "Mean", "Residual", "Stage", "build"]
EPSILON = 1e-5  # of batch norm


class Where(NamedTuple):
    """A rectangle of one of a layer's parameters, and the channel group (from 1) that it belongs to."""

    parameter: str
    group: int
    start: tuple[int, ...]
    stop: tuple[int, ...]


class Product(nn.Module):
    """A linear map from ordered channel groups to ordered channel groups: what `Linear` and `Conv` have in common.

    With `norm`, a batch norm follows, until `fold` makes it part of the weights. `scale` multiplies the initial
    weights, which are those of He et al. 2015. `step` and `delta` are set by `Elastic`.
    """

    mask: Tensor

    def __init__(self, inputs: Groups, outputs: Groups, kernel: tuple[int, ...], norm: bool, scale: float) -> None:
        super().__init__()
        self.inputs, self.outputs, self.kernel, self.scale = inputs, outputs, kernel, scale
        self.weight = nn.Parameter(torch.zeros(sum(outputs), sum(inputs), *kernel))
        self.bias = nn.Parameter(torch.zeros(sum(outputs)))
        self.norm = nn.BatchNorm1d(sum(outputs), EPSILON) if norm else None
        self.step: float | None = None
        self.delta: nn.ParameterDict | None = None
        reads = _group_of(outputs).unsqueeze(1) >= _group_of(inputs)
        self.register_buffer("mask", reads.float().view(*reads.shape, *[1] * len(kernel)), persistent=False)

    def effective(self) -> Tensor:
        """The weight as it is used: plus the delta, zero above the block diagonal.

        With a `step`, it is rounded to its multiples, and the factors of the delta to what `codec` makes of them.
        """
        weight: Tensor = self.weight
        if self.step is not None:
            weight = _rounded(weight, self.step)
        if self.delta is not None:
            left, right = self.delta["left"], self.delta["right"]
            if self.step is not None:
                left, right = _coded(left, self.outputs, 0), _coded(right, self.inputs, 1)
            weight = weight + (left @ right.flatten(1)).view(weight.shape)
        return weight * self.mask

    def normed(self, y: Tensor) -> Tensor:
        """Batch norm over all but the channels, `[N, channels, ...]`."""
        if self.norm is None:
            return y
        result: Tensor = self.norm(y.flatten(2) if y.dim() > 2 else y)
        return result.view(y.shape)

    @torch.no_grad()
    def fold(self) -> None:
        """Make the batch norm part of the weights, with its running statistics."""
        if self.norm is None:
            return
        mean, variance = self.norm.get_buffer("running_mean"), self.norm.get_buffer("running_var")
        scale = self.norm.weight / numerics.sqrt(variance + EPSILON)
        self.weight.mul_(scale.view(-1, *[1] * (self.weight.dim() - 1)))
        self.bias.sub_(mean).mul_(scale).add_(self.norm.bias)
        self.norm = None

    def where(self) -> Iterator[Where]:
        """Yield the rectangles of the weight and the bias that each group owns."""
        yield from _triangle("weight", self.inputs, self.outputs, self.kernel)
        yield from _triangle("bias", (), self.outputs)

    def describe(self, name: str) -> dict[str, Any]:
        raise NotImplementedError


class Linear(Product):
    """A product over the last dimension, `[N, ..., inputs]` to `[N, ..., outputs]`.

    Over positions instead of channels (`[N, channels, positions]`, one group each, no norm) it mixes tokens.
    """

    def __init__(self, inputs: Groups, outputs: Groups, norm: bool = False, scale: float = 1.0) -> None:
        super().__init__(inputs, outputs, (), norm, scale)

    def forward(self, x: Tensor) -> Tensor:
        return self.normed(F.linear(x, self.effective(), self.bias))

    def describe(self, name: str) -> dict[str, Any]:
        return {"op": "linear", "name": name}


class Conv(Product):
    """A convolution in as many dimensions as `kernel` has, one or two: `[N, inputs, ...]` to `[N, outputs, ...]`.

    At every border, half of what the kernel exceeds one by is added.
    """

    def __init__(
        self,
        inputs: Groups,
        outputs: Groups,
        kernel: tuple[int, ...] = (3, 3),
        stride: int = 1,
        norm: bool = False,
        scale: float = 1.0,
    ) -> None:
        super().__init__(inputs, outputs, kernel, norm, scale)
        self.stride, self.padding = stride, tuple((size - 1) // 2 for size in kernel)

    def forward(self, x: Tensor) -> Tensor:
        convolve = F.conv1d if len(self.kernel) == 1 else F.conv2d
        return self.normed(convolve(x, self.effective(), self.bias, self.stride, self.padding))

    def describe(self, name: str) -> dict[str, Any]:
        return {"op": "conv", "name": name, "stride": self.stride, "padding": list(self.padding)}


class Residual(nn.Sequential):
    """What goes in, plus what its layers make of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return,no-untyped-call]


class Mean(nn.Module):
    """The mean of each channel over all positions, `[N, channels, ...]` to `[N, channels]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)


class Exit(nn.Module):
    """A classifier `[N, features]` to logits, to which each group adds its own part; `before` (a `Mean`, say) comes first."""

    def __init__(self, inputs: Groups, classes: int, *before: nn.Module, scale: float = 0.2) -> None:
        super().__init__()
        self.inputs, self.classes, self.scale = inputs, classes, scale
        self.before = nn.Sequential(*before)
        self.weight = nn.Parameter(torch.zeros(classes, sum(inputs)))
        self.bias = nn.Parameter(torch.zeros(len(inputs), classes))

    def forward(self, y: Tensor) -> Tensor:
        """Return the logits of every width, `[groups, N, classes]`."""
        parts = self.before(y).split_with_sizes(self.inputs, 1)
        weights = self.weight.split_with_sizes(self.inputs, 1)
        return torch.stack([F.linear(*group) for group in zip(parts, weights, self.bias, strict=True)]).cumsum(0)

    def where(self) -> Iterator[Where]:
        """Yield the rectangles of the weight and the bias that each group owns."""
        for group, (start, stop) in enumerate(_ranges(self.inputs), 1):
            yield Where("weight", group, (0, start), (self.classes, stop))
            yield Where("bias", group, (group - 1, 0), (group, self.classes))


class Stage(nn.Module):
    """A depth: layers, and the exit after them."""

    def __init__(self, body: nn.Module, exit: Exit) -> None:
        super().__init__()
        self.body, self.exit = body, exit


class Elastic(nn.Module):
    """The whole network, for training: images of shape `size` through a stem and stages.

    `levels` is how many nested bit levels the weights inside stages get, `step` the quantisation step of the first;
    level b has step / 3^(b - 1). The initial weights are drawn from `seed`.
    """

    def __init__(self, size: tuple[int, ...], stem: nn.Module, stages: Sequence[Stage], levels: int, seed: int) -> None:
        super().__init__()
        self.size, self.levels, self.step = size, levels, 0.0
        self.stem, self.stages = stem, nn.ModuleList(stages)
        generator = Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, Product | Exit):
                deviation = layer.scale * (2 / layer.weight[0].numel()) ** 0.5
                layer.weight.data.copy_(torch.randn(layer.weight.shape, generator=generator) * deviation)

    @property
    def depths(self) -> int:
        return len(self.stages)

    @property
    def widths(self) -> int:
        return len(self._stages()[0].exit.inputs)

    def _stages(self) -> list[Stage]:
        return [stage for stage in self.stages if isinstance(stage, Stage)]

    def forward(self, images: Tensor, bits: int | None = None) -> Tensor:
        """Map images `[N, *size]` to the logits of every exit and width, `[depths, widths, N, classes]`.

        With `bits`, the weights inside stages are rounded to that level; without, they are used as they are.
        """
        for layer in self.nested().values():
            layer.step = None if bits is None else self.step / 3 ** (bits - 1)
        y, logits = self.stem(images), []
        for stage in self._stages():
            y = stage.body(y)
            logits.append(stage.exit(y))
        return torch.stack(logits)

    def nested(self) -> dict[str, Product]:
        """The layers inside stages, whose weights are sent level by level."""
        found = self.stages.named_modules(prefix="stages")
        return {name: layer for name, layer in found if isinstance(layer, Product)}

    @torch.no_grad()
    def fold(self) -> None:
        """Make every batch norm part of the weights before it, once its statistics are good."""
        for layer in self.modules():
            if isinstance(layer, Product):
                layer.fold()

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return all weights, float32, by name; zero above the block diagonals. Deltas stay apart from what they change."""
        masks = {f"{name}.weight": layer.mask for name, layer in self.named_modules() if isinstance(layer, Product)}
        return {name: (value * masks.get(name, 1)).detach().numpy() for name, value in self.named_parameters()}

    def pieces(self) -> tuple[Piece, ...]:
        """Return what each stage and group owns of every tensor, in the order of coding. The stem goes with the first stage."""
        parts = [(1, "stem", self.stem), *((n, f"stages.{n - 1}", stage) for n, stage in enumerate(self.stages, 1))]
        nested, found = self.nested(), []
        for stage, prefix, part in parts:
            for name, layer in part.named_modules(prefix=prefix):
                if isinstance(layer, Product | Exit):
                    for parameter, group, start, stop in layer.where():
                        is_nested = name in nested and parameter == "weight"
                        found.append(Piece(f"{name}.{parameter}", stage, group, start, stop, is_nested))
                if isinstance(layer, Product) and layer.delta is not None:
                    found += _pieces_of_delta(layer, name, stage)
        return tuple(sorted(found, key=lambda piece: (piece.stage, piece.group)))

    def deltas(self) -> tuple[Delta, ...]:
        """Return which tensors have a low-rank change, and the names of its factors."""
        changed = [name for name, layer in self.nested().items() if layer.delta is not None]
        return tuple(Delta(f"{name}.weight", f"{name}.delta.left", f"{name}.delta.right") for name in changed)

    def specialise(self, rank: int, seed: int) -> None:
        """Freeze the weights inside stages, and give each a change of this rank to be trained, which is zero at first.

        After Hu et al., "LoRA", 2021.
        """
        generator = Generator().manual_seed(seed)
        for layer in self.nested().values():
            rows, columns, *kernel = layer.weight.shape
            right = torch.randn(rank, columns, *kernel, generator=generator) / layer.weight[0].numel() ** 0.5
            layer.delta = nn.ParameterDict({"left": torch.zeros(rows, rank), "right": right})
            layer.weight.requires_grad_(False)

    def describe(self) -> dict[str, Any]:
        """Return what `build` needs to know to run this network's tensors: plain data, fit for a manifest."""
        return {
            "kind": "layers",
            "size": list(self.size),
            "stem": _describe(self.stem, "stem"),
            "stages": [
                {
                    "body": _describe(stage.body, f"stages.{n}.body"),
                    "exit": _describe(stage.exit, f"stages.{n}.exit"),
                }
                for n, stage in enumerate(self._stages())
            ],
        }


def _describe(module: nn.Module, name: str) -> list[dict[str, Any]]:
    match module:
        case Product():
            return [module.describe(name)]
        case nn.Sequential():
            body = [entry for key, child in module.named_children() for entry in _describe(child, f"{name}.{key}")]
            return [{"op": "residual", "body": body}] if isinstance(module, Residual) else body
        case Exit():
            return [*_describe(module.before, f"{name}.before"), {"op": "linear", "name": name}]
        case nn.ReLU():
            return [{"op": "relu"}]
        case Mean():
            return [{"op": "mean"}]
        case nn.Flatten():
            return [{"op": "flatten", "start": module.start_dim}]
    raise TypeError(
        f"{name} is a {type(module).__name__}; elastic networks are made of the layers that `elastic` lists"
    )


def _rounded(weight: Tensor, step: float) -> Tensor:
    """Round to multiples of a step; gradients pass straight through (Bengio, Léonard, Courville, 2013)."""
    return weight + ((weight / step).round() * step - weight).detach()


def _coded(factor: Tensor, groups: Groups, dimension: int) -> Tensor:
    """Round each group's part of a delta's factor as its block does; gradients pass straight through."""
    parts = factor.detach().split_with_sizes(groups, dimension)
    rounded = torch.cat([torch.from_numpy(codec.rounded_factor(part.numpy())) for part in parts], dimension)
    return factor + (rounded - factor).detach()


def _ranges(groups: Groups) -> list[tuple[int, int]]:
    ends = list(accumulate(groups))
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _group_of(groups: Groups) -> Tensor:
    """The group, from 0, of each channel."""
    return torch.repeat_interleave(torch.arange(len(groups)), torch.tensor(groups))


def _triangle(parameter: str, inputs: Groups, outputs: Groups, kernel: tuple[int, ...] = ()) -> Iterator[Where]:
    """Yield the rows of each group of outputs, as far as the inputs that it reads; without inputs, the rows alone."""
    for group, (start, stop) in enumerate(_ranges(outputs), 1):
        columns = (sum(inputs[:group]),) if inputs else ()
        zeros = (0,) * (len(columns) + len(kernel))
        yield Where(parameter, group, (start, *zeros), (stop, *columns, *kernel))


def _pieces_of_delta(layer: Product, name: str, stage: int) -> Iterator[Piece]:
    """Yield each group's rows of the left factor and columns of the right one."""
    assert layer.delta is not None
    rank, zeros = layer.delta["left"].shape[1], (0,) * len(layer.kernel)
    for group, (start, stop) in enumerate(_ranges(layer.outputs), 1):
        yield Piece(f"{name}.delta.left", stage, group, (start, 0), (stop, rank), False)
    for group, (start, stop) in enumerate(_ranges(layer.inputs), 1):
        yield Piece(f"{name}.delta.right", stage, group, (0, start, *zeros), (rank, stop, *layer.kernel), False)
