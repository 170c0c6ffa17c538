"""Publishing a user's own module: cut into blocks, and every variant measured as a device will run it."""

from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import safetensors.numpy
import torch
from msgspec import structs
from torch import nn

from edge_nodes.models import adapt, codec, programs
from edge_nodes.models.adapt import LEVELS, Adapted, Runnable, Unfit
from edge_nodes.models.elastic import Elastic
from edge_nodes.models.low_rank import Array
from edge_nodes.models.manifest import Block, Manifest, Variant, shapes
from edge_nodes.publication import measuring, own_model, published
from edge_nodes.publication.measuring import Accuracy, Published, Seen, accuracy_of, mark_pareto, variant_of
from edge_nodes.publication.own_model import Given, HeldOut, Source
from edge_nodes.publication.shipping import file_of
from edge_nodes.publication.training import first_step

BATCH = 256
Report = Callable[[str], None]


def publish(source: Source, folder: Path, report: Report) -> Manifest:
    """Measure every variant of a model, on one thread as a device does, and add it to the library in `folder`.

    `report` gets a line for what the module gives, and one for each variant. Raises Unfit, ProgramError or LibraryError for what is
    wrong with what the user gave and named, before anything is written; OSError.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        given = own_model.read(source, folder)
        network = given.trained
        made = (
            _elastic(source, given, network, report) if isinstance(network, Elastic) else _module(source, given, report)
        )
    finally:
        torch.set_num_threads(threads)
    inputs, labels = given.held_out
    program = given.program if made.manifest.network["kind"] == adapt.KIND else None
    published.add(folder, made.manifest, made.blocks, inputs.numpy(), labels.numpy(), program)
    return made.manifest


def _elastic(source: Source, given: Given, network: Elastic, report: Report) -> Published:
    """A network of `elastic` layers is cut as it was made to be; it may have been trained for a step of its own."""
    report(
        f"depth: {network.depths} stages, width: {network.widths} groups of channels, bits: {network.levels} levels, as composed"
    )
    network.step = network.step or first_step(network, adapt.FIRST_STEP)
    own, clear = (Seen(*part, views=1) for part in (given.held_out, given.of_base or given.held_out))
    made = measuring.publish(_described(source, given), network, own, clear)
    file = file_of(made.manifest, made.blocks)
    return Published(made.manifest, {**made.blocks, codec.digest_of(file): file})


def _module(source: Source, given: Given, report: Report) -> Published:
    whole = {name: tensor.detach().numpy().copy() for name, tensor in adapt.learned(given.trained).items()}
    adapted = adapt.adapt(given.trained, given.held_out.inputs[: own_model.TRIAL])
    if given.outputs > 1 and not adapted.depths:
        raise Unfit(f"{source.build}: gives {given.outputs} outputs, where one is wanted ({adapted.said[0]})")
    for line in adapted.said:
        report(line)
    try:
        encoded = codec.encode(adapted.pieces, adapted.step, LEVELS, adapted.tensors)
    except OverflowError as error:
        raise Unfit(f"{source.weights}: {error}") from None
    # A good order of sending: widths first, then depths, then bits.
    blocks = {key: encoded[key] for key in sorted(encoded, key=lambda key: (max(key[2], 1), *key))}
    file = safetensors.numpy.save(whole)
    contents = {codec.digest_of(content): content for content in (*blocks.values(), file)}
    listed = tuple(_block(content, *key) for key, content in blocks.items())
    manifest = structs.replace(
        _described(source, given),
        network=_network(source, given, adapted),
        blocks=listed,
        pieces=adapted.pieces,
        step=adapted.step,
    )
    bench = _Bench(given, adapted, manifest, report)
    variants = mark_pareto(
        [bench.measured(variant, adapt.tensors(manifest, variant, contents)) for variant in _variants(manifest)]
    )
    plain = structs.replace(variants[-1], name="file", bits=0, blocks=(len(listed),), bytes=len(file), pareto=False)
    with_file = structs.replace(manifest, blocks=(*listed, _block(file, 0, 0, 0)))
    return Published(structs.replace(with_file, variants=(*variants, bench.measured(plain, whole))), contents)


def _described(source: Source, given: Given) -> Manifest:
    return Manifest(source.model, given.base, {}, (), (), source.licence, source.source)


def _network(source: Source, given: Given, adapted: Adapted) -> dict[str, Any]:
    return {
        "kind": adapt.KIND,
        "program": programs.sha256(given.program),
        "function": programs.split(source.build)[1],
        "input": list(given.held_out.inputs.shape[1:]),
        "depths": adapted.depths,
    }


def _block(content: bytes, stage: int, group: int, level: int) -> Block:
    return Block(codec.digest_of(content), len(content), stage, group, level)


def _variants(manifest: Manifest) -> list[Variant]:
    """Every depth × width × bits; once where some are of the same blocks, because the first stages have no widths."""
    most = (max(getattr(block, axis) for block in manifest.blocks) for axis in ("stage", "group", "level"))
    choices = product(*(range(1, number + 1) for number in most))
    made = {
        variant.blocks: variant for variant in (variant_of(manifest, *choice) for choice in reversed(list(choices)))
    }
    return sorted(made.values(), key=lambda v: (v.depth, v.width, v.bits))


class _Bench:
    """Measures a model's variants on its held-out set, and on that of its base."""

    def __init__(self, given: Given, adapted: Adapted, manifest: Manifest, report: Report) -> None:
        self._given, self._adapted, self._manifest, self._report = given, adapted, manifest, report
        self._exact = cache(self._accuracy_before_rounding)

    def measured(self, variant: Variant, tensors: Mapping[str, Array]) -> Variant:
        runs = self._runnable(variant.depth, tensors)
        right = _accuracy(runs, self._given.held_out)
        clear = _accuracy(runs, self._given.of_base) if self._given.of_base else right
        self._report(f"{variant.name}: {variant.bytes:,} bytes, accuracy {right.mean:.2%} ± {right.error:.2%}")
        return structs.replace(
            variant,
            macs=runs.macs(),
            memory=runs.memory(),
            accuracy=right.mean,
            accuracy_se=right.error,
            accuracy_clear=clear.mean,
            accuracy_float=self._exact(variant.depth, variant.width) if variant.bits else right.mean,
        )

    def _accuracy_before_rounding(self, depth: int, width: int) -> float:
        reach = shapes(self._manifest.pieces_of(depth, width))
        cut = {name: self._adapted.tensors[name][tuple(map(slice, shape))] for name, shape in reach.items()}
        return _accuracy(self._runnable(depth, cut), self._given.held_out).mean

    def _runnable(self, depth: int, tensors: Mapping[str, Array]) -> Runnable:
        return adapt.runnable(self._given.build(), self._manifest.network, depth, tensors)


@torch.inference_mode()
def _accuracy(network: nn.Module, held_out: HeldOut) -> Accuracy:
    inputs = held_out.inputs
    logits = torch.cat([network(inputs[start : start + BATCH]) for start in range(0, len(inputs), BATCH)])
    return accuracy_of(logits, Seen(*held_out, views=1))
