"""The tiers of the library, real services on loopback addresses: pulled once, verified always, never wrong bytes."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import web
from builders import Notes, digest_of, frames, manifest_of, planned, publish

from edge_nodes import delivery, http11
from edge_nodes.choosing import policies
from edge_nodes.tiers import library, pulls, registry
from edge_nodes.tiers.caching import Lru
from edge_nodes.tiers.downloads import Downloads, asking_ns
from edge_nodes.tiers.library import Tier
from edge_nodes.tiers.pulls import Upstream
from edge_nodes.tiers.sessions import Northbound
from edge_nodes.tiers.store import Held, Objects, Published, Source, Store
from scenarios import records
from scenarios.plan import Plan

CENTRAL, NEF, LOCAL, EDGE, PHONE = "central", "nef", "region-local", "square-edge", "phone"
SECOND = 10**9

SHARED, *REST = (bytes([number]) * size for number, size in enumerate([500, 300_000, 700_000, 40]))
VARIANTS = {"small": {"blocks": [0], "accuracy": 0.7}, "large": {"blocks": [0, 1, 2], "accuracy": 0.9, "memory": 9}}
DIGITS, NIGHT = [SHARED, REST[0], REST[1]], [SHARED, REST[2], b"night" * 50]
MANIFESTS = {
    "digits": manifest_of("digits", DIGITS, **VARIANTS),
    "digits@night": manifest_of("digits@night", NIGHT, **VARIANTS),
}
TEXTS = {model: manifest.to_json() for model, manifest in MANIFESTS.items()}
OBJECTS = {digest_of(data): data for data in (*DIGITS, *NIGHT, *TEXTS.values())}
FIRST, SECOND_BLOCK, THIRD = (digest_of(data) for data in DIGITS)

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Wrong:
    """A store that has other bytes than it should, and does not notice."""

    def models(self, models: Any) -> None:
        pass

    def get(self, digest: str) -> Source | None:
        return Held(b"?" * len(OBJECTS[digest]))

    def put(self, digest: str, data: Any, asks: int) -> None:
        raise AssertionError("what is there is not put")


class Download(NamedTuple):
    """What a device got: the status, and of the stream the variant that it ended with, the objects and the errors."""

    status: int
    variant: str
    objects: dict[str, bytes]
    errors: dict[str, str]


class World:
    """Three tiers and a device, each at its own address; the northbound is what a test makes of it."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self.folder = plan, folder
        self.port, self.northbound_port = free_port(), free_port()
        self.addresses = {host.name: host.ip for host in plan.hosts}
        self.notes = {host.name: Notes() for host in plan.hosts}
        self.gates: dict[str, asyncio.Event] = {}  # what a host answers waits until its gate is opened
        self.on_request: dict[str, Any] = {}  # what a host does first with each request, or instead
        self.asked_nef: list[tuple[str, str, Any]] = []
        self.tiers: dict[str, Tier] = {}
        self._stack = AsyncExitStack()
        self._runners: dict[str, web.AppRunner] = {}
        self.phone: aiohttp.ClientSession

    async def __aenter__(self) -> "World":
        connector = aiohttp.TCPConnector(local_addr=(self.addresses[PHONE], 0), force_close=True)
        self.phone = await self._stack.enter_async_context(aiohttp.ClientSession(connector=connector))
        return self

    async def __aexit__(self, *_: object) -> None:
        for gate in self.gates.values():
            gate.set()
        await self._stack.aclose()

    async def serve(self, host: str, app: web.Application, port: int) -> None:
        runner = self._runners[host] = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, self.addresses[host], port).start()

    async def tier(self, host: str, store: Objects | None, cache: int) -> None:
        entry = next(entry for entry in self.plan.libraries if entry.host == host)
        http, bulk = library.client(open_socket), http11.Client(open_socket)
        await self._stack.enter_async_context(http)
        self._stack.push_async_callback(bulk.close)
        notes = self.notes[host]
        kept = Store(self.folder / host, Lru(cache), host, notes)
        own = store or (kept if entry.upstream else Published(self.folder, host, notes))
        upstream = [Upstream(name, (self.addresses[name], self.port)) for name in entry.upstream]
        tier = self.tiers[host] = Tier(host, self.plan.models, own, upstream, bulk, notes, retry_ns=[10_000_000])
        app = registry.application(tier)
        northbound = Northbound(http, self.addresses[NEF], self.northbound_port)
        downloads = Downloads(self.plan, host, tier, notes, northbound)  # type: ignore[arg-type]
        app.router.add_routes(downloads.routes())

        @web.middleware
        async def behind_gate(request: web.Request, handler: Answer) -> web.StreamResponse:
            if host in self.gates:
                await self.gates[host].wait()
            if host in self.on_request and (answer := await self.on_request[host](request, handler)) is not None:
                return answer  # type: ignore[no-any-return]
            return await handler(request)

        app.middlewares.append(behind_gate)  # type: ignore[arg-type]
        await self.serve(host, app, self.port)

    async def northbound(self, status: int, body: Any) -> None:
        """The NEF gives every request this answer."""

        async def answer(request: web.Request) -> web.Response:
            asked = await request.json() if request.can_read_body else None
            self.asked_nef.append((request.method, request.path, asked))
            return web.json_response(body, status=status)

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", answer)
        await self.serve(NEF, app, self.northbound_port)

    async def stop(self, host: str) -> None:
        await self._runners[host].cleanup()

    def url(self, path: str, host: str = EDGE) -> str:
        return f"http://{self.addresses[host]}:{self.port}{path}"

    async def get(self, path: str, host: str = EDGE) -> tuple[int, bytes]:
        async with self.phone.get(self.url(path, host)) as answer:
            return answer.status, await answer.read()

    async def blob(self, digest: str, host: str = EDGE) -> tuple[int, bytes]:
        return await self.get(f"/v2/digits/blobs/{digest}", host)

    async def download(self, **changed: Any) -> Download:
        return await self.post(msgspec.json.encode(ask(**changed)))

    async def post(self, body: bytes) -> Download:
        async with self.phone.post(self.url(delivery.PATH), data=body) as answer:
            if answer.status != 200:
                return Download(answer.status, "", {}, {"": await answer.text()})
            variant, objects, errors = "", dict[str, bytes](), dict[str, str]()
            async for head, data in frames(answer.content):
                if head.object == delivery.END:
                    variant = msgspec.json.decode(data, type=delivery.End).variant
                elif head.error:
                    errors[head.object] = head.error
                elif head.object != delivery.OFFER:
                    objects[head.object] = objects.get(head.object, b"") + data
            for digest in objects.keys() & {digest_of(text) for text in TEXTS.values()}:
                objects[digest] = delivery.inflate(objects[digest]) or b""
            return Download(answer.status, variant, objects, errors)

    def served(self, host: str, digest: str) -> list[bool]:
        """Whether it was a hit, for each time that a host was asked for an object."""
        return [event.hit for event in self.notes[host].of(records.Served) if event.object == digest]

    def rejected(self, host: str) -> list[tuple[str, str, str]]:
        return [(event.digest, event.source, event.reason) for event in self.notes[host].of(records.BlockRejected)]

    def failed(self, host: str) -> list[str]:
        """The tiers that were down for a host."""
        return [event.source for event in self.notes[host].of(records.PullFailed)]

    def pulled(self, host: str) -> list[str]:
        return [event.object for event in self.notes[host].of(records.Pulled)]

    def chosen(self) -> records.Chosen:
        (event,) = self.notes[EDGE].of(records.Chosen)
        return event


