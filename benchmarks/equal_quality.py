"""Our code beside NNCodec's, at equal accuracy and at equal divergence from the model in float32."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from msgspec.structs import replace
from torch import Generator, Tensor

from benchmarks import nncodec
from benchmarks.curves import Point, best_accuracy, bytes_at_accuracy, bytes_at_divergence
from benchmarks.published import Floats, Library, accuracy, kilobytes
from benchmarks.tables import Row, Table
from edge_nodes.models import codec
from edge_nodes.models.elastic import build
from edge_nodes.models.manifest import Block, Variant, shapes
from edge_nodes.publication import situations, training, zoo
from edge_nodes.publication.measuring import accuracy_of, variant_of

PARAMETERS = range(-32, -7, 2)  # steps of 2^-8 to 2^-2
FINER = range(-38, -32, 2)  # for divergence alone: accuracy changes there only by chance
EXITS, SMALL = (
    16,
    128,
)  # NNCodec's steps in a root mean square of exits, and of biases and first layers, where it is coarse
VIEWS = 4  # of every validation image
MOST_UNTUNED, MOST_WHOLE, MOST_SMALLEST = 1.1, 0.5, 0.7  # of NNCodec's bytes


class Judge:
    """Measures codings of one depth and width."""

    def __init__(self, library: Library, largest: Variant, exact: Mapping[str, Floats]) -> None:
        """`exact` are the weights in float32 that divergence is measured from."""
        self._network, self._depth = library.base.network, largest.depth
        self._pieces = library.base.pieces_of(largest.depth, largest.width)
        _, part, _ = situations.split()
        images = part.images.repeat(VIEWS, 1, 1, 1)
        self._validation = situations.see(situations.BASE, images, Generator().manual_seed(2000))
        self._held_out = training.held_out(situations.BASE, zoo.RECIPE)
        reach = shapes(self._pieces)
        cut = {name: np.ascontiguousarray(exact[name][tuple(map(slice, shape))]) for name, shape in reach.items()}
        self._wanted = build(self._network, self._depth, cut)(self._validation)

    def point(self, size: int, tensors: Mapping[str, Floats]) -> Point:
        network = build(self._network, self._depth, tensors)
        right = accuracy_of(network(self._held_out.images), self._held_out).mean
        return Point(size, divergence(self._wanted, network(self._validation)), right)

    def nncodec(self, weights: Mapping[str, Floats], over: Sequence[int]) -> list[Point]:
        """What NNCodec makes of weights, over its quantisation parameters; the finest come last."""
        parts = {f"{n}": weights[piece.tensor][piece.where()] for n, piece in enumerate(self._pieces)}
        once = [f"{n}" for n, piece in enumerate(self._pieces) if not piece.nested]
        parameters = {qp: {name: own_parameter(parts[name], qp) for name in once} for qp in over}
        points = []
        for coded in nncodec.scan(parts, parameters):
            tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes(self._pieces).items()}
            for n, piece in enumerate(self._pieces):
                tensors[piece.tensor][piece.where()] = coded.tensors[f"{n}"]
            points.append(self.point(coded.bytes, tensors))
        return sorted(points)


class End(NamedTuple):
    """The whole net or the smallest variant: NNCodec's curves of the weights before tuning and of ours, and our nested points."""

    largest: Variant
    limit: float
    before: list[Point]
    tuned: list[Point]
    nested: list[Point]


@torch.inference_mode()
def tables(library: Library, unrounded: Mapping[str, Floats]) -> list[Table]:
    """`unrounded` are the base model's weights before they were tuned to be rounded."""
    ours = library.tensors(library.base, library.whole)
    ends = []
    for largest, limit in ((library.whole, MOST_WHOLE), (library.smallest, MOST_SMALLEST)):
        judge = Judge(library, largest, unrounded)
        nested = [nested_point(library, judge, largest, level, unrounded) for level in range(1, library.whole.bits + 1)]
        before, tuned = judge.nncodec(unrounded, (*FINER, *PARAMETERS)), judge.nncodec(ours, PARAMETERS)
        ends.append(End(largest, limit, before, tuned, nested))
    return [at_equal_accuracy(library, ends), at_equal_divergence(ends)]


