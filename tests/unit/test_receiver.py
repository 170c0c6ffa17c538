"""A device's downloads through anything: cut at any byte, any byte wrong, any tier down or lying.

Real tiers on loopback, behind wires that a test breaks.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from builders import Notes, digest_of, manifest_of, planned, publish
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_nodes import clock, delivery, http11
from edge_nodes.devices import receiver
from edge_nodes.devices.receiver import DownloadFailed, Receiver
from edge_nodes.tiers import library, registry
from edge_nodes.tiers.downloads import Downloads
from edge_nodes.tiers.pulls import Upstream
from edge_nodes.tiers.sessions import Grant, Northbound, Refused, Wish
from edge_nodes.tiers.store import Published
from scenarios import records

SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
MS = 10**6
EDGE, LOCAL, CENTRAL = HOSTS = ("square-edge", "region-local", "central")
BLOCKS = [bytes([65 + number]) * size for number, size in enumerate([700, 1, 90_000, 30_000])]
MANIFEST = manifest_of(
    "digits", BLOCKS, small={"blocks": [0, 1], "accuracy": 0.7}, large={"blocks": [0, 1, 2, 3], "accuracy": 0.9}
)
TEXT = MANIFEST.to_json()
OBJECTS = {digest_of(data): data for data in (TEXT, *BLOCKS)}
NAMES = [digest_of(data) for data in BLOCKS]
SENT = delivery.deflate(TEXT)
WHOLE = len(SENT) + sum(map(len, BLOCKS))
STREAM = WHOLE + 2_000  # bytes of a response, about

Wire = Callable[[bytes], bytes | None]  # what becomes of a response's next bytes; None cuts it


class NoSessions(Northbound):
    """A controller that grants nothing, at once."""

    def __init__(self) -> None:
        pass

    async def create(self, wish: Wish) -> Grant:
        raise Refused("there are none")


def cut_after(size: int) -> Wire:
    left = size

    def wire(data: bytes) -> bytes | None:
        nonlocal left
        passed = data[:left]
        left -= len(passed)
        return passed or None

    return wire


def flip(place: int, bit: int) -> Wire:
    left = place

    def wire(data: bytes) -> bytes:
        nonlocal left
        if 0 <= left < len(data):
            data = data[:left] + bytes([data[left] ^ 1 << bit]) + data[left + 1 :]
        left -= len(data)
        return data

    return wire


class Proxy:
    """Passes connections on to a tier. Each answer goes through the next of `wires`, and unharmed when there is none left."""

    def __init__(self, target: http11.Address) -> None:
        self.target, self.wires, self.requests = target, list[Wire](), 0
        self.asks: list[delivery.Ask] = []
        self._server: asyncio.Server

    async def start(self) -> http11.Address:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        address: http11.Address = self._server.sockets[0].getsockname()[:2]
        return address

    async def stop(self) -> None:
        self._server.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.transport.abort()
            return
        up = asyncio.create_task(self._pass_up(reader, far_writer))
        wire = self.wires.pop(0) if self.wires else bytes
        try:
            while data := await far_reader.read(1 << 16):
                passed = wire(data)
                if passed is None:
                    break
                writer.write(passed)
                await writer.drain()
        except OSError:
            pass  # the device has left
        up.cancel()
        far_writer.transport.abort()
        writer.close()

    async def _pass_up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            self.requests += 1
            self.asks.append(msgspec.json.decode(data.partition(b"\r\n\r\n")[2], type=delivery.Ask))
            writer.write(data)


class World:
    """Three tiers, each behind a proxy, and what a device needs to ask them."""

    def __init__(self) -> None:
        self.notes, self.proxies = Notes(), dict[str, Proxy]()
        self.tiers: list[receiver.Tier] = []
        self._runners: dict[str, web.AppRunner] = {}
        self.http = http11.Client(open_socket)

    async def serve(self, host: str, app: web.Application) -> http11.Address:
        runner = self._runners[host] = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address: http11.Address = runner.addresses[0][:2]
        self.proxies[host] = Proxy(address)
        self.tiers.append(receiver.Tier(host, await self.proxies[host].start()))
        return address

    async def close(self) -> None:
        await self.http.close()
        for host in self._runners:
            await self.proxies[host].stop()
            await self._runners[host].cleanup()

    def receiver(
        self,
        held: dict[str, bytes] | None = None,
        pauses: tuple[int, ...] = (MS,) * 3,
        manifest: str = digest_of(TEXT),
        **ask: Any,
    ) -> Receiver:
        def note(kind: Any, *figures: Any) -> None:
            self.notes.write(kind(0, "phone", "phone-1", *figures))

        ample = delivery.Ask("phone-1", "digits", 10**10, 10**9, 10**9, 10**9, 10**9, "default", [])
        made = msgspec.structs.replace(ample, **ask)
        return Receiver(self.http, self.tiers, pauses, manifest, held or {}, lambda: made, note)


@asynccontextmanager
async def world(folder: Path, edge: web.Application | None = None) -> AsyncIterator[World]:
    """`edge`, if given, is what answers in the edge's place."""
    if not (folder / "blocks").exists():
        publish(folder, (MANIFEST, BLOCKS))
    plan = planned({"digits": digest_of(TEXT)})
    made = World()
    try:
        for host in HOSTS:
            notes = Notes()
            tier = library.Tier(
                host,
                plan.models,
                Published(folder, host, notes),
                list[Upstream](),
                made.http,
                notes,
                retry_ns=[],  # type: ignore[arg-type]
            )
            app = registry.application(tier)
            app.router.add_post(delivery.PATH, Downloads(plan, host, tier, notes, NoSessions()).answer)  # type: ignore[arg-type]
            await made.serve(host, edge if edge is not None and host == EDGE else app)
        yield made
    finally:
        await made.close()


