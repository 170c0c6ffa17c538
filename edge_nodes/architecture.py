"""The elastic network's shape."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Architecture:
    """All that is needed to build an elastic network."""

    size: int  # of the square image, in pixels
    classes: int
    stages: int  # residual stages with an exit each: the depths
    channels: tuple[int, ...]  # of each channel group, in order: the widths
    levels: int  # nested bit levels
    step: float = 0.0  # quantisation step of the first level; level b has step / 3^(b - 1); 0 before training

    @classmethod
    def of(cls, network: Mapping[str, Any]) -> Self:
        return cls(**{**network, "channels": tuple(network["channels"])})

    @property
    def groups(self) -> int:
        return len(self.channels)

    @property
    def cells(self) -> int:
        """Positions of a channel after the stem, which halves the image's sides."""
        return (self.size // 2) ** 2
