"""Training an elastic network, and publishing it as blocks with a measured accuracy for every variant.

`base` trains all depths and widths with batch norm, folds it, and fine-tunes with rounded weights; `specialise` goes on
from there with the images of another situation. Effort is counted in steps, randomness comes from seeded generators
and one thread computes, so two trainings on the same kind of processor give the same bits.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from msgspec import structs
from numpy.typing import NDArray
from torch import Generator, Tensor

from edge_nodes import codec, elastic, situations
from edge_nodes.architecture import Architecture
from edge_nodes.elastic import Elastic
from edge_nodes.manifest import Block, Manifest, Variant
from edge_nodes.situations import BASE, Split
from edge_nodes.zoo import LICENCE, SOURCE, Recipe


@dataclass(frozen=True)
class Published:
    """A model as it goes into a library, `blocks` by digest; and its unrounded weights, to go on from.

    Arrays, not tensors: torch hands tensors to other processes as shared memory, where their trainings would mix.
    """

    manifest: Manifest
    blocks: dict[str, bytes]
    weights: dict[str, NDArray[np.float32]]


def base(recipe: Recipe) -> Published:
    """Train the base model from nothing, on clear images."""
    with _reproducible():
        network = Elastic(recipe.architecture, Generator().manual_seed(recipe.seed))
        _fit(network, BASE, recipe, recipe.pretrain_steps, rate=2e-3)
        network.fold()
        network.architecture = replace(recipe.architecture, step=_step(network, recipe))
        _fit(network, BASE, recipe, recipe.tune_steps, rate=1e-3, rounded=True)
        return _publish(network, BASE, recipe)


def specialise(start: Published, situation: str, recipe: Recipe) -> Published:
    """Fine-tune the base model for a situation.

    The matrices of the last stage stay as they are: that costs no accuracy, and their finer blocks stay shared.
    """
    with _reproducible():
        weights = {name: torch.from_numpy(array) for name, array in start.weights.items()}
        network = Elastic.folded(Architecture.of(start.manifest.network), weights)
        last = recipe.architecture.stages
        for name in (f"expand{last}", f"project{last}"):
            network.weights[name].requires_grad_(False)
        _fit(network, situation, recipe, recipe.specialise_steps, rate=4e-3, rounded=True)
        return _publish(network, situation, recipe)


def held_out(situation: str, recipe: Recipe) -> Split:
    """Return what devices see in a situation: `recipe.views` rounds of views of all held-out images."""
    _, _, part = situations.split()
    seed = 1000 + list(situations.SITUATIONS).index(situation)
    images = part.images.repeat(recipe.views, 1, 1, 1)
    return Split(situations.see(situation, images, Generator().manual_seed(seed)), part.labels.repeat(recipe.views))


def _fit(network: Elastic, situation: str, recipe: Recipe, steps: int, rate: float, rounded: bool = False) -> None:
    """Train with AdamW and a cosine schedule. `rounded`: to a random bit level each step, oftenest the coarsest."""
    train, _, _ = situations.split()
    generator = Generator().manual_seed(recipe.seed + 1)
    levels = [1, *range(1, recipe.architecture.levels + 1)]
    parameters = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(parameters, rate, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    network.train()
    for _ in range(steps):
        chosen = torch.randint(len(train.labels), (recipe.batch,), generator=generator)
        bits = levels[int(torch.randint(len(levels), (), generator=generator))] if rounded else None
        views = situations.see(situation, train.images[chosen], generator)
        loss = _loss(network(views, bits), train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 2.0)
        optimizer.step()
        schedule.step()
    network.eval()


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy over all exits and widths, `[stages, groups, N, classes]`; the largest teaches the others.

    In-place distillation, after Yu & Huang, "Universally Slimmable Networks", 2019. Their sandwich rule draws a few
    widths a step; here one pass gives all, so all are trained every step.
    """
    hard = F.one_hot(labels, logits.shape[-1]).float()
    soft = (hard + logits[-1, -1].detach().softmax(-1)) / 2
    targets = soft.repeat(*logits.shape[:2], 1, 1)
    targets[-1, -1] = hard
    return F.cross_entropy(logits.flatten(0, 2), targets.flatten(0, 2), label_smoothing=0.1)


