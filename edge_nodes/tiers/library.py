"""One tier of the AI library: it serves models from its store, and passes on what it lacks while that arrives from above.

`Tier.open` gives any object. Over HTTP the tiers below ask for many objects by one request, which is answered by one stream of
frames, and everybody else uses the pull endpoints of the OCI distribution specification (`registry.py`).
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any

import aiohttp
import msgspec
from aiohttp import web

from edge_nodes import delivery, http11
from edge_nodes.clock import sleep_until
from edge_nodes.http11 import Body, Data
from edge_nodes.models.manifest import Block, Manifest, ManifestError
from edge_nodes.tiers import pulls
from edge_nodes.tiers.pulls import RETRY_NS, Pull, Pulls, Upstream, Wanted
from edge_nodes.tiers.store import Held, Objects, Recorder, Source, Unavailable
from scenarios import records

KEEP_ALIVE_S = 10**6  # connections between tiers and from devices stay as long as the run
CATALOGUE = "/insitu/v1/catalogue"
_MOST_WANTED = 1 << 16  # objects in one request
_PREFETCHED = 1 << 18  # bytes that are prefetched at a time
_Request = Annotated[list[Wanted], msgspec.Meta(max_length=_MOST_WANTED)]


class Tier:
    """The service of one tier at `host`. `catalogue` has the digest of each model's manifest."""

    def __init__(
        self,
        host: str,
        catalogue: Mapping[str, str],
        store: Objects,
        upstream: Sequence[Upstream],
        client: http11.Client,
        recorder: Recorder,
        retry_ns: Sequence[int] = RETRY_NS,
    ) -> None:
        self.host, self.catalogue, self._store, self._recorder = host, catalogue, store, recorder
        self._pulls = Pulls(host, upstream, retry_ns, client, recorder, self._keep)
        self._texts: dict[str, Data] = {}  # the manifests by digest: always kept, and not counted in the store's bound
        self._deflated: dict[str, bytes] = {}
        self._manifests: dict[str, Manifest] = {}
        self._sizes: dict[str, int] = {}  # of the objects that the manifests name

    # What it has

    async def open(self, name: str, digest: str) -> Source:
        """An object of the repository `name`, from this store or, while it arrives, from a tier above. Raises Unavailable."""
        return await _coming(self._find(digest))

    async def text(self, model: str) -> Data:
        """The manifest of a model in the catalogue, byte for byte. Raises Unavailable."""
        digest = self.catalogue[model]
        if digest not in self._texts:
            self._texts[digest] = await read(await self.open(model, digest))
        return self._texts[digest]

    async def deflated(self, model: str) -> Data:
        """The manifest as devices get it. Raises Unavailable."""
        digest, text = self.catalogue[model], await self.text(model)
        if digest not in self._deflated:
            self._deflated[digest] = delivery.deflate(text)
        return self._deflated[digest]

    async def manifest(self, model: str) -> Manifest:
        """The manifest of a model in the catalogue. Raises Unavailable."""
        digest, text = self.catalogue[model], await self.text(model)
        if digest not in self._manifests:
            try:
                manifest = Manifest.from_json(text)
            except ManifestError as error:
                raise Unavailable(f"{model}: {error}") from None
            self._manifests[digest] = manifest
            self._sizes |= {block.digest: block.bytes for block in manifest.blocks} | {digest: len(text)}
            self._store.models({model: [block.digest for block in manifest.blocks]})
        return self._manifests[digest]

    def size(self, digest: str) -> int | None:
        """The bytes of an object that the manifests at hand name."""
        return self._sizes.get(digest)

    def holds(self, digests: Iterable[str]) -> bool:
        """Whether none of these objects would have to come from above."""
        return all(digest in self._texts or self._store.get(digest) is not None for digest in digests)

    def _find(self, digest: str) -> Source:
        """It is on its way at the latest when this returns."""
        if digest in self._texts:
            found: Source | None = Held(self._texts[digest])
        else:
            found = self._store.get(digest)
        size = found.bytes if found else self._sizes.get(digest, 0)
        self._recorder.write(records.Served(self._recorder.now(), self.host, digest, size, found is not None))
        return found or self._pulls.of(digest, self._sizes.get(digest))

    def _keep(self, pull: Pull) -> None:
        self._store.put(pull.digest, pull.data, pull.asks)

    # What it does by itself

    async def warm_up(self) -> None:
        """Gets the manifests, and opens connections to the tiers above: a device's first request then costs neither."""

        async def get(model: str) -> None:
            with contextlib.suppress(Unavailable):  # that is on record; it is tried again when it is asked for
                await self.manifest(model)

        await asyncio.gather(*map(get, self.catalogue))
        await self._pulls.open_ahead()

    async def prefetch(self, model: str, at_ns: int, plain: bool = False) -> None:
        """At a time of the monotonic clock pulls what it lacks of a model; of float32 weights in one file only if they are `plain`.

        It asks for a few blocks at a time, so that a device's pull goes beside them and waits at most for those.
        """
        await sleep_until(at_ns)
        pulled, complete = 0, True
        try:
            manifest = await self.manifest(model)
            lacking = [block for block in _of_use(manifest, plain) if self._store.get(block.digest) is None]
            for blocks in _batches(lacking):
                for source in [self._find(block.digest) for block in blocks]:
                    async for part in source.parts():
                        pulled += len(part)
        except Unavailable:
            complete = False
        self._recorder.write(records.Prefetched(self._recorder.now(), self.host, model, pulled, complete))

    # What it serves

    def routes(self) -> list[web.RouteDef]:
        return [web.get(CATALOGUE, self._catalogue), web.post(pulls.PATH, self._objects)]

    async def _catalogue(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(dict(self.catalogue)), content_type="application/json")

    async def _objects(self, request: web.Request) -> web.StreamResponse:
        """Objects in the order in which they were asked for. One that breaks off ends the connection."""
        try:
            wanted = msgspec.json.decode(await request.read(), type=_Request)
        except (ValueError, RecursionError) as error:
            return web.Response(status=400, text=f"not a list of objects: {error}")
        sources = [
            self._find(one.object) for one in wanted
        ]  # all at once, so that what is lacking is asked for at once
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async with http11.body_of(request) as send:

            async def chunk(*parts: Body) -> None:
                await send(b"%x\r\n" % sum(map(len, parts)), *parts, b"\r\n")

            try:
                for one, source in zip(wanted, sources, strict=True):
                    await _send(chunk, one, source)
            except (Unavailable, OSError):
                return cut(request, response)
        await response.write_eof()
        return response


