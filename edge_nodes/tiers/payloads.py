"""Payload models: bytes of a given size in a model's place, made where they are read, the same ones always.

A payload is the first MiB of a random stream, over and over: what its blocks are is of no account to the network, as long as
no two of them are the same.
"""

import hashlib
import math
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from edge_nodes.delivery import digest_of
from edge_nodes.http11 import Data
from edge_nodes.models.manifest import Block, Manifest, Variant
from edge_nodes.tiers.store import Held, Objects, Source

TILE = 1 << 20
BLOCK = 16_000_000  # bytes: what each tier has in memory while it passes
SOURCE = "made of random bytes"


def plain(model: str, size: int) -> Manifest:
    """All in blocks of 16 MB, and as one file. It takes no memory and no compute, and its accuracy says nothing."""
    figures = {"macs": 0, "memory": 0, "accuracy": 1.0, "accuracy_se": 0.0, "accuracy_clear": 1.0}
    lengths = [min(BLOCK, size - start) for start in range(0, size, BLOCK)]
    file = Block(_digest(model, 0, size), size, stage=0, group=0, level=0)
    blocks = [Block(_digest(model, n, length), length, 1, 1, level=n) for n, length in enumerate(lengths, 1)]
    variants = (
        Variant("full", 1, 1, 1, tuple(range(1, len(blocks) + 1)), size, pareto=True, **figures),  # type: ignore[arg-type]
        Variant("file", 0, 0, 0, (0,), size, **figures),  # type: ignore[arg-type]
    )
    return Manifest(model, None, {"kind": "payload"}, (file, *blocks), variants, source=SOURCE)


def scaled(model: str, size: int, like: Manifest) -> Manifest:
    """The blocks and variants of another model, as if it had `size` weights; the accuracies are those of the other one."""
    factor = size / weights(like)
    blocks = []
    for index, block in enumerate(like.blocks):
        length = max(1, round(block.bytes * factor))
        blocks.append(replace(block, digest=_digest(model, index, length), bytes=length))
    variants = tuple(
        replace(v, bytes=sum(blocks[index].bytes for index in v.blocks), macs=0, memory=0) for v in like.variants
    )
    source = f"{SOURCE}; variants and accuracies are those of {like.model}"
    return Manifest(model, None, {"kind": "payload"}, tuple(blocks), variants, source=source)


def weights(manifest: Manifest) -> int:
    """How many weights the whole model has."""
    return sum(
        math.prod(stop - start for start, stop in zip(piece.start, piece.stop, strict=True))
        for piece in manifest.pieces
    )


def content(model: str, index: int, size: int, offset: int = 0) -> Iterator[Data]:
    """The bytes of a block from `offset` on, by the MiB."""
    tile = _tile(model, index)
    while offset < size:
        part = tile[offset % TILE :][: size - offset]
        yield part
        offset += len(part)


@cache
def _tile(model: str, index: int) -> memoryview:
    seed = int.from_bytes(hashlib.sha256(f"payload {model} {index}".encode()).digest()[:16], "big")
    return memoryview(np.random.Generator(np.random.PCG64(seed)).bytes(TILE))


def _digest(model: str, index: int, size: int) -> str:
    digest = hashlib.sha256()
    for part in content(model, index, size):
        digest.update(part)
    return "sha256:" + digest.hexdigest()


class Made:
    """A block to be sent, made as it is sent."""

    def __init__(self, model: str, index: int, size: int) -> None:
        self._model, self._index, self.bytes = model, index, size

    async def parts(self, offset: int = 0) -> AsyncIterator[Data]:
        for part in content(self._model, self._index, self.bytes, offset):
            yield part


class WithPayloads:
    """A store that has payloads beside what another one holds; `manifests` are the files of theirs."""

    def __init__(self, store: Objects, manifests: Iterable[Path]) -> None:
        self._store = store
        self._payloads: dict[str, Source] = {}
        for file in manifests:
            text = file.read_bytes()
            manifest = Manifest.from_json(text)
            self._payloads[digest_of(text)] = Held(text)
            for index, block in enumerate(manifest.blocks):
                self._payloads[block.digest] = Made(manifest.model, index, block.bytes)

    def models(self, models: dict[str, Collection[str]]) -> None:
        self._store.models(models)

    def get(self, digest: str) -> Source | None:
        return self._payloads.get(digest) or self._store.get(digest)

    def put(self, digest: str, data: Data, asks: int) -> None:
        self._store.put(digest, data, asks)
