"""What a library sends as the channel changes, on a real connection whose receiver reads as slowly as a test wants."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from builders import manifest_of
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_nodes import delivery, tcp
from edge_nodes.choosing.deadline import Course
from edge_nodes.http11 import Body
from edge_nodes.tiers.sending import Stream, Unavailable, send_blocks
from edge_nodes.tiers.store import Held, Source

BLOCKS = [bytes([number]) * size for number, size in enumerate((10, 200, 3_000))]
MANIFEST = manifest_of("digits", BLOCKS, small={"blocks": [0]}, large={"blocks": [0, 1, 2]})
NAMES = [block.digest for block in MANIFEST.blocks]


class Slow:
    """An object that comes in parts of some bytes, and after `breaks` of them not any more."""

    def __init__(self, data: bytes, part: int, breaks: int | None) -> None:
        self._data, self._part, self._breaks, self.bytes = data, part, breaks, len(data)

    async def parts(self, offset: int = 0) -> AsyncIterator[Body]:
        for start in range(offset, self.bytes, self._part):
            await asyncio.sleep(0)
            if self._breaks is not None and start + self._part > self._breaks:
                raise Unavailable("it broke off")
            yield self._data[start : start + self._part]


async def sent(sources: dict[str, Source | None], resume: delivery.Resume | None = None) -> tuple[bytes, int]:
    """The stream of a download without a deadline, and what was counted."""
    stream = bytearray()

    async def send(*parts: bytes) -> None:
        stream.extend(b"".join(parts))

    async def open_(digest: str) -> Source:
        if (source := sources[digest]) is None:
            raise Unavailable("nobody has it")
        return source

    course = Course(MANIFEST, MANIFEST.variant("large"), MANIFEST.blocks, [])
    count = await send_blocks(Stream(send), course, open_, None, resume)
    return bytes(stream), count


def chunk(frame: bytes, data: bytes = b"") -> bytes:
    return b"%x\r\n%b%b\r\n" % (len(frame) + len(data), frame, data)


def head(number: int, size: int, offset: int = 0) -> bytes:
    return delivery.frame_head(NAMES[number], size, offset, len(BLOCKS[number]))


async def test_parts_leave_as_they_come_each_with_its_place() -> None:
    sources = dict(zip(NAMES, (Held(BLOCKS[0]), Slow(BLOCKS[1], 150, None), Held(BLOCKS[2])), strict=True))
    stream, count = await sent(sources)  # type: ignore[arg-type]
    one, two, three = BLOCKS
    parts = chunk(head(0, 10), one), chunk(head(1, 150), two[:150]), chunk(head(1, 50, 150), two[150:])
    assert stream == b"".join(parts) + chunk(head(2, 3000), three)
    assert count == sum(map(len, BLOCKS))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 4_000))
def test_an_object_goes_on_from_where_the_device_has_it(offset: int) -> None:
    sources: dict[str, Source | None] = dict(zip(NAMES, map(Held, BLOCKS), strict=True))
    stream, count = asyncio.run(sent(sources, delivery.Resume(NAMES[2], offset)))
    begin = offset if offset < 3_000 else 0  # what lies outside is no offset
    assert count == 3_210 - begin
    assert stream.endswith(chunk(head(2, 3_000 - begin, begin), BLOCKS[2][begin:]))


async def test_what_breaks_off_or_is_not_there_is_said_and_the_rest_is_sent() -> None:
    stream, count = await sent({NAMES[0]: None, NAMES[1]: Slow(BLOCKS[1], 150, 150), NAMES[2]: Held(BLOCKS[2])})
    gone, broke = (
        chunk(delivery.error_frame(NAMES[number], why)) for number, why in ((0, "nobody has it"), (1, "it broke off"))
    )
    assert stream == gone + chunk(head(1, 150), BLOCKS[1][:150]) + broke + chunk(head(2, 3000), BLOCKS[2])
    assert count == 3_150


async def test_linux_says_what_was_acknowledged_and_what_waits() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    sending = socket.create_connection(listening.getsockname())
    receiving, _ = listening.accept()
    with listening, sending, receiving:
        receiving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 12)
        sending.setblocking(False)
        before = tcp.sight(sending, 5)
        assert (before.time_ns, before.waiting) == (5, 0)
        tcp.limit_unsent(sending, 1 << 14)
        written = 0
        with pytest.raises(BlockingIOError):
            while True:
                written += sending.send(bytes(1 << 12))
                await asyncio.sleep(0.001)
        full = tcp.sight(sending, 6)
        assert 0 < full.waiting <= written
        assert full.acknowledged - before.acknowledged + full.waiting == written
        assert full.waiting < 1 << 19  # most of it on its way
        assert full.round_trip_ns > 0