def at_equal_accuracy(library: Library, ends: list[End]) -> Table:
    """Our tuned and nested variants beside NNCodec, which is given the weights before they were tuned, and ours."""
    rows = []
    for end in ends:
        for level in range(1, library.whole.bits + 1):
            ours = library.base.variant(f"d{end.largest.depth}w{end.largest.width}b{level}")
            (before, ratio), (tuned, other) = beside(ours, end.before[: -len(FINER)]), beside(ours, end.tuned)
            holds = ratio <= end.limit if level == 1 else None
            cells = (ours.name, accuracy(ours), kilobytes(ours.bytes), before, f"{ratio:.2f}", tuned, f"{other:.2f}")
            rows.append(Row(cells, holds))
    note = (
        "Held-out images. NNCodec 2.1.3 with dependent quantisation; what we send once at quantisation parameters of its own; one "
        "tensor for each of our pieces, which is shorter than whole matrices with zeros; the rest scanned over "
        f"{PARAMETERS[0]} to {PARAMETERS[-1]}. Its bytes are those at which it has our accuracy: its accuracies over bytes made "
        "monotone by pooling neighbours, and logarithmic interpolation. Where it never has our accuracy, they are the bytes of "
        "its best, which is given. It codes the model's weights before they were tuned to be rounded, and for comparison ours. "
        f"Limits, of the former and at level 1: {MOST_WHOLE} × for the whole net, {MOST_SMALLEST} × for the smallest."
    )
    columns = ("variant", "accuracy", "kB", "NNCodec, before: kB", "ours / it", "NNCodec, tuned: kB", "ours / it")
    return Table("With fine-tuning, at equal accuracy", note, columns, rows)


def beside(ours: Variant, curve: list[Point]) -> tuple[str, float]:
    """NNCodec's bytes at our accuracy, as a text, and ours over them."""
    best = best_accuracy(curve)
    size = bytes_at_accuracy(curve, min(ours.accuracy, best))
    if size is None:  # even the fewest bytes have more than our accuracy
        return f"< {kilobytes(curve[0].bytes)}", ours.bytes / curve[0].bytes
    return f"{kilobytes(size)}{f' ({best:.1%})' if best < ours.accuracy else ''}", ours.bytes / size


def at_equal_divergence(ends: list[End]) -> Table:
    """The weights before they were tuned, nested by us and coded by NNCodec."""
    rows = []
    for end in ends:
        for level, ours in enumerate(end.nested, 1):
            size = bytes_at_divergence(end.before, ours.divergence)
            theirs = ("", "") if size is None else (kilobytes(size), f"{ours.bytes / size:.2f}")
            cells = (
                f"d{end.largest.depth}w{end.largest.width}b{level}",
                f"{ours.divergence:.5f}",
                kilobytes(ours.bytes),
            )
            rows.append(Row((*cells, *theirs), None if size is None else ours.bytes <= MOST_UNTUNED * size))
    note = (
        f"KL from the model in float32, {VIEWS} views of each validation image. NNCodec, scanned from {FINER[0]}: its bytes at our "
        f"KL by logarithmic interpolation; no size is given where its scan does not reach our KL. Limit: {MOST_UNTUNED} ×."
    )
    columns = ("variant", "KL", "kB", "NNCodec kB", "ours / it")
    return Table("Without fine-tuning, at equal divergence", note, columns, rows)


def nested_point(library: Library, judge: Judge, largest: Variant, level: int, weights: Mapping[str, Floats]) -> Point:
    """What our code makes of weights in one variant."""
    base = library.base
    encoded = codec.encode(base.pieces, base.step, level, weights)
    blocks = {codec.digest_of(content): content for content in encoded.values()}
    listed = tuple(Block(codec.digest_of(content), len(content), *key) for key, content in encoded.items())
    manifest = replace(base, blocks=listed, variants=())
    variant = variant_of(manifest, largest.depth, largest.width, level)
    return judge.point(variant.bytes, codec.tensors(manifest, variant, blocks))


def own_parameter(part: Floats, qp: int) -> int:
    """NNCodec's own quantisation parameter for what we send once: by the rule that our code has, where `qp` is coarse.

    Where it is fine, theirs is finer too, or they would be what its divergence comes from.
    """
    root = float(np.sqrt(np.mean(part.astype(np.float64) ** 2)))
    ours = nncodec.parameter(max(root, 2.0**-16) / (EXITS if part.size >= codec.SMALL else SMALL))
    return ours + min(0, (qp + 16) // 2)


def divergence(wanted: Tensor, got: Tensor) -> float:
    """KL(wanted ‖ got) of the classes that logits mean, in nats, over all images."""
    target = wanted.double().log_softmax(-1)
    return float((target.exp() * (target - got.double().log_softmax(-1))).sum(-1).mean())
