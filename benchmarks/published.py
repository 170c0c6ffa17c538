"""The published models, and how benchmarks write their figures."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_nodes.models import codec
from edge_nodes.models.manifest import Manifest, Variant
from edge_nodes.publication import zoo

Floats = NDArray[np.float32]


class Library:
    """The models of a library's folder, read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifests = {model: Manifest.load(folder / "manifests" / f"{model}.json") for model in zoo.MODELS}
        self.base = self.manifests[zoo.MODELS[0]]
        self.coded = [variant for variant in self.base.variants if variant.bits]
        self.smallest, self.whole = self.coded[0], self.coded[-1]

    @cached_property
    def contents(self) -> dict[str, bytes]:
        return {f"sha256:{file.name}": file.read_bytes() for file in (self.folder / "blocks").iterdir()}

    def tensors(self, manifest: Manifest, variant: Variant) -> dict[str, Floats]:
        return codec.tensors(manifest, variant, self.contents)


def accuracy(variant: Variant) -> str:
    return f"{variant.accuracy:.1%} ± {variant.accuracy_se:.1%}"


def lost(variant: Variant) -> float:
    """What a variant's accuracy is below that of its depth and width in float32."""
    assert variant.accuracy_float is not None, f"{variant.name} has no accuracy in float32"
    return variant.accuracy_float - variant.accuracy


def kilobytes(size: float) -> str:
    return f"{size / 1e3:.1f}"