def ask(**changed: Any) -> delivery.Ask:
    ample = delivery.Ask("phone-1", "digits", 10 * SECOND, 10**9, 10**9, 10**9, SECOND, "default", [])
    return msgspec.structs.replace(ample, **changed)


def open_socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Any]:
    """The world of a test. `stores` replaces a tier's store; `cache` is the edge's capacity."""
    models = publish(tmp_path, (MANIFESTS["digits"], DIGITS), (MANIFESTS["digits@night"], NIGHT))
    made = planned(models)
    hosts = [msgspec.structs.replace(host, ip=host.ip.replace("10.", "127.", 1)) for host in made.hosts]
    plan = msgspec.structs.replace(made, hosts=hosts)

    @asynccontextmanager
    async def world(cache: int = 10**9, warm: bool = True, **stores: Objects) -> AsyncIterator[World]:
        async with World(plan, tmp_path) as started:
            for entry in plan.libraries:  # the central one comes first
                capacity = cache if entry.tier == "edge" else 10**9
                await started.tier(entry.host, stores.get(entry.tier), capacity)
                if warm:
                    await started.tiers[entry.host].warm_up()
                    started.notes[entry.host].events.clear()
            yield started

    return world


def spoil(world: World, digest: str, data: bytes | None) -> None:
    """The central library's block is other bytes, or gone."""
    file = world.folder / "blocks" / digest.removeprefix("sha256:")
    file.unlink()
    if data is not None:
        file.write_bytes(data)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("digest", OBJECTS)
