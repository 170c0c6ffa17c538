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

from edge_nodes.models.entropy import LARGEST, Integers, Reader, Writer
from edge_nodes.models.manifest import Delta, Manifest, Piece, Variant, shapes

Floats = NDArray[np.float32]
Key = tuple[int, int, int]  # stage, group, level

# Kinds of what is sent once: how many codes there are in one root mean square of a piece (twice as many cost a bit a weight),
# and the largest code. The first is of pieces smaller than SMALL (first layer, biases): there, precision costs little and
# matters most. Coarser than the first two are, what is sent once bounds what the finest levels can be. The last is of the
# factors of deltas, which are trained to be rounded so.
KINDS = ((96, LARGEST), (48, LARGEST), (1.5, 31))
SMALL = 256
STEPS = np.array([(4 + byte % 4) * 2.0 ** (byte // 4 - 44) for byte in range(256)])  # of a piece, by its stored byte


class BlockError(Exception):
    """A block that is missing or is not what its digest or its manifest says."""

    def __init__(self, digest: str, what: str) -> None:
        super().__init__(f"block {digest}: {what}")
        self.digest, self.what = digest, what


def digest_of(block: bytes) -> str:
    """Return the name of a block."""
    return f"sha256:{hashlib.sha256(block).hexdigest()}"


def quantise(weights: NDArray[np.floating[Any]], step: float) -> Integers:
    """Round to multiples of `step`. Raises OverflowError where a weight is no number, or too large for that."""
    codes = np.rint(weights.astype(np.float64) / step)
    largest = np.abs(codes).max(initial=0)
    if not largest < 2**24:
        raise OverflowError(f"a weight of {largest * step} is too large for a step of {step}")
    return codes.astype(np.int32)


def coarser(codes: Integers) -> Integers:
    """Return the codes of the level before."""
    return (codes + 1) // 3


def rounded_factor(part: Floats) -> Floats:
    """Return what a piece of a delta's factor decodes to, so that training can go on from there."""
    step = STEPS[_step(part.astype(np.float64), *KINDS[2])]
    return quantise(part, step).astype(np.float32) * np.float32(step)


def encode(
    pieces: Sequence[Piece], step: float, levels: int, tensors: Mapping[str, Floats], deltas: Sequence[Delta] = ()
) -> dict[Key, bytes]:
    """Cut the tensors of a whole model into blocks. What they decode to is what has to be measured.

    `levels` counts the nested ones; with 0, as for a specialisation that shares those of its base, only what is sent
    once is encoded. Raises OverflowError for a weight that is no number, or too large for its step.
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
    pieces = manifest.pieces_of(variant.depth, variant.width)
    digests = {(block.stage, block.group, block.level): block.digest for block in manifest.blocks_of(variant)}
    if variant.bits == 0:
        return _plain(_parameters(manifest, pieces), digests, blocks)
    result = {name: np.zeros(shape, np.float32) for name, shape in shapes(pieces).items()}
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


def plain(manifest: Manifest, tensors: Mapping[str, Floats]) -> bytes:
    """Return decoded tensors as one safetensors file of float32: each piece by itself, so no zeros between them."""
    pieces = _parameters(manifest, manifest.pieces)
    return safetensors.numpy.save({_name(p): np.ascontiguousarray(_part(p, tensors)) for p in pieces})


def _units(pieces: Sequence[Piece]) -> list[tuple[tuple[int, int], list[Piece]]]:
    """Return the pieces of each stage and group."""
    units: dict[tuple[int, int], list[Piece]] = {}
    for piece in pieces:
        units.setdefault((piece.stage, piece.group), []).append(piece)
    return sorted(units.items(), key=lambda unit: unit[0])


def _kinds(pieces: list[Piece], deltas: Sequence[Delta]) -> tuple[list[Piece], list[list[Piece]]]:
    """Return the pieces that are nested, and those that are sent once, by KINDS."""
    factors = _factors(deltas)
    once: list[list[Piece]] = [[] for _ in KINDS]
    for piece in pieces:
        if not piece.nested:
            once[2 if piece.tensor in factors else int(piece.size() >= SMALL)].append(piece)
    return [piece for piece in pieces if piece.nested], once


def _factors(deltas: Sequence[Delta]) -> set[str]:
    return {name for delta in deltas for name in (delta.left, delta.right)}


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
                writer.integers(finer)
            else:
                writer.trits(finer - 3 * coarse, coarse)
        streams[level], codes = writer.done(), before
    return streams


def _decode_level(before: Integers, level: int, stream: Reader) -> Integers:
    if level == 1:
        return stream.integers(before.size)
    trits = stream.trits(before)
    trits += 3 * before
    return trits


def _encode_once(once: list[list[Piece]], tensors: Mapping[str, Floats]) -> bytes:
    writer = Writer()
    for pieces, (precision, largest) in zip(once, KINDS, strict=True):
        if pieces:
            parts = [_part(piece, tensors).ravel() for piece in pieces]
            steps = [_step(part.astype(np.float64), precision, largest) for part in parts]
            codes = np.concatenate([quantise(part, STEPS[step]) for part, step in zip(parts, steps, strict=True)])
            writer.raw(steps, 8)
            writer.integers(codes)
    return writer.done()


def _step(values: NDArray[np.float64], precision: float, largest: int) -> int:
    """Return the smallest of STEPS that leads to no more than `precision` codes in the values' root mean square."""
    wanted = max(np.sqrt(np.mean(values**2)) / precision, np.abs(values).max() / largest)
    if not wanted <= STEPS[-1]:
        raise OverflowError(f"a weight of {np.abs(values).max()} is too large")
    return int(np.searchsorted(STEPS, wanted))


def _decode_once(once: list[list[Piece]], stream: Reader) -> Iterator[tuple[Piece, Floats]]:
    for pieces, (_, largest) in zip(once, KINDS, strict=True):
        if pieces:
            steps = STEPS[stream.raw(len(pieces), 8)].astype(np.float32)
            codes = stream.integers(sum(piece.size() for piece in pieces))
            if np.abs(codes).max() > largest:
                raise ValueError(f"a code is beyond {largest}")
            ends = np.cumsum([piece.size() for piece in pieces])
            for piece, part, step in zip(pieces, np.split(codes, ends[:-1]), steps, strict=True):
                yield piece, (part.astype(np.float32) * step).reshape(piece.shape())


def _add(deltas: Sequence[Delta], pieces: Sequence[Piece], tensors: dict[str, Floats]) -> None:
    """Add the product of its factors to each tensor, inside its pieces, and drop the factors."""
    for delta in deltas:
        for piece in pieces:
            if piece.tensor == delta.tensor:
                rows, *columns = piece.where()
                left, right = tensors[delta.left][rows], tensors[delta.right][:, *columns]
                _part(piece, tensors)[...] += (left @ right.reshape(len(right), -1)).reshape(piece.shape())
    for name in _factors(deltas) & tensors.keys():
        del tensors[name]


def _plain(pieces: Sequence[Piece], digests: Mapping[Key, str], blocks: Mapping[str, bytes]) -> dict[str, Floats]:
    """Return the tensors of the one block that is a safetensors file."""
    digest = digests.get((0, 0, 0), "of the whole model")
    result = {name: np.zeros(shape, np.float32) for name, shape in shapes(pieces).items()}
    try:
        parts = safetensors.numpy.load(_verified(digest, blocks))
        for piece in pieces:
            part = parts[_name(piece)]
            if part.shape != piece.shape() or part.dtype != np.float32:
                raise ValueError(f"{_name(piece)} is no float32 tensor of {piece.shape()}")
            _part(piece, result)[...] = part
    except (SafetensorError, KeyError, ValueError) as error:
        raise BlockError(digest, f"does not fit the manifest: {error}") from error
    return result


def _parameters(manifest: Manifest, pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces of what runs: no factors of deltas."""
    factors = _factors(manifest.deltas)
    return [piece for piece in pieces if piece.tensor not in factors]


def _name(piece: Piece) -> str:
    """Return a piece's name in a file of plain weights, such as `conv[8:16,0:16]`."""
    return f"{piece.tensor}[{','.join(f'{a}:{b}' for a, b in zip(piece.start, piece.stop, strict=True))}]"


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
