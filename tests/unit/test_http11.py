"""Bodies past aiohttp: what a server sends is what a client reads, however it is cut; what breaks off is noticed."""

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientPayloadError, ClientSession, web

from edge_nodes import http11

LARGE = bytes(range(256)) * 20_000
HOST = "127.0.0.1"


def open_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


class Peer:
    """A server that answers each request with these bytes, cut into pieces; it counts its connections."""

    def __init__(self, answer: bytes, piece: int, leaves: bool) -> None:
        self.answer, self.piece, self.leaves, self.connections = answer, piece, leaves, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                for start in range(0, len(self.answer), self.piece):
                    writer.write(self.answer[start : start + self.piece])
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.leaves:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        writer.close()


@asynccontextmanager
async def peer(answer: bytes, piece: int = 1 << 20, leaves: bool = False) -> AsyncIterator[tuple[Peer, http11.Address]]:
    made = Peer(answer, piece, leaves)
    server = await asyncio.start_server(made.serve, HOST, 0)
    async with server:
        yield made, server.sockets[0].getsockname()[:2]


def chunked(*chunks: bytes) -> bytes:
    body = b"".join(b"%x;more=1\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\nTrailer: x\r\n\r\n"


def sized(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-LENGTH:%d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("piece", [1, 7, 16_384, 100_000])
@pytest.mark.parametrize("answer", [sized(b"line\nrest" * 200), chunked(b"li", b"ne\nrest", b"line\nrest" * 199)])
async def test_a_body_is_read_as_sent_however_it_is_cut(answer: bytes, piece: int) -> None:
    async with peer(answer, piece) as (_, address):
        client = http11.Client(open_socket)
        async with client.request("GET", address, "/") as response:
            assert response.status == 200
            assert await response.readline() == b"line\n"
            assert await response.readexactly(4) == b"rest"
            assert await response.read() == b"line\nrest" * 199
            assert await response.readline() == b""
        await client.close()


@pytest.mark.parametrize("answer", [sized(LARGE), chunked(LARGE[:1_000_001], LARGE[1_000_001:])])
async def test_a_large_body_arrives_whole_on_one_connection(answer: bytes) -> None:
    async with peer(answer) as (server, address):
        client = http11.Client(open_socket)
        for _ in range(3):
            async with client.request("POST", address, "/", b"x") as response:
                assert await response.readexactly(len(LARGE)) == LARGE
                assert await response.readline() == b""
        assert server.connections == 1
        await client.close()


@pytest.mark.parametrize("cut", [1, 3, 100, 1_000_000, len(LARGE)])
@pytest.mark.parametrize("answer", [sized(LARGE), chunked(LARGE)])
async def test_a_response_that_breaks_off_is_an_error_and_its_connection_is_not_used_again(
    answer: bytes, cut: int
) -> None:
    async with peer(answer[:-cut], leaves=True) as (server, address):
        client = http11.Client(open_socket)
        for _ in range(2):
            with pytest.raises(http11.HttpError):
                async with client.request("GET", address, "/") as response:
                    await response.readexactly(len(LARGE))
                    assert await response.readline() == b"", "it never reads more than was sent"
        assert server.connections == 2
        await client.close()


async def test_a_connection_with_an_unread_body_is_not_used_again() -> None:
    async with peer(sized(b"unread")) as (server, address):
        client = http11.Client(open_socket)
        for _ in range(2):
            async with client.request("GET", address, "/") as response:
                assert response.status == 200
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"220 mail.example ESMTP\r\n\r\n",
        b"HTTP/1.1 abc\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nno length",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        b"x" * 100_000,
    ],
)
async def test_what_is_no_response_is_an_error(answer: bytes) -> None:
    async with peer(answer, leaves=True) as (_, address):
        with pytest.raises(http11.HttpError):
            async with http11.Client(open_socket).request("GET", address, "/") as response:
                await response.read()


async def test_a_server_that_is_down_is_an_os_error() -> None:
    with socket.create_server((HOST, 0)) as listening:
        address = listening.getsockname()
    with pytest.raises(OSError):
        async with http11.Client(open_socket).request("GET", address, "/"):
            pass