def _of_use(manifest: Manifest, plain: bool) -> list[Block]:
    """The blocks that devices may ask for, in the order of sending."""
    used = {index for variant in manifest.variants if plain or variant.bits for index in variant.blocks}
    return [block for index, block in enumerate(manifest.blocks) if index in used]


def _batches(blocks: Sequence[Block]) -> Iterator[list[Block]]:
    """Consecutive blocks of about _PREFETCHED bytes together, or one that is larger."""
    batch: list[Block] = []
    for block in blocks:
        batch.append(block)
        if sum(one.bytes for one in batch) >= _PREFETCHED:
            yield batch
            batch = []
    if batch:
        yield batch


async def _send(chunk: Callable[..., Any], wanted: Wanted, source: Source) -> None:
    """The frame of an object, or of the reason why there is none. Raises Unavailable where it breaks off."""
    try:
        await _coming(source)
        if wanted.offset > source.bytes:
            raise Unavailable(f"it has {source.bytes} bytes")
    except Unavailable as error:
        await chunk(delivery.error_frame(wanted.object, str(error)))
        return
    head = delivery.frame_head(wanted.object, source.bytes - wanted.offset)
    async for part in source.parts(wanted.offset):
        await chunk(head, part)
        head = b""
    if head:  # there was nothing to follow it
        await chunk(head)


async def _coming(source: Source) -> Source:
    """A source whose size is known. Raises Unavailable."""
    if isinstance(source, Pull):
        await source.known()
    return source


async def read(source: Source) -> Data:
    """All bytes of a source. Raises Unavailable."""
    parts = [part async for part in source.parts()]
    if len(parts) == 1 and not isinstance(parts[0], http11.Extent):
        return parts[0]
    return b"".join(map(bytes, parts))


def cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Ends a connection in the middle of a response, so that nobody takes for whole what is not."""
    if request.transport is not None:
        request.transport.abort()
    return response


def client(open_socket: Callable[[], Any]) -> aiohttp.ClientSession:
    """An HTTP client whose sockets are made by `open_socket`, in whatever namespace that is."""
    connector = aiohttp.TCPConnector(
        socket_factory=lambda _: open_socket(), limit=0, limit_per_host=8, keepalive_timeout=3600
    )
    return aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False)