async def test_every_tier_gives_the_published_bytes(make: Any, digest: str) -> None:
    async with make() as world:
        for host in (EDGE, LOCAL, CENTRAL):
            assert await world.blob(digest, host) == (200, OBJECTS[digest])


async def test_what_was_pulled_through_stays_at_each_tier(make: Any) -> None:
    async with make() as world:
        await world.blob(FIRST)
        assert [world.served(host, FIRST) for host in (EDGE, LOCAL, CENTRAL)] == [[False], [False], [True]]
        await world.blob(FIRST)
        assert [world.served(host, FIRST) for host in (EDGE, LOCAL, CENTRAL)] == [[False, True], [False], [True]]
        await world.blob(FIRST, LOCAL)
        assert [world.served(host, FIRST) for host in (LOCAL, CENTRAL)] == [[False, True], [True]]


async def test_ten_who_ask_at_once_cause_one_pull(make: Any) -> None:
    """Even of an object that is too large to be kept."""
    async with make(cache=1) as world:
        world.gates[LOCAL] = asyncio.Event()
        asking = [asyncio.create_task(world.blob(THIRD)) for _ in range(10)]
        await until(lambda: len(world.served(EDGE, THIRD)) == 10)
        world.gates[LOCAL].set()
        assert await asyncio.gather(*asking) == [(200, OBJECTS[THIRD])] * 10
        assert (world.served(LOCAL, THIRD), world.served(CENTRAL, THIRD)) == ([False], [True])


async def test_ten_who_ask_at_once_for_what_nobody_has_are_all_told(make: Any) -> None:
    async with make() as world:
        spoil(world, FIRST, None)
        world.gates[LOCAL] = asyncio.Event()
        asking = [asyncio.create_task(world.blob(FIRST)) for _ in range(10)]
        await until(lambda: len(world.served(EDGE, FIRST)) == 10)
        world.gates[LOCAL].set()
        assert [status for status, _ in await asyncio.gather(*asking)] == [503] * 10
        assert (world.served(LOCAL, FIRST), world.served(CENTRAL, FIRST)) == ([False], [False, False])


async def test_what_no_model_has_is_not_asked_for_above(make: Any) -> None:
    async with make() as world:
        assert (await world.blob(digest_of(b"nowhere")))[0] == 404
        assert world.served(EDGE, digest_of(b"nowhere")) == []


async def test_all_that_is_lacking_is_asked_for_at_once(make: Any) -> None:
    async with make() as world:
        asked: list[int] = []

        async def count(request: web.Request, _: Any) -> None:
            asked.append(len(msgspec.json.decode(await request.read())))

        world.on_request[LOCAL] = count
        await world.download()
        assert asked == [3]


def grant(rate: int, variant: str) -> bytes:
    """What the NEF tells of a session, in an envelope that nobody looks at."""
    return msgspec.json.encode({"specversion": "1.0", "data": {"sessionId": "s1", "rate": rate, "variant": variant}})


async def test_a_download_that_is_granted_less_ends_with_what_it_is_granted(make: Any) -> None:
    """`large` was on its way, and nothing had come of it when the policy gave it up for `small`."""
    async with make() as world:
        await world.northbound(201, {"sessionId": "s1", "rate": 80_000_000, "variant": "large"})
        world.gates[LOCAL] = asyncio.Event()
        waiting = asyncio.create_task(world.download())
        await until(lambda: len(world.served(EDGE, THIRD)) == 1)
        told = urlsplit(world.asked_nef[0][2]["sink"]).path
        async with world.phone.post(world.url(told), data=grant(8_000_000, "small")) as answer:
            assert answer.status == 204
        world.gates[LOCAL].set()
        download = await waiting
        assert (download.variant, download.objects.keys() & {FIRST, THIRD}) == ("small", {FIRST})
        (cut,) = world.notes[EDGE].of(records.Cut)
        assert (cut.planned, cut.kept, cut.reason) == (
            "large",
            "small",
            "8 Mbit/s of 80 Mbit/s; small instead of large",
        )
        async with world.phone.post(world.url(told), data=grant(1, "small")) as answer:
            assert answer.status == 410, "it is over"


