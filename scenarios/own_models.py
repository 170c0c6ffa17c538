"""A folder of published models that a scenario has of its own, as far as checking a scenario needs it."""

from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from pydantic import PlainValidator, ValidationInfo

_MADE_BY = "write the path of a folder that `insitu library publish` has made"


class OwnModels(NamedTuple):
    """Where they lie, and the names of each model's variants."""

    folder: Path
    variants: dict[str, tuple[str, ...]]


class _Variant(msgspec.Struct):
    name: str


class _Manifest(msgspec.Struct):
    """The part of `edge_nodes.models.manifest.Manifest` that a scenario can name."""

    model: str
    variants: list[_Variant]


def _read(text: object, info: ValidationInfo) -> OwnModels:
    """The path is relative to the scenario's folder."""
    if isinstance(text, OwnModels):
        return text
    if not isinstance(text, str):
        raise ValueError(_MADE_BY)
    folder = Path((info.context or {}).get("folder", Path()), text)
    try:
        files = sorted((folder / "manifests").glob("*.json")) if folder.is_dir() else None
        manifests = [_manifest(file) for file in files or ()]
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise ValueError(f'"{text}" cannot be read: {getattr(error, "strerror", None) or error}; {_MADE_BY}') from None
    if files is None:
        raise ValueError(f'"{text}" is not a folder; {_MADE_BY}')
    if not files:
        raise ValueError(f'"{text}" has no models (manifests/*.json); {_MADE_BY}')
    return OwnModels(folder, {made.model: tuple(variant.name for variant in made.variants) for made in manifests})


def _manifest(file: Path) -> _Manifest:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Manifest)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ValueError(f"manifests/{file.name} is not a manifest: {error}") from None


OwnFolder = Annotated[OwnModels, PlainValidator(_read)]
