"""Whether a new model is worse than the one before it, on images that the device has seen since. Pure.

A library's figures hold for the situation that they were measured in. That a device took its situation for another one, or that a
library published the wrong thing, shows on the device's own images only.
"""

import math
from collections.abc import Sequence

IMAGES = 20  # recent ones of the current situation, on which both models are tried
DEVIATIONS = 2.0


def is_worse(old: Sequence[bool], new: Sequence[bool]) -> bool:
    """Whether the new model has significantly fewer of the same images right.

    Only images that one model has right and the other wrong tell them apart. If both are equally good each of these n is a coin's
    toss, so the difference has a standard deviation of √n (McNemar 1947); more than two of these is worse.
    """
    lost = sum(before and not after for before, after in zip(old, new, strict=True))
    won = sum(after and not before for before, after in zip(old, new, strict=True))
    return lost - won > DEVIATIONS * math.sqrt(lost + won)
