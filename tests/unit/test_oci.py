"""A tier as an OCI registry: by the specification's text, and by skopeo."""

import asyncio
import json
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from builders import Notes, digest_of, manifest_of, publish
from msgspec.structs import replace

from edge_nodes import http11
from edge_nodes.tiers import oci, registry
from edge_nodes.tiers.caching import Lru
from edge_nodes.tiers.library import Tier
from edge_nodes.tiers.pulls import Upstream
from edge_nodes.tiers.store import Objects, Published, Store

DIGITS, NIGHT = [b"stem" * 10, b"levels" * 50_000, b""], [b"stem" * 10, b"night" * 9]
VARIANTS = {"small": {"blocks": [0], "accuracy": 0.7}, "large": {"blocks": [0, 1], "accuracy": 0.912345}}
MANIFESTS = {
    "digits": replace(manifest_of("digits", DIGITS, **VARIANTS), licence="MIT", source="somebody's"),
    "digits@night": manifest_of("digits@night", NIGHT, **VARIANTS),
    "letters": manifest_of("letters", NIGHT[1:]),
}
TEXTS = {model: manifest.to_json() for model, manifest in MANIFESTS.items()}
IMAGES = {model: oci.image_of(manifest, TEXTS[model]).to_json() for model, manifest in MANIFESTS.items()}
LEVELS = digest_of(DIGITS[1])
SKOPEO = pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")


class Registry(NamedTuple):
    http: aiohttp.ClientSession
    port: int
    tier: Tier

    async def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, bytes, aiohttp.typedefs.LooseHeaders]:
        url = f"http://127.0.0.1:{self.port}/v2/{path}"
        async with self.http.request(method, url, headers=headers) as answer:
            return answer.status, await answer.read(), answer.headers

    async def code(self, path: str, method: str = "GET") -> tuple[int, str]:
        status, body, _ = await self.ask(path, method)
        ((code, message),) = ((error["code"], error["message"]) for error in json.loads(body)["errors"])
        assert message
        return status, code


@pytest.fixture
def registries(tmp_path: Path) -> Callable[..., Any]:
    """The central tier and one below it, each as a registry."""

    @asynccontextmanager
    async def running() -> AsyncIterator[list[Registry]]:
        models = publish(tmp_path, *((MANIFESTS[m], b) for m, b in (("digits", DIGITS), ("digits@night", NIGHT))))
        models |= publish(tmp_path, (MANIFESTS["letters"], NIGHT[1:]))
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(aiohttp.ClientSession())
            made: list[Registry] = []
            for host in ("central", "edge"):
                notes: Any = Notes()
                client = http11.Client(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
                stack.push_async_callback(client.close)
                central = Published(tmp_path, host, notes)
                store: Objects = Store(tmp_path / host, Lru(10**9), host, notes) if made else central
                upstream = [Upstream("central", ("127.0.0.1", above.port)) for above in made]
                tier = Tier(host, models, store, upstream, client, notes, retry_ns=[])
                runner = web.AppRunner(registry.application(tier), shutdown_timeout=1)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, "127.0.0.1", 0).start()
                made.append(Registry(http, runner.addresses[0][1], tier))
            yield made

    return running


@pytest.mark.parametrize(("model", "name", "tag"), [("digits", "digits", "base"), ("digits@night", "digits", "night")])
def test_a_model_is_a_repository_with_a_tag(model: str, name: str, tag: str) -> None:
    assert oci.reference(model) == (name, tag)