@pytest.mark.parametrize("said", [b"", b"{}", b'{"data": {"rate": "much", "variant": ""}}', grant(1, "none")])
async def test_a_grant_that_is_none_is_refused_and_changes_nothing(make: Any, said: bytes) -> None:
    async with make() as world:
        await world.northbound(201, {"sessionId": "s1", "rate": 80_000_000, "variant": "large"})
        world.gates[LOCAL] = asyncio.Event()
        waiting = asyncio.create_task(world.download())
        await until(lambda: len(world.served(EDGE, THIRD)) == 1)
        async with world.phone.post(world.url(urlsplit(world.asked_nef[0][2]["sink"]).path), data=said) as answer:
            assert answer.status == 400
        world.gates[LOCAL].set()
        assert (await waiting).variant == "large"


async def test_one_who_leaves_does_not_end_the_pull_of_the_others(make: Any) -> None:
    async with make() as world:
        world.gates[LOCAL] = asyncio.Event()
        leaver, other = (asyncio.create_task(world.tiers[EDGE].open("digits", FIRST)) for _ in range(2))
        await until(lambda: len(world.served(EDGE, FIRST)) == 2)
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        world.gates[LOCAL].set()
        assert await library.read(await other) == OBJECTS[FIRST]


WRONG = "sent other bytes than the digest promises"
NOWHERE = "central does not have it"


async def test_wrong_bytes_of_a_tier_are_rejected_and_the_next_tier_is_asked(make: Any) -> None:
    async with make(local=Wrong()) as world:
        assert await world.blob(FIRST) == (200, OBJECTS[FIRST])
        assert world.rejected(EDGE) == [(FIRST, LOCAL, WRONG)]
        assert await world.blob(FIRST) == (200, OBJECTS[FIRST])
        assert len(world.rejected(EDGE)) == 1


async def test_who_was_given_wrong_bytes_is_cut_before_the_last_of_them_and_the_next_gets_the_right_ones(
    make: Any,
) -> None:
    async with make(local=Wrong()) as world:
        with pytest.raises(aiohttp.ClientPayloadError):
            await world.blob(THIRD)
        assert world.rejected(EDGE) == [(THIRD, LOCAL, WRONG)]
        assert await world.blob(THIRD) == (200, OBJECTS[THIRD])


@pytest.mark.parametrize("data", [b"wrong", b"", None])
async def test_what_no_tier_has_unbroken_is_an_error_and_an_error_frame_and_the_rest_comes(
    make: Any, data: bytes | None
) -> None:
    async with make() as world:
        spoil(world, SECOND_BLOCK, data)
        status, body = await world.blob(SECOND_BLOCK)
        assert status == 503
        assert msgspec.json.decode(body)["errors"][0]["code"] == "UNAVAILABLE"
        broken = [(SECOND_BLOCK, CENTRAL, "the disk has other bytes than the digest promises")] * (data is not None)
        assert world.rejected(CENTRAL) == broken * 2
        assert world.rejected(LOCAL) == [(SECOND_BLOCK, CENTRAL, NOWHERE)]
        assert world.rejected(EDGE) == [
            (SECOND_BLOCK, LOCAL, f"{CENTRAL}: {NOWHERE}"),
            (SECOND_BLOCK, CENTRAL, NOWHERE),
        ]
        got = await world.download()
        assert set(got.errors) == {SECOND_BLOCK}
        assert f"{CENTRAL}: {NOWHERE}" in got.errors[SECOND_BLOCK]
        assert got.objects == {digest: OBJECTS[digest] for digest in (digest_of(TEXTS["digits"]), FIRST, THIRD)}


async def test_what_was_missing_is_found_when_it_is_there(make: Any) -> None:
    async with make() as world:
        spoil(world, FIRST, None)
        assert (await world.blob(FIRST))[0] == 503
        publish(world.folder, (MANIFESTS["digits"], DIGITS))
        assert await world.blob(FIRST) == (200, OBJECTS[FIRST])


async def test_a_tier_that_is_down_is_passed_over(make: Any) -> None:
    async with make() as world:
        await world.stop(LOCAL)
        assert await world.blob(FIRST) == (200, OBJECTS[FIRST])
        assert world.failed(EDGE) == [LOCAL]


async def test_a_tier_that_was_down_is_asked_last_for_a_while(make: Any) -> None:
    async with make() as world:
        await world.stop(LOCAL)
        for digest in (FIRST, SECOND_BLOCK):
            assert await world.blob(digest) == (200, OBJECTS[digest])
        assert world.failed(EDGE) == [LOCAL]


async def test_a_tier_that_does_not_answer_is_passed_over(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "PATIENCE_S", 0.2)
    async with make() as world:
        world.gates[LOCAL] = asyncio.Event()
        assert await world.blob(FIRST) == (200, OBJECTS[FIRST])
        assert world.failed(EDGE) == [LOCAL]


