"""What a device runs: one variant of a published network, float32 weights, nothing but products and ReLU."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

Shape = tuple[int, ...]  # of what one image becomes
Tensors = Mapping[str, NDArray[Any]]


class Cost(NamedTuple):
    """What running takes for one image: its shape at the end, multiply-accumulate operations, most values alive at once."""

    shape: Shape
    macs: int
    alive: int


class Operation(nn.Module):
    """One step; `cost` says what it takes for an image of a shape, while `held` other values are kept."""

    def cost(self, shape: Shape, held: int) -> Cost:
        raise NotImplementedError


class Linear(Operation):
    """A product over the last dimension."""

    def __init__(self, tensors: Tensors, name: str) -> None:
        super().__init__()
        self.weight = _frozen(tensors[f"{name}.weight"])
        bias = tensors[f"{name}.bias"]
        self.bias = _frozen(bias.sum(0) if bias.ndim == 2 else bias)  # at an exit, each width has added its own

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def cost(self, shape: Shape, held: int) -> Cost:
        out = (*shape[:-1], len(self.weight))
        return Cost(out, self.weight.numel() * math.prod(shape[:-1]), held + math.prod(shape) + math.prod(out))


class Conv(Operation):
    """A convolution in one or two dimensions."""

    def __init__(self, tensors: Tensors, name: str, stride: int, padding: list[int]) -> None:
        super().__init__()
        self.weight, self.bias = _frozen(tensors[f"{name}.weight"]), _frozen(tensors[f"{name}.bias"])
        self.stride, self.padding = stride, tuple(padding)
        self.convolve = F.conv1d if self.weight.dim() == 3 else F.conv2d

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, self.weight, self.bias, self.stride, self.padding)

    def cost(self, shape: Shape, held: int) -> Cost:
        sizes = zip(shape[1:], self.weight.shape[2:], self.padding, strict=True)
        places = tuple((size + 2 * padding - kernel) // self.stride + 1 for size, kernel, padding in sizes)
        out = (len(self.weight), *places)
        return Cost(out, self.weight.numel() * math.prod(places), held + math.prod(shape) + math.prod(out))


class ReLU(Operation):
    """Negative values become zero."""

    def forward(self, x: Tensor) -> Tensor:
        return x.relu()

    def cost(self, shape: Shape, held: int) -> Cost:
        return Cost(shape, 0, held + 2 * math.prod(shape))


class Flatten(Operation):
    """Dimensions from `start` on become one."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(self.start)

    def cost(self, shape: Shape, held: int) -> Cost:
        kept = shape[: self.start - 1]
        return Cost((*kept, math.prod(shape[self.start - 1 :])), 0, held + math.prod(shape))


class Mean(Operation):
    """The mean of each channel over all positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).mean(2)

    def cost(self, shape: Shape, held: int) -> Cost:
        return Cost(shape[:1], 0, held + math.prod(shape) + shape[0])


class Residual(Operation):
    """What goes in, plus what its operations make of it."""

    def __init__(self, tensors: Tensors, body: list[dict[str, Any]]) -> None:
        super().__init__()
        self.body = _sequence(body, tensors)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).add_(x)  # type: ignore[no-any-return]

    def cost(self, shape: Shape, held: int) -> Cost:
        """What goes in is kept until the end; the first operation reads it from there."""
        return _cost(self.body, shape, held, kept=math.prod(shape))


class Compact(nn.Module):
    """One variant, for images of shape `size`."""

    def __init__(self, size: Shape, body: nn.Sequential, exit: nn.Sequential) -> None:
        super().__init__()
        self.body, self.exit = body, exit
        self._cost = _cost(nn.Sequential(*body, *exit), size, 0)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[N, *size]` to logits `[N, classes]`."""
        return self.exit(self.body(images))  # type: ignore[no-any-return]

    def macs(self) -> int:
        """Multiply-accumulate operations of one inference, as it runs (the zeros above the block diagonals count)."""
        return self._cost.macs

    def memory(self) -> int:
        """Bytes when loaded: the weights, and the most that is alive at once while one image is inferred."""
        return 4 * (sum(weight.numel() for weight in self.parameters()) + self._cost.alive)


def build(network: Mapping[str, Any], depth: int, tensors: Tensors) -> Compact:
    """Build what runs from a manifest's `network` and the decoded tensors of one width.

    Raises KeyError for a tensor or an operation that is missing, ValueError for a network of an unknown kind.
    """
    if network["kind"] != "layers":
        raise ValueError(f'a network of kind "{network["kind"]}"; known: "layers"')
    stages = network["stages"][:depth]
    entries = [*network["stem"], *(entry for stage in stages for entry in stage["body"])]
    return Compact(tuple(network["size"]), _sequence(entries, tensors), _sequence(stages[-1]["exit"], tensors))


def _sequence(entries: list[dict[str, Any]], tensors: Tensors) -> nn.Sequential:
    return nn.Sequential(*(_operation(tensors, **entry) for entry in entries))


def _operation(tensors: Tensors, op: str, **how: Any) -> Operation:
    with_tensors: dict[str, Callable[..., Operation]] = {"linear": Linear, "conv": Conv, "residual": Residual}
    without: dict[str, Callable[..., Operation]] = {"relu": ReLU, "flatten": Flatten, "mean": Mean}
    return with_tensors[op](tensors, **how) if op in with_tensors else without[op](**how)


def _cost(operations: nn.Sequential, shape: Shape, held: int, kept: int = 0) -> Cost:
    """The cost of one operation after the other; `kept` values of the first one's input stay until the end."""
    macs, alive = 0, held + math.prod(shape)
    for number, operation in enumerate(operations):
        assert isinstance(operation, Operation)
        cost = operation.cost(shape, held + (kept if number else 0))
        shape, macs, alive = cost.shape, macs + cost.macs, max(alive, cost.alive)
    return Cost(shape, macs, alive)


def _frozen(weight: NDArray[Any]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(weight), requires_grad=False)
