"""Payload models: bytes of a given size in a model's place, made where they are read, the same ones always.

A payload is the first MiB of a random stream, over and over: what its blocks are is of no account to the network, as long as
no two of them are the same.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from msgspec.structs import replace

from edge_nodes.http11 import Data
from edge_nodes.manifest import Block, Manifest, Variant

TILE = 1 << 20
SOURCE = "made of random bytes"


def plain(model: str, size: int) -> Manifest:
    """One block of `size` bytes, as a file is; it takes no memory and no compute, and its accuracy says nothing."""
    block = Block(_digest(model, 0, size), size, stage=0, group=0, level=0)
    figures = {"macs": 0, "memory": 0, "accuracy": 1.0, "accuracy_se": 0.0, "accuracy_clear": 1.0}
    variants = (
        Variant("full", 1, 1, 1, (0,), size, pareto=True, **figures),  # type: ignore[arg-type]
        Variant("file", 0, 0, 0, (0,), size, **figures),  # type: ignore[arg-type]
    )
    return Manifest(model, None, {"kind": "payload"}, (block,), variants, source=SOURCE)


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
    if not hasattr(manifest, "pieces"):  # until codec is merged
        return max(v.macs for v in manifest.variants)
    return sum(
        math.prod(stop - start for start, stop in zip(piece.start, piece.stop, strict=True))
        for piece in manifest.pieces
    )


def content(model: str, index: int, size: int) -> Iterator[Data]:
    """The bytes of a block, by the MiB."""
    tile = _tile(model, index)
    for start in range(0, size, TILE):
        yield tile[: size - start]


@cache
def _tile(model: str, index: int) -> memoryview:
    seed = int.from_bytes(hashlib.sha256(f"payload {model} {index}".encode()).digest()[:16], "big")
    return memoryview(np.random.Generator(np.random.PCG64(seed)).bytes(TILE))


def _digest(model: str, index: int, size: int) -> str:
    digest = hashlib.sha256()
    for part in content(model, index, size):
        digest.update(part)
    return "sha256:" + digest.hexdigest()


class Store(Protocol):
    def get(self, digest: str) -> Data | None: ...
    def put(self, digest: str, data: Data) -> None: ...


class WithPayloads:
    """A store that has payloads beside what another one holds; `manifests` are the files of theirs."""

    def __init__(self, store: Store, manifests: Iterable[Path]) -> None:
        self._store = store
        self._manifests: dict[str, bytes] = {}
        self._blocks: dict[str, tuple[str, int, int]] = {}
        for file in manifests:
            text = file.read_bytes()
            manifest = Manifest.from_json(text)
            self._manifests["sha256:" + hashlib.sha256(text).hexdigest()] = text
            for index, block in enumerate(manifest.blocks):
                self._blocks[block.digest] = manifest.model, index, block.bytes

    def get(self, digest: str) -> Data | None:
        if digest in self._manifests:
            return self._manifests[digest]
        if digest not in self._blocks:
            return self._store.get(digest)
        whole = np.empty(self._blocks[digest][2], np.uint8).data
        done = 0
        for part in content(*self._blocks[digest]):
            whole[done : done + len(part)] = part
            done += len(part)
        return whole.toreadonly()

    def put(self, digest: str, data: Data) -> None:
        self._store.put(digest, data)
