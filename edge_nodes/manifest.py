"""What a library knows of a model: its architecture, its blocks, and the variants that can be made of them.

Imports neither torch nor scikit-learn: a library only serves bytes.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


class ManifestError(ValueError):
    """A manifest that is not well formed."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that is needed to build an elastic network (see `elastic`)."""

    size: int  # of the square image, in pixels
    classes: int
    stages: int  # residual stages with an exit each: the depths
    channels: tuple[int, ...]  # of each channel group, in order: the widths
    levels: int  # nested bit levels
    step: float = 0.0  # quantisation step of the first level; level b has step / 3^(b - 1); 0 before training

    @property
    def groups(self) -> int:
        return len(self.channels)

    @property
    def cells(self) -> int:
        """Positions of a channel after the stem, which halves the image's sides."""
        return (self.size // 2) ** 2


@dataclass(frozen=True, slots=True)
class Block:
    """The smallest piece that is stored and sent. Stages, groups and levels count from 1."""

    digest: str  # "sha256:" and 64 hexadecimal digits
    bytes: int
    stage: int
    group: int
    level: int


@dataclass(frozen=True, slots=True)
class Variant:
    """A choice of blocks that runs: all with stage ≤ depth, group ≤ width and level ≤ bits."""

    name: str
    depth: int
    width: int
    bits: int  # how many bit levels
    blocks: tuple[int, ...]  # indices into the manifest's blocks, in the order of sending
    bytes: int  # of all its blocks
    macs: int  # multiply-accumulate operations of one inference
    memory: int  # bytes when loaded: weights and the peak of the activations of one inference
    accuracy: float  # on the held-out images of the model's situation, measured from the decoded blocks
    accuracy_se: float  # standard error of `accuracy`
    accuracy_clear: float  # on the held-out images of the base model's situation
    pareto: bool = False  # no other variant has at most its bytes and at least its accuracy


@dataclass(frozen=True, slots=True)
class Manifest:
    """A published model. `base` is the model that it specialises, if it does."""

    model: str
    base: str | None
    architecture: Architecture
    blocks: tuple[Block, ...]
    variants: tuple[Variant, ...]
    licence: str = ""
    source: str = ""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a manifest file. Raises OSError or ManifestError."""
        try:
            return cls.from_json(path.read_text(encoding="utf-8"))
        except ManifestError as error:
            raise ManifestError(f"{path}: {error}") from error

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Raises ManifestError where `text` is not a manifest, or names a block that it does not have."""
        try:
            document: dict[str, Any] = json.loads(text)
            architecture = document["architecture"]
            document["architecture"] = Architecture(**{**architecture, "channels": tuple(architecture["channels"])})
            document["blocks"] = tuple(Block(**block) for block in document["blocks"])
            document["variants"] = tuple(Variant(**{**v, "blocks": tuple(v["blocks"])}) for v in document["variants"])
            manifest = cls(**document)
        except (KeyError, TypeError, ValueError) as error:
            raise ManifestError(f"not a manifest: {error!r}") from error
        for variant in manifest.variants:
            if not all(0 <= index < len(manifest.blocks) for index in variant.blocks):
                raise ManifestError(f"{manifest.model}: variant {variant.name} names a block that is not listed")
        return manifest

    def to_json(self) -> str:
        """Return canonical JSON: keys sorted, no spaces, so that equal manifests are equal bytes."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def variant(self, name: str) -> Variant:
        """Raises KeyError for a name that is not listed."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(f"{self.model} has no variant {name!r}")

    def blocks_of(self, variant: Variant, have: Iterable[str] = ()) -> tuple[Block, ...]:
        """Return the blocks of a variant in the order of sending, without those whose digest is in `have`."""
        held = frozenset(have)
        return tuple(block for block in map(self.blocks.__getitem__, variant.blocks) if block.digest not in held)
