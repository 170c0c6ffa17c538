"""`insitu library serve`: one tier of the library as a plain service on this machine, for skopeo, oras and experiments."""

import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import click
import msgspec
from aiohttp import web

from edge_nodes import http11, oci
from edge_nodes.caching import CACHING
from edge_nodes.delivery import digest_of
from edge_nodes.library import CATALOGUE, KEEP_ALIVE_S, Tier
from edge_nodes.manifest import Manifest, ManifestError
from edge_nodes.pulls import PATIENCE_S, Upstream
from edge_nodes.registry import application
from edge_nodes.store import Objects, Published, Store
from scenarios import records
from scenarios.plan import LIBRARY_PORT
from scenarios.quantity import parse_integer

_HOST = "127.0.0.1"
_Catalogue = dict[str, Annotated[str, msgspec.Meta(pattern=f"^{oci.DIGEST.pattern}$")]]
_KEPT_CATALOGUE = "catalogue.json"
_INPUT, _FAILED = 2, 3


class Log:
    """A recorder that prints."""

    def now(self) -> int:
        return records.Recorder.now()

    def write(self, event: records.Event) -> None:
        print(msgspec.json.encode(event).decode(), flush=True)


class NoCatalogue(Exception):
    """It is not known which models there are."""


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=LIBRARY_PORT, show_default=True, help="0: any that is free"
)
@click.option(
    "--upstream", "urls", multiple=True, metavar="URL", help="a tier above, http://host:port; in the order of asking"
)
@click.option("--cache", default="2 GB", show_default=True, help="what is kept at most of what comes from above")
@click.option(
    "--caching", type=click.Choice(sorted(CACHING)), default="lru", show_default=True, help="what goes when it is full"
)
def serve(folder: Path | None, port: int, urls: Sequence[str], cache: str, caching: str) -> None:
    """Serve the published library in FOLDER (the one that insitu ships without it) on this machine, until Ctrl-C.

    With --upstream it is a tier below: it has their models, and FOLDER is where it keeps what passes (nowhere for long without
    it). Records go to standard output, a line of JSON each. `skopeo inspect --tls-verify=false docker://127.0.0.1:5000/digits:base`
    shows a model.
    """
    upstream = [_upstream(url) for url in urls]
    try:
        cache_bytes = parse_integer(cache, "size")
    except ValueError as error:
        _fail(_INPUT, f"--cache: {error}")
    with contextlib.ExitStack() as stack:
        try:
            if upstream:
                kept = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="insitu-store-")))
                log = Log()
                store: Objects = Store(kept, CACHING[caching](cache_bytes), "here", log)
                asyncio.run(_serve(store, upstream, kept, port))
            else:
                published = folder or _shipped()
                asyncio.run(_serve(Published(published, "here", Log()), (), published, port))
        except (NoCatalogue, ManifestError) as error:
            _fail(_INPUT, str(error))
        except OSError as error:
            _fail(_FAILED, str(error))


async def _serve(store: Objects, upstream: Sequence[Upstream], folder: Path, port: int) -> None:
    """Until SIGINT or SIGTERM. Raises NoCatalogue, ManifestError, OSError."""
    told_to_end = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told_to_end.set)
    async with _client() as client:
        catalogue = await _catalogue_from(upstream, client, folder) if upstream else _published(folder)
        tier = Tier("here", catalogue, store, upstream, client, Log())
        runner = web.AppRunner(application(tier), access_log=None, keepalive_timeout=KEEP_ALIVE_S, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, _HOST, port)
        await site.start()
        port = runner.addresses[0][1]
        models = " ".join(":".join(oci.reference(model)) for model in sorted(catalogue))
        click.echo(f"http://{_HOST}:{port} serves {models}", err=True)
        warming = asyncio.create_task(tier.warm_up())
        await told_to_end.wait()
        warming.cancel()
        await runner.cleanup()


@contextlib.asynccontextmanager
async def _client() -> AsyncIterator[http11.Client]:
    client = http11.Client(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK))
    try:
        yield client
    finally:
        await client.close()


def _published(folder: Path) -> dict[str, str]:
    """The models in a library's folder. Raises NoCatalogue, ManifestError."""
    files = sorted((folder / "manifests").glob("*.json"))
    if not files:
        raise NoCatalogue(f"{folder} has no manifests/*.json: it is not a published library")
    return {Manifest.load(file).model: digest_of(file.read_bytes()) for file in files}


async def _catalogue_from(upstream: Sequence[Upstream], client: http11.Client, folder: Path) -> dict[str, str]:
    """What the first tier above that answers has, or what one had when this tier last ran. Raises NoCatalogue."""
    kept, said = folder / _KEPT_CATALOGUE, []
    for tier in upstream:
        try:
            async with asyncio.timeout(PATIENCE_S), client.request("GET", tier.address, CATALOGUE) as answer:
                text = bytes(await answer.read())
            catalogue = msgspec.json.decode(text, type=_Catalogue)
        except (http11.HttpError, OSError, ValueError) as error:
            said.append(f"{tier.host} does not say which models it has: {error or 'no answer'}")
        else:
            beside = kept.with_suffix(".part")
            beside.write_bytes(text)
            beside.rename(kept)
            return catalogue
    if not kept.exists():
        raise NoCatalogue("; ".join(said))
    return msgspec.json.decode(kept.read_bytes(), type=_Catalogue)


def _shipped() -> Path:
    from insitu import experiment

    return experiment.model_library(lambda line: click.echo(line, err=True))


def _upstream(url: str) -> Upstream:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
        _fail(_INPUT, f"--upstream {url}: write http://host:port")
    try:
        return Upstream(parts.netloc, (parts.hostname, parts.port or LIBRARY_PORT))
    except ValueError as error:
        _fail(_INPUT, f"--upstream {url}: {error}")


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    serve()
