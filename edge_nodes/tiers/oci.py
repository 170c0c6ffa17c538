"""A model as an artifact of the OCI image specification v1.1, as registries and the container world's clients know it. Pure.

The model `digits@night` is the repository `digits` with the tag `night`; `digits` itself has the tag `base`. The artifact's
config is our manifest, byte for byte; its layers are the model's blocks. `oras pull` writes each block to `blocks/<hex>`, as a
library's folder has it.
"""

import re
from typing import Any

import msgspec

from edge_nodes.delivery import digest_of
from edge_nodes.models.manifest import Block, Manifest

IMAGE = "application/vnd.oci.image.manifest.v1+json"
ARTIFACT = "application/vnd.insitu.model.v1"
MODEL = "application/vnd.insitu.model.v1+json"  # our manifest
BLOCK = "application/vnd.insitu.model.block.v1"
BASE_TAG = "base"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
# The distribution specification's; the model's names that we accept are narrower
REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """What names a blob."""

    media_type: str
    digest: str
    size: int
    annotations: dict[str, str] = {}


class Image(msgspec.Struct, frozen=True, rename="camel"):
    """An image manifest; its blobs are the config and the layers."""

    schema_version: int
    media_type: str
    artifact_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: dict[str, str]

    def to_json(self) -> bytes:
        """The one byte form: keys sorted, no spaces, so that a model has the same digest at every tier."""
        return msgspec.json.encode(self, order="sorted")


def image_of(manifest: Manifest, text: bytes) -> Image:
    """The artifact of a model whose manifest is, byte for byte, `text`."""
    blocks = {block.digest: block for block in manifest.blocks}.values()
    return Image(
        schema_version=2,
        media_type=IMAGE,
        artifact_type=ARTIFACT,
        config=Descriptor(MODEL, digest_of(text), len(text)),
        layers=tuple(Descriptor(BLOCK, block.digest, block.bytes, _about_block(block)) for block in blocks),
        annotations=_about_model(manifest),
    )


def reference(model: str) -> tuple[str, str]:
    """Repository and tag of a model."""
    name, _, situation = model.partition("@")
    return name, situation or BASE_TAG


def error(code: str, message: str, detail: Any = None) -> dict[str, Any]:
    """The body of an error; the codes are the distribution specification's."""
    return {"errors": [{"code": code, "message": message, "detail": detail}]}


def _about_model(manifest: Manifest) -> dict[str, str]:
    known = {
        "org.opencontainers.image.title": manifest.model,
        "org.opencontainers.image.licenses": manifest.licence,
        "vnd.insitu.source": manifest.source,
        "vnd.insitu.base": manifest.base or "",
    }
    accuracies = {f"vnd.insitu.accuracy.{v.name}": f"{v.accuracy:.4f} ± {v.accuracy_se:.4f}" for v in manifest.variants}
    return {name: value for name, value in known.items() if value} | accuracies


def _about_block(block: Block) -> dict[str, str]:
    return {
        "org.opencontainers.image.title": f"blocks/{block.digest.removeprefix('sha256:')}",
        "vnd.insitu.stage": str(block.stage),
        "vnd.insitu.group": str(block.group),
        "vnd.insitu.level": str(block.level),
    }
