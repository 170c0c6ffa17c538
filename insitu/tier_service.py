"""One tier of the library as a plain service on this machine: the same `Tier` as in a run, without a plan."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from aiohttp import web

from edge_nodes import http11
from edge_nodes.delivery import digest_of
from edge_nodes.models.manifest import Manifest
from edge_nodes.tiers import oci
from edge_nodes.tiers.caching import Policy
from edge_nodes.tiers.library import CATALOGUE, KEEP_ALIVE_S, Tier
from edge_nodes.tiers.pulls import PATIENCE_S, Upstream
from edge_nodes.tiers.registry import application
from edge_nodes.tiers.store import Published, Store
from scenarios import recording, records

HOST = "127.0.0.1"
_NAME = "here"  # the tier's, in its records
_Catalogue = dict[str, Annotated[str, msgspec.Meta(pattern=f"^{oci.DIGEST.pattern}$")]]
_KEPT_CATALOGUE = "catalogue.json"
_SHUTDOWN_S = 1.0


class NoCatalogue(Exception):
    """It is not known which models there are."""


class Log:
    """A recorder that prints."""

    def now(self) -> int:
        return recording.Recorder.now()

    def write(self, event: records.Event) -> None:
        print(msgspec.json.encode(event).decode(), flush=True)


async def serve_published(folder: Path, port: int, say: Callable[[str], None]) -> None:
    """The models in a library's folder, until SIGINT or SIGTERM. Raises NoCatalogue, ManifestError, OSError."""
    files = sorted((folder / "manifests").glob("*.json"))
    if not files:
        raise NoCatalogue(f"{folder} has no manifests/*.json: it is not a published library")
    catalogue = {Manifest.load(file).model: digest_of(file.read_bytes()) for file in files}
    async with _client() as client:
        log = Log()
        await _serve(Tier(_NAME, catalogue, Published(folder, _NAME, log), (), client, log), port, say)


async def serve_below(
    upstream: Sequence[Upstream], folder: Path, policy: Policy, port: int, say: Callable[[str], None]
) -> None:
    """A tier below others, until SIGINT or SIGTERM; `folder` is its store. Raises NoCatalogue, OSError."""
    async with _client() as client:
        log = Log()
        store = Store(folder, policy, _NAME, log)
        catalogue = await _catalogue(upstream, client, folder, log)
        await _serve(Tier(_NAME, catalogue, store, upstream, client, log), port, say)


async def _serve(tier: Tier, port: int, say: Callable[[str], None]) -> None:
    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    runner = web.AppRunner(
        application(tier), access_log=None, keepalive_timeout=KEEP_ALIVE_S, shutdown_timeout=_SHUTDOWN_S
    )
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        models = " ".join(":".join(oci.reference(model)) for model in sorted(tier.catalogue))
        say(f"http://{HOST}:{runner.addresses[0][1]} serves {models}")
        warming = asyncio.create_task(tier.warm_up())
        await told_to_end.wait()
        warming.cancel()
    finally:
        await runner.cleanup()


async def _catalogue(upstream: Sequence[Upstream], client: http11.Client, folder: Path, log: Log) -> dict[str, str]:
    """What the first tier above that answers has, or what one had when this tier last ran. Raises NoCatalogue."""
    kept, said = folder / _KEPT_CATALOGUE, []
    for tier in upstream:
        try:
            async with asyncio.timeout(PATIENCE_S), client.request("GET", tier.address, CATALOGUE) as answer:
                text = bytes(await answer.read())
            catalogue = msgspec.json.decode(text, type=_Catalogue)
        except (http11.HttpError, OSError, ValueError) as error:
            reason = f"does not say which models it has: {str(error) or 'no answer'}"
            log.write(records.PullFailed(log.now(), _NAME, tier.host, 0, reason))
            said.append(f"{tier.host} {reason}")
        else:
            beside = kept.with_suffix(".part")
            beside.write_bytes(text)
            beside.rename(kept)
            return catalogue
    try:
        return msgspec.json.decode(kept.read_bytes(), type=_Catalogue)
    except (FileNotFoundError, ValueError):
        raise NoCatalogue("; ".join(said)) from None


@contextlib.asynccontextmanager
async def _client() -> AsyncIterator[http11.Client]:
    client = http11.Client(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
    try:
        yield client
    finally:
        await client.close()
