"""The library that ships in the package, and how it becomes a library's folder.

What ships (`shipped/`, made by `zoo`) is small: what can be computed from it again is left out. Needs numpy and no torch.
"""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import safetensors.numpy

from edge_nodes.models import codec, entropy, manifest
from edge_nodes.models.manifest import Manifest

SHIPPED = Path(__file__).with_name("shipped")
SOURCES = [
    Path(str(module.__file__)) for module in (manifest, entropy, codec)
]  # what decides, with this file, what comes out


class DamagedLibrary(OSError):
    """A shipped block is not what its manifest says."""


def key() -> str:
    """Return a hash of what a library's folder is made from: the shipped files, this code, the packages that it calls."""
    files = [file for file in sorted(SHIPPED.rglob("*")) if file.is_file()]
    files += [*SOURCES, Path(__file__)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    for package in ("numpy", "safetensors", "constriction"):
        digest.update(f"{package} {version(package)}\n".encode())
    return digest.hexdigest()[:16]


def unpack(folder: Path, shipped: Path = SHIPPED) -> None:
    """Fill `folder` with `manifests/*.json`, all their `blocks/*`, and `held_out.safetensors` in float32.

    Every block is checked. Raises DamagedLibrary for one that is missing or is not what its digest says.
    """
    for name in ("manifests", "blocks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for file in sorted((shipped / "manifests").iterdir()):
        model = Manifest.load(file)
        *cut, whole = model.blocks
        blocks = {block.digest: _read(shipped, block.digest) for block in cut}
        blocks[whole.digest] = _checked(whole.digest, file_of(model, blocks))
        for digest, content in blocks.items():
            (folder / "blocks" / digest.removeprefix("sha256:")).write_bytes(content)
        (folder / "manifests" / file.name).write_bytes(file.read_bytes())
    seen = safetensors.numpy.load_file(shipped / "held_out.safetensors")
    safetensors.numpy.save_file(
        {name: _as_read(values) for name, values in seen.items()}, folder / "held_out.safetensors"
    )


def _read(shipped: Path, digest: str) -> bytes:
    try:
        return _checked(digest, (shipped / "blocks" / digest.removeprefix("sha256:")).read_bytes())
    except FileNotFoundError:
        raise DamagedLibrary(f"block {digest} is missing; install insitu again") from None


def _checked(digest: str, content: bytes) -> bytes:
    if codec.digest_of(content) != digest:
        raise DamagedLibrary(f"block {digest} has become {codec.digest_of(content)}; install insitu again")
    return content


def file_of(manifest: Manifest, blocks: Mapping[str, bytes]) -> bytes:
    """Return the whole model at its finest level as one safetensors file of its float32 parameters."""
    whole = max((variant for variant in manifest.variants if variant.bits), key=lambda variant: len(variant.blocks))
    return codec.plain(manifest, codec.tensors(manifest, whole, blocks))


def _as_read(values: np.ndarray) -> np.ndarray:
    """Images as a sensor reads them, 0 to 255, become 0 to 1."""
    return values.astype(np.float32) / np.float32(255) if values.dtype == np.uint8 else values
