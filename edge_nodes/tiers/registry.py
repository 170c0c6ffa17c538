"""The pull endpoints of the OCI distribution specification v1.1, which every tier has: skopeo, oras and others know these."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from aiohttp import web

from edge_nodes import http11
from edge_nodes.delivery import digest_of
from edge_nodes.http11 import Body, Extent
from edge_nodes.tiers import oci
from edge_nodes.tiers.library import Tier, cut
from edge_nodes.tiers.store import Source, Unavailable

_VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}
_STATUS = {"DIGEST_INVALID": 400, "NAME_INVALID": 400, "UNSUPPORTED": 405, "UNAVAILABLE": 503}  # of the others 404


_LARGEST_REQUEST = 1 << 23  # bytes
_Found = TypeVar("_Found")


def application(tier: Tier) -> web.Application:
    """A tier's service, for the tiers below and for OCI clients."""
    app = web.Application(client_max_size=_LARGEST_REQUEST)
    app.add_routes([*tier.routes(), *Registry(tier).routes()])
    return app


class _Error(Exception):
    """An error of the specification."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

    def response(self) -> web.Response:
        body = oci.error(self.code, str(self))
        return web.json_response(body, status=_STATUS.get(self.code, 404), headers=_VERSION)


class Registry:
    """What a tier's models look like to a client of OCI registries."""

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self._images: dict[str, bytes] = {}  # image manifests by model

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v2/", self._answered(self._version)),
            web.get("/v2/_catalog", self._answered(self._catalog)),
            web.get("/v2/{name:.+}/tags/list", self._answered(self._tags)),
            web.get("/v2/{name:.+}/manifests/{reference}", self._answered(self._manifest)),
            web.get("/v2/{name:.+}/blobs/{digest}", self._answered(self._blob)),
            web.route("*", "/v2/{path:.*}", self._answered(self._unsupported)),
        ]

    def _answered(self, handler: Any) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            try:
                answered: web.StreamResponse = await handler(request)
            except _Error as error:
                return error.response()
            except Unavailable as error:
                return _Error("UNAVAILABLE", str(error)).response()
            return answered

        return answer

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({}, headers=_VERSION)

    async def _catalog(self, request: web.Request) -> web.Response:
        names = sorted({oci.reference(model)[0] for model in self._tier.catalogue})
        return _page(request, names, lambda page: {"repositories": page})

    async def _tags(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return _page(request, sorted(self._tags_of(name)), lambda page: {"name": name, "tags": page})

    async def _manifest(self, request: web.Request) -> web.StreamResponse:
        name, reference = request.match_info["name"], request.match_info["reference"]
        models = self._tags_of(name)
        if ":" in reference:
            _require_digest(reference)
            images = await _all_of(self._image, models.values())
            image = next((image for image in images if digest_of(image) == reference), None)
        else:
            image = await self._image(models[reference]) if reference in models else None
        if image is None:
            raise _Error("MANIFEST_UNKNOWN", f"{name} has no {reference}; it has {', '.join(sorted(models))}")
        headers = _VERSION | {"Docker-Content-Digest": digest_of(image), "Content-Type": oci.IMAGE}
        return web.Response(body=image, headers=headers)

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        name, digest = request.match_info["name"], request.match_info["digest"]
        models = self._tags_of(name)
        _require_digest(digest)
        await _all_of(self._tier.manifest, models.values())
        size = self._tier.size(digest)
        if size is None:
            raise _Error("BLOB_UNKNOWN", f"{name} has no such blob")
        headers = _VERSION | {"Docker-Content-Digest": digest, "Content-Type": "application/octet-stream"}
        headers["Accept-Ranges"] = "bytes"
        if request.method == "HEAD":  # nothing is pulled for it
            return web.Response(headers=headers | {"Content-Length": str(size)})
        return await _send(request, headers, await self._tier.open(name, digest))

    async def _unsupported(self, request: web.Request) -> web.Response:
        if request.method in ("GET", "HEAD"):
            raise _Error("NAME_UNKNOWN", f"there is no {request.path}")
        raise _Error("UNSUPPORTED", "this registry is read only: insitu library publish --to pushes to another")

    async def _image(self, model: str) -> bytes:
        if model not in self._images:
            text = bytes(await self._tier.text(model))
            self._images[model] = oci.image_of(await self._tier.manifest(model), text).to_json()
        return self._images[model]

    def _tags_of(self, name: str) -> dict[str, str]:
        """The models of a repository by their tags."""
        references = {model: oci.reference(model) for model in self._tier.catalogue}
        tags = {tag: model for model, (repository, tag) in references.items() if repository == name}
        if not tags:
            raise _Error("NAME_UNKNOWN", f"there is no {name}")
        return tags


async def _all_of(get: Callable[[str], Awaitable[_Found]], models: Iterable[str]) -> list[_Found]:
    """What can be had for these models. Raises Unavailable where that is nothing."""
    found: list[_Found] = []
    for model in models:
        try:
            found.append(await get(model))
        except Unavailable as error:
            missing = error
    if not found:
        raise missing
    return found


def _require_digest(text: str) -> None:
    if not oci.DIGEST.fullmatch(text):
        raise _Error("DIGEST_INVALID", f"{text} is not sha256: and 64 hexadecimal digits")


def _page(request: web.Request, names: list[str], body: Any) -> web.Response:
    """Of a sorted list what comes after `last`, at most `n`, with a link to the rest."""
    after, headers = [name for name in names if name > request.query.get("last", "")], dict(_VERSION)
    number = request.query.get("n", str(len(after)))
    if not number.isdecimal():
        raise _Error("UNSUPPORTED", f"n={number} is not a number of names")
    page = after[: int(number)]
    if page and len(page) < len(after):
        headers["Link"] = f'<{request.path}?n={number}&last={page[-1]}>; rel="next"'
    return web.json_response(body(page), headers=headers)


async def _send(request: web.Request, headers: dict[str, str], source: Source) -> web.StreamResponse:
    """A blob, or the range of it that the request is for."""
    size = source.bytes
    start, stop, ranged = 0, size, "Range" in request.headers
    try:
        start, stop, _ = request.http_range.indices(size)
    except ValueError:
        ranged = False  # what is not understood is to be ignored
    if ranged:
        if start >= stop:
            return web.Response(status=416, headers=headers | {"Content-Range": f"bytes */{size}"})
        headers = headers | {"Content-Range": f"bytes {start}-{stop - 1}/{size}"}
    response = web.StreamResponse(status=206 if ranged else 200, headers=headers)
    response.content_length = stop - start
    await response.prepare(request)
    async with http11.body_of(request) as send:
        try:
            async for part in _between(source, start, stop):
                await send(part)
        except (Unavailable, OSError):
            return cut(request, response)
    await response.write_eof()
    return response


async def _between(source: Source, start: int, stop: int) -> AsyncIterator[Body]:
    left = stop - start
    async for part in source.parts(start):
        if left <= 0:
            return
        if len(part) > left:
            part = part.shortened(left) if isinstance(part, Extent) else part[:left]
        yield part
        left -= len(part)
