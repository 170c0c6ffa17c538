"""A user's own trained module, cut so that parts of it run; without training and without data.

Width: each linear layer becomes the product of two, of which any number of first ranks can be had; the best ones of that number
(Eckart and Young, 1936). Depth: as many of its stages as have exits. Bits: see `codec`. What a module does not give is said.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edge_nodes.models import codec, low_rank, programs
from edge_nodes.models.low_rank import Array, Factors
from edge_nodes.models.manifest import Manifest, Piece, Variant

KIND = "python"  # of a manifest's network
LEVELS = 4
FIRST_STEP = 2.0  # in standard deviations of the nested weights; level b has this / 3^(b - 1)
ONCE = 0.01  # the smallest tensors are sent once, as long as they are together at most this share of all weights
SHARES = (0.25, 0.5, 0.75, 1.0)  # of the linear layers' weights, at each width; the last one is whole
CUT = 0.1  # of all weights are in linear layers, at least, or no width is made of them
SMALLEST_RANK = 8  # a linear layer of at most this rank is not cut


class Unfit(ValueError):
    """A module, or weights for it, that cannot be published; one line says why."""


@dataclass(frozen=True)
class Adapted:
    """A module as pieces; `depths` is 0 where it runs whole only, and `said` has a line for each of width, depth and bits."""

    pieces: tuple[Piece, ...]
    tensors: dict[str, Array]
    step: float
    depths: int
    said: tuple[str, ...]


class Runnable(nn.Module):
    """What a device runs; `shape` is that of one input."""

    def __init__(self, module: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self._module, self._shape = module.eval().requires_grad_(False), tuple(shape)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs `[N, *shape]` to logits `[N, classes]`."""
        logits: Tensor = self._module(inputs)
        return logits

    # Only publishing asks: a device need not import what counts.
    def macs(self) -> int:
        from edge_nodes.models import cost

        return cost.macs(self, self._shape)

    def memory(self) -> int:
        from edge_nodes.models import cost

        return cost.memory(self, self._shape)


class _LowRank(nn.Module):
    """A linear layer of a low rank; a module that looks at its layer's weight finds it here too."""

    def __init__(self, linear: nn.Linear, left: Tensor, right: Tensor) -> None:
        super().__init__()
        self.left, self.right, self.bias = nn.Parameter(left), nn.Parameter(right), linear.bias
        self.in_features, self.out_features = linear.in_features, linear.out_features

    @property
    def weight(self) -> Tensor:
        return self.left @ self.right

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.linear(x, self.right), self.left, self.bias)


def adapt(module: nn.Module, inputs: Tensor) -> Adapted:
    """Cut a trained module; `inputs` are a few that it is tried on. Batch norms are changed to equal ones. Raises Unfit."""
    depths, of_depth = _depths(module.eval(), inputs)
    _settle_norms(module)
    weights = {name: tensor.detach().numpy().reshape(tensor.shape or (1,)) for name, tensor in learned(module).items()}
    nested = _nested(weights)
    linears = [name for name in _linears(module) if f"{name}.weight" in nested]
    step = _step([weights[name] for name in nested])
    size = sum(weight.size for weight in weights.values())
    cuts, of_width = _cuts({name: weights[f"{name}.weight"] for name in linears}, size, step)
    stages = _stages(module)
    tensors: dict[str, Array] = {}
    pieces: list[Piece] = []
    for name, weight in weights.items():
        layer, stage = name.removesuffix(".weight"), stages[name] if depths else 1
        if layer in cuts and name.endswith(".weight"):
            factors, ranks = cuts[layer]
            most = ranks[-1]
            tensors |= {f"{layer}.left": factors.left[:, :most], f"{layer}.right": factors.right[:most]}
            pieces += _factor_pieces(layer, stage, weight.shape, ranks)
        else:
            tensors[name] = weight
            pieces.append(Piece(name, stage, 1, (0,) * weight.ndim, weight.shape, name in nested))
    of_bits = f"bits: {LEVELS} levels for {len(nested)} tensors, {len(weights) - len(nested)} small ones sent once"
    ordered = tuple(sorted(pieces, key=lambda p: (p.stage, p.group)))
    return Adapted(ordered, tensors, step, depths, (of_depth, of_width, of_bits))


def assemble(manifest: Manifest, variant: Variant, blocks: Mapping[str, bytes], programs_folder: Path) -> Runnable:
    """What runs a variant, by the program that its manifest's network names. Raises BlockError, ProgramError or Unfit."""
    network = manifest.network
    file = programs_folder / f"{network['program']}.py"
    module = programs.result_of(programs.read(file), file, network["function"])
    return runnable(module, network, variant.depth, tensors(manifest, variant, blocks))