async def test_a_tier_that_trickles_is_left_for_the_next_which_is_asked_for_the_rest(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulls, "PATIENCE_S", 0.2)

    async def trickle(request: web.Request, _: Any) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        data = OBJECTS[SECOND_BLOCK]
        await response.write(delivery.frame_head(SECOND_BLOCK, len(data)) + data[:100_000])
        for byte in data[100_000:]:
            await response.write(bytes([byte]))
            await asyncio.sleep(0.01)
        return response

    offsets = []

    async def note(request: web.Request, _: Any) -> None:
        offsets.extend(one.offset for one in msgspec.json.decode(await request.read(), type=list[pulls.Wanted]))

    async with make() as world:
        world.on_request |= {LOCAL: trickle, CENTRAL: note}
        assert await world.blob(SECOND_BLOCK) == (200, OBJECTS[SECOND_BLOCK])
        assert world.failed(EDGE) == [LOCAL]
        assert 100_000 <= offsets[0] < 100_100


async def test_a_tier_that_was_down_is_asked_again_after_a_pause(make: Any) -> None:
    async with make() as world:
        asked: list[str] = []

        def fail_once(host: str) -> Any:
            async def fail(request: web.Request, _: Any) -> web.Response | None:
                asked.append(host)
                return web.Response(status=500) if asked.count(host) == 1 else None

            return fail

        world.on_request |= {host: fail_once(host) for host in (LOCAL, CENTRAL)}
        assert await world.blob(FIRST) == (200, OBJECTS[FIRST])
        assert world.failed(EDGE) == [LOCAL, CENTRAL]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"junk\n",
        b"[" * 100_000 + b"\n",
        delivery.frame_head(THIRD, 10) + b"?" * 10,  # not asked for
        delivery.frame_head(FIRST, 10) + b"?" * 10,  # of another size than the manifest has it
        delivery.frame_head(FIRST, 1 << 32),
        delivery.frame_head(FIRST, len(SHARED)) + SHARED[:-1],
        delivery.frame_head(FIRST, len(SHARED)) + SHARED + b"more",
    ],
)
async def test_what_is_no_answer_is_passed_over(make: Any, answer: bytes) -> None:
    async def respond(request: web.Request, _: Any) -> web.Response:
        return web.Response(body=answer)

    async with make() as world:
        world.on_request[LOCAL] = respond
        assert await world.blob(FIRST) == (200, OBJECTS[FIRST])
        assert world.failed(EDGE) == [LOCAL]


async def test_a_size_that_cannot_be_is_not_believed_even_where_none_is_known(make: Any) -> None:
    async def respond(request: web.Request, _: Any) -> web.Response:
        (wanted,) = msgspec.json.decode(await request.read(), type=list[pulls.Wanted])
        return web.Response(body=delivery.frame_head(wanted.object, 1 << 32))

    async with make(warm=False) as world:
        world.on_request[LOCAL] = respond
        assert await world.tiers[EDGE].text("digits") == TEXTS["digits"]
        assert world.failed(EDGE) == [LOCAL]


class Gated:
    """A source whose second half waits for a gate, or breaks off."""

    def __init__(self, data: bytes, gate: asyncio.Event | None) -> None:
        self.bytes, self._data, self._gate = len(data), data, gate

    async def parts(self, offset: int = 0) -> AsyncIterator[bytes]:
        half = self.bytes // 2
        if offset < half:
            yield self._data[offset:half]
        if self._gate is None:
            raise library.Unavailable("it broke off")
        await self._gate.wait()
        yield self._data[max(offset, half) :]


class Gates(Wrong):
    def __init__(self, gate: asyncio.Event | None) -> None:
        self.gate = gate

    def get(self, digest: str) -> Source | None:
        data = OBJECTS[digest]
        return Gated(data, self.gate if digest == THIRD or self.gate is None else asyncio.Event())


