"""The command `insitu library serve`."""

import contextlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import click

from edge_nodes.tiers.caching import CACHING
from scenarios.plan import LIBRARY_PORT
from scenarios.quantity import parse_integer

_INPUT, _FAILED = 2, 3


@click.command()
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option(
    "--port", type=click.IntRange(0, 65535), default=LIBRARY_PORT, show_default=True, help="0: any that is free"
)
@click.option(
    "--upstream", "urls", multiple=True, metavar="URL", help="a tier above, http://HOST:PORT; the first is asked first"
)
@click.option("--cache", default="2 GB", show_default=True, help="the most that is kept of what comes from above")
@click.option(
    "--caching",
    type=click.Choice(sorted(CACHING)),
    default="lru",
    show_default=True,
    help="what goes when that is full",
)
def serve(folder: Path | None, port: int, urls: Sequence[str], cache: str, caching: str) -> None:
    """Serve the published library in FOLDER (by default the one that ships) on this machine, until Ctrl-C.

    With --upstream it is a tier below others and has their models; FOLDER is where it keeps what passes (by default until it
    ends). Its records go to standard output, a line of JSON each. OCI clients read it: `skopeo inspect --raw
    --tls-verify=false docker://127.0.0.1:5000/digits:base`.
    """
    import asyncio

    from edge_nodes.models.manifest import ManifestError
    from edge_nodes.tiers.pulls import Upstream
    from insitu import tier_service

    upstream = [_address(url) for url in urls]
    try:
        policy = CACHING[caching](parse_integer(cache, "size"))
    except ValueError as error:
        _fail(_INPUT, f"--cache: {error}")

    def say(line: str) -> None:
        click.echo(line, err=True)

    with contextlib.ExitStack() as stack:
        try:
            if not upstream:
                asyncio.run(tier_service.serve_published(folder or _shipped(), port, say))
                return
            tiers = [Upstream(f"{host}:{at}", (host, at)) for host, at in upstream]
            kept = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="insitu-store-")))
            asyncio.run(tier_service.serve_below(tiers, kept, policy, port, say))
        except (tier_service.NoCatalogue, ManifestError) as error:
            _fail(_INPUT, str(error))
        except OSError as error:
            _fail(_FAILED, str(error))


def _shipped() -> Path:
    from insitu import experiment

    return experiment.model_library(lambda line: click.echo(line, err=True))


def _address(url: str) -> tuple[str, int]:
    try:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
            raise ValueError("write http://HOST:PORT")
        return parts.hostname, parts.port or LIBRARY_PORT
    except ValueError as error:
        _fail(_INPUT, f"--upstream {url}: {error}")


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    serve()
