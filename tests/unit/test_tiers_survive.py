"""Tiers as processes that are killed, whose disks are spoilt or full and whose transfers are cut, at random points.

Whatever happens, who reads through the edge gets the right bytes or an error, no tier keeps a wrong byte, and what was lost is on
record. Each seed is another story; the bytes, the times and the order of what goes wrong are drawn from it.
"""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from builders import digest_of, manifest_of, publish

PROJECT = Path(__file__).resolve().parents[2]
SEEDS = pytest.mark.parametrize("seed", range(3))


def made(seed: int) -> list[bytes]:
    """The blocks of a model: small and large ones."""
    draw = random.Random(seed)
    return [draw.randbytes(size) for size in (700, 20_000, 400_000, 5_000, 1_500_000, 65_536, 65_537, 3)]


class Process:
    """A tier: `insitu library serve`. `lines` are its records of all the times that it was started."""

    def __init__(self, name: str, folder: Path, *options: str, wrap: tuple[str, ...] = ()) -> None:
        self.folder, self.port = folder, free_port()
        self._log = folder.with_name(f"{name}.jsonl")
        self._command = [*wrap, sys.executable, "-m", "insitu.serving", str(folder), "--port", str(self.port), *options]
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdout=log,
                stderr=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": str(PROJECT), "PYTHONUNBUFFERED": "1"},
            )
        assert self._process.stderr is not None
        said = await self._process.stderr.readline()
        assert b" serves " in said, said + await self._process.stderr.read()

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGKILL)
            await self._process.wait()

    def records(self, *kinds: str) -> list[dict[str, Any]]:
        """Of these kinds; a line that a kill has cut is none."""
        found = []
        for line in self._log.read_text().splitlines():
            try:
                event = json.loads(line)
            except ValueError:
                continue
            if event["kind"] in kinds:
                found.append(event)
        return found

    def kept_wrong(self) -> list[str]:
        """Files of its store that are named as objects and are others."""
        files = [file for file in self.folder.iterdir() if len(file.name) == 64]
        return [file.name for file in files if digest_of(file.read_bytes()) != f"sha256:{file.name}"]


Tamper = Callable[[bytes], tuple[bytes, bool]]  # what passes of some data, and whether the connection goes on


class Proxy:
    """A TCP proxy; `tamper()` gives what each connection does to what the server sends."""

    def __init__(self, target: int, tamper: Callable[[], Tamper]) -> None:
        self._port, self._target, self._tamper = free_port(), target, tamper
        self.url = f"http://127.0.0.1:{self._port}"
        self.changed = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, upwards = await asyncio.open_connection("127.0.0.1", self._target)
        tamper = self._tamper()

        async def up() -> None:
            while data := await reader.read(1 << 16):
                upwards.write(data)

        async def down() -> None:
            on = True
            while on and (data := await above.read(1 << 14)):
                passed, on = tamper(data)
                self.changed += passed != data
                writer.write(passed)
                await writer.drain()

        both = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)
            upwards.close()
            writer.close()


def cut_after(left: int | None) -> Tamper:
    """Cuts after so many bytes; None never."""

    def tamper(data: bytes) -> tuple[bytes, bool]:
        nonlocal left
        if left is None:
            return data, True
        passed, left = data[:left], max(0, left - len(data))
        return passed, left > 0

    return tamper


def lie(data: bytes) -> tuple[bytes, bool]:
    """Changes a byte of every larger piece."""
    return (data[:-1] + bytes([data[-1] ^ 1]) if len(data) > 8_000 else data), True


class Reader:
    """Reads blobs and the outcome of each: the right bytes, or an error; never other bytes."""

    def __init__(self, http: aiohttp.ClientSession, edge: Process, blocks: list[bytes]) -> None:
        self._http, self._edge, self._blocks = http, edge, {digest_of(data): data for data in blocks}
        self.right = self.failed = 0

    async def read(self, digest: str) -> bool:
        try:
            async with self._http.get(f"{self._edge.url}/v2/digits/blobs/{digest}") as answer:
                data = await answer.read()
                if answer.status != 200:
                    assert json.loads(data)["errors"][0]["code"] in ("UNAVAILABLE", "BLOB_UNKNOWN")
                    raise aiohttp.ClientError
        except aiohttp.ClientError:
            self.failed += 1
            return False
        assert data == self._blocks[digest], f"{len(data)} bytes that are not {digest}"
        self.right += 1
        return True

    async def all_right(self) -> None:
        """Every object, now that nothing goes wrong any more."""
        for digest in self._blocks:
            for _ in range(20):
                if await self.read(digest):
                    break
                await asyncio.sleep(0.1)
            else:
                raise AssertionError(f"{digest} cannot be had any more")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def house(folder: Path, blocks: list[bytes]) -> AsyncIterator[AsyncExitStack]:
    """What the tests start ends with it."""
    publish(folder / "central", (manifest_of("digits", blocks, whole={"blocks": list(range(len(blocks)))}), blocks))
    async with AsyncExitStack() as stack:
        yield stack


async def started(stack: AsyncExitStack, process: Process) -> Process:
    stack.push_async_callback(process.kill)
    await process.start()
    return process


async def reader_of(stack: AsyncExitStack, edge: Process, blocks: list[bytes]) -> Reader:
    connector = aiohttp.TCPConnector(force_close=True)
    http = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    return Reader(http, edge, blocks)


async def three_tiers(stack: AsyncExitStack, folder: Path) -> tuple[Process, Process, Process]:
    central = await started(stack, Process("central", folder / "central"))
    local = await started(stack, Process("local", folder / "local", "--upstream", central.url))
    above = ("--upstream", local.url, "--upstream", central.url)
    edge = await started(stack, Process("edge", folder / "edge", *above, "--cache", "1 MB"))
    return central, local, edge


