"""HTTP/1.1 for bodies of many megabytes: between a socket and the memory where they stay, with nothing in between.

aiohttp is woken for every few packets, collects a body in small pieces and joins them at the end. In the guest being woken is dear,
and so is memory that a process touches first. Here the kernel writes a body
where it stays, and wakes us for as much of it as the TCP window allows. A server lets aiohttp do all but send the body.
"""

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import BinaryIO

import numpy as np
from aiohttp import web

Data = bytes | memoryview
Address = tuple[str, int]
SMALL = 1 << 16  # bytes that are rather joined, or copied, than dealt with one by one
_BUFFER = 1 << 14  # for heads and lines
_LONGEST_LINE = 1 << 16
_CONNECTIONS = 8  # to one server at once
_MOST_AWAITED = 1 << 18  # bytes that come before we are woken
_LOOK_AGAIN = 1 << 20  # bytes after which the window may have grown
_PASSED_ON = 1 << 13  # bytes of a long body that are rather passed on together


class HttpError(Exception):
    """The other side ended in the middle of a response, or does not speak HTTP/1.1."""


class Extent:
    """A part of a file, which the kernel sends without bringing it here; `bytes(extent)` reads it."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file, self._start, self._length = file, start, length

    def __len__(self) -> int:
        return self._length

    def __bytes__(self) -> bytes:
        """Raises OSError where the file has become shorter."""
        data = os.pread(self._file.fileno(), self._length, self._start)
        if len(data) < self._length:
            raise OSError("a file ends early")
        return data

    def shortened(self, length: int) -> "Extent":
        """The first `length` bytes of it."""
        return Extent(self._file, self._start, length)

    async def send_to(self, receiver: socket.socket) -> None:
        """Raises OSError, also where the file has become shorter."""
        loop = asyncio.get_running_loop()
        sent = await loop.sock_sendfile(receiver, self._file, self._start, self._length)
        if sent < self._length:
            raise OSError(f"a file ends {self._length - sent} bytes early")


Body = Data | Extent


class Client:
    """Sends requests; `open_socket` makes the sockets, in whatever namespace that is. A connection is kept for the next request."""

    def __init__(self, open_socket: Callable[[], socket.socket]) -> None:
        self._open_socket = open_socket
        self._idle: defaultdict[Address, list[_Connection]] = defaultdict(list)
        self._slots: defaultdict[Address, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(_CONNECTIONS))

    @asynccontextmanager
    async def request(self, method: str, address: Address, path: str, body: bytes = b"") -> AsyncIterator["Response"]:
        """The response to a request; its body can be read within. Raises HttpError, OSError."""
        async with self._slots[address]:
            connection = await self._connection_to(address)
            try:
                host, port = address
                head = f"{method} {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.send(head.encode() + body)
                response = await _read_head(connection)
                yield response
            except BaseException:
                connection.close()
                raise
            if response.leaves_the_connection:
                self._idle[address].append(connection)
            else:
                connection.close()

    async def open_ahead(self, address: Address) -> None:
        """Sees to it that there is a connection for a request to come, unless one is in use. Raises OSError."""
        self._idle[address].append(await self._connection_to(address))

    async def _connection_to(self, address: Address) -> "_Connection":
        idle = self._idle[address]
        while idle:
            if (kept := idle.pop()).is_open:
                return kept
        loop = asyncio.get_running_loop()
        made = self._open_socket()
        try:
            await loop.sock_connect(made, address)
            return (await loop.create_connection(_Connection, sock=made))[1]
        except BaseException:
            made.close()
            raise

    async def close(self) -> None:
        for connection in (kept for idle in self._idle.values() for kept in idle):
            connection.close()
        self._idle.clear()


class _Connection(asyncio.BufferedProtocol):
    """What is received goes into a small buffer or, while somebody waits for that, straight to its place."""

    _transport: asyncio.Transport

    def __init__(self) -> None:
        self._bytes = bytearray(_BUFFER)
        self._view = memoryview(self._bytes)
        self._start = self._end = 0  # of what the buffer holds
        self._place = memoryview(b"")  # what is still to be filled of the place
        self._waiter: asyncio.Future[None] | None = None
        self._awaited = 1  # bytes that come before we are woken
        self._most_awaited = self._look_at = 0
        self._fills = True  # whether we are woken when the place is full, or with the first bytes of it
        self.is_open = True
        self.received = 0  # bytes, so far

    def send(self, data: bytes) -> None:
        self._transport.write(data)

    def close(self) -> None:
        self.is_open = False
        self._transport.abort()

    async def line(self, most: int) -> bytes:
        """What comes next up to a newline, but at most `most` bytes and what the buffer holds. Raises HttpError."""
        while True:
            end = min(self._end, self._start + most)
            newline = self._bytes.find(b"\n", self._start, end)
            if newline >= 0 or end == self._start + most or self._end - self._start == _BUFFER:
                line = bytes(self._view[self._start : newline + 1 if newline >= 0 else end])
                self._start += len(line)
                return line
            held = bytes(self._view[self._start : self._end])
            self._view[: len(held)] = held
            self._start, self._end = 0, len(held)
            self._await(1)
            await self._more()

    async def fill(self, place: memoryview) -> int:
        """Fills a place with what comes next. Gives how much of it: all, unless the connection ends before."""
        held = min(self._end - self._start, len(place))
        place[:held] = self._view[self._start : self._start + held]
        self._start += held
        self._place = place[held:]
        self._look_at = len(self._place)
        try:
            while self._place and self.is_open:
                self._start = self._end = 0
                self._await_most_of_the_place()
                await self._more()
            return len(place) - len(self._place)
        finally:
            self._place = memoryview(b"")

    async def receive(self, place: memoryview, awaited: int) -> int:
        """Puts what comes next at the start of a place: about `awaited` bytes, at least one. Raises HttpError."""
        held = min(self._end - self._start, len(place))
        if held:
            place[:held] = self._view[self._start : self._start + held]
            self._start += held
            return held
        self._start = self._end = 0
        self._place, self._fills = place, False
        self._await(min(awaited, len(place)))
        try:
            while len(self._place) == len(place):
                await self._more()
            return len(place) - len(self._place)
        finally:
            self._place, self._fills = memoryview(b""), True

    async def _more(self) -> None:
        if not self.is_open:
            raise HttpError("the connection ended early")
        self._transport.resume_reading()
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _await_most_of_the_place(self) -> None:
        """Sets how much comes before we are woken: at the place's last byte not one more, and always only a part of the TCP
        window, which does not grow while it is full."""
        left = len(self._place)
        ours = self._transport.get_extra_info("socket")
        if SMALL < left <= self._look_at:
            self._look_at = left - _LOOK_AGAIN
            # The buffer is twice the window
            self._most_awaited = min(_MOST_AWAITED, ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 8)
        self._await(min(left, self._most_awaited) if left > SMALL else 1)

    def _await(self, awaited: int) -> None:
        if awaited != self._awaited:
            ours = self._transport.get_extra_info("socket")
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, awaited)
            self._awaited = awaited

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._place or self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        self.received += nbytes
        if self._place:
            self._place = self._place[nbytes:]
            if self._fills:
                self._await_most_of_the_place()
                if self._place:
                    return
        else:
            self._end += nbytes
            if self._end == _BUFFER:
                self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._wake()


class Response:
    """A response whose head has come. What reads the body raises HttpError when that breaks off."""

    def __init__(self, connection: _Connection, status: int, headers: dict[str, str]) -> None:
        self._connection, self.status, self._headers = connection, status, headers
        self._chunked = headers.get("transfer-encoding", "").lower() == "chunked"
        self._left = 0 if self._chunked else int(headers["content-length"])  # bytes of the body, or of this chunk of it
        self._chunks = 0
        self._received = 0  # by `receive`
        self._ended = False

    @property
    def received(self) -> int:
        """Bytes that have come by the connection: whether it still moves."""
        return self._connection.received

    def abort(self) -> None:
        """Gives it up: whoever waits for the body finds that it has broken off."""
        self._connection.close()

    @property
    def leaves_the_connection(self) -> bool:
        """Whether another request can be sent on the connection."""
        return self._ended and self._headers.get("connection", "").lower() != "close"

    async def readline(self) -> bytes:
        """The next line with its end; less than a line only at the body's end."""
        line = b""
        while not line.endswith(b"\n") and await self._has_more():
            if len(line) > _LONGEST_LINE:
                raise HttpError(f"a line of more than {_LONGEST_LINE} bytes")
            part = await self._connection.line(self._left)
            self._left -= len(part)
            line += part
        return line

    async def readexactly(self, n: int) -> memoryview:
        """The next `n` bytes."""
        place = np.empty(n, np.uint8).data  # memory that nobody touches before the kernel fills it
        if await self.readinto(place) < n:
            raise HttpError("the body ended early")
        return place.toreadonly()

    async def readinto(self, place: memoryview) -> int:
        """Fills a place with the next bytes. Gives how many these are: fewer than fit only where the body ends or breaks off."""
        done = 0
        while done < len(place) and await self._goes_on():
            step = min(self._left, len(place) - done)
            filled = await self._connection.fill(place[done : done + step])
            self._left -= filled
            done += filled
            if filled < step:
                break
        return done

    async def _goes_on(self) -> bool:
        try:
            return await self._has_more()
        except HttpError:  # what has come is not lost
            return False

    async def receive(self, place: memoryview) -> int:
        """Puts what has come at the start of a place, to be passed on; gives how many bytes, at least one."""
        if not await self._has_more():
            raise HttpError("the body ended early")
        awaited = 1 if self._received < _MOST_AWAITED else _PASSED_ON  # the window opens first
        received = await self._connection.receive(place[: self._left], awaited)
        self._received += received
        self._left -= received
        return received

    async def read(self) -> Data:
        """All that is left."""
        parts = []
        while await self._has_more():
            parts.append(await self.readexactly(self._left))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _has_more(self) -> bool:
        """Whether the body goes on, in a next chunk if need be."""
        if self._left == 0 and not self._ended:
            self._left = await self._next_chunk() if self._chunked else 0
            self._ended = self._left == 0
        return not self._ended

    async def _next_chunk(self) -> int:
        if self._chunks and await _line(self._connection) != "":
            raise HttpError("a chunk is longer than it says")
        self._chunks += 1
        size = (await _line(self._connection)).partition(";")[0]
        try:
            length = int(size, 16)
        except ValueError:
            raise HttpError(f"{size!r} is not a chunk's length") from None
        if length == 0:
            while await _line(self._connection) != "":
                pass
        return length


