"""A client of registries, by the OCI distribution specification v1.1: pushes what is missing of a model, and lists models."""

import base64
import http.client
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Self, TypeVar
from urllib.parse import SplitResult, unquote, urlencode, urljoin, urlsplit

import msgspec

from edge_nodes.delivery import digest_of
from edge_nodes.models.manifest import Manifest, ManifestError
from edge_nodes.tiers import oci

TIMEOUT_S = 60.0  # without a byte, after which a registry counts as down
_Kind = TypeVar("_Kind")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class RegistryError(Exception):
    """A registry that does not answer, or does not take what it was sent; one line says which and why."""


class Target(NamedTuple):
    """Where a model goes: `http://host:port/repository:tag`."""

    url: SplitResult
    repository: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        right = f"{text}: write http://HOST:PORT/NAME:TAG"
        url = _url(text, right)
        repository, colon, tag = url.path.removeprefix("/").rpartition(":")
        if not colon:
            raise ValueError(right)
        if not oci.REPOSITORY.fullmatch(repository) or not oci.TAG.fullmatch(tag):
            raise ValueError(
                f"{text}: a name is of lower-case letters, digits and . _ - / between them, a tag of letters and digits"
            )
        return cls(url, repository, tag)


def _url(text: str, right: str) -> SplitResult:
    """Raises ValueError, which says what is `right`."""
    try:
        url = urlsplit(text)
        well_formed = url.scheme in _DEFAULT_PORTS and url.hostname and (url.port is None or url.port > 0)
    except ValueError:
        raise ValueError(right) from None
    if not well_formed or url.query or url.fragment:
        raise ValueError(right)
    return url


class Pushed(NamedTuple):
    digest: str  # of the image manifest
    sent: int  # blobs
    sent_bytes: int
    held: int  # blobs that the registry had


def push(target: Target, image: oci.Image, content: Callable[[str], bytes]) -> Pushed:
    """Send an artifact; `content` gives a blob by its digest. Raises RegistryError."""
    text = image.to_json()
    blobs = {blob.digest: blob for blob in (image.config, *image.layers)}
    sent = sent_bytes = 0
    base, tagged = f"/v2/{target.repository}", f"/v2/{target.repository}/manifests/{target.tag}"
    with _Registry(target.url) as registry:
        for digest, blob in blobs.items():
            if not registry.has(f"{base}/blobs/{digest}", digest):
                registry.upload(target.repository, digest, content(digest))
                sent, sent_bytes = sent + 1, sent_bytes + blob.size
        if not registry.has(tagged, digest_of(text)):
            registry.expect(201, "PUT", tagged, text, {"Content-Type": image.media_type})
    return Pushed(digest_of(text), sent, sent_bytes, len(blobs) - sent)


def models(address: str) -> dict[str, Manifest]:
    """All models of the registry at `http://host:port`, by `repository:tag`. Raises RegistryError or ValueError."""
    registry = _Registry(_url(address, f"{address}: write http://HOST:PORT"))
    with registry:
        found = {}
        for repository in registry.names("/v2/_catalog", "repositories"):
            for tag in registry.tags(repository):
                manifest = _model(registry, repository, tag)
                if manifest is not None:
                    found[f"{repository}:{tag}"] = manifest
        return found


def _model(registry: "_Registry", repository: str, tag: str) -> Manifest | None:
    """The manifest of a model; None where something else has this name."""
    path = f"/v2/{repository}/manifests/{tag}"
    image = registry.json(path, _Image)
    if image.config.media_type != oci.MODEL:
        return None
    text = registry.expect(200, "GET", f"/v2/{repository}/blobs/{image.config.digest}").body
    if digest_of(text) != image.config.digest:
        raise RegistryError(f"{registry.where}: sends other bytes than {image.config.digest} promises")
    try:
        return Manifest.from_json(text)
    except ManifestError as error:
        raise RegistryError(f"{registry.where}: {repository}:{tag}: {error}") from None


class _Image(msgspec.Struct):
    """What is read of an image manifest, ours or another's."""

    config: oci.Descriptor


