"""A manifest's variants as choosing needs them: sorted, in arrays, with their blocks as bits. Worked out once for each manifest."""

from collections import OrderedDict
from collections.abc import Collection, Iterable

import numpy as np
from numpy.typing import NDArray

from edge_nodes.models.manifest import Manifest, Variant

FILE = "file"  # the variant that is the whole net's float32 weights in one file
_KEPT = 64  # manifests

Figures = NDArray[np.float64]  # whole numbers under 2^53, so that sums are exact in any order
Allowed = NDArray[np.bool_]


class Variants:
    """The elastic variants, the most accurate first, of equally accurate ones the smallest. Arrays are [variants]."""

    def __init__(self, manifest: Manifest) -> None:
        self.listed = sorted(elastic(manifest), key=lambda v: (-v.accuracy, v.bytes, v.name))
        self.masks = [mask(variant.blocks) for variant in self.listed]
        self.bytes, self.macs, self.memory = (
            np.array([getattr(variant, figure) for variant in self.listed], np.float64)
            for figure in ("bytes", "macs", "memory")
        )
        self._manifest = manifest
        self._has = np.zeros((len(self.listed), len(manifest.blocks)))  # 1 for each variant's blocks
        for row, variant in zip(self._has, self.listed, strict=True):
            row[list(variant.blocks)] = 1
        self._sizes = np.array([block.bytes for block in manifest.blocks], np.float64)
        accuracies = [-variant.accuracy for variant in self.listed]
        self._begin = np.searchsorted(accuracies, accuracies, "left")  # the first that is as accurate
        self._end = np.searchsorted(accuracies, accuracies, "right")

    def missing(self, have: Collection[str]) -> Figures:
        """The bytes of each variant's blocks that are not in `have`."""
        return self._has @ (self._sizes * self._absent(have))

    def lacking(self, have: Collection[str]) -> Figures:
        """How many of each variant's blocks are not in `have`."""
        return self._has @ self._absent(have)

    def _absent(self, have: Collection[str]) -> Figures:
        return np.array([block.digest not in have for block in self._manifest.blocks], np.float64)

    def best(self, allowed: Allowed, missing: Figures) -> int:
        """The most accurate of the allowed variants, of equally accurate ones that which lacks the fewest bytes."""
        first = int(allowed.argmax())
        same = slice(first, self._end[first])
        return first + int(np.where(allowed[same], missing[same], np.inf).argmin())

    def next_better(self, number: int) -> int | None:
        """The smallest of the variants that are next more accurate than one; None for the most accurate."""
        begin = int(self._begin[number])
        return int(self._begin[begin - 1]) if begin else None


def of(manifest: Manifest) -> Variants:
    """The same for the same manifest, as long as it is among those that were asked for last."""
    known = _known.pop(id(manifest), None)
    if known is None or known[0] is not manifest:
        known = manifest, Variants(manifest)
    _known[id(manifest)] = known
    if len(_known) > _KEPT:
        _known.popitem(last=False)
    return known[1]


_known: OrderedDict[int, tuple[Manifest, Variants]] = OrderedDict()


def elastic(manifest: Manifest) -> list[Variant]:
    """All but the plain file."""
    return [variant for variant in manifest.variants if variant.name != FILE]


def mask(blocks: Iterable[int]) -> int:
    """A bit for each block, by its number in the manifest."""
    return sum(1 << number for number in set(blocks))