def _step(network: Elastic, recipe: Recipe) -> float:
    """Return the first quantisation step, from the deviation of the coded weights; to six digits, as JSON has it."""
    a = recipe.architecture
    weights = [
        network.matrix(f"{name}{stage}").detach() for name in ("expand", "project") for stage in range(1, a.stages + 1)
    ]
    deviation = torch.cat([weight[weight != 0] for weight in weights]).std().item()
    return float(f"{recipe.step_deviations * deviation:.6g}")


def _publish(network: Elastic, model: str, recipe: Recipe) -> Published:
    """Cut a network into blocks, and measure every variant as a device will run it: decoded from its blocks."""
    a = network.architecture
    parts = elastic.pieces(a)
    weights = {name: weight.numpy() for name, weight in network.state().items()}
    encoded = codec.encode(parts, a.step, a.levels, weights)
    # The order of sending: widths first, then depths, then bits; so the prefixes of one stream are good variants too.
    keys = sorted(encoded, key=lambda key: (key[2], key[0], key[1]))
    blocks = tuple(Block(codec.digest_of(encoded[key]), len(encoded[key]), *key) for key in keys)
    contents = {block.digest: encoded[key] for block, key in zip(blocks, keys, strict=True)}
    base = None if model == BASE else BASE
    manifest = Manifest(model, base, asdict(a), blocks, (), LICENCE, SOURCE, pieces=parts, step=a.step)
    own, clear = held_out(model, recipe), held_out(BASE, recipe)
    choices = product(range(1, a.stages + 1), range(1, a.groups + 1), range(1, a.levels + 1))
    variants = [_measure(manifest, contents, choice, (own, clear), recipe.views) for choice in choices]
    return Published(structs.replace(manifest, variants=_mark_pareto(variants)), contents, weights)


def _measure(
    manifest: Manifest, contents: dict[str, bytes], choice: tuple[int, int, int], seen: tuple[Split, Split], views: int
) -> Variant:
    depth, width, bits = choice
    indices = tuple(
        i for i, b in enumerate(manifest.blocks) if b.stage <= depth and b.group <= width and b.level <= bits
    )
    size = sum(manifest.blocks[i].bytes for i in indices)
    variant = Variant(f"d{depth}w{width}b{bits}", *choice, indices, size, 0, 0, 0.0, 0.0, 0.0)
    network = elastic.build(manifest.network, depth, codec.tensors(manifest, variant, contents))
    (accuracy, error), (clear, _) = (accuracy_of(network, split, views) for split in seen)
    macs, memory = network.macs(), network.memory()
    return structs.replace(
        variant, macs=macs, memory=memory, accuracy=accuracy, accuracy_se=error, accuracy_clear=clear
    )


@torch.inference_mode()
def accuracy_of(network: torch.nn.Module, seen: Split, views: int) -> tuple[float, float]:
    """Return the accuracy and its standard error, to six digits.

    The views of one image are not independent, so the error is that of the mean over images of each image's own mean.
    """
    right = (network(seen.images).argmax(-1) == seen.labels).double().view(views, -1).mean(0)
    return round(right.mean().item(), 6), round(right.std().item() / len(right) ** 0.5, 6)


def _mark_pareto(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Mark the variants that no other one beats in bytes and accuracy."""
    best, front = -1.0, set()
    for variant in sorted(variants, key=lambda v: (v.bytes, -v.accuracy)):
        if variant.accuracy > best:
            best = variant.accuracy
            front.add(variant.name)
    return tuple(structs.replace(variant, pareto=variant.name in front) for variant in variants)


@contextmanager
def _reproducible() -> Iterator[None]:
    """Compute on one thread and only with deterministic kernels; leave torch as it was."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