async def test_bytes_are_passed_on_while_they_arrive_and_a_later_reader_follows_too(make: Any) -> None:
    gate = asyncio.Event()
    async with make(central=Gates(gate), warm=False) as world:
        sources = [await world.tiers[EDGE].open("digits", THIRD) for _ in range(2)]
        half, data = len(OBJECTS[THIRD]) // 2, OBJECTS[THIRD]
        readers = [sources[0].parts(), sources[1].parts(half - 10)]
        got = [b"", b""]
        for number, wanted in ((0, half), (1, 10)):
            while len(got[number]) < wanted:
                got[number] += bytes(await anext(readers[number]))
        assert got == [data[:half], data[half - 10 : half]]
        assert world.pulled(EDGE) == world.pulled(LOCAL) == []
        gate.set()
        for number, reader in enumerate(readers):
            got[number] += b"".join([bytes(part) async for part in reader])
        assert got == [data, data[half - 10 :]]
        assert world.pulled(EDGE) == world.pulled(LOCAL) == [THIRD]


async def test_what_breaks_off_goes_on_from_the_next_tier_and_its_reader_does_not_notice(make: Any) -> None:
    async with make(local=Gates(None), warm=False) as world:
        source = await world.tiers[EDGE].open("digits", THIRD)
        assert await library.read(source) == OBJECTS[THIRD]
        assert world.failed(EDGE) == [LOCAL]
        (pulled,) = world.notes[EDGE].of(records.Pulled)
        assert (pulled.source, pulled.bytes) == (CENTRAL, len(OBJECTS[THIRD]))


async def test_a_tier_that_lies_and_breaks_off_does_not_bring_the_next_into_disrepute(make: Any) -> None:
    """The first half is the one's, wrong, and the second the other's: that one is asked for all of it."""

    class Half(Wrong):
        def get(self, digest: str) -> Source | None:
            return Gated(b"?" * len(OBJECTS[digest]), None)  # type: ignore[return-value]

    async with make(local=Half(), warm=False) as world:
        source = await world.tiers[EDGE].open("digits", THIRD)
        with pytest.raises(library.Unavailable):
            await library.read(source)
        assert await library.read(await world.tiers[EDGE].open("digits", THIRD)) == OBJECTS[THIRD]
        assert world.rejected(EDGE) == [(THIRD, CENTRAL, f"{LOCAL} and {CENTRAL} {WRONG}")]
        assert world.pulled(EDGE) == [THIRD]


async def test_an_edge_goes_on_with_what_it_has_when_all_above_are_down(make: Any) -> None:
    async with make() as world:
        before = await world.download()
        for host in (LOCAL, CENTRAL):
            await world.stop(host)
        assert await world.download() == before
        got = await world.download(model="digits@night")
        assert set(got.errors) == {digest_of(data) for data in NIGHT[1:]}


async def test_a_tier_starts_while_all_above_are_down_and_has_its_models_when_they_are_up(make: Any) -> None:
    async with make(warm=False) as world:
        for host in (LOCAL, CENTRAL):
            world.on_request[host] = refuse
        await world.tiers[EDGE].warm_up()
        assert (await world.download()).status == 503
        world.on_request.clear()
        assert (await world.download()).status == 200


async def refuse(request: web.Request, _: Any) -> web.Response:
    return web.Response(status=500)


async def test_prefetching_brings_a_model_at_its_time(make: Any) -> None:
    async with make() as world:
        at = asyncio.get_running_loop().time() + 0.05
        prefetching = asyncio.create_task(world.tiers[EDGE].prefetch("digits", int(at * SECOND)))
        await asyncio.sleep(0.01)
        assert world.pulled(EDGE) == []
        await prefetching
        assert asyncio.get_running_loop().time() >= at
        (done,) = world.notes[EDGE].of(records.Prefetched)
        assert (done.model, done.bytes, done.complete) == ("digits", sum(map(len, DIGITS)), True)
        await world.download()
        assert world.served(EDGE, FIRST)[-1] and world.served(EDGE, THIRD)[-1]


async def test_prefetching_what_no_tier_has_is_on_record(make: Any) -> None:
    async with make() as world:
        spoil(world, SECOND_BLOCK, None)
        await world.tiers[EDGE].prefetch("digits", 0)
        (done,) = world.notes[EDGE].of(records.Prefetched)
        assert (done.bytes, done.complete) == (len(SHARED), False)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"{}", b"[" * 100_000, b'[{"object":1}]', b'[{"object":"a","offset":-1}]', b"[" + b'"a",' * 10**5],
)
async def test_what_is_no_list_of_objects_is_a_400(make: Any, body: bytes) -> None:
    async with make() as world, world.phone.post(world.url(pulls.PATH), data=body) as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    "digest",
    ["", "junk", "/dev/zero", "sha256:/dev/zero", "sha256:..", "../manifests/digits.json", FIRST.upper(), FIRST[:-1]],
)
@pytest.mark.parametrize("host", [EDGE, CENTRAL])
async def test_a_name_that_is_none_has_no_object(make: Any, host: str, digest: str) -> None:
    async with make() as world:
        body = msgspec.json.encode([pulls.Wanted(digest)])
        async with world.phone.post(world.url(pulls.PATH, host), data=body) as answer:
            ((head, data),) = [frame async for frame in frames(answer.content)]
        assert (answer.status, head.object, bool(head.error), data) == (200, digest, True, b"")


