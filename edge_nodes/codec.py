"""Weights to blocks and back, exactly: nested bit levels by a step ratio of three, and what is sent once.

Level b rounds a weight w to the code q_b = round(w / step_b), with step_b = step / 3^(b - 1). The code of the level
before is then q_(b-1) = floor((q_b + 1) / 3), which is what rounding w to that level gives. So each level adds one
ternary digit in {-1, 0, 1} to a weight, a prefix of the levels is as good as a separate quantisation, and upgrading
sends nothing twice.

What is sent once has a step of its own for each piece, a power of two. A `Delta` adds to a tensor the product of two
small ones that are sent once: their codes are so small that their product has no rounding in float32, in whatever
order it is summed up. All else is one multiplication or addition for each weight. So a variant decodes to the same
bits everywhere.

Needs a manifest's pieces and blocks, and knows nothing of networks.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from edge_nodes.entropy import LARGEST, Integers, Reader, Writer
from edge_nodes.manifest import Delta, Manifest, Piece, Variant

Floats = NDArray[np.float32]
Key = tuple[int, int, int]  # stage, group, level

# Kinds of pieces that are sent once, each with its codes in one root mean square (twice as many cost a bit a weight) and the
# largest code: vectors (biases), other tensors (stem, exits), factors of deltas, whose products fit float32's 24 bits.
KINDS = ((64, LARGEST), (16, LARGEST), (2.5, 127))
STEP_BITS = 6  # of a piece's step, as an exponent of two
SMALLEST_STEP = -48
EXACT = 2**24  # below it, float32 holds every integer


class BlockError(Exception):
    """A block that is missing or is not what its digest or its manifest says."""

    def __init__(self, digest: str, what: str) -> None:
        super().__init__(f"block {digest}: {what}")
        self.digest, self.what = digest, what


def digest_of(block: bytes) -> str:
    """Return the name of a block."""
    return f"sha256:{hashlib.sha256(block).hexdigest()}"


def quantise(weights: NDArray[np.floating[Any]], step: float) -> Integers:
    """Round to multiples of `step`. Raises OverflowError where a code does not fit, ValueError where one is no number."""
    codes = np.rint(weights.astype(np.float64) / step)
    largest = np.abs(codes).max(initial=0)
    if np.isnan(largest):
        raise ValueError("a weight is not a number")
    if largest >= EXACT:
        raise OverflowError(f"a weight of {np.abs(weights).max()} is too large for a step of {step}")
    return codes.astype(np.int32)


def coarser(codes: Integers) -> Integers:
    """Return the codes of the level before."""
    return (codes + 1) // 3


def encode(
    pieces: Sequence[Piece], step: float, levels: int, tensors: Mapping[str, Floats], deltas: Sequence[Delta] = ()
) -> dict[Key, bytes]:
    """Cut the tensors of a whole model into blocks.

    `levels` counts the nested ones; with 0, as for a specialisation, only what is sent once is encoded. Raises
    ValueError for weights that are no numbers, OverflowError for weights that are too large for their step.
    """
    blocks: dict[Key, bytes] = {}
    for (stage, group), owned in _units(pieces):
        nested, once = _kinds(owned, deltas)
        if any(once):
            blocks[stage, group, 0] = _encode_once(once, tensors)
        if nested and levels:
            finest = [quantise(_part(piece, tensors).ravel(), step / 3 ** (levels - 1)) for piece in nested]
            streams = _encode_nested(finest, levels)
            blocks.update({(stage, group, level): stream for level, stream in streams.items()})
    return blocks


def tensors(manifest: Manifest, variant: Variant, blocks: Mapping[str, bytes]) -> dict[str, Floats]:
    """Decode a variant from blocks by their digest. A tensor reaches as far as its pieces do; it is 0 between them.

    Raises BlockError for a block that is missing, damaged, or does not fit the manifest.
    """
    pieces = [p for p in manifest.pieces if p.stage <= variant.depth and p.group <= variant.width]
    digests = {(block.stage, block.group, block.level): block.digest for block in manifest.blocks_of(variant)}
    if variant.bits == 0:
        factors = {name for delta in manifest.deltas for name in (delta.left, delta.right)}
        pieces = [piece for piece in pieces if piece.tensor not in factors]
        return _plain(pieces, digests.get((0, 0, 0), "of the whole model"), blocks)
    result = {name: np.zeros(shape, np.float32) for name, shape in _shapes(pieces).items()}
    for (stage, group), owned in _units(pieces):
        nested, once = _kinds(owned, manifest.deltas)
        if any(once):
            with _opened(digests, (stage, group, 0), blocks) as stream:
                for piece, part in _decode_once(once, stream):
                    _part(piece, result)[...] = part
        if nested:
            codes = [np.zeros(piece.size(), np.int32) for piece in nested]
            for level in range(1, variant.bits + 1):
                with _opened(digests, (stage, group, level), blocks) as stream:
                    codes = [_decode_level(before, level, stream) for before in codes]
            step = np.float32(manifest.step / 3 ** (variant.bits - 1))
            for piece, values in zip(nested, codes, strict=True):
                _part(piece, result)[...] = (values.astype(np.float32) * step).reshape(piece.shape())
    _add(manifest.deltas, pieces, result)
    return result


def _units(pieces: Sequence[Piece]) -> list[tuple[tuple[int, int], list[Piece]]]:
    """Return the pieces of each stage and group."""
    units: dict[tuple[int, int], list[Piece]] = {}
    for piece in pieces:
        units.setdefault((piece.stage, piece.group), []).append(piece)
    return sorted(units.items(), key=lambda unit: unit[0])


def _kinds(pieces: list[Piece], deltas: Sequence[Delta]) -> tuple[list[Piece], list[list[Piece]]]:
    """Return the pieces that are nested, and those that are sent once, by KINDS."""
    factors = {name for delta in deltas for name in (delta.left, delta.right)}
    once: list[list[Piece]] = [[] for _ in KINDS]
    for piece in pieces:
        if not piece.nested:
            once[2 if piece.tensor in factors else min(len(piece.stop) - 1, 1)].append(piece)
    return [piece for piece in pieces if piece.nested], once


def _shapes(pieces: Sequence[Piece]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for piece in pieces:
        shapes[piece.tensor] = tuple(map(max, shapes.get(piece.tensor, piece.stop), piece.stop))
    return shapes


def _part(piece: Piece, tensors: Mapping[str, Floats]) -> Floats:
    return tensors[piece.tensor][piece.where()]


def _encode_nested(codes: list[Integers], levels: int) -> dict[int, bytes]:
    """Return the streams of the levels from the finest codes of each piece."""
    streams = {}
    for level in range(levels, 0, -1):
        before = [coarser(finer) for finer in codes]
        writer = Writer()
        for finer, coarse in zip(codes, before, strict=True):
            if level == 1:
                writer.integers(finer, writer.table(finer))
            else:
                writer.trits(finer - 3 * coarse, coarse)
        streams[level], codes = writer.done(), before
    return streams


def _decode_level(before: Integers, level: int, stream: Reader) -> Integers:
    if level == 1:
        return stream.integers(before.size, stream.table())
    trits = stream.trits(before)
    trits += 3 * before
    return trits


def _encode_once(once: list[list[Piece]], tensors: Mapping[str, Floats]) -> bytes:
    writer = Writer()
    for pieces, (precision, largest) in zip(once, KINDS, strict=True):
        if pieces:
            parts = [_part(piece, tensors).astype(np.float64).ravel() for piece in pieces]
            steps = [_step(part, precision, largest) for part in parts]
            codes = np.concatenate([quantise(part, 2.0**step) for part, step in zip(parts, steps, strict=True)])
            writer.raw([step - SMALLEST_STEP for step in steps], STEP_BITS)
            writer.integers(codes, writer.table(codes))
    return writer.done()


def _step(values: NDArray[np.float64], precision: float, largest: int) -> int:
    """Return the exponent of the step that comes closest to `precision` codes in the values' root mean square."""
    closest = np.frexp(np.sqrt(np.mean(values**2)) / precision * 2**0.5)[1] - 1
    smallest = np.frexp(np.abs(values).max() / largest)[1]  # that leads to no code beyond `largest`
    step = max(int(closest), int(smallest), SMALLEST_STEP)
    if step >= SMALLEST_STEP + 2**STEP_BITS:
        raise OverflowError(f"a weight of {np.abs(values).max()} is too large")
    return step