def open_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def whole(got: Receiver) -> bool:
    """Whether all objects are there and unbroken."""
    return {digest: bytes(data) for digest, data in got.objects.items()} == OBJECTS


def in_a_loop(test: Awaitable[None]) -> None:
    async def run() -> None:
        await asyncio.wait_for(test, 30)

    with asyncio.Runner(loop_factory=clock.event_loop) as runner:
        runner.run(run())


async def test_nothing_goes_wrong(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        got = there.receiver()
        assert (await got.receive()).name == "large"
        assert whole(got) and got.bytes == WHOLE
        assert [type(event) for event in there.notes.events] == [records.FirstByte]
        assert [there.proxies[host].requests for host in HOSTS] == [1, 0, 0]


@SOME
@given(st.lists(st.integers(0, STREAM), min_size=1, max_size=3), st.integers(0, 2))
def test_a_transfer_that_is_cut_at_any_byte_goes_on_and_no_byte_comes_twice(
    tmp_path: Path, cuts: list[int], also_cut: int
) -> None:
    async def test() -> None:
        async with world(tmp_path) as there:
            for host in HOSTS[: 1 + also_cut]:
                there.proxies[host].wires = [cut_after(size) for size in cuts]
            got = there.receiver()
            assert (await got.receive()).name == "large"
            assert whole(got)
            assert got.bytes == WHOLE
            interrupted, resumed = there.notes.of(records.Interrupted), there.notes.of(records.Resumed)
            asked = sum(proxy.requests for proxy in there.proxies.values())
            assert len(interrupted) >= asked - 1
            assert sum(event.bytes for event in interrupted) == (resumed[-1].bytes if resumed else 0)
            for ask in there.proxies[EDGE].asks[1:]:
                assert set(ask.have) <= OBJECTS.keys()

    in_a_loop(test())


@SOME
@given(st.integers(0, STREAM), st.integers(0, 7), st.booleans())
def test_any_bit_may_be_wrong_and_no_wrong_byte_is_kept(tmp_path: Path, place: int, bit: int, twice: bool) -> None:
    """Of the answer's head, of a frame's, or of a block."""

    async def test() -> None:
        async with world(tmp_path) as there:
            there.proxies[EDGE].wires = [flip(place, bit), flip(place, bit)] if twice else [flip(place, bit)]
            got = there.receiver()
            variant = await got.receive()
            assert got.has(variant)
            assert all(OBJECTS[digest] == data for digest, data in got.objects.items())
            lost = there.notes.of(records.BlockRejected) + there.notes.of(records.Interrupted)
            assert whole(got) or lost or variant.name == "small"
            if got.bytes > WHOLE:
                assert lost

    in_a_loop(test())


@SOME
@given(st.integers(0, STREAM), st.sampled_from([(EDGE,), (EDGE, LOCAL), (LOCAL,), (CENTRAL,), (LOCAL, CENTRAL)]))
def test_tiers_that_die_in_the_middle_are_survived_by_the_others(
    tmp_path: Path, size: int, dead: tuple[str, ...]
) -> None:
    async def test() -> None:
        async with world(tmp_path) as there:
            for host in dead:
                there.proxies[host].wires = [cut_after(size)] + [cut_after(0)] * 20
            got = there.receiver()
            await got.receive()
            assert whole(got) and got.bytes == WHOLE
            if EDGE in dead and size < WHOLE:
                assert EDGE in {event.library for event in there.notes.of(records.Interrupted)}

    in_a_loop(test())


async def test_where_all_are_down_it_says_what_each_one_said_after_the_pauses_of_the_plan(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        for host in HOSTS[:2]:
            await there.proxies[host].stop()
        there.proxies[CENTRAL].wires = [cut_after(0)] * 9
        with pytest.raises(DownloadFailed) as failed:
            await there.receiver(pauses=(MS, MS)).receive()
        assert all(f"{host}: " in str(failed.value) for host in HOSTS)
        assert "does not answer: ConnectionRefusedError" in str(failed.value)
        assert [event.library for event in there.notes.of(records.Interrupted)] == list(HOSTS) * 3


async def test_what_was_had_before_is_not_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as there:
        got = there.receiver({name: OBJECTS[name] for name in (digest_of(TEXT), NAMES[0], NAMES[2])})
        await got.receive()
        assert whole(got) and got.bytes == len(BLOCKS[1]) + len(BLOCKS[3])


async def test_a_tier_that_falls_silent_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receiver, "STALL_NS", 50 * MS)
    async with world(tmp_path) as there:
        held = cut_after(20_000)
        there.proxies[EDGE].wires = [lambda data: held(data) or b""] + [lambda data: b""] * 9
        got = there.receiver()
        await got.receive()
        assert whole(got) and got.bytes == WHOLE
        silent = [(event.library, event.reason) for event in there.notes.of(records.Interrupted)]
        assert silent == [(EDGE, "sent nothing for 0.05 s"), (EDGE, "does not answer within 0.05 s")]


# Libraries that lie

Say = Callable[[Callable[[bytes], Awaitable[None]]], Awaitable[None]]


def frame(name: str, data: bytes, offset: int = 0, of: int | None = None) -> bytes:
    return delivery.frame_head(name, len(data), offset, len(data) if of is None else of) + data


MANIFEST_FRAME = frame(digest_of(TEXT), SENT)
OFFER, END = delivery.note_frame(delivery.Offer("large")), delivery.note_frame(delivery.End("large"))
LIES = {
    "nothing": b"",
    "noise": b"\x00\xff" * 1000,
    "another manifest": frame(digest_of(TEXT), delivery.deflate(TEXT.replace(b"0.9", b"1.0"))) + OFFER + END,
    "no manifest": OFFER + END,
    "an unknown variant": MANIFEST_FRAME + delivery.note_frame(delivery.Offer("huge")) + END,
    "no offer": MANIFEST_FRAME + END,
    "another variant than offered": MANIFEST_FRAME + delivery.note_frame(delivery.Offer("small")) + END,
    "an end without blocks": MANIFEST_FRAME + OFFER + END,
    "no end": MANIFEST_FRAME + OFFER + b"".join(frame(digest_of(data), data) for data in BLOCKS[:3]),
    "wrong bytes": MANIFEST_FRAME + OFFER + frame(NAMES[0], b"?" * 700) + END,
    "another size": MANIFEST_FRAME + OFFER + frame(NAMES[0], b"?" * 699) + END,
    "a huge object": MANIFEST_FRAME + OFFER + delivery.frame_head(NAMES[0], 1, 0, 1 << 32) + b"?" + END,
    "what nobody wants": MANIFEST_FRAME + OFFER + frame(digest_of(b"junk"), b"junk") + END,
    "a block twice": MANIFEST_FRAME + OFFER + frame(NAMES[1], BLOCKS[1]) * 2 + END,
    "a gap": MANIFEST_FRAME + OFFER + frame(NAMES[0], BLOCKS[0][1:], 1, 700) + END,
    "empty frames for ever": MANIFEST_FRAME + OFFER + frame(NAMES[0], b"", 0, 700) * 1000 + END,
    "errors for ever": MANIFEST_FRAME + OFFER + delivery.error_frame(NAMES[0], "gone") * 1000 + END,
    "wrong bytes for ever": MANIFEST_FRAME + OFFER + frame(NAMES[0], b"?" * 700) * 1000 + END,
    "a long offer": MANIFEST_FRAME + delivery.frame_head(delivery.OFFER, 1 << 30) + b"?" * 1000,
}


def saying(body: bytes, status: int = 200) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, status=status)

    app = web.Application()
    app.router.add_post(delivery.PATH, answer)
    return app