async def test_an_offset_that_lies_outside_is_an_error_frame(make: Any) -> None:
    async with make() as world:
        body = msgspec.json.encode([pulls.Wanted(FIRST, 501), pulls.Wanted(FIRST, 500), pulls.Wanted(FIRST, 499)])
        async with world.phone.post(world.url(pulls.PATH), data=body) as answer:
            came = [(head.error, data) async for head, data in frames(answer.content)]
        assert came == [("it has 500 bytes", b""), ("", b""), ("", SHARED[499:])]


@pytest.mark.parametrize("model", TEXTS)
async def test_a_download_is_the_manifest_and_the_blocks_in_their_order(make: Any, model: str) -> None:
    async with make() as world:
        got = await world.download(model=model)
        blocks = DIGITS if model == "digits" else NIGHT
        wanted = [digest_of(data) for data in (TEXTS[model], *blocks)]
        assert got.variant == "large"
        assert list(got.objects.items()) == [(digest, OBJECTS[digest]) for digest in wanted]
        assert world.chosen().missing_bytes == sum(map(len, blocks))


async def test_what_the_device_has_is_left_out(make: Any) -> None:
    async with make() as world:
        have = [digest_of(TEXTS["digits"]), FIRST, THIRD, "junk"]
        got = await world.download(have=have)
        assert got.variant == "large"
        assert got.objects == {SECOND_BLOCK: OBJECTS[SECOND_BLOCK]}
        assert world.chosen().missing_bytes == len(OBJECTS[SECOND_BLOCK])
        assert world.served(EDGE, FIRST) == []


async def test_a_device_that_has_all_gets_no_object(make: Any) -> None:
    async with make() as world:
        got = await world.download(have=[digest_of(TEXTS["digits"]), FIRST, SECOND_BLOCK, THIRD])
        assert (got.variant, got.objects) == ("large", {})


async def test_blocks_that_two_models_share_are_pulled_once(make: Any) -> None:
    async with make() as world:
        for model in TEXTS:
            assert (await world.download(model=model)).objects[FIRST] == SHARED
        assert world.served(LOCAL, FIRST) == [False]


async def test_a_granted_session_is_of_the_devices_flow_and_ends_after_the_download(make: Any) -> None:
    async with make() as world:
        await world.northbound(201, {"sessionId": "s1", "rate": 10**9, "variant": ""})
        await world.download(time_left_ns=3 * SECOND - 5)
        await until(lambda: len(world.asked_nef) == 2)
        (method, _, asked), ended = world.asked_nef
        assert method == "POST"
        here = world.addresses[PHONE]
        assert asked["device"] == {"ipv4Address": {"publicAddress": here, "privateAddress": here}}
        assert asked["applicationServer"] == {"ipv4Address": world.addresses[EDGE]}
        assert (asked["slice"], asked["download"], asked["duration_ns"]) == ("default", "phone-1", 4 * SECOND)
        assert [candidate["variant"] for candidate in asked["candidates"]] == ["small", "large"]
        needed = sum(map(len, DIGITS)) * 8 * 1514 / 1448 / (3 * policies.RESERVED)
        assert asked["rate"] == pytest.approx(needed, rel=0.02)
        assert ended == ("DELETE", "/quality-on-demand/v1/sessions/s1", None)
        assert world.chosen().session == "s1"
        assert "no session" not in world.chosen().reason


async def test_the_granted_rate_decides_what_fits(make: Any) -> None:
    async with make() as world:
        await world.northbound(201, {"sessionId": "s1", "rate": 8000, "variant": ""})
        got = await world.download()
        assert got.variant == "small"
        assert world.chosen().variant == "small"