@SEEDS
async def test_tiers_that_are_killed(tmp_path: Path, seed: int) -> None:
    """Any tier, at any time, while ten readers read; it comes back with what it had."""
    blocks, draw = made(seed), random.Random(seed)
    async with house(tmp_path, blocks) as stack:
        tiers = await three_tiers(stack, tmp_path)
        reader = await reader_of(stack, tiers[2], blocks)
        order = [
            random.Random(f"{seed} {number}").choices([digest_of(b) for b in blocks], k=25) for number in range(10)
        ]

        async def read_all(digests: list[str]) -> None:
            for digest in digests:
                await reader.read(digest)

        readers = asyncio.gather(*map(read_all, order))
        killed = [draw.choice(tiers) for _ in range(3)]
        for victim in killed:
            await asyncio.sleep(draw.uniform(0, 0.3))
            await victim.kill()
            await asyncio.sleep(draw.uniform(0, 0.2))
            await victim.start()
        await readers
        await reader.all_right()
        assert tiers[1].kept_wrong() == tiers[2].kept_wrong() == []


@SEEDS
async def test_files_that_are_spoilt(tmp_path: Path, seed: int) -> None:
    """Of any tier but the last that has them, and cut short as well; each that is met is on record and pulled again."""
    blocks, draw = made(seed), random.Random(seed)
    async with house(tmp_path, blocks) as stack:
        tiers = await three_tiers(stack, tmp_path)
        reader = await reader_of(stack, tiers[2], blocks)
        await reader.all_right()
        spoilt: dict[Process, set[str]] = {tier: set() for tier in tiers[1:]}
        for _ in range(12):
            tier = draw.choice(tiers[1:])
            files = sorted(file for file in tier.folder.iterdir() if len(file.name) == 64)
            if files:
                file = draw.choice(files)
                spoil(file, draw)
                spoilt[tier].add(f"sha256:{file.name}")
            await reader.read(digest_of(draw.choice(blocks)))
        await reader.all_right()
        local = await reader_of(stack, tiers[1], blocks)
        await local.all_right()
        assert reader.failed == local.failed == 0
        for tier, digests in spoilt.items():
            assert {event["digest"] for event in tier.records("blockrejected")} <= digests
            manifests = digests - {digest_of(block) for block in blocks}  # are read when it starts
            assert {f"sha256:{name}" for name in tier.kept_wrong()} <= manifests
        assert any(tier.records("blockrejected") for tier in spoilt)


def spoil(file: Path, draw: random.Random) -> None:
    data = bytearray(file.read_bytes())
    if data and draw.random() < 0.7:
        data[draw.randrange(len(data))] ^= draw.randrange(1, 256)
    else:
        del data[draw.randrange(len(data) or 1) :]
    file.write_bytes(data)


@SEEDS
async def test_transfers_that_are_cut(tmp_path: Path, seed: int) -> None:
    """Between central, local and edge, after any number of bytes; what has come is not sent again in vain."""
    blocks, draw = made(seed), random.Random(seed)

    def cut() -> Tamper:
        return cut_after(draw.choice([None, draw.randrange(500), draw.randrange(50_000), draw.randrange(2_000_000)]))

    async with house(tmp_path, blocks) as stack:
        central = await started(stack, Process("central", tmp_path / "central"))
        below_central = await stack.enter_async_context(Proxy(central.port, cut).running())
        local = Process("local", tmp_path / "local", "--upstream", below_central.url, "--upstream", central.url)
        await started(stack, local)
        below_local = await stack.enter_async_context(Proxy(local.port, cut).running())
        above = ("--upstream", below_local.url, "--upstream", below_central.url, "--upstream", central.url)
        edge = await started(stack, Process("edge", tmp_path / "edge", *above, "--cache", "1 MB"))
        reader = await reader_of(stack, edge, blocks)
        digests = [digest_of(block) for block in blocks]
        await asyncio.gather(*(reader.read(draw.choice(digests)) for _ in range(40)))
        await reader.all_right()
        assert edge.kept_wrong() == local.kept_wrong() == []
        if below_local.changed:
            assert edge.records("pullfailed")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
async def test_disks_that_are_full(tmp_path: Path) -> None:
    """What does not fit passes through; the record says that it was not kept."""
    blocks = made(0)
    (tmp_path / "edge").mkdir()
    mount = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o size=600k none {tmp_path}/edge && exec "$@"', "sh")
    async with house(tmp_path, blocks) as stack:
        central = await started(stack, Process("central", tmp_path / "central"))
        edge = await started(stack, Process("edge", tmp_path / "edge", "--upstream", central.url, wrap=mount))
        reader = await reader_of(stack, edge, blocks)
        for _ in range(2):
            await reader.all_right()
        assert reader.failed == 0
        lost = edge.records("notkept")
        assert {event["reason"] for event in lost} == {"No space left on device"}
        assert digest_of(blocks[4]) in {event["object"] for event in lost}
        kept = [event["object"] for event in edge.records("served") if event["hit"]]
        assert digest_of(blocks[0]) in kept


async def test_a_tier_that_lies(tmp_path: Path) -> None:
    """It sends other bytes of the right length; nobody below keeps them, and the next tier is asked."""
    blocks = made(1)
    async with house(tmp_path, blocks) as stack:
        central = await started(stack, Process("central", tmp_path / "central"))
        liar = await stack.enter_async_context(Proxy(central.port, lambda: lie).running())
        above = ("--upstream", liar.url, "--upstream", central.url)
        edge = await started(stack, Process("edge", tmp_path / "edge", *above))
        reader = await reader_of(stack, edge, blocks)
        await reader.all_right()
        assert liar.changed > 0
        assert edge.kept_wrong() == []
        assert edge.records("blockrejected", "pullfailed")
