"""A library that has a user's own models beside those that ship."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from edge_nodes.models.manifest import Manifest, ManifestError
from insitu import cache

HELD_OUT = "held_out.safetensors"


class BrokenLibrary(Exception):
    """A folder of models is not whole; the message says which file is not as it should be."""


def joined(shipped: Path, own: Path) -> Path:
    """A folder with the models of both libraries, each object of `own` verified; made once for each content.

    Raises BrokenLibrary, or OSError where the cache cannot be written.
    """
    try:
        manifests = {file: Manifest.load(file) for file in sorted((own / "manifests").glob("*.json"))}
        named = [*manifests, own / HELD_OUT, shipped / HELD_OUT]
        contents = [hashlib.sha256(file.read_bytes()).hexdigest() for file in named]
    except (OSError, ManifestError) as error:
        raise BrokenLibrary(_line(error)) from None
    key = hashlib.sha256(" ".join([shipped.name, *contents]).encode()).hexdigest()[:16]

    def join(folder: Path) -> None:
        for kind in ("manifests", "blocks"):
            (folder / kind).mkdir()
            for file in sorted((shipped / kind).iterdir()):
                os.link(file, folder / kind / file.name)
        for file in manifests:
            shutil.copyfile(file, folder / "manifests" / file.name)
        for digest in sorted({block.digest for manifest in manifests.values() for block in manifest.blocks}):
            _copy(own / "blocks" / digest.removeprefix("sha256:"), folder / "blocks")
        (folder / "programs").mkdir()  # of models that are a user's own modules
        for program in sorted({manifest.network.get("program", "") for manifest in manifests.values()} - {""}):
            _copy(own / "programs" / f"{program}.py", folder / "programs")
        _join_held_out([shipped, own], [manifest.model for manifest in manifests.values()], folder)

    return cache.cached("joined", key, join)


def _copy(file: Path, folder: Path) -> None:
    """Copy a file that is named by its digest, and verify it."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BrokenLibrary(_line(error)) from None
    if hashlib.sha256(data).hexdigest() != file.stem:
        raise BrokenLibrary(f"{file}: its bytes are not those that its name promises; publish the model again")
    if not (folder / file.name).exists():
        (folder / file.name).write_bytes(data)


def _join_held_out(libraries: list[Path], models: list[str], folder: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file, save_file

    tensors: dict[str, Any] = {}
    for library in libraries:
        try:
            tensors |= load_file(library / HELD_OUT)
        except SafetensorError as error:
            raise BrokenLibrary(f"{library / HELD_OUT}: {error}; publish the models again") from None
    wanted = [f"{model}/{part}" for model in models for part in ("images", "labels")]
    if missing := next((name for name in wanted if name not in tensors), None):
        raise BrokenLibrary(f'{libraries[-1] / HELD_OUT}: has no "{missing}"; publish the model again')
    save_file(tensors, folder / HELD_OUT)


def _line(error: OSError | ManifestError) -> str:
    what = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
    return f"{what}; publish the model again"
