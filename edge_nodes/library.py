"""One tier of the AI library: an HTTP service that serves models from its store and pulls what it lacks from the tiers above.

It serves the pull part of the OCI distribution API (`/v2/<name>/manifests/<tag>`, `/v2/<name>/blobs/<digest>`), where the model
`digits@night` is `digits` with the tag `night` and `digits` has the tag `base`, and the download stream of `delivery`.
"""

import asyncio
import mmap
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import aiohttp
import msgspec
from aiohttp import web

from edge_nodes import delivery, http11
from edge_nodes.http11 import Data
from edge_nodes.manifest import Manifest
from edge_nodes.policies import CACHING, COMPRESSION, TRANSFER_SHARE, Choice, Limits, NothingFits
from edge_nodes.sessions import Grant, Northbound, Refused
from scenarios import records
from scenarios.plan import LIBRARY_PORT, NORTHBOUND_PORT, Library, Plan

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PULL_LIMIT_S = 30.0  # after which a tier above counts as down


class Unavailable(Exception):
    """No tier has the object, or none has it unbroken; the message says what each of them said."""


class Store(Protocol):
    """Where a tier keeps objects, by digest."""

    def get(self, digest: str) -> Data | None: ...
    def put(self, digest: str, data: Data) -> None: ...


class Published:
    """The central library's store: the folder that publishing has made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        manifests = sorted((folder / "manifests").glob("*.json"))
        self._manifests = {delivery.digest_of(file.read_bytes()): file for file in manifests}

    def get(self, digest: str) -> Data | None:
        path = self._manifests.get(digest, self._folder / "blocks" / digest.removeprefix("sha256:"))
        if not path.exists():
            return None
        with path.open("rb") as file:
            if path.stat().st_size <= http11.SMALL:
                return file.read()
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def put(self, digest: str, data: Data) -> None:
        raise TypeError("the central library holds what was published, nothing is put into it")


class Cache:
    """A bounded store; the policy says what goes when it is full."""

    def __init__(self, capacity_bytes: int, policy: str) -> None:
        self._policy = CACHING[policy](capacity_bytes)
        self._objects: dict[str, Data] = {}

    def get(self, digest: str) -> Data | None:
        if digest in self._objects:
            self._policy.touch(digest)
        return self._objects.get(digest)

    def put(self, digest: str, data: Data) -> None:
        evicted = self._policy.admit(digest, len(data))
        if evicted is not None:
            self._objects[digest] = data
            for old in evicted:
                del self._objects[old]


class Upstream(NamedTuple):
    host: str
    address: http11.Address


class Tier:
    """The service of one tier at one host."""

    def __init__(
        self,
        plan: Plan,
        library: Library,
        store: Store,
        recorder: records.Recorder,
        http: aiohttp.ClientSession,
        bulk: http11.Client,
    ) -> None:
        addresses = {host.name: host.ip for host in plan.hosts}
        self._plan, self._library, self._store, self._recorder, self._bulk = plan, library, store, recorder, bulk
        self._address = addresses[library.host]
        self._upstream = [Upstream(name, (addresses[name], LIBRARY_PORT)) for name in library.upstream]
        self._pulls: dict[str, asyncio.Task[Data]] = {}
        self._northbound = Northbound(http, addresses["nef"], NORTHBOUND_PORT)
        self._compression = COMPRESSION[plan.policies.compression]
        self._background: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2/", self._api)
        app.router.add_get("/v2/{name}/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/{name}/blobs/{digest}", self._blob)
        app.router.add_post(delivery.PATH, self._download)
        return app

    async def object(self, name: str, digest: str) -> Data:
        """An object from this store or, verified, from a tier above; many who ask at once cause one pull. Raises Unavailable."""
        data = self._store.get(digest)
        self._recorder.write(
            records.Served(self._recorder.now(), self._library.host, digest, len(data or b""), data is not None)
        )
        if data is not None:
            return data
        if digest not in self._pulls:
            task = asyncio.create_task(self._pull(name, digest))
            self._pulls[digest] = task
            task.add_done_callback(lambda _: self._pulls.pop(digest))
        return await asyncio.shield(self._pulls[digest])

    async def _pull(self, name: str, digest: str) -> Data:
        said = []
        for upstream in self._upstream:
            try:
                data = await fetch(self._bulk, upstream.address, name, digest)
            except Unavailable as error:
                now = self._recorder.now()
                self._recorder.write(
                    records.BlockRejected(now, self._library.host, "", digest, upstream.host, str(error))
                )
                said.append(f"{upstream.host}: {error}")
            else:
                self._store.put(digest, data)
                return data
        raise Unavailable("; ".join(said) or f"{self._library.host} does not have it")

    async def _api(self, _: web.Request) -> web.Response:
        return web.json_response({})

    async def _manifest(self, request: web.Request) -> web.StreamResponse:
        name, reference = request.match_info["name"], request.match_info["reference"]
        digest = reference if _DIGEST.fullmatch(reference) else self._plan.models.get(model_name(name, reference), "")
        return await self._respond(request, name, digest, "application/vnd.insitu.model.manifest.v1+json")

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        name, digest = request.match_info["name"], request.match_info["digest"]
        return await self._respond(request, name, digest, "application/octet-stream")

    async def _respond(self, request: web.Request, name: str, digest: str, content_type: str) -> web.StreamResponse:
        if not _DIGEST.fullmatch(digest):
            return _oci_error(404, "MANIFEST_UNKNOWN", f"{name} has no such object")
        try:
            data = await self.object(name, digest)
        except Unavailable as error:
            return _oci_error(404, "BLOB_UNKNOWN", str(error))
        headers = {"Docker-Content-Digest": digest, "Content-Type": content_type}
        if request.method == "HEAD" or len(data) <= http11.SMALL:
            return web.Response(body=data, headers=headers)
        response = web.StreamResponse(headers=headers)
        response.content_length = len(data)
        await response.prepare(request)
        async with http11.body_of(request) as send:
            await send(data)
        await response.write_eof()
        return response

    async def _download(self, request: web.Request) -> web.StreamResponse:
        try:
            ask = msgspec.json.decode(await request.read(), type=delivery.Ask)
        except (ValueError, RecursionError) as error:
            return web.Response(status=400, text=f"not a download request: {error}")
        if ask.model not in self._plan.models:
            return web.Response(status=404, text=f"no model {ask.model}")
        try:
            return await self._deliver(request, ask)
        except (Unavailable, NothingFits) as error:
            return web.Response(status=503, text=str(error))

    async def _deliver(self, request: web.Request, ask: delivery.Ask) -> web.StreamResponse:
        began = self._recorder.now()
        name, _, _ = ask.model.partition("@")
        manifest_digest = self._plan.models[ask.model]
        manifest = Manifest.from_json(bytes(await self.object(name, manifest_digest)).decode())
        grant, why = await self._reserve(str(request.remote), ask, manifest)
        try:
            left = ask.time_left_ns - (self._recorder.now() - began)
            choice = self._compression.choose(
                manifest, _limits(ask, grant.rate_bps if grant else ask.channel_bps, left)
            )
            reason = choice.reason if grant else f"{choice.reason}; no session: {why}"
            self._record_choice(ask, choice, grant.id if grant else "", reason)
            return await self._stream(request, name, manifest_digest, manifest, choice, ask)
        finally:
            if grant:
                self._later(self._northbound.delete(grant.id))

    def _record_choice(self, ask: delivery.Ask, choice: Choice, session: str, reason: str) -> None:
        now, variant = self._recorder.now(), choice.variant.name
        event = records.Chosen(now, self._library.host, ask.download, variant, choice.missing_bytes, session, reason)
        self._recorder.write(event)

    async def _reserve(self, device_ip: str, ask: delivery.Ask, manifest: Manifest) -> tuple[Grant | None, str]:
        """A session at the rate that brings the best variant for the device in time."""
        wanted = COMPRESSION["device"].choose(manifest, _limits(ask, ask.channel_bps, ask.time_left_ns))
        seconds = max(ask.time_left_ns, 1) / 10**9 * TRANSFER_SHARE
        rate = min(ask.channel_bps, max(1, int(8 * wanted.missing_bytes / seconds)))
        duration = -(-max(ask.time_left_ns, 1) // 10**9)
        try:
            return await self._northbound.create(device_ip, self._address, ask.slice, rate, duration), ""
        except Refused as error:
            return None, str(error)

    async def _stream(
        self,
        request: web.Request,
        name: str,
        manifest_digest: str,
        manifest: Manifest,
        choice: Choice,
        ask: delivery.Ask,
    ) -> web.StreamResponse:
        wanted = [block.digest for block in manifest.blocks_of(choice.variant, ask.have)]
        digests = [digest for digest in (manifest_digest,) if digest not in ask.have] + wanted
        pulls = [asyncio.create_task(self.object(name, digest)) for digest in digests]
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        async with http11.body_of(request) as send:

            async def chunk(head: bytes, data: Data = b"") -> None:
                await send(b"%x\r\n" % (len(head) + len(data)), head, data, b"\r\n")

            offer = msgspec.json.encode(delivery.Offer(choice.variant.name, digests))
            await chunk(delivery.frame_head("offer", len(offer)), offer)
            for digest, pull in zip(digests, pulls, strict=True):
                try:
                    data = await pull
                except Unavailable as error:
                    await chunk(delivery.error_frame(digest, str(error)))
                else:
                    await chunk(delivery.frame_head(digest, len(data)), data)
        await response.write_eof()
        return response

    def _later(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


async def fetch(bulk: http11.Client, address: http11.Address, name: str, digest: str) -> Data:
    """An object of a tier by its digest, verified. Raises Unavailable."""
    try:
        async with (
            asyncio.timeout(PULL_LIMIT_S),
            bulk.request("GET", address, f"/v2/{name}/blobs/{digest}") as answer,
        ):
            data = await answer.read()
            if answer.status != 200:
                raise Unavailable(f"answered {answer.status}")
    except (http11.HttpError, OSError) as error:  # a TimeoutError is an OSError
        raise Unavailable(f"does not answer: {error!r}") from None
    if delivery.digest_of(data) != digest:
        raise Unavailable("sent other bytes than the digest promises")
    return data


def model_name(name: str, tag: str) -> str:
    return name if tag == "base" else f"{name}@{tag}"


def client(open_socket: Callable[[], Any]) -> aiohttp.ClientSession:
    """An HTTP client whose sockets are made by `open_socket`, in whatever namespace that is."""
    connector = aiohttp.TCPConnector(
        socket_factory=lambda _: open_socket(), limit=0, limit_per_host=8, keepalive_timeout=3600
    )
    return aiohttp.ClientSession(connector=connector, trust_env=False, auto_decompress=False)


def _limits(ask: delivery.Ask, rate_bps: int, time_left_ns: int) -> Limits:
    return Limits(ask.memory_bytes, ask.macs_per_s, ask.infer_interval_ns, rate_bps, time_left_ns, frozenset(ask.have))


def _oci_error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status)