@pytest.mark.parametrize("lie", LIES)
async def test_a_library_that_lies_is_on_record_and_the_next_one_gives_the_model(tmp_path: Path, lie: str) -> None:
    async with world(tmp_path, saying(LIES[lie])) as there:
        got = there.receiver()
        assert (await got.receive()).name == "large"
        assert whole(got)
        noted = there.notes.of(records.Interrupted) + there.notes.of(records.BlockRejected)
        assert noted or lie == "an end without blocks"
        assert len(noted) < 5
        assert there.proxies[LOCAL].requests == 1


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_a_library_that_refuses_is_passed_over(tmp_path: Path, status: int) -> None:
    async with world(tmp_path, saying(b"no such thing", status)) as there:
        got = there.receiver()
        await got.receive()
        assert whole(got)
        (event,) = there.notes.of(records.Interrupted)
        assert event.reason == f"answered {status}: no such thing"


async def test_only_the_bad_block_is_fetched_again_and_from_another_tier(tmp_path: Path) -> None:
    good = b"".join(frame(name, OBJECTS[name]) for name in (NAMES[0], NAMES[1], NAMES[3]))
    async with world(tmp_path, saying(MANIFEST_FRAME + OFFER + frame(NAMES[2], b"?" * 90_000) + good + END)) as there:
        got = there.receiver()
        await got.receive()
        assert whole(got) and got.bytes == WHOLE + 90_000
        (rejected,) = there.notes.of(records.BlockRejected)
        assert (rejected.digest, rejected.source) == (NAMES[2], EDGE)
        (ask,) = there.proxies[LOCAL].asks
        assert (ask.variant, set(OBJECTS) - set(ask.have)) == ("large", {NAMES[2]})


