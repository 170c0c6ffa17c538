"""What all devices of a process share: the models that they are sold with, and every network that one of them runs.

Running a network changes nothing in it. So it is built once for all devices that have the same blocks, which saves 20 ms and
5 MB for each.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from edge_nodes.choosing.policies import DeviceFit, Limits
from edge_nodes.delivery import digest_of
from edge_nodes.models import adapt, codec, compact
from edge_nodes.models.manifest import Manifest, Variant


class Running(NamedTuple):
    """A model that a device runs, or could run at once, and the objects that it was made from."""

    model: str
    variant: Variant
    net: Callable[[Tensor], Tensor]
    objects: frozenset[str]


class Factory:
    """Sells devices with a model of the published library in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[tuple[str, str, tuple[str, ...]], nn.Module] = {}
        self.base = cache(self._base)

    def _base(self, application: str, limits: Limits) -> tuple[Manifest, Variant, dict[str, bytes]]:
        """The base model in the variant that fits a device best, with its manifest and blocks by digest; not to be changed."""
        text = (self._folder / "manifests" / f"{application}.json").read_bytes()
        manifest = Manifest.from_json(text)
        variant = DeviceFit().choose(manifest, limits).variant
        store = self._folder / "blocks"
        names = [block.digest for block in manifest.blocks_of(variant)]
        blocks = {name: (store / name.removeprefix("sha256:")).read_bytes() for name in names}
        return manifest, variant, {digest_of(text): text, **blocks}

    def build(self, manifest: Manifest, variant: Variant, blocks: dict[str, bytes]) -> nn.Module:
        """The network that blocks make, which were verified when they came. Raises BlockError when one is missing."""
        digests = tuple(block.digest for block in manifest.blocks_of(variant))
        key = manifest.model, variant.name, digests
        if key not in self._built or not blocks.keys() >= set(digests):
            self._built[key] = self._assemble(manifest, variant, blocks)
        return self._built[key]

    def _assemble(self, manifest: Manifest, variant: Variant, blocks: dict[str, bytes]) -> nn.Module:
        if manifest.network["kind"] == adapt.KIND:
            return adapt.assemble(manifest, variant, blocks, self._folder / "programs")
        return compact.build(manifest.network, variant.depth, codec.tensors(manifest, variant, blocks))