@pytest.mark.parametrize("piece", [7, 10_000, 1 << 20])
@pytest.mark.parametrize("answer", [sized(LARGE), chunked(LARGE[:1_000_001], LARGE[1_000_001:])])
async def test_a_body_is_received_in_parts_as_they_come(answer: bytes, piece: int) -> None:
    if piece == 7:
        answer = sized(LARGE[:1000])
    async with peer(answer, piece) as (server, address):
        client = http11.Client(open_socket)
        for _ in range(2):
            got = bytearray()
            async with client.request("GET", address, "/") as response:
                place, whole = memoryview(bytearray(1 << 20)), 1000 if piece == 7 else len(LARGE)
                while len(got) < whole:
                    received = await response.receive(place)
                    assert received > 0
                    got += place[:received]
                assert await response.readline() == b""
            assert got == LARGE[:whole]
        assert server.connections == 1
        await client.close()


async def test_what_has_come_is_received_while_the_rest_is_still_to_come() -> None:
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n" + b"a" * 10)
        await release.wait()
        writer.write(b"b" * 99_990)

    async with await asyncio.start_server(serve, HOST, 0) as server:
        client, place = http11.Client(open_socket), memoryview(bytearray(100_000))
        async with client.request("GET", server.sockets[0].getsockname()[:2], "/") as response:
            assert await response.receive(place) == 10
            release.set()
            assert await response.readexactly(99_990) == b"b" * 99_990
            with pytest.raises(http11.HttpError):
                await response.receive(place)
        await client.close()


async def test_a_body_that_breaks_off_while_it_is_received_is_an_error() -> None:
    async with peer(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345", leaves=True) as (_, address):
        client, place = http11.Client(open_socket), memoryview(bytearray(10))
        with pytest.raises(http11.HttpError):
            async with client.request("GET", address, "/") as response:
                assert await response.receive(place) == 5
                await response.receive(place)


async def test_a_connection_that_was_opened_ahead_is_used() -> None:
    async with peer(sized(b"x")) as (server, address):
        client = http11.Client(open_socket)
        for _ in range(2):
            await client.open_ahead(address)
        async with client.request("GET", address, "/") as response:
            assert await response.read() == b"x"
        assert server.connections == 1
        await client.close()


async def test_a_part_of_a_file_is_sent_by_the_kernel_and_one_that_has_become_shorter_is_an_error(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_bytes(LARGE)
    with (tmp_path / "file").open("rb") as file:
        extent = http11.Extent(file, 1000, 2_000_000)
        assert (len(extent), bytes(extent), bytes(extent.shortened(5))) == (
            2_000_000,
            LARGE[1000:2_001_000],
            LARGE[1000:1005],
        )

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            response.content_length = len(extent) + 4
            await response.prepare(request)
            async with http11.body_of(request) as send:
                await send(b"<<", extent, b">>")
            await response.write_eof()
            return response

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        url = f"http://{HOST}:{runner.addresses[0][1]}/"
        async with ClientSession() as session, session.get(url) as got:
            assert await got.read() == b"<<" + LARGE[1000:2_001_000] + b">>"
        os.truncate(tmp_path / "file", 1_500_000)
        async with ClientSession() as session, session.get(url) as got:
            with pytest.raises(ClientPayloadError):
                await got.read()
        with pytest.raises(OSError):
            bytes(extent)
        await runner.cleanup()


async def test_any_http_client_reads_what_is_sent_past_aiohttp() -> None:
    """Twice on one connection, each part as one chunk after aiohttp's own head."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async with http11.body_of(request) as send:
            for part in (b"small", LARGE):
                await send(b"%x\r\n" % len(part), part, b"\r\n")
        await response.write_eof()
        return response

    app = web.Application()
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    address = runner.addresses[0]
    async with ClientSession() as session:
        for _ in range(2):
            async with session.get(f"http://{address[0]}:{address[1]}/") as answer:
                assert hashlib.sha256(await answer.read()).digest() == hashlib.sha256(b"small" + LARGE).digest()
    await runner.cleanup()
