"""The commands of `insitu library`: what is in a library, and publishing a model of one's own."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Self

import click

from insitu.serving import serve

if TYPE_CHECKING:
    from rich.table import Table

    from edge_nodes.models.manifest import Manifest
    from edge_nodes.publication.push import Target

_INPUT, _FAILED = 2, 3
_PLACE = "FOLDER|URL"


@click.group("library")
def library() -> None:
    """The AI library: its models, and publishing your own.

    A library is a FOLDER, or a registry or a running tier at http://HOST:PORT; by default the one that ships.
    """


library.add_command(serve)


@library.command("list")
@click.argument("place", metavar=f"[{_PLACE}]", required=False)
@click.option("--json", "as_json", is_flag=True, help="print the same as JSON")
def list_models(place: str | None, as_json: bool) -> None:
    """The models of a library."""
    models = _models(place)
    if as_json:
        click.echo(json.dumps({name: _summary(manifest) for name, manifest in models.items()}))
    else:
        _print(_table_of_models(models))


@library.command("show")
@click.argument("model")
@click.argument("place", metavar=f"[{_PLACE}]", required=False)
@click.option("--json", "as_json", is_flag=True, help="print the manifest")
def show(model: str, place: str | None, as_json: bool) -> None:
    """All variants of a MODEL; * marks those that no other one beats in bytes and accuracy."""
    models = _models(place)
    if model not in models:  # a registry has the model signs@night as signs:night
        models = {manifest.model: manifest for manifest in models.values()}
    if model not in models:
        _fail(
            _INPUT, f"{model}: no such model; there {'is' if len(models) == 1 else 'are'} {', '.join(models) or 'none'}"
        )
    if as_json:
        click.echo(models[model].to_json())
        return
    _print(_table_of_variants(models[model]))
    for name, value in (("licence", models[model].licence), ("source", models[model].source)):
        if value:
            click.echo(f"{name}: {value}")


@library.command("publish")
@click.argument("build", metavar="FILE.py:FUNCTION")
@click.option("--weights", required=True, type=click.Path(path_type=Path), help="a safetensors file of its state_dict")
@click.option(
    "--eval", "held_out", required=True, metavar="FILE.py:FUNCTION", help="gives (inputs, labels) to measure with"
)
@click.option("--name", help="by default the file's; NAME@SITUATION specialises a model that is there")
@click.option("--licence", default="", help="of the model")
@click.option("--source", default="", help="where it comes from")
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path("my-library"),
    show_default=True,
    help="the library's folder",
)
@click.option("--to", metavar="URL", help="push it to a registry too, http://HOST:PORT/NAME:TAG")
def publish(
    build: str, weights: Path, held_out: str, name: str | None, licence: str, source: str, into: Path, to: str | None
) -> None:
    """Measure every variant of your own trained module, and add it to a library.

    FUNCTION builds it: a torch.nn.Module, without its weights. Widths are made by the rank of its nn.Linear layers. A module that
    has `stages` and `exits`, two nn.ModuleList of equal length, and perhaps a `stem`, can be had at any depth.
    """
    from edge_nodes.models.adapt import Unfit
    from edge_nodes.models.programs import ProgramError
    from edge_nodes.publication import own_model, published, publishing, push

    model = name or Path(build.rpartition(":")[0]).stem
    if not published.NAME.fullmatch(model):
        _fail(
            _INPUT,
            f"--name {model}: a model's name is of lower-case letters, digits and . _ - between them, as in signs@night",
        )
    try:
        target = push.Target.parse(to) if to else None
    except ValueError as error:
        _fail(_INPUT, f"--to {error}")
    asked = own_model.Source(build, weights, held_out, model, licence, source)
    try:
        manifest = publishing.publish(asked, into, lambda line: click.echo(line, err=True))
    except (Unfit, ProgramError, published.LibraryError) as error:
        _fail(_INPUT, str(error))
    except OSError as error:
        _fail(_FAILED, f"{into}: {error.strerror or error}")
    click.echo(f"{model}: {_in_words(manifest)}; in {into}")
    if target:
        _push(target, manifest, into)


def _push(target: "Target", manifest: "Manifest", folder: Path) -> None:
    from edge_nodes.publication import push
    from edge_nodes.tiers import oci

    text = manifest.to_json()
    image = oci.image_of(manifest, text)

    def content(digest: str) -> bytes:
        return (
            text if digest == image.config.digest else (folder / "blocks" / digest.removeprefix("sha256:")).read_bytes()
        )

    try:
        pushed = push.push(target, image, content)
    except (push.RegistryError, OSError) as error:
        _fail(_FAILED, str(error))
    sent = f"{pushed.sent} blobs sent, {_kb(pushed.sent_bytes)}, {pushed.held} were there"
    click.echo(f"{target.repository}:{target.tag}: {sent}; {pushed.digest}")


def _models(place: str | None) -> "Mapping[str, Manifest]":
    from edge_nodes.publication import published, push

    try:
        if place is None:
            from insitu import experiment

            return published.manifests(experiment.model_library(lambda line: click.echo(line, err=True)))
        if "://" in place:
            return push.models(place)
        return published.manifests(Path(place))
    except (published.LibraryError, ValueError) as error:
        _fail(_INPUT, str(error))
    except (push.RegistryError, OSError) as error:
        _fail(_FAILED, str(error))


class _Range(NamedTuple):
    """What there is to choose from."""

    variants: int
    bytes: tuple[int, int]
    accuracy: tuple[float, float]

    @classmethod
    def of(cls, manifest: "Manifest") -> Self:
        """Of the variants but the plain file, where there are others."""
        cut = [v for v in manifest.variants if v.bits] or manifest.variants
        sizes, right = [v.bytes for v in cut] or [0], [v.accuracy for v in cut] or [0.0]
        return cls(len(manifest.variants), (min(sizes), max(sizes)), (min(right), max(right)))


def _summary(manifest: "Manifest") -> dict[str, object]:
    about = {"base": manifest.base, "licence": manifest.licence, "source": manifest.source}
    return {**about, **_Range.of(manifest)._asdict()}


def _in_words(manifest: "Manifest") -> str:
    number, (smallest, largest), (worst, best) = _Range.of(manifest)
    return f"{number} variants, {_kb(smallest)} to {_kb(largest)}, accuracy {worst:.1%} to {best:.1%}"


def _table_of_models(models: "Mapping[str, Manifest]") -> "Table":
    table = _table("model", "base", ">variants", ">kB", ">accuracy %", "licence")
    for name, manifest in models.items():
        number, (smallest, largest), (worst, best) = _Range.of(manifest)
        sizes, right = f"{smallest / 1e3:.1f} to {largest / 1e3:.1f}", f"{100 * worst:.1f} to {100 * best:.1f}"
        table.add_row(name, manifest.base or "", str(number), sizes, right, manifest.licence)
    return table


def _table_of_variants(manifest: "Manifest") -> "Table":
    on_base = [f">on {manifest.base} %"] if manifest.base else []
    table = _table(
        "", "variant", ">depth", ">width", ">bits", ">bytes", ">MACs", ">memory", ">accuracy %", ">± %", *on_base
    )
    for v in manifest.variants:
        figures = (v.depth, v.width, v.bits or "float32", f"{v.bytes:,}", f"{v.macs:,}", f"{v.memory:,}")
        shares = (v.accuracy, v.accuracy_se, *([v.accuracy_clear] if manifest.base else []))
        table.add_row(
            "*" if v.pareto else "",
            v.name,
            *map(str, figures),
            *(f"{100 * share:.1f}" for share in shares),
            style="bold" if v.pareto else None,
        )
    return table


def _table(*columns: str) -> "Table":
    from rich.table import Column, Table

    made = (
        Column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
        for name in columns
    )
    return Table(*made, box=None, pad_edge=False, header_style="underline")


def _print(table: "Table") -> None:
    """As wide as it is where no terminal says how wide: in a pipe every row is one line."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000
    console.print(table)


def _kb(size: int) -> str:
    return f"{size / 1e3:.1f} kB"


def _fail(code: int, message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