def test_an_image_names_our_manifest_the_blocks_and_what_is_known_of_the_model() -> None:
    image = json.loads(IMAGES["digits"])
    assert image["schemaVersion"] == 2
    assert image["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert image["artifactType"] == "application/vnd.insitu.model.v1"
    assert image["config"] == {
        "mediaType": "application/vnd.insitu.model.v1+json",
        "digest": digest_of(TEXTS["digits"]),
        "size": len(TEXTS["digits"]),
    }
    assert [(layer["digest"], layer["size"]) for layer in image["layers"]] == [(digest_of(b), len(b)) for b in DIGITS]
    first = image["layers"][0]
    assert first["mediaType"] == "application/vnd.insitu.model.block.v1"
    assert first["annotations"] == {
        "org.opencontainers.image.title": f"blocks/{digest_of(DIGITS[0]).removeprefix('sha256:')}",
        "vnd.insitu.stage": "1",
        "vnd.insitu.group": "1",
        "vnd.insitu.level": "1",
    }
    about = image["annotations"]
    assert about["org.opencontainers.image.title"] == "digits"
    assert about["org.opencontainers.image.licenses"] == "MIT"
    assert about["vnd.insitu.source"] == "somebody's"
    assert about["vnd.insitu.accuracy.large"] == "0.9123 ± 0.0000"
    assert "vnd.insitu.base" not in about
    assert json.loads(IMAGES["digits@night"])["annotations"]["vnd.insitu.base"] == "digits"


def test_equal_models_are_equal_bytes_and_a_block_is_a_layer_once() -> None:
    assert oci.image_of(MANIFESTS["digits"], TEXTS["digits"]).to_json() == IMAGES["digits"]
    twice = manifest_of("digits", [DIGITS[0], DIGITS[0]])
    assert len(oci.image_of(twice, twice.to_json()).layers) == 1


@pytest.mark.parametrize("model", TEXTS)
async def test_a_manifest_comes_by_tag_and_by_digest_from_every_tier(registries: Any, model: str) -> None:
    name, tag = oci.reference(model)
    async with registries() as both:
        for one in both:
            for reference in (tag, digest_of(IMAGES[model])):
                for method, body in (("GET", IMAGES[model]), ("HEAD", b"")):
                    status, got, headers = await one.ask(f"{name}/manifests/{reference}", method)
                    assert (status, got) == (200, body)
                    assert headers["Docker-Content-Digest"] == digest_of(IMAGES[model])
                    assert headers["Content-Type"] == "application/vnd.oci.image.manifest.v1+json"
                    assert headers["Content-Length"] == str(len(IMAGES[model]))


async def test_blobs_are_the_config_and_the_layers(registries: Any) -> None:
    async with registries() as both:
        for one in both:
            for data in (TEXTS["digits"], *DIGITS, *NIGHT):
                path = f"digits/blobs/{digest_of(data)}"
                for method, body in (("HEAD", b""), ("GET", data)):
                    status, got, headers = await one.ask(path, method)
                    assert (status, got) == (200, body)
                    assert headers["Docker-Content-Digest"] == digest_of(data)
                    assert headers["Content-Length"] == str(len(data))


async def test_a_head_pulls_nothing(registries: Any) -> None:
    async with registries() as (_, edge):
        await edge.ask(f"digits/blobs/{LEVELS}", "HEAD")
        assert edge.tier._store.get(LEVELS) is None


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, 300_000),
        ("bytes=100000-200000", 100_000, 200_001),
        ("bytes=299999-", 299_999, 300_000),
        ("bytes=5-999999999", 5, 300_000),
        ("bytes=-7", 299_993, 300_000),
        ("bytes=-999999999", 0, 300_000),
    ],
)
async def test_a_range_of_a_blob(registries: Any, header: str, start: int, stop: int) -> None:
    async with registries() as both:
        for one in (*both, *both):  # cold and warm
            status, got, headers = await one.ask(f"digits/blobs/{LEVELS}", Range=header)
            assert (status, got) == (206, DIGITS[1][start:stop])
            assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/300000"


@pytest.mark.parametrize("header", ["bytes=300000-", "bytes=999999-1000000"])
async def test_a_range_outside_is_refused(registries: Any, header: str) -> None:
    async with registries() as both:
        status, got, headers = await both[1].ask(f"digits/blobs/{LEVELS}", Range=header)
        assert (status, got, headers["Content-Range"]) == (416, b"", "bytes */300000")


@pytest.mark.parametrize("header", ["bytes=5-3", "bytes=0-1,5-6", "lines=1-2", "bytes=a-b", "bytes=-"])
async def test_a_range_that_is_not_understood_is_ignored(registries: Any, header: str) -> None:
    async with registries() as both:
        status, got, _ = await both[1].ask(f"digits/blobs/{LEVELS}", Range=header)
        assert (status, got) == (200, DIGITS[1])


