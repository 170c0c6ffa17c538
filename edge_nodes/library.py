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
from aiohttp import web

from edge_nodes import delivery, http11
from edge_nodes.downloads import Downloads, Unavailable
from edge_nodes.http11 import Data
from edge_nodes.policies import CACHING
from edge_nodes.sessions import Northbound
from scenarios import records
from scenarios.plan import LIBRARY_PORT, NORTHBOUND_PORT, Library, Plan

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
PULL_LIMIT_S = 30.0  # after which a tier above counts as down


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
        self._upstream = [Upstream(name, (addresses[name], LIBRARY_PORT)) for name in library.upstream]
        self._pulls: dict[str, asyncio.Task[Data]] = {}
        northbound = Northbound(http, addresses["nef"], NORTHBOUND_PORT)
        self._downloads = Downloads(plan, library.host, self.object, recorder, northbound)

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v2/", self._api)
        app.router.add_get("/v2/{name}/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/{name}/blobs/{digest}", self._blob)
        app.router.add_post(delivery.PATH, self._downloads.answer)
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


def _oci_error(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status)