async def test_the_slicing_policys_variant_is_sent_unless_the_device_asked_for_one(make: Any) -> None:
    async with make() as world:
        await world.northbound(201, {"sessionId": "s1", "rate": 10**9, "variant": "small"})
        assert (await world.download()).variant == "small"
        assert "chosen by the slicing policy" in world.chosen().reason
    async with make() as world:
        await world.northbound(201, {"sessionId": "s1", "rate": 10**9, "variant": ""})
        assert (await world.download(variant="small")).variant == "small"
        (asked,) = [asked for method, _, asked in world.asked_nef if method == "POST"]
        assert [candidate["variant"] for candidate in asked["candidates"]] == ["small"]


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (409, {"message": "nothing left"}, "no session: nothing left"),
        (500, "out of order", "no session: the NEF's answer, with status 500"),
        (201, {}, "no session: the NEF's answer, with status 201"),
        (None, None, "no session: the NEF does not answer: "),
    ],
)
async def test_without_a_session_the_download_goes_on_and_its_record_says_why(
    make: Any, status: int | None, body: Any, reason: str
) -> None:
    async with make() as world:
        if status is not None:
            await world.northbound(status, body)
        got = await world.download()
        assert set(got.objects) == {digest_of(TEXTS["digits"]), FIRST, SECOND_BLOCK, THIRD}
        assert world.chosen().session == ""
        assert reason in world.chosen().reason
        assert [method for method, *_ in world.asked_nef] == ["POST"] * (status is not None)


async def test_a_device_that_leaves_ends_its_session_and_harms_nobody(make: Any) -> None:
    async with make() as world:
        await world.northbound(201, {"sessionId": "s1", "rate": 10**9, "variant": ""})
        await world.get("/v2/digits/manifests/base")
        world.gates[LOCAL] = asyncio.Event()
        async with world.phone.post(world.url(delivery.PATH), data=msgspec.json.encode(ask())) as answer:
            await anext(frames(answer.content))
        world.gates[LOCAL].set()
        await until(lambda: any(method == "DELETE" for method, *_ in world.asked_nef))
        assert len((await world.download()).objects) == 4


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b"\xff",
        b'{"download":"\xff"}',
        b'{"more":' + b"[" * 100_000,
        msgspec.json.encode({**msgspec.to_builtins(ask()), "have": "all"}),
        msgspec.json.encode({**msgspec.to_builtins(ask()), "memory_bytes": "1"}),
        msgspec.json.encode({**msgspec.to_builtins(ask()), "time_left_ns": 1.5}),
        msgspec.json.encode(ask()).replace(b"10000000000", b"9" * 400),
    ],
)
async def test_what_is_not_a_request_is_a_400(make: Any, body: bytes) -> None:
    async with make() as world:
        got = await world.post(body)
        assert got.status == 400
        assert got.errors[""].startswith("not a download request: ")


@pytest.mark.parametrize("model", ["", "letters", "digits@dusk", "digits@", "../digits"])
async def test_a_model_that_was_not_published_is_a_404(make: Any, model: str) -> None:
    async with make() as world:
        assert (await world.download(model=model)).status == 404


@pytest.mark.parametrize("field", ["time_left_ns", "channel_bps", "memory_bytes", "macs_per_s", "infer_interval_ns"])
@pytest.mark.parametrize("value", [-(2**63), -1, 0, 1, 2**63 - 1])
async def test_any_figures_give_a_model_or_a_reason(make: Any, field: str, value: int) -> None:
    async with make() as world:
        await world.northbound(409, {"message": "nothing left"})
        got = await world.download(**{field: value})
        if got.status == 200:
            assert got.errors == {}
            assert all(OBJECTS[digest] == data for digest, data in got.objects.items())
        else:
            assert got.status == 503
            assert got.errors[""].startswith("no variant of digits fits ")


async def test_a_device_that_is_too_small_is_told(make: Any) -> None:
    async with make() as world:
        got = await world.download(memory_bytes=0)
        assert (got.status, got.errors[""]) == (503, "no variant of digits fits 0 B of memory")


async def test_an_edge_that_is_too_small_for_the_model_still_delivers_it(make: Any) -> None:
    async with make(cache=310_000) as world:
        for _ in range(2):
            assert (await world.download()).objects.keys() == {digest_of(TEXTS["digits"]), FIRST, SECOND_BLOCK, THIRD}
        assert world.served(LOCAL, THIRD) == [False, True]  # it never fits
        assert world.served(LOCAL, SECOND_BLOCK) == [False]


def test_a_library_counts_how_long_connecting_took() -> None:
    """1 ms for 125 bytes, half a round trip of 10 ms to ask, and a whole one to connect, or what the connection has seen."""
    wanted = ask(channel_bps=1_000_000, round_trip_ns=10_000_000)
    assert [asking_ns(wanted, 125, seen) / 1e6 for seen in (0, 9_000_000, 150_000_000)] == [16, 16, 156]
