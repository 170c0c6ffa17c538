"""The wire between a device and a library: one request, one response that streams the blocks.

The response is a sequence of frames: a line of JSON, then as many bytes as it says. The manifest comes first (unless the device has
it), while the library still decides; then the offer, the blocks that the device lacks in the order that makes the model runnable
soonest and better with every block, and the end, which names the variant that is complete. An object may come in several frames,
each with the offset of its bytes, so it can be passed on while it arrives, and go on where a cut has left it.
"""

import hashlib
import zlib
from collections.abc import AsyncIterator
from typing import Annotated, Protocol

import msgspec
import numpy as np

from edge_nodes.http11 import Data, HttpError

PATH = "/insitu/v1/downloads"
LARGEST = 1 << 32  # bytes of one object: what a reader may have to find room for
LARGEST_MANIFEST = 1 << 24  # bytes
LARGEST_NOTE = 1 << 16  # bytes of an offer or an end
OFFER, END = "offer", "end"  # what a frame is where it is not part of an object
Figure = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Size = Annotated[int, msgspec.Meta(ge=0, le=LARGEST)]


class Resume(msgspec.Struct, frozen=True):
    """The object that was in the air when a stream was cut; the device has its first `offset` bytes."""

    object: str
    offset: Size


class Ask(msgspec.Struct, frozen=True):
    """What a device asks for, with all that the choice depends on.

    `memory_bytes` is what is free beside the model that it runs, for the new model and for its blocks until they are loaded.
    """

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
    variant: str = ""  # this one and no other; "" leaves the choice to the library
    resume: Resume | None = None


class Offer(msgspec.Struct, frozen=True):
    """What the library is about to send: the blocks of this variant that the device lacks."""

    variant: str


class End(msgspec.Struct, frozen=True):
    """All has been sent that will be: with this variant it is complete. `reason` says why it is not the one that was offered."""

    variant: str
    reason: str = ""


class Frame(msgspec.Struct, frozen=True):
    """The head of a frame: `bytes` follow, from `offset` on of an object of `of` bytes; or none, because of `error`."""

    object: str
    bytes: Size = 0
    offset: Size = 0
    of: Size = 0
    error: str = ""


class Lines(Protocol):
    """The part of a stream reader that heads need."""

    async def readline(self) -> bytes: ...


class Reader(Lines, Protocol):
    """The part of a stream reader (http11's) that a download needs."""

    async def readinto(self, place: memoryview) -> int: ...


class BrokenStream(Exception):
    """The response ended early, or is not one of this protocol."""


class Arriving:
    """An object that is on its way: what has come of it, in the place where it stays."""

    def __init__(self, name: str, size: int, deflated: bool = False) -> None:
        self.name, self.size, self.arrived, self._deflated = name, size, 0, deflated
        self.sources: list[str] = []  # the tiers that parts of it came from
        self._place = np.empty(size, np.uint8).data  # memory that nobody touches before the kernel fills it

    async def take(self, head: Frame, reader: Reader, source: str) -> None:
        """The bytes of a frame. What came of them before a cut counts as arrived. Raises BrokenStream."""
        if head.of != self.size or head.offset != self.arrived or head.offset + head.bytes > self.size:
            raise BrokenStream(f"{head.object} does not go on where it was")
        if source not in self.sources:
            self.sources.append(source)
        came = await reader.readinto(self._place[self.arrived : self.arrived + head.bytes])
        self.arrived += came
        if came < head.bytes:
            raise BrokenStream("the library's answer broke off in an object")

    @property
    def is_whole(self) -> bool:
        return self.arrived == self.size

    def unbroken(self) -> Data | None:
        """The object, if its bytes are those that its name promises."""
        data: Data | None = inflate(self._place) if self._deflated else self._place.toreadonly()
        return data if data is not None and digest_of(data) == self.name else None


def deflate(text: Data) -> bytes:
    """A manifest as it is sent: a fifth of its JSON, and on a slow radio that much sooner."""
    return zlib.compress(text, 9)


def inflate(data: Data) -> bytes | None:
    """The manifest that was sent; None for what is none, or is larger than LARGEST_MANIFEST."""
    inflating = zlib.decompressobj()
    try:
        text = inflating.decompress(data, LARGEST_MANIFEST)
    except zlib.error:
        return None
    return text if inflating.eof and not inflating.unused_data else None


def digest_of(data: Data) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def frame_head(name: str, size: int, offset: int = 0, of: int | None = None) -> bytes:
    """What comes before an object's bytes, or those of a part of it."""
    return msgspec.json.encode(Frame(name, size, offset, size if of is None else of)) + b"\n"


HEAD_BYTES = len(
    frame_head(digest_of(b""), 10**5, 0, 10**5)
)  # of a frame, and so about what a block costs beside its own


def error_frame(name: str, error: str) -> bytes:
    return msgspec.json.encode(Frame(name, error=error)) + b"\n"


def note_frame(note: Offer | End) -> bytes:
    text = msgspec.json.encode(note)
    return frame_head(OFFER if isinstance(note, Offer) else END, len(text)) + text


async def heads(reader: Lines) -> AsyncIterator[Frame]:
    """The heads of a response's frames as they arrive; who is given one reads its bytes. Raises BrokenStream."""
    while True:
        try:
            line = await reader.readline()
            if not line:
                return
            if not line.endswith(b"\n"):
                raise EOFError("inside a line")
            head = msgspec.json.decode(line, type=Frame)
        except (ValueError, EOFError, HttpError) as error:
            raise BrokenStream(f"the library's answer broke off: {error}") from None
        yield head


async def read_note(reader: Reader, head: Frame) -> bytes:
    """The text of an offer or an end. Raises BrokenStream."""
    if head.bytes > LARGEST_NOTE:
        raise BrokenStream(f"an {head.object} of {head.bytes} bytes")
    text = bytearray(head.bytes)
    if await reader.readinto(memoryview(text)) < head.bytes:
        raise BrokenStream(f"the library's answer broke off in its {head.object}")
    return bytes(text)
