"""What a library knows of a model: its tensors, its blocks, and the variants that can be made of them.

Imports neither torch nor scikit-learn: a library only serves bytes.
"""

import math
import operator
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import structs

MOST_WEIGHTS = 2**28  # of a model, so that a manifest cannot ask for more memory than a device may have
MOST_LEVELS = 8
MOST_RANK = 256  # of a delta: with codes of two factors up to 31 * 7, their products stay below 2^24


class ManifestError(ValueError):
    """A manifest that is not well formed."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A piece of a manifest."""


class Piece(Part, frozen=True):
    """The part of a weight tensor that belongs to one stage and one channel group: `tensor[start:stop, …]`.

    A tensor reaches as far as its pieces in the chosen stages and groups do; between them it is zero.
    """

    tensor: str
    stage: int
    group: int
    start: tuple[int, ...]
    stop: tuple[int, ...]
    nested: bool  # in the blocks of levels 1 and up; otherwise sent once, in the block of level 0

    def where(self) -> tuple[slice, ...]:
        return tuple(map(slice, self.start, self.stop))

    def shape(self) -> tuple[int, ...]:
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    def size(self) -> int:
        return math.prod(self.shape())


class Delta(Part, frozen=True):
    """How a specialisation changes a tensor of its base: plus the product of two small ones, inside the tensor's pieces.

    Each piece of `left` and `right` has all of the rank.
    """

    tensor: str  # [rows, ...]
    left: str  # [rows, rank]; sent once
    right: str  # [rank, ...], the tensor's other dimensions; sent once


class Block(Part, frozen=True):
    """The smallest piece that is stored and sent. Stages, groups and levels count from 1; level 0 is what is sent once."""

    digest: str  # "sha256:" and 64 hexadecimal digits
    bytes: int
    stage: int
    group: int
    level: int


class Variant(Part, frozen=True):
    """A choice of blocks that runs: all with stage ≤ depth, group ≤ width and level ≤ bits."""

    name: str
    depth: int
    width: int
    bits: int  # how many bit levels; 0 where the weights are float32, in one file
    blocks: tuple[int, ...]  # indices into the manifest's blocks, in the order of sending
    bytes: int  # of all its blocks
    macs: int  # multiply-accumulate operations of one inference
    memory: int  # bytes when loaded: weights and the peak of the activations of one inference
    accuracy: float  # on the held-out images of the model's situation, measured from the decoded blocks
    accuracy_se: float  # standard error of `accuracy`
    accuracy_clear: float  # on the held-out images of the base model's situation
    pareto: bool = False  # no other variant has at most its bytes and at least its accuracy
    accuracy_float: float | None = None  # of the weights before they were rounded, at this depth and width


def shapes(pieces: Iterable[Piece]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor: as far as these pieces of it reach."""
    result: dict[str, tuple[int, ...]] = {}
    for piece in pieces:
        result[piece.tensor] = tuple(map(max, result.get(piece.tensor, piece.stop), piece.stop))
    return result


class Manifest(Part, frozen=True):
    """A published model. `base` is the model that it specialises, if it does."""

    model: str
    base: str | None
    network: dict[str, Any]  # how to build what runs the tensors; `elastic` reads it
    blocks: tuple[Block, ...]
    variants: tuple[Variant, ...]
    licence: str = ""
    source: str = ""
    pieces: tuple[Piece, ...] = ()  # in the order of coding
    deltas: tuple[Delta, ...] = ()
    step: float = 0.0  # quantisation step of the first level; level b has step / 3^(b - 1)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a manifest file. Raises OSError or ManifestError."""
        try:
            return cls.from_json(path.read_bytes())
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, text: bytes | memoryview | str) -> Self:
        """Raises ManifestError where `text` is not a manifest, or names a block that it does not have."""
        try:
            manifest = msgspec.json.decode(text, type=cls)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ManifestError(f"not a manifest: {error}") from error
        for fault in chain(manifest._faulty_variants(), manifest._faulty_pieces(), manifest._faulty_deltas()):
            raise ManifestError(f"{manifest.model}: {fault}")
        return manifest

    def _faulty_variants(self) -> Iterator[str]:
        for variant in self.variants:
            if not all(0 <= index < len(self.blocks) for index in variant.blocks):
                yield f"variant {variant.name} names a block that is not listed"
            if not 0 <= variant.bits <= MOST_LEVELS:
                yield f"variant {variant.name} has {variant.bits} levels, and {MOST_LEVELS} are the most"

    def _faulty_pieces(self) -> Iterator[str]:
        dimensions: dict[str, int] = {}
        for piece in self.pieces:
            spans = len(piece.start) == len(piece.stop) > 0 and all(map(operator.lt, piece.start, piece.stop))
            if not spans or min(*piece.start, piece.stage - 1, piece.group - 1) < 0:
                yield f"no piece of {piece.tensor} can have stage {piece.stage}, group {piece.group}, {piece.start} to {piece.stop}"
            if dimensions.setdefault(piece.tensor, len(piece.stop)) != len(piece.stop):
                yield f"pieces of {piece.tensor} differ in how many dimensions they have"
        if sum(map(math.prod, shapes(self.pieces).values())) > MOST_WEIGHTS:
            yield f"it has more than {MOST_WEIGHTS} weights"
        if any(piece.nested for piece in self.pieces) and not 0 < self.step < 2.0**32:
            yield f"a quantisation step of {self.step}"

    def _faulty_deltas(self) -> Iterator[str]:
        factors = {name for delta in self.deltas for name in (delta.left, delta.right)}
        for delta in self.deltas:
            tensor, left, right = ([p for p in self.pieces if p.tensor == name] for name in structs.astuple(delta))
            ranks = {(p.start[1:], p.stop[1:]) for p in left} | {(p.start[:1], p.stop[:1]) for p in right}
            if len(ranks) != 1 or not all(start == (0,) and stop[0] <= MOST_RANK for start, stop in ranks):
                yield f"{delta.left} and {delta.right} are not of one rank, {MOST_RANK} at most"
            if delta.tensor in factors or any(piece.nested for piece in left + right):
                yield f"{delta.left} and {delta.right} are nested, or have factors themselves"
            for stage, group in sorted({(piece.stage, piece.group) for piece in tensor}):
                reach = shapes(self.pieces_of(stage, group))
                if reach.get(delta.left, ())[:1] + reach.get(delta.right, ())[1:] != reach[delta.tensor]:
                    yield f"{delta.left} and {delta.right} do not reach as far as {delta.tensor} at stage {stage}, group {group}"

    def pieces_of(self, depth: int, width: int) -> list[Piece]:
        return [piece for piece in self.pieces if piece.stage <= depth and piece.group <= width]

    def to_json(self) -> bytes:
        """Return canonical JSON: keys sorted, no spaces, so that equal manifests are equal bytes."""
        return msgspec.json.encode(self, order="sorted")

    def variant(self, name: str) -> Variant:
        """Raises KeyError for a name that is not listed."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(f"{self.model} has no variant {name!r}")

    def blocks_of(self, variant: Variant, have: Iterable[str] = ()) -> tuple[Block, ...]:
        """Return the blocks of a variant in the order of sending, without those whose digest is in `have`."""
        held = frozenset(have)
        return tuple(block for block in map(self.blocks.__getitem__, variant.blocks) if block.digest not in held)