async def test_a_block_whose_first_part_was_a_lie_is_thrown_away_whole(tmp_path: Path) -> None:
    """The edge lies and breaks off; what the next tier goes on with does not make it right; the one after gives all of it."""
    half = delivery.frame_head(NAMES[2], 90_000) + b"?" * 50_000
    async with world(tmp_path, saying(MANIFEST_FRAME + OFFER + half)) as there:
        there.proxies[EDGE].wires = [bytes, cut_after(0), cut_after(0)]
        got = there.receiver()
        await got.receive()
        assert whole(got)
        (rejected,) = there.notes.of(records.BlockRejected)
        assert (rejected.digest, rejected.source) == (NAMES[2], f"{EDGE}, {LOCAL}")
        assert there.proxies[LOCAL].asks[0].resume == delivery.Resume(NAMES[2], 50_000)
        assert there.proxies[CENTRAL].asks[0].resume is None
        assert got.bytes == WHOLE + 90_000 - 40_000 + 40_000


async def test_a_variant_for_which_there_is_no_room_is_not_taken(tmp_path: Path) -> None:
    fat = manifest_of("digits", BLOCKS, large={"blocks": [0, 1, 2, 3], "memory": 2_000_000})
    publish(tmp_path, (fat, BLOCKS))
    text = fat.to_json()
    app = saying(frame(digest_of(text), delivery.deflate(text)) + OFFER)
    async with world(tmp_path, app) as there:
        got = there.receiver(pauses=(), manifest=digest_of(text), memory_bytes=1_000_000)
        with pytest.raises(DownloadFailed):
            await got.receive()
        reason = there.notes.of(records.Interrupted)[0].reason
        assert reason == "the library offers large, which takes 2 MB of 1 MB of memory"
        assert set(got.objects) == {digest_of(text)}