def tensors(manifest: Manifest, variant: Variant, blocks: Mapping[str, bytes]) -> dict[str, Array]:
    """Decode a variant; the one that is a plain file has the module's own tensors, cut nowhere. Raises BlockError."""
    if variant.bits:
        return codec.tensors(manifest, variant, blocks)
    (file,) = manifest.blocks_of(variant)
    if codec.digest_of(blocks.get(file.digest, b"")) != file.digest:
        raise codec.BlockError(file.digest, "missing, or its bytes do not match its digest")
    return safetensors.numpy.load(blocks[file.digest])


def runnable(module: nn.Module, network: Mapping[str, Any], depth: int, tensors: Mapping[str, Array]) -> Runnable:
    """What a variant's tensors make of a fresh module; `network` is the manifest's. Raises Unfit where they do not fit it."""
    module.float()
    own = module.state_dict(keep_vars=True)
    with torch.no_grad():
        for name, array in tensors.items():
            layer, _, part = name.rpartition(".")
            if name in own and own[name].numel() == array.size:
                own[name].copy_(torch.from_numpy(array).view_as(own[name]))
            elif part == "left" and f"{layer}.right" in tensors:
                _replace(module, layer, _low_rank(module.get_submodule(layer), array, tensors[f"{layer}.right"]))
            elif not (part == "right" and f"{layer}.left" in tensors):
                raise Unfit(f"the program's module has no {name} of {list(array.shape)}")
    return Runnable(shallow(module, depth) if network["depths"] else module, network["input"])


def fill(module: nn.Module, weights: Mapping[str, Tensor], file: str) -> None:
    """Put the weights of a file into a module. Raises Unfit, which names the tensors that do not fit."""
    own = module.state_dict(keep_vars=True)
    trained = learned(module)
    for what, names in (
        (f"{file}: lacks {{}}, which build's module has", trained.keys() - weights.keys()),
        (f"{file}: has {{}}, which build's module has not", weights.keys() - own.keys()),
    ):
        if names:
            raise Unfit(what.format(_listed(names)))
    for name, weight in weights.items():
        if weight.shape != own[name].shape:
            raise Unfit(f"{file}: {name} is {list(weight.shape)}, build's module wants {list(own[name].shape)}")
        if name in trained and not weight.isfinite().all():
            raise Unfit(f"{file}: {name} has {int((~weight.isfinite()).sum())} values that are no finite numbers")
        fixed = not own[name].is_floating_point() and not name.endswith("num_batches_tracked")
        if fixed and not torch.equal(weight, own[name]):
            raise Unfit(
                f"{file}: {name} is of {weight.dtype} and not what build makes of it; only floats are published"
            )
    with torch.no_grad():
        for name in trained:
            own[name].copy_(weights[name])


def shallow(module: nn.Module, depth: int) -> nn.Sequential:
    """The first stages of a module that has `stages`, `exits` and perhaps a `stem`, and the exit there."""
    stages, exits = module.get_submodule("stages"), module.get_submodule("exits")
    stem = [module.get_submodule("stem")] if hasattr(module, "stem") else []
    assert isinstance(stages, nn.ModuleList) and isinstance(exits, nn.ModuleList)
    return nn.Sequential(*stem, *stages[:depth], exits[depth - 1])


class _Cut(NamedTuple):
    """A linear layer as factors, and how many of their ranks each width has."""

    factors: Factors
    ranks: tuple[int, ...]


def _step(nested: Sequence[Array]) -> float:
    """The first quantisation step; to six digits, as JSON has it. Raises Unfit."""
    deviation = float(np.std(np.concatenate([weight.ravel() for weight in nested]))) if nested else 0.0
    if deviation == 0:
        raise Unfit("build: its module has no matrix whose weights differ; there is nothing to publish")
    return float(f"{FIRST_STEP * deviation:.6g}")


def _cuts(matrices: Mapping[str, Array], size: int, step: float) -> tuple[dict[str, _Cut], str]:
    """How each linear layer is cut, and what is to be said of it; `size` is that of all weights of the module.

    At the last width, only ranks are missing that together are less than what rounding to the finest level adds.
    """
    total = sum(matrix.size for matrix in matrices.values())
    if not total:
        return {}, f"width: none: it has no linear layer of rank over {SMALLEST_RANK}"
    if total < CUT * size:
        return {}, f"width: none: its linear layers hold {total / size:.1%} of its weights, less than {CUT:.0%}"
    rounding = (step / 3 ** (LEVELS - 1)) ** 2 / 12  # its variance
    made = {name: low_rank.factors(matrix, matrix.size * rounding) for name, matrix in matrices.items() if matrix.any()}
    singular = {name: factors.singular for name, factors in made.items()}
    sizes = {name: sum(matrices[name].shape) for name in made}
    by_layer = low_rank.ranks(singular, sizes, [*(share * total for share in SHARES), np.inf])
    widths = sorted(set(zip(*by_layer.values(), strict=True)))  # small layers have the same at two shares
    if len(widths) < 2:
        return {}, "width: none: its linear layers are too small to be cut"
    cuts = {name: _Cut(made[name], ranks) for name, ranks in zip(by_layer, zip(*widths, strict=True), strict=True)}
    shown = ", ".join(f"{name} {'/'.join(map(str, cut.ranks))}" for name, cut in cuts.items())
    return cuts, f"width: {len(widths)} widths, by the ranks of its linear layers: {shown}"


