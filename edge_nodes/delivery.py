"""The wire between a device and a library: one request, one response that streams the blocks.

The response is a sequence of frames: a line of JSON, then as many bytes as it says. The first frame's object is the offer, then
come the manifest and the blocks that the device lacks, in the order in which they make the model runnable.
"""

import hashlib
from collections.abc import AsyncIterator
from typing import Annotated, Protocol

import msgspec

from edge_nodes.http11 import Data, HttpError

PATH = "/insitu/v1/downloads"
LARGEST = 1 << 32  # bytes of one object: what a reader may have to find room for
Figure = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Ask(msgspec.Struct, frozen=True):
    """What a device asks for, with all that the choice depends on."""

    download: str
    model: str
    time_left_ns: Figure
    channel_bps: Figure
    memory_bytes: Figure
    macs_per_s: Figure
    infer_interval_ns: Figure
    slice: str
    have: list[str]
    round_trip_ns: Figure = 0  # what the links to its edge library delay a packet, there and back
    load_bytes_per_s: Figure | None = None
    energy_per_mac_j: float = 0.0
    power_w: float | None = None


class Offer(msgspec.Struct, frozen=True):
    """What the library sends: the variant, and the objects (manifest first) that follow."""

    variant: str
    objects: list[str]


class Frame(msgspec.Struct, frozen=True):
    """The head of a frame: `bytes` follow, or none because of `error`."""

    object: str
    bytes: Annotated[int, msgspec.Meta(ge=0, le=LARGEST)] = 0
    error: str = ""


class Reader(Protocol):
    """The part of a stream reader (http11's or asyncio's) that is needed."""

    async def readline(self) -> bytes: ...
    async def readexactly(self, n: int) -> Data: ...


class BrokenStream(Exception):
    """The response ended early, or is not one of this protocol."""


def digest_of(data: Data) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def frame_head(name: str, size: int) -> bytes:
    """What comes before an object's bytes."""
    return msgspec.json.encode(Frame(name, size)) + b"\n"


def error_frame(name: str, error: str) -> bytes:
    return msgspec.json.encode(Frame(name, error=error)) + b"\n"


async def frames(reader: Reader) -> AsyncIterator[tuple[Frame, Data]]:
    """The frames of a response as they arrive. Raises BrokenStream."""
    while True:
        try:
            line = await reader.readline()
            if not line:
                return
            if not line.endswith(b"\n"):
                raise EOFError("inside a line")
            head = msgspec.json.decode(line, type=Frame)
            data = await reader.readexactly(head.bytes)
        except (ValueError, EOFError, HttpError) as error:
            raise BrokenStream(f"the library's answer broke off: {error}") from None
        yield head, data
