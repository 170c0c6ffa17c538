"""Weights to blocks and back, exactly: nested bit levels by a step ratio of three.

Level b rounds a weight w to the code q_b = round(w / step_b), with step_b = step / 3^(b - 1). The code of the level
before is then q_(b-1) = floor((q_b + 1) / 3), which is what rounding w to that level gives. So each level adds one
ternary digit in {-1, 0, 1} to a weight, a prefix of the levels is as good as a separate quantisation, and upgrading
sends nothing twice.

A block is a safetensors file. `codes` holds digits, as many to a byte as fit, under deflate with runs and Huffman codes
only: packing is what lets a code of whole bits per byte get close to the entropy of one digit. The block of level 1
also has `radix`, how many values its digits take, and `plain`, the float16 weights that are sent once: stem, biases,
exits.
"""

import hashlib
import zlib
from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors
from safetensors.numpy import save as write_tensors

from edge_nodes.architecture import Architecture
from edge_nodes.elastic import Compact, Piece, Weights, pieces, shapes
from edge_nodes.manifest import Manifest, Variant

Codes = NDArray[np.int16]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.floating[Any]]
Key = tuple[int, int, int]  # stage, group, level


class BlockError(Exception):
    """A block that is missing or is not what its digest says."""

    def __init__(self, digest: str, what: str) -> None:
        super().__init__(f"block {digest}: {what}")
        self.digest, self.what = digest, what


def digest_of(block: bytes) -> str:
    """Return the name of a block."""
    return f"sha256:{hashlib.sha256(block).hexdigest()}"


def quantise(weights: Floats, step: float) -> Codes:
    """Round to multiples of `step`. Raises OverflowError where a code does not fit 16 bits."""
    codes = np.rint(weights / step)
    if codes.size and np.abs(codes).max() > np.iinfo(np.int16).max:
        raise OverflowError(f"a weight of {np.abs(weights).max()} is too large for a step of {step}")
    result: Codes = codes.astype(np.int16)
    return result


def coarser(codes: Codes) -> Codes:
    """Return the codes of the level before."""
    result: Codes = (codes + 1) // 3
    return result


def encode(a: Architecture, weights: Weights) -> dict[Key, bytes]:
    """Cut the weights of a whole network into blocks."""
    blocks: dict[Key, bytes] = {}
    for stage, group in product(range(1, a.stages + 1), range(1, a.groups + 1)):
        coded, plain = (_gather(kind, weights) for kind in _kinds(a, stage, group))
        codes = quantise(coded, a.step / 3 ** (a.levels - 1))
        for level in range(a.levels, 1, -1):
            before = coarser(codes)
            blocks[stage, group, level] = write_tensors({"codes": _compress(codes - 3 * before + 1, 3)})
            codes = before
        blocks[stage, group, 1] = _encode_first(codes, plain)
    return blocks


def load(manifest: Manifest, variant: Variant, blocks: Mapping[str, bytes]) -> Compact:
    """Build the module that a device runs from the blocks by their digest.

    Raises BlockError for a block that is missing, damaged, or does not fit the architecture.
    """
    a = Architecture.of(manifest.network)
    tensors: dict[Key, dict[str, Bytes]] = {}
    digests: dict[Key, str] = {}
    for block in manifest.blocks_of(variant):
        key = block.stage, block.group, block.level
        tensors[key], digests[key] = _read(block.digest, blocks), block.digest
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes(a, variant.depth, variant.width).items()}
    for stage, group in product(range(1, variant.depth + 1), range(1, variant.width + 1)):
        coded, plain = _kinds(a, stage, group)
        count = sum(piece.size() for piece in coded)
        key = stage, group, 1
        try:
            _scatter(tensors[key]["plain"].astype(np.float32), plain, weights)
            codes = _decode_first(tensors[key], count)
            for level in range(2, variant.bits + 1):
                key = stage, group, level
                codes = 3 * codes + _decompress(tensors[key]["codes"], 3, count) - np.int16(1)
        except (KeyError, ValueError, zlib.error) as error:
            raise BlockError(digests.get(key, f"of {key}"), f"does not fit the architecture: {error}") from error
        _scatter(codes * np.float32(a.step / 3 ** (variant.bits - 1)), coded, weights)
    return Compact(a, variant.depth, {name: torch.from_numpy(array) for name, array in weights.items()})