def _factor_pieces(layer: str, stage: int, shape: Sequence[int], counts: Sequence[int]) -> list[Piece]:
    """Each width adds columns to left and rows to right."""
    rows, columns = shape
    pieces = []
    for group, (before, after) in enumerate(zip([0, *counts], counts, strict=False), 1):
        if after > before:
            pieces += [
                Piece(f"{layer}.left", stage, group, (0, before), (rows, after), nested=True),
                Piece(f"{layer}.right", stage, group, (before, 0), (after, columns), nested=True),
            ]
    return pieces


def _depths(module: nn.Module, inputs: Tensor) -> tuple[int, str]:
    """How many stages can be the last one, 0 where the module runs whole only; and what is to be said of it."""
    stages, exits = getattr(module, "stages", None), getattr(module, "exits", None)
    if not isinstance(stages, nn.ModuleList) or not isinstance(exits, nn.ModuleList):
        return 0, "depth: none: it has no `stages` and `exits`, two nn.ModuleList of equal length"
    if len(stages) != len(exits) or len(stages) < 2:
        numbers = f"{len(stages)} stages and {len(exits)} exits"
        return 0, f"depth: none: it has {numbers}; it takes two or more, and an exit for each"
    outside = [name for name in learned(module) if name.partition(".")[0] not in ("stem", "stages", "exits")]
    if outside:
        return 0, f"depth: none: {outside[0]} is outside of stem, stages and exits"
    with torch.inference_mode():
        whole, cut = module(inputs), shallow(module, len(stages))(inputs)
    whole = whole[-1] if isinstance(whole, (list, tuple)) else whole  # it may give every exit's
    if not torch.allclose(whole, cut, rtol=1e-4, atol=1e-5):
        return 0, "depth: none: the last exit after stem and all stages does not give what forward gives"
    return len(stages), f"depth: {len(stages)} stages, with an exit each"


@torch.no_grad()
def _settle_norms(module: nn.Module) -> None:
    """Put each batch norm's statistics into its weight and bias: rounding a variance that is close to 0 would ruin it."""
    for norm in module.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.affine and norm.running_var is not None:
            assert norm.running_mean is not None
            norm.weight.div_((norm.running_var + norm.eps).sqrt())
            norm.bias.sub_(norm.running_mean * norm.weight)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)


def _stages(module: nn.Module) -> dict[str, int]:
    """The stage of each tensor: of one that has several names the first that needs it."""
    first: dict[int, int] = {}
    tensors = module.state_dict(keep_vars=True)
    for name, tensor in tensors.items():
        first[id(tensor)] = min(_stage(name), first.get(id(tensor), _stage(name)))
    return {name: first[id(tensor)] for name, tensor in tensors.items()}


def _stage(name: str) -> int:
    """The stage (from 1) of a tensor; the stem goes with the first one."""
    part, _, rest = name.partition(".")
    return int(rest.partition(".")[0]) + 1 if part in ("stages", "exits") else 1


def _nested(weights: Mapping[str, Array]) -> set[str]:
    """The tensors that get bit levels: matrices and kernels, but for the smallest ones that are next to nothing together."""
    left = ONCE * sum(weight.size for weight in weights.values())
    nested = set()
    for name, weight in sorted(weights.items(), key=lambda item: item[1].size):
        left -= weight.size
        if left < 0 and weight.ndim >= 2:
            nested.add(name)
    return nested


def learned(module: nn.Module) -> dict[str, Tensor]:
    """All tensors of floats by name; one that has several names by its first."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if tensor.is_floating_point() and tensor.numel():
            found.setdefault(id(tensor), (name, tensor))
    return dict(found.values())


def _linears(module: nn.Module) -> list[str]:
    """The linear layers that can be cut: none of a subclass, and none whose weights something else uses too."""
    uses = [id(tensor) for _, tensor in module.named_parameters(remove_duplicate=False)]
    return [
        name
        for name, layer in module.named_modules()
        if type(layer) is nn.Linear and min(layer.weight.shape) > SMALLEST_RANK and uses.count(id(layer.weight)) == 1
    ]


def _low_rank(linear: nn.Module, left: Array, right: Array) -> nn.Module:
    """A linear layer from its factors: two products where that takes fewer operations, else one."""
    assert isinstance(linear, nn.Linear)
    first, second = map(torch.from_numpy, low_rank.product(left, right))
    if len(right) * sum(linear.weight.shape) < linear.weight.numel():
        return _LowRank(linear, first, second)
    linear.weight = nn.Parameter(first @ second)
    return linear


def _replace(module: nn.Module, path: str, layer: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, layer)


def _listed(names: set[str]) -> str:
    first = sorted(names)[:4]
    return ", ".join(first) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
