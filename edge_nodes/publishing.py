"""From a model's tensors to what a library holds: blocks, and a measured figure for every variant that can be made of them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple, Protocol

import safetensors.numpy
import torch
from msgspec import structs
from torch import Tensor, nn

from edge_nodes import codec
from edge_nodes.codec import Floats, digest_of
from edge_nodes.manifest import Block, Manifest, Variant

BATCH = 256


class Figures(NamedTuple):
    """What is measured of a variant; the fields of `Variant` say it."""

    macs: int
    memory: int
    accuracy: float
    accuracy_se: float
    accuracy_clear: float


class Evaluate(Protocol):
    def __call__(self, variant: Variant, tensors: Mapping[str, Floats]) -> Figures:
        """Run a variant, built from its decoded tensors, on the held-out set."""


class Published(NamedTuple):
    """A model as it goes into a library, `blocks` by digest."""

    manifest: Manifest
    blocks: dict[str, bytes]


def publish(
    manifest: Manifest,
    encoded: Mapping[codec.Key, bytes],
    evaluate: Evaluate,
    file: Mapping[str, Floats] | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> Published:
    """Measure every variant of a model whose manifest has no blocks and no variants yet.

    `encoded` are its blocks, of a specialisation with those that are its base's. `file` are the weights of the variant `file`.
    `report` gets a line for each variant.
    """
    # The order of sending: widths first, then depths, then bits; so the prefixes of one stream are good variants too.
    keys = sorted(encoded, key=lambda key: (max(key[2], 1), key[0], key[1], key[2]))
    contents = {key: encoded[key] for key in keys}
    if file is not None:
        contents[0, 0, 0] = safetensors.numpy.save(dict(file))
    blocks = tuple(Block(digest_of(content), len(content), *key) for key, content in contents.items())
    by_digest = {block.digest: content for block, content in zip(blocks, contents.values(), strict=True)}
    made = structs.replace(manifest, blocks=blocks)
    measured = []
    for variant in _variants(blocks):
        figures = evaluate(variant, codec.tensors(made, variant, by_digest))
        measured.append(structs.replace(variant, **figures._asdict()))
        report(f"{variant.name}: {variant.bytes:,} bytes, accuracy {figures.accuracy:.2%} ± {figures.accuracy_se:.2%}")
    return Published(structs.replace(made, variants=mark_pareto(measured)), by_digest)


def _variants(blocks: Sequence[Block]) -> Iterator[Variant]:
    """Every depth × width × bits, and `file`, not measured yet."""
    seen = set()
    deepest, widest, finest = (max(getattr(block, axis) for block in blocks) for axis in ("stage", "group", "level"))
    for depth, width, bits in product(*(range(1, most + 1) for most in (deepest, widest, finest))):
        variant = _variant(f"d{depth}w{width}b{bits}", depth, width, bits, blocks)
        if variant.blocks not in seen:  # where the first stages have no width
            seen.add(variant.blocks)
            yield variant
    if any(block.stage == 0 for block in blocks):
        yield _variant("file", deepest, widest, 0, blocks)


def _variant(name: str, depth: int, width: int, bits: int, blocks: Sequence[Block]) -> Variant:
    def is_part(block: Block) -> bool:
        if bits == 0 or block.stage == 0:
            return bits == block.stage == 0
        return block.stage <= depth and block.group <= width and block.level <= bits

    chosen = tuple(index for index, block in enumerate(blocks) if is_part(block))
    return Variant(name, depth, width, bits, chosen, sum(blocks[index].bytes for index in chosen), 0, 0, 0.0, 0.0, 0.0)


def mark_pareto(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Mark the variants that no other one beats in bytes and accuracy; `file` never is one."""
    best, front = -1.0, set()
    for variant in sorted(variants, key=lambda v: (v.bytes, -v.accuracy)):
        if variant.bits and variant.accuracy > best:
            best = variant.accuracy
            front.add(variant.name)
    return tuple(structs.replace(variant, pareto=variant.name in front) for variant in variants)


@torch.inference_mode()
def accuracy(network: nn.Module, inputs: Tensor, labels: Tensor, views: int = 1) -> tuple[float, float]:
    """The share of `inputs` `[views * N, …]` that are classified as their `labels`, and its standard error, to six digits.

    The views of one image are not independent, so the error is that of the mean over images of each image's own mean.
    """
    batches = (inputs[start : start + BATCH] for start in range(0, len(inputs), BATCH))
    guesses = torch.cat([network(batch).argmax(-1) for batch in batches])
    right = (guesses == labels).double().view(views, -1).mean(0)
    return round(right.mean().item(), 6), round(right.std().item() / len(right) ** 0.5, 6)
