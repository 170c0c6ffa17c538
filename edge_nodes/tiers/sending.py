"""The library's end of the stream: frames out of sources, in the course's order, with an eye on what the device acknowledges."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from edge_nodes import delivery, tcp
from edge_nodes.choosing.deadline import Course, Outlook, Pace
from edge_nodes.clock import sleep_ns
from edge_nodes.http11 import Body
from edge_nodes.models.manifest import Block
from edge_nodes.tiers.store import Source, Unavailable

UNSENT_NS = (
    10_000_000  # what may wait in a socket, and cannot be cut any more: what passes in this time at the promised rate
)
LEAST_UNSENT = 1 << 14  # bytes
LOOK_AGAIN_NS = 1_000_000  # after which it is looked, at the earliest, whether a channel has recovered


Open = Callable[[str], Coroutine[Any, Any, Source]]  # an object by its digest; raises Unavailable


class Stream:
    """The frames of one response, each part a chunk of its body, by what `http11.body_of` gives."""

    def __init__(self, send: Callable[..., Awaitable[None]]) -> None:
        self._send = send

    async def note(self, note: delivery.Offer | delivery.End) -> None:
        await self._chunk(delivery.note_frame(note))

    async def error(self, name: str, error: str) -> None:
        await self._chunk(delivery.error_frame(name, error))

    async def part(self, name: str, data: Body, offset: int, of: int) -> None:
        await self._chunk(delivery.frame_head(name, len(data), offset, of), data)

    async def _chunk(self, head: bytes, data: Body = b"") -> None:
        await self._send(b"%x\r\n" % (len(head) + len(data)), head, data, b"\r\n")


class Channel:
    """The connection to a device, watched for what still arrives by `deadline_ns`."""

    def __init__(
        self,
        connection: socket.socket,
        now: Callable[[], int],
        deadline_ns: int,
        rate_bps: int,
        load_bytes_per_s: int | None,
    ) -> None:
        self._connection, self._now, self._pace = connection, now, Pace()
        self._deadline_ns, self._load_bytes_per_s = deadline_ns, load_bytes_per_s
        self.rate_bps = 0  # as it was observed last
        self.promise(rate_bps)

    def promise(self, rate_bps: int) -> None:
        """The rate that the device is to have from now on. Raises OSError."""
        tcp.limit_unsent(self._connection, max(LEAST_UNSENT, min(rate_bps * UNSENT_NS // (8 * 10**9), 1 << 30)))

    def outlook(self, drains: bool = False) -> Outlook | None:
        """None while the rate is not known and there is time. Raises OSError.

        Where nothing waits the channel does not limit; but while it `drains`, and is given nothing, what it carries is its rate.
        """
        sight = tcp.sight(self._connection, self._now())
        self._pace.look(sight)
        rate = self._pace.rate_bps()
        self.rate_bps = self._pace.mean_bps() if rate is None else rate
        left = self._deadline_ns - sight.time_ns
        if left > 0 and (rate is None or not (sight.waiting or drains)):
            return None
        return Outlook(self.rate_bps, left, sight.waiting, sight.round_trip_ns, self._load_bytes_per_s)


async def send_blocks(
    stream: Stream, course: Course, open_: Open, channel: Channel | None, resume: delivery.Resume | None
) -> int:
    """Sends the course's blocks and gives their bytes; a block that no tier has is an error frame. Raises OSError."""
    # At once, so that what has to come from a tier above comes by one request
    opened = {block.digest: asyncio.create_task(open_(block.digest)) for block in course.rest}
    sent = 0
    try:
        while (block := await _next(course, channel)) is not None:
            offset = resume.offset if resume and resume.object == block.digest and resume.offset < block.bytes else 0
            sent += await send_object(stream, block.digest, opened[block.digest], offset)
    finally:
        for task in opened.values():
            task.cancel()
        await asyncio.gather(*opened.values(), return_exceptions=True)
    return sent


async def send_object(stream: Stream, digest: str, opening: Awaitable[Source], offset: int) -> int:
    """Passes an object on as it comes, from `offset` on, and gives the bytes of it that were sent. Raises OSError."""
    at = offset
    try:
        source = await opening
        async for part in source.parts(offset):
            await stream.part(digest, part, at, source.bytes)
            at += len(part)
    except Unavailable as error:
        await stream.error(digest, str(error))
    return at - offset


async def _next(course: Course, channel: Channel | None) -> Block | None:
    """The next block. Before a plan is cut, what is on its way has shown that the channel does not recover."""
    if channel is None:
        return course.next(None)
    outlook = channel.outlook()
    block = course.next(outlook)
    while outlook and block is None and course.variant is not course.planned:
        if not outlook.waiting or outlook.left_ns <= outlook.round_trip_ns:
            return None
        await sleep_ns(max(LOOK_AGAIN_NS, outlook.round_trip_ns))
        outlook = channel.outlook(drains=True)
        block = course.next(outlook)
    return block
