"""The folder of a published library: what is in it, what is wrong with it, and adding a model to it.

`manifests/MODEL.json`, `blocks/HEX`, `held_out.safetensors` with `MODEL/images` and `MODEL/labels`, and `programs/HEX.py` for
models that are a user's own module. Imports no torch.
"""

import fcntl
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from edge_nodes.delivery import digest_of
from edge_nodes.models.manifest import Manifest, ManifestError

_WORD = r"[a-z0-9]+(?:[._-][a-z0-9]+)*"
NAME = re.compile(rf"{_WORD}(?:@{_WORD})?")  # `@` names the situation of a specialisation


class LibraryError(ValueError):
    """A folder that is not a library, or one that is damaged; a line for each fault."""


def manifests(folder: Path) -> dict[str, Manifest]:
    """All models of a library by name. Raises LibraryError."""
    if not (folder / "manifests").is_dir():
        raise LibraryError(f"{folder}: not a library; `insitu library publish --into {folder}` makes one")
    try:
        read = [Manifest.load(file) for file in sorted((folder / "manifests").glob("*.json"))]
    except (OSError, ManifestError) as error:
        raise LibraryError(f"{error}; publish the model again") from None
    return {manifest.model: manifest for manifest in read}


def faults(folder: Path) -> list[str]:
    """Everything that is wrong with a library, a line each: what a run would stumble over."""
    try:
        models = manifests(folder)
        held_out = held_out_shapes(folder)
    except LibraryError as error:
        return [str(error)]
    if not models:
        return [f"{folder}: has no model; `insitu library publish --into {folder}` adds one"]
    return [
        f"{folder}: {name}: {fault}; publish the model again"
        for name, manifest in models.items()
        for fault in _faults(folder, name, manifest, models, held_out)
    ]


def _faults(
    folder: Path, name: str, manifest: Manifest, models: Mapping[str, Manifest], held_out: Mapping[str, list[int]]
) -> Iterator[str]:
    if not (folder / "manifests" / f"{name}.json").exists():
        yield f"no file manifests/{name}.json has it"
    if manifest.base is not None and manifest.base not in models:
        yield f"its base model {manifest.base} is not here"
    if not manifest.variants:
        yield "it has no variant"
    for block in {block.digest: block for block in manifest.blocks}.values():
        yield from _content_faults(folder / "blocks" / block.digest.removeprefix("sha256:"), block.digest)
    if manifest.network.get("kind") == "python":
        program = str(manifest.network.get("program"))
        yield from _content_faults(folder / "programs" / f"{program}.py", f"sha256:{program}")
    inputs, labels = held_out.get(f"{name}/images"), held_out.get(f"{name}/labels")
    if not inputs or not labels or inputs[0] != labels[0]:
        yield "it has no held-out inputs with as many labels in held_out.safetensors"


def _content_faults(file: Path, digest: str) -> Iterator[str]:
    try:
        if digest_of(file.read_bytes()) != digest:
            yield f"{file}: its bytes are not those that its name promises"
    except OSError as error:
        yield f"{file}: {error.strerror}"


def held_out_shapes(folder: Path) -> dict[str, list[int]]:
    """The shapes of the held-out sets' tensors; none where there is no file. Raises LibraryError."""
    file = folder / "held_out.safetensors"
    if not file.exists():
        return {}
    try:
        with safe_open(file, "np") as tensors:
            return {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise LibraryError(f"{file}: not a safetensors file: {error}; publish the models again") from None


def add(
    folder: Path,
    manifest: Manifest,
    blocks: Mapping[str, bytes],
    inputs: NDArray[Any],
    labels: NDArray[Any],
    program: bytes | None = None,
) -> None:
    """Add a model, or put it in the place of the one of its name; `blocks` are by digest.

    Every file is written beside and renamed, the manifest last: whoever reads meanwhile sees the old model or the new one. The old
    one's blocks stay. Raises OSError.
    """
    for name in ("manifests", "blocks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for digest, content in blocks.items():
            _write_new(folder / "blocks" / digest.removeprefix("sha256:"), content)
        if program is not None:
            (folder / "programs").mkdir(exist_ok=True)
            _write_new(folder / "programs" / f"{manifest.network['program']}.py", program)
        _add_held_out(folder / "held_out.safetensors", manifest.model, inputs, labels)
        _write(folder / "manifests" / f"{manifest.model}.json", manifest.to_json())


def _add_held_out(file: Path, model: str, inputs: NDArray[Any], labels: NDArray[Any]) -> None:
    tensors = load_file(file) if file.exists() else {}
    tensors[f"{model}/images"], tensors[f"{model}/labels"] = inputs, labels
    with _beside(file) as beside:
        save_file(tensors, beside)


def _write_new(file: Path, content: bytes) -> None:
    """Content of this name is there already, or is written."""
    if not file.exists() or file.read_bytes() != content:
        _write(file, content)


def _write(file: Path, content: bytes) -> None:
    with _beside(file) as beside:
        beside.write_bytes(content)


@contextmanager
def _beside(file: Path) -> Iterator[Path]:
    """A file to write, which is renamed to `file` at the end; nothing is left where that fails."""
    partial = file.with_name(f".{file.name}.partial")
    try:
        yield partial
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One publisher at a time; the lock goes when its process does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
