"""Small things that several tests need: plans, manifests, a published library, a recorder that keeps what it is told."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from edge_nodes import delivery
from edge_nodes.models.manifest import Block, Manifest, Variant
from scenarios import records
from scenarios.plan import Plan
from scenarios.planner import Published, decide
from scenarios.schema import Scenario

MODELS = {"digits": "sha256:" + "a" * 64, "digits@night": "sha256:" + "b" * 64}

_Kind = TypeVar("_Kind", bound=records.Event)


def planned(models: dict[str, str] = MODELS, **scenario: Any) -> Plan:
    """The plan of a scenario; what is not given is one cell with one device."""
    document = {
        "name": "made",
        "network": {"gnbs": [{"name": "square"}]},
        "devices": [{"name": "phone", "at": "square"}],
        **scenario,
    }
    return decide(Scenario.model_validate(document), 7, Published(models, "c" * 64))


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def variant(name: str, blocks: Sequence[int], sizes: Sequence[int], **figures: Any) -> Variant:
    """A variant that takes next to nothing and is always right, but for the figures that are given."""
    size = sum(sizes[block] for block in blocks)
    given = {"macs": 1, "memory": 1, "accuracy": 1.0, **figures}
    return Variant(name, 1, 1, 1, tuple(blocks), size, accuracy_se=0.0, accuracy_clear=1.0, **given)


def manifest_of(model: str, blocks: Sequence[bytes], **variants: dict[str, Any]) -> Manifest:
    """A model of these blocks; each variant is given by its blocks' numbers and its figures."""
    sizes = [len(block) for block in blocks]
    listed = tuple(Block(digest_of(data), len(data), 1, 1, number) for number, data in enumerate(blocks, 1))
    made = tuple(variant(name, sizes=sizes, **given) for name, given in variants.items())
    return Manifest(model, "digits" if "@" in model else None, {}, listed, made)


def publish(folder: Path, *models: tuple[Manifest, Sequence[bytes]]) -> dict[str, str]:
    """A library's folder as publishing leaves it; gives the digests of the manifests."""
    digests = {}
    for name in ("manifests", "blocks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for manifest, blocks in models:
        text = manifest.to_json()
        (folder / "manifests" / f"{manifest.model}.json").write_bytes(text)
        digests[manifest.model] = digest_of(text)
        for data in blocks:
            (folder / "blocks" / digest_of(data).removeprefix("sha256:")).write_bytes(data)
    return digests


class Notes:
    """A recorder that keeps its events."""

    now = staticmethod(time.monotonic_ns)

    def __init__(self) -> None:
        self.events: list[records.Event] = []

    def write(self, event: records.Event) -> None:
        self.events.append(event)

    def of(self, kind: type[_Kind]) -> list[_Kind]:
        return [event for event in self.events if isinstance(event, kind)]


class Pieces:
    """What a stream reader gives, also into a place: what a download reads from."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    async def readline(self) -> bytes:
        line: bytes = await self._reader.readline()
        return line

    async def readinto(self, place: memoryview) -> int:
        done = 0
        while done < len(place) and (part := await self._reader.read(len(place) - done)):
            place[done : done + len(part)] = part
            done += len(part)
        return done


async def frames(reader: asyncio.StreamReader | Any) -> AsyncIterator[tuple[delivery.Frame, bytes]]:
    """The frames of a response, each whole."""
    async for head in delivery.heads(reader):
        yield head, await reader.readexactly(head.bytes)