async def test_lists(registries: Any) -> None:
    async with registries() as both:
        for one in both:
            assert json.loads((await one.ask("_catalog"))[1]) == {"repositories": ["digits", "letters"]}
            _, body, headers = await one.ask("digits/tags/list")
            assert json.loads(body) == {"name": "digits", "tags": ["base", "night"]}
            assert "Link" not in headers
            _, body, headers = await one.ask("digits/tags/list?n=1")
            assert json.loads(body)["tags"] == ["base"]
            assert headers["Link"] == '</v2/digits/tags/list?n=1&last=base>; rel="next"'
            assert json.loads((await one.ask("digits/tags/list?n=1&last=base"))[1])["tags"] == ["night"]
            assert json.loads((await one.ask("digits/tags/list?n=0"))[1])["tags"] == []


async def test_the_api_says_that_it_is_there(registries: Any) -> None:
    async with registries() as both:
        for one in both:
            status, body, headers = await one.ask("")
            assert (status, body, headers["Docker-Distribution-API-Version"]) == (200, b"{}", "registry/2.0")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("digits/manifests/dusk", (404, "MANIFEST_UNKNOWN")),
        (f"digits/manifests/{digest_of(b'nothing')}", (404, "MANIFEST_UNKNOWN")),
        (f"digits/manifests/{digest_of(IMAGES['letters'])}", (404, "MANIFEST_UNKNOWN")),
        ("digits/manifests/sha256:abc", (400, "DIGEST_INVALID")),
        ("numbers/manifests/base", (404, "NAME_UNKNOWN")),
        ("numbers/tags/list", (404, "NAME_UNKNOWN")),
        (f"numbers/blobs/{LEVELS}", (404, "NAME_UNKNOWN")),
        (f"digits/blobs/{digest_of(b'nothing')}", (404, "BLOB_UNKNOWN")),
        ("digits/blobs/sha256:abc", (400, "DIGEST_INVALID")),
        (f"digits/blobs/{LEVELS.upper()}", (400, "DIGEST_INVALID")),
        ("digits/blobs/..%2Fmanifests%2Fdigits.json", (400, "DIGEST_INVALID")),
        ("digits/blobs/sha256:..%2F..%2Fmanifests%2Fdigits.json", (400, "DIGEST_INVALID")),
        ("digits", (404, "NAME_UNKNOWN")),
    ],
)
async def test_what_does_not_exist_is_told_by_the_specifications_codes(
    registries: Any, path: str, expected: tuple[int, str]
) -> None:
    async with registries() as both:
        for one in both:
            assert await one.code(path) == expected


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "digits/blobs/uploads/"), ("PUT", "digits/manifests/base"), ("DELETE", "digits/manifests/base")],
)
async def test_nothing_can_be_pushed_here(registries: Any, method: str, path: str) -> None:
    async with registries() as both:
        assert await both[0].code(path, method) == (405, "UNSUPPORTED")


async def skopeo(*arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        "skopeo", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    return out.decode()


@SKOPEO
async def test_skopeo_inspects_lists_and_copies_a_model_from_every_tier(registries: Any, tmp_path: Path) -> None:
    async with registries() as both:
        for one in both:
            image, folder = f"docker://127.0.0.1:{one.port}/digits:night", tmp_path / f"copy-{one.port}"
            assert await skopeo("inspect", "--raw", "--tls-verify=false", image) == IMAGES["digits@night"].decode()
            listed = await skopeo("list-tags", "--tls-verify=false", image.rpartition(":")[0])
            assert json.loads(listed)["Tags"] == ["base", "night"]
            await skopeo("copy", "--src-tls-verify=false", image, f"dir:{folder}")
            assert (folder / "manifest.json").read_bytes() == IMAGES["digits@night"]
            for data in (TEXTS["digits@night"], *NIGHT):
                assert (folder / digest_of(data).removeprefix("sha256:")).read_bytes() == data