async def _read_head(connection: _Connection) -> Response:
    version, _, rest = (await _line(connection)).partition(" ")
    headers = {}
    while line := await _line(connection):
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    try:
        if version != "HTTP/1.1":
            raise ValueError(f"version {version!r}")
        return Response(connection, int(rest[:3]), headers)
    except (ValueError, KeyError) as error:
        raise HttpError(f"not a response: {error}") from None


async def _line(connection: _Connection) -> str:
    """A line of a head, without its end."""
    line = await connection.line(_BUFFER)
    if not line.endswith(b"\n"):
        raise HttpError(f"a line of more than {_BUFFER} bytes")
    return line.decode("latin-1").rstrip("\r\n")


@asynccontextmanager
async def body_of(request: web.Request) -> AsyncIterator[Callable[..., Awaitable[None]]]:
    """Gives what sends, as one, its arguments as the body of a response that has been prepared. Raises OSError."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError("the client has left")
    transport.set_write_buffer_limits(high=0)  # so that no byte of the head is left after `drain`
    await request.writer.drain()
    loop = asyncio.get_running_loop()
    # A transport wants its socket for itself, and copies what it cannot send at once
    with transport.get_extra_info("socket").dup() as own:
        own.setblocking(False)

        async def send(*parts: Body) -> None:
            joined = (b"".join(map(bytes, parts)),) if sum(map(len, parts)) <= SMALL else parts
            for part in joined:
                if isinstance(part, Extent):
                    await part.send_to(own)
                else:
                    await loop.sock_sendall(own, part)

        yield send