def _read(digest: str, blocks: Mapping[str, bytes]) -> dict[str, Bytes]:
    if digest not in blocks:
        raise BlockError(digest, "missing")
    if digest_of(blocks[digest]) != digest:
        raise BlockError(digest, "its bytes do not match its digest")
    try:
        return read_tensors(blocks[digest])
    except SafetensorError as error:
        raise BlockError(digest, f"not a safetensors file: {error}") from error


def _kinds(a: Architecture, stage: int, group: int) -> tuple[list[Piece], list[Piece]]:
    """Return the pieces that are coded, and those that are plain."""
    both = list(pieces(a, stage, group))
    return [piece for piece in both if piece.coded], [piece for piece in both if not piece.coded]


def _gather(parts: list[Piece], weights: Weights) -> Floats:
    return np.concatenate([weights[name][where].numpy().ravel() for name, where, _ in parts])


def _scatter(values: Floats, parts: list[Piece], weights: Mapping[str, Floats]) -> None:
    """Write values into their places. Raises ValueError where there are too few or too many."""
    ends = np.cumsum([piece.size() for piece in parts])
    if values.size != ends[-1]:
        raise ValueError(f"{values.size} weights instead of {ends[-1]}")
    for piece, part in zip(parts, np.split(values, ends[:-1]), strict=True):
        weights[piece.name][piece.where] = part.reshape(piece.shape())


def _encode_first(codes: Codes, plain: Floats) -> bytes:
    largest = int(np.abs(codes).max(initial=1))
    if largest > 127:
        raise OverflowError(f"a code of {largest} at the first level: the quantisation step is too small")
    radix = 2 * largest + 1
    tensors: dict[str, NDArray[Any]] = {
        "codes": _compress(codes + largest, radix),
        "radix": np.array([radix], np.uint8),
        "plain": plain.astype(np.float16),
    }
    return write_tensors(tensors)


def _decode_first(tensors: Mapping[str, Bytes], count: int) -> Codes:
    radix = int(tensors["radix"][0])
    return _decompress(tensors["codes"], radix, count) - np.int16(radix // 2)


def _compress(digits: Codes, radix: int) -> Bytes:
    """Pack digits (0 to radix - 1) and code the bytes by their frequency."""
    place = _places(radix)
    packed = np.pad(digits, (0, -digits.size % place.size)).reshape(-1, place.size) @ place
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return np.frombuffer(deflate.compress(packed.astype(np.uint8).tobytes()) + deflate.flush(), np.uint8)


def _decompress(stream: Bytes, radix: int, count: int) -> Codes:
    """Return `count` digits. Raises ValueError or zlib.error where the stream does not hold exactly these."""
    table = _table(radix)
    size = -(-count // table.shape[1])
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    packed = np.frombuffer(inflate.decompress(stream.tobytes(), size + 1), np.uint8)  # never more than is wanted
    if packed.size != size or not inflate.eof or packed.max(initial=0) >= len(table):
        raise ValueError(f"the stream does not hold {count} digits of radix {radix}")
    return table[packed].reshape(-1)[:count]


def _places(radix: int) -> Codes:
    """Return the place values of as many digits as fit a byte."""
    digits = max(n for n in range(1, 9) if radix**n <= 256)
    return np.array([radix**n for n in range(digits)], np.int16)


@cache
def _table(radix: int) -> Codes:
    """Return the digits of every byte, `[radix ** digits, digits]`."""
    place = _places(radix)
    return (np.arange(radix**place.size, dtype=np.int16)[:, None] // place) % radix