def rounded_factor(part: Floats) -> Floats:
    """Return what a piece of a delta's factor is decoded to."""
    step = _step(part.astype(np.float64), *KINDS[2])
    return np.ldexp(quantise(part, 2.0**step).astype(np.float32), step)


def _decode_once(once: list[list[Piece]], stream: Reader) -> Iterator[tuple[Piece, Floats]]:
    for pieces, (_, largest) in zip(once, KINDS, strict=True):
        if pieces:
            steps = stream.raw(len(pieces), STEP_BITS) + SMALLEST_STEP
            codes = stream.integers(sum(piece.size() for piece in pieces), stream.table())
            if np.abs(codes).max() > largest:
                raise ValueError(f"a code is beyond {largest}")
            ends = np.cumsum([piece.size() for piece in pieces])
            for piece, part, step in zip(pieces, np.split(codes, ends[:-1]), steps, strict=True):
                yield piece, np.ldexp(part.astype(np.float32), step).reshape(piece.shape())


def _add(deltas: Sequence[Delta], pieces: Sequence[Piece], tensors: dict[str, Floats]) -> None:
    """Add the product of the factors to each tensor, inside its pieces, and drop the factors."""
    for delta in deltas:
        if delta.tensor in tensors:
            left, right = tensors.pop(delta.left), tensors.pop(delta.right)
            for piece in pieces:
                if piece.tensor == delta.tensor:
                    rows, *columns = piece.where()
                    product = left[rows] @ right[:, *columns].reshape(len(right), -1)
                    _part(piece, tensors)[...] += product.reshape(piece.shape())


def _plain(pieces: Sequence[Piece], digest: str, blocks: Mapping[str, bytes]) -> dict[str, Floats]:
    """Return the tensors of a safetensors file."""
    try:
        plain = safetensors.numpy.load(_verified(digest, blocks))
        for name, shape in _shapes(pieces).items():
            if plain[name].shape != shape or plain[name].dtype != np.float32:
                raise ValueError(f"{name} is no float32 tensor of {shape}")
    except (SafetensorError, KeyError, ValueError) as error:
        raise BlockError(digest, f"does not fit the manifest: {error}") from error
    return {name: plain[name] for name in _shapes(pieces)}


@contextmanager
def _opened(digests: Mapping[Key, str], key: Key, blocks: Mapping[str, bytes]) -> Iterator[Reader]:
    """Yield the stream of a block, which has to be read to its end."""
    digest = digests.get(key, "of stage {}, group {}, level {}".format(*key))
    stream = _verified(digest, blocks)
    try:
        reader = Reader(stream)
        yield reader
        reader.done()
    except ValueError as error:
        raise BlockError(digest, f"does not fit the manifest: {error}") from error


def _verified(digest: str, blocks: Mapping[str, bytes]) -> bytes:
    if digest not in blocks:
        raise BlockError(digest, "missing")
    if digest_of(blocks[digest]) != digest:
        raise BlockError(digest, "its bytes do not match its digest")
    return blocks[digest]
