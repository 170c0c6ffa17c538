"""Pushing to a registry that others wrote (Debian's docker-registry), and what its clients find there (skopeo)."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edge_nodes.models.manifest import Manifest
from edge_nodes.publication import push
from edge_nodes.tiers import oci
from tests.unit.builders import digest_of, manifest_of
from tests.unit.registry_server import LIMIT_S, free_port, needs_registry, running_registry

BLOCKS = [b"first block", b"second block" * 1000, b"third"]


def artifact(blocks: list[bytes] = BLOCKS, model: str = "signs") -> tuple[Manifest, oci.Image, dict[str, bytes]]:
    manifest = manifest_of(model, blocks, small={"blocks": [0]}, whole={"blocks": range(len(blocks))})
    text = manifest.to_json()
    return manifest, oci.image_of(manifest, text), {digest_of(data): data for data in (text, *blocks)}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def skopeo(*arguments: object) -> str:
    command = ["skopeo", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=LIMIT_S).stdout


@needs_registry
def test_what_was_pushed_is_what_other_clients_pull(registry: str, tmp_path: Path) -> None:
    _, image, contents = artifact()
    pushed = push.push(push.Target.parse(f"http://{registry}/zoo/signs:base"), image, contents.__getitem__)
    assert (pushed.sent, pushed.held) == (4, 0)
    assert pushed.sent_bytes == sum(map(len, contents.values()))
    source = f"docker://{registry}/zoo/signs:base"
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", "--raw", source))
    assert inspected["config"]["mediaType"] == oci.MODEL
    assert [layer["digest"] for layer in inspected["layers"]] == [digest_of(block) for block in BLOCKS]
    skopeo("copy", "--src-tls-verify=false", source, f"dir:{tmp_path}/copy")
    for digest, data in contents.items():
        assert (tmp_path / "copy" / digest.removeprefix("sha256:")).read_bytes() == data


@needs_registry
def test_a_second_push_sends_nothing_and_a_similar_model_what_differs(registry: str) -> None:
    _, image, contents = artifact(model="twice")
    target = push.Target.parse(f"http://{registry}/twice:base")
    first = push.push(target, image, contents.__getitem__)
    again = push.push(target, image, lambda digest: pytest.fail(f"{digest} is read again"))
    assert again == push.Pushed(first.digest, 0, 0, 4)
    _, changed, others = artifact([*BLOCKS[:2], b"another third"], "twice")
    assert push.push(target, changed, others.__getitem__).sent == 2  # the block and the manifest that names it
    raw = skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{registry}/twice:base")
    assert raw.encode() == changed.to_json()


@needs_registry
def test_a_block_that_is_not_what_its_digest_says_is_refused(registry: str) -> None:
    _, image, _ = artifact(model="lying")
    with pytest.raises(push.RegistryError, match=r"answers 400 to PUT /v2/lying/blobs/uploads/.*DIGEST_INVALID"):
        push.push(push.Target.parse(f"http://{registry}/lying:base"), image, lambda _: b"something else")


@needs_registry
def test_the_order_of_pushing_never_leaves_a_manifest_without_its_blocks(registry: str) -> None:
    _, image, contents = artifact([b"a", b"b" * 100, b"c"], "half")

    def first_only(digest: str) -> bytes:
        if digest != image.config.digest:
            raise OSError("the disk is gone")
        return contents[digest]

    with pytest.raises(OSError, match="gone"):
        push.push(push.Target.parse(f"http://{registry}/half:base"), image, first_only)
    listed = subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", f"docker://{registry}/half:base"],
        capture_output=True,
        timeout=LIMIT_S,
    )
    assert listed.returncode != 0


@needs_registry
def test_what_is_in_a_registry_is_listed_and_other_images_are_not(registry: str, tmp_path: Path) -> None:
    manifest, image, contents = artifact(model="listed")
    push.push(push.Target.parse(f"http://{registry}/deep/listed:base"), image, contents.__getitem__)
    (tmp_path / "image").mkdir()
    for digest, data in contents.items():
        (tmp_path / "image" / digest.removeprefix("sha256:")).write_bytes(data)
    other = image.to_json().replace(oci.MODEL.encode(), b"application/vnd.oci.image.config.v1+json")
    (tmp_path / "image" / "manifest.json").write_bytes(other)
    (tmp_path / "image" / "version").write_text("Directory Transport Version: 1.1\n")
    skopeo("copy", "--dest-tls-verify=false", f"dir:{tmp_path}/image", f"docker://{registry}/other:latest")
    found = push.models(f"http://{registry}")
    assert found["deep/listed:base"] == manifest
    assert "other:latest" not in found


@contextmanager
def answering(status: int, body: bytes = b"", **headers: str) -> Iterator[str]:
    """A server that answers everything in one way."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_PUT = answer

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (401, b"", {"WWW-Authenticate": "Basic"}, r"asks for a login; write http://USER:PASSWORD@HOST \(answer 401\)"),
        (500, b"", {}, r"answers 500 to HEAD"),
        (
            404,
            b'{"errors": [{"code": "NAME_UNKNOWN", "message": "no such"}]}',
            {},
            r"answers 404 to POST .*: NAME_UNKNOWN no such$",
        ),
        (404, b"<html>", {}, r"answers 404 to POST [^:]*$"),
    ],
)
def test_a_registry_that_does_not_take_it_is_quoted(
    status: int, body: bytes, headers: dict[str, str], said: str
) -> None:
    _, image, contents = artifact()
    with answering(status, body, **headers) as address, pytest.raises(push.RegistryError, match=said) as raised:
        push.push(push.Target.parse(f"http://me:secret@{address}/signs:base"), image, contents.__getitem__)
    assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_registry_that_is_down_is_said_to_be() -> None:
    _, image, contents = artifact()
    with pytest.raises(push.RegistryError, match="does not answer as a registry: .*refused"):
        push.push(push.Target.parse(f"http://127.0.0.1:{free_port()}/signs:base"), image, contents.__getitem__)


@pytest.mark.parametrize(
    "text",
    [
        "", "signs:base", "127.0.0.1:5000/signs:base", "http://host/signs", "http://host:port/signs:base", "ftp://host/signs:base",
        "http:///signs:base", "http://host/Signs:base", "http://host/signs:b@se", "http://host/signs:base?x=1", "http://[::1/signs:base",
    ],
)  # fmt: skip
def test_what_is_no_place_in_a_registry_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        push.Target.parse(text)