class _Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Registry:
    """One connection to a registry."""

    def __init__(self, url: SplitResult) -> None:
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        self._http = kind(str(url.hostname), url.port or _DEFAULT_PORTS[url.scheme], timeout=TIMEOUT_S)
        self.where = url._replace(netloc=url.netloc.rpartition("@")[2], path="").geturl()
        self._login = {}
        if url.username is not None:
            secret = f"{unquote(url.username)}:{unquote(url.password or '')}".encode()
            self._login = {"Authorization": f"Basic {base64.b64encode(secret).decode()}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def has(self, path: str, digest: str) -> bool:
        """Whether the registry has this content there."""
        answer = self._ask("HEAD", path, b"", {"Accept": oci.IMAGE})
        if answer.status == 200:
            return answer.headers.get("docker-content-digest", digest) == digest
        if answer.status == 404:
            return False
        raise self._refused("HEAD", path, answer)

    def upload(self, repository: str, digest: str, content: bytes) -> None:
        """One upload of one blob; the registry compares its digest."""
        begun = self.expect(202, "POST", f"/v2/{repository}/blobs/uploads/")
        location = begun.headers.get("location", "")
        address = f"{location}{'&' if urlsplit(location).query else '?'}{urlencode({'digest': digest})}"
        self.expect(201, "PUT", address, content, {"Content-Type": "application/octet-stream"})

    def tags(self, repository: str) -> list[str]:
        path = f"/v2/{repository}/tags/list"
        begun_only = self._ask("GET", path, b"", {}).status == 404  # and never finished
        return [] if begun_only else self.names(path, "tags")

    def names(self, path: str, key: str) -> list[str]:
        """A list of names, which may come in pages."""
        found: list[str] = []
        while path:
            answer = self.expect(200, "GET", path)
            page = self._decoded(path, answer, dict[str, Any]).get(key)
            found += page or []  # a repository whose tags were deleted has null
            link = re.match(r'<([^>]+)>; *rel="?next', answer.headers.get("link", ""))
            path = urljoin(path, link[1]) if link else ""
        return found

    def json(self, path: str, kind: type[_Kind]) -> _Kind:
        return self._decoded(path, self.expect(200, "GET", path, headers={"Accept": oci.IMAGE}), kind)

    def expect(
        self, status: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> _Answer:
        answer = self._ask(method, path, body, headers or {})
        if answer.status != status:
            raise self._refused(method, path, answer)
        return answer

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> _Answer:
        address = urlsplit(urljoin(self.where, path))
        if address.netloc != urlsplit(self.where).netloc:
            raise RegistryError(f"{self.where}: wants the upload at another host, {address.netloc}; push there")
        target = f"{address.path}?{address.query}" if address.query else address.path
        try:
            self._http.request(method, target, body, {**headers, **self._login})
            response = self._http.getresponse()
            return _Answer(
                response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()
            )
        except (http.client.HTTPException, OSError) as error:
            raise RegistryError(
                f"{self.where}: does not answer as a registry: {error or type(error).__name__}"
            ) from None

    def _decoded(self, path: str, answer: _Answer, kind: type[_Kind]) -> _Kind:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise RegistryError(f"{self.where}: does not answer {path} as a registry: {error}") from None

    def _refused(self, method: str, path: str, answer: _Answer) -> RegistryError:
        if answer.status in (401, 403):
            login = "asks for a login; write http://USER:PASSWORD@HOST"
            return RegistryError(f"{self.where}: {login} (answer {answer.status})")
        return RegistryError(
            f"{self.where}: answers {answer.status} to {method} {urlsplit(path).path}{_said(answer.body)}"
        )


def _said(body: bytes) -> str:
    """What a registry gives as its reason, by the specification's form of errors."""
    try:
        errors = json.loads(body)["errors"]
        return ": " + "; ".join(f"{error['code']} {error.get('message', '')}".strip() for error in errors)
    except (ValueError, KeyError, TypeError):
        return ""
