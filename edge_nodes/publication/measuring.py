"""Publishing a trained elastic network: cut into blocks, and every variant measured as a device will run it."""

from collections.abc import Iterator, Sequence
from itertools import chain, product
from typing import NamedTuple

import torch
from msgspec import structs
from torch import Tensor

from edge_nodes.models import codec
from edge_nodes.models.compact import Compact, build
from edge_nodes.models.elastic import Elastic
from edge_nodes.models.manifest import Block, Manifest, Variant
from edge_nodes.publication.shipping import file_of


class Seen(NamedTuple):
    """Held-out images `[views x N, ...]` and their labels, each image seen `views` times, one round after the other."""

    images: Tensor
    labels: Tensor
    views: int


class Accuracy(NamedTuple):
    """A share of right answers, and its standard error."""

    mean: float
    error: float


class Published(NamedTuple):
    """A model as it goes into a library, `blocks` by digest."""

    manifest: Manifest
    blocks: dict[str, bytes]


def publish(manifest: Manifest, network: Elastic, own: Seen, clear: Seen) -> Published:
    """Fill a manifest that has neither blocks nor variants. `own` is what the model is for, `clear` what its base is for."""
    manifest = structs.replace(
        manifest, network=network.describe(), pieces=network.pieces(), deltas=network.deltas(), step=network.step
    )
    encoded = codec.encode(manifest.pieces, manifest.step, network.levels, network.tensors(), manifest.deltas)
    # A good order of sending: widths first, then depths, then bits; so the prefixes of one stream are good variants too.
    keys = sorted(encoded, key=lambda key: (max(key[2], 1), *key))
    blocks = {codec.digest_of(encoded[key]): encoded[key] for key in keys}
    listed = tuple(Block(codec.digest_of(encoded[key]), len(encoded[key]), *key) for key in keys)
    manifest = structs.replace(manifest, blocks=listed)
    floats = accuracies(network, own)
    choices = product(range(1, network.widths + 1), range(1, network.levels + 1))
    depths = (measured(manifest, blocks, network.depths, *choice, own, clear) for choice in choices)
    variants = [
        structs.replace(variant, accuracy_float=floats[variant.depth - 1][variant.width - 1].mean)
        for variant in sorted(chain.from_iterable(depths), key=lambda v: (v.depth, v.width, v.bits))
    ]
    manifest = structs.replace(manifest, variants=mark_pareto(variants))
    return Published(with_file(manifest, blocks), blocks)


def variant_of(manifest: Manifest, depth: int, width: int, bits: int) -> Variant:
    """Return a variant that has its blocks, and no figures yet but their bytes."""
    indices = tuple(
        i for i, b in enumerate(manifest.blocks) if b.stage <= depth and b.group <= width and b.level <= bits
    )
    size = sum(manifest.blocks[i].bytes for i in indices)
    return Variant(f"d{depth}w{width}b{bits}", depth, width, bits, indices, size, 0, 0, 0.0, 0.0, 0.0)


def measured(
    manifest: Manifest, blocks: dict[str, bytes], depths: int, width: int, bits: int, own: Seen, clear: Seen
) -> list[Variant]:
    """Return the variants of every depth with their figures, from the networks that their blocks make."""
    tensors = codec.tensors(manifest, variant_of(manifest, depths, width, bits), blocks)
    networks = [build(manifest.network, depth, tensors) for depth in range(1, depths + 1)]
    with torch.inference_mode():
        both = [[accuracy_of(logits, seen) for logits in at_all_depths(networks, seen.images)] for seen in (own, clear)]
    return [
        structs.replace(
            variant_of(manifest, depth, width, bits),
            macs=network.macs(),
            memory=network.memory(),
            accuracy=here.mean,
            accuracy_se=here.error,
            accuracy_clear=there.mean,
        )
        for depth, (network, here, there) in enumerate(zip(networks, *both, strict=True), 1)
    ]


def at_all_depths(networks: Sequence[Compact], images: Tensor) -> Iterator[Tensor]:
    """Yield the logits of networks of which each goes on where the one before has its exit: what each gives alone."""
    y, done = images, 0
    for network in networks:
        y = network.body[done:](y)
        done = len(network.body)
        yield network.exit(y)


def with_file(manifest: Manifest, blocks: dict[str, bytes]) -> Manifest:
    """Add the variant `file`: the whole model at its finest level, as one file of float32 weights."""
    whole = manifest.variants[-1]
    content = file_of(manifest, blocks)
    block = Block(codec.digest_of(content), len(content), 0, 0, 0)
    file = structs.replace(whole, name="file", bits=0, blocks=(len(manifest.blocks),), bytes=len(content), pareto=False)
    return structs.replace(manifest, blocks=(*manifest.blocks, block), variants=(*manifest.variants, file))


@torch.inference_mode()
def accuracies(network: Elastic, seen: Seen) -> list[list[Accuracy]]:
    """Return the accuracy of the unrounded weights at every depth and width."""
    return [[accuracy_of(logits, seen) for logits in widths] for widths in network(seen.images)]


def accuracy_of(logits: Tensor, seen: Seen) -> Accuracy:
    """Return the accuracy of logits `[N, classes]` and its standard error, to six digits.

    The views of one image are not independent, so the error is that of the mean over images of each image's own mean.
    """
    right = (logits.argmax(-1) == seen.labels).double().view(seen.views, -1).mean(0)
    return Accuracy(round(right.mean().item(), 6), round(right.std().item() / len(right) ** 0.5, 6))


def mark_pareto(variants: Sequence[Variant]) -> tuple[Variant, ...]:
    """Mark the variants that no other one beats in bytes and accuracy."""
    best, front = -1.0, set()
    for variant in sorted(variants, key=lambda v: (v.bytes, -v.accuracy)):
        if variant.accuracy > best:
            best = variant.accuracy
            front.add(variant.name)
    return tuple(structs.replace(variant, pareto=variant.name in front) for variant in variants)
