"""What a camera sees in each situation: real handwritten digits under physical models of light, weather and sensor.

An image is float32 `[N, 1, 8, 8]`: the share of a cell that is ink, 0 (paper) to 1 (ink). A view is what the sensor
reads of it: float32 of the same shape, 0 (black level) to 1 (full well), where a real sensor saturates, in the 256 steps
of its 8 bits. Everything random is drawn from the generator that is passed in.

The digits are scikit-learn's `load_digits`, the test set of the UCI repository's "Optical Recognition of Handwritten
Digits" (E. Alpaydin and C. Kaynak, 1998, CC BY 4.0): 1797 images by 13 writers. Who wrote which is not recorded, so
the three parts of `split` share writers.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from edge_nodes.models import numerics

BASE = "digits"
TRAIN, VALIDATION = 1000, 200  # the rest, 597 images, is held out


class Split(NamedTuple):
    """Images float32 `[N, 1, 8, 8]` and their labels int64 `[N]`."""

    images: Tensor
    labels: Tensor


def split() -> tuple[Split, Split, Split]:
    """Return the train, validation and held-out parts; always the same ones."""
    # Here, since only training needs scikit-learn; a device does not have it.
    from sklearn.datasets import load_digits

    data = load_digits()
    images = torch.from_numpy(data.images).float().div(16).unsqueeze(1)
    labels = torch.from_numpy(data.target).long()
    order = torch.randperm(len(labels), generator=Generator().manual_seed(0))
    parts = order.tensor_split((TRAIN, TRAIN + VALIDATION))
    train, validation, held_out = (Split(images[part], labels[part]) for part in parts)
    return train, validation, held_out


def see(situation: str, images: Tensor, generator: Generator) -> Tensor:
    """Return one random view of each image in a situation (a key of `SITUATIONS`)."""
    light = SITUATIONS[situation](pose(images, generator), generator)
    return light.clamp(0, 1).mul(255).round().div(255)


def pose(images: Tensor, generator: Generator) -> Tensor:
    """Give each image an angle (±25°), a scale (±20 %) and a place (±12 % of the field): a moving camera."""
    n = len(images)
    angle, scale = (
        _uniform(n, -25, 25, generator).mul(math.pi / 180).flatten(),
        _uniform(n, 0.8, 1.2, generator).flatten(),
    )
    shift_x, shift_y = (_uniform(n, -0.24, 0.24, generator).flatten() for _ in range(2))  # the field is 2 units wide
    cos, sin = angle.cos() / scale, angle.sin() / scale
    affine = torch.stack((cos, -sin, shift_x, sin, cos, shift_y), 1).view(n, 2, 3)
    return F.grid_sample(images, F.affine_grid(affine, list(images.shape), align_corners=False), align_corners=False)


def clear(images: Tensor, generator: Generator) -> Tensor:
    """Daylight: ink gives the signal, at a contrast of 50 to 100 %, with sensor noise of 10 % of full scale."""
    contrast = _uniform(len(images), 0.5, 1.0, generator)
    return contrast * images + 0.1 * _normal(images, generator)


def night(images: Tensor, generator: Generator) -> Tensor:
    """Headlights on a retroreflective plate: paper shines, ink stays dark (polarity is reversed), in a spot of light.

    Photons are few, so noise is shot noise: a pixel of expected value x at a full well of n = 60 photo-electrons has
    variance x / n, plus read noise. The spot is Gaussian.
    """
    exposure, spread = _uniform(len(images), 0.5, 0.95, generator), _uniform(len(images), 0.9, 1.6, generator)
    x, y = _uniform(len(images), -0.4, 0.4, generator), _uniform(len(images), -0.4, 0.4, generator)
    axis = torch.linspace(-1, 1, images.shape[-1])
    spot = torch.exp(-((axis.view(1, 1, 1, -1) - x) ** 2 + (axis.view(1, 1, -1, 1) - y) ** 2) / (2 * spread**2))
    light = exposure * spot * (1 - 0.9 * images)
    return light + numerics.sqrt(light / 60) * _normal(images, generator) + 0.03 * _normal(images, generator)


def rain(images: Tensor, generator: Generator) -> Tensor:
    """Through rain: a wet lens blurs, fog veils, drops leave bright slanted streaks.

    Veil: Koschmieder 1924, x = t s + (1 - t) A with transmission t and airlight A. Streaks: Garg & Nayar, "Vision and
    Rain", 2007: a drop brightens what it passes, whatever is behind it.
    """
    n, size = len(images), images.shape[-1]
    kernel = torch.tensor([1.0, 6.0, 1.0]) / 8
    wet = F.conv2d(images, (kernel.view(-1, 1) * kernel).view(1, 1, 3, 3), padding=1)
    transmission, airlight = _uniform(n, 0.4, 0.7, generator), _uniform(n, 0.6, 0.9, generator)
    row = torch.arange(size).view(1, 1, size, 1)
    column = torch.arange(size).view(1, 1, 1, size)
    view = transmission * wet + (1 - transmission) * airlight
    for _ in range(2):
        start, slant = _uniform(n, 0, size + 3, generator), _uniform(n, 0.2, 0.5, generator)
        top, length = _uniform(n, -2, size, generator), _uniform(n, 2, 6, generator)
        near = (1 - (column - start + slant * row).abs()).clamp(
            min=0
        )  # the share of a cell that a streak one cell wide covers
        view = view + 0.35 * near * ((row >= top) & (row < top + length))
    return view + 0.05 * _normal(images, generator)


def dark(images: Tensor, generator: Generator) -> Tensor:
    """A lamp-lit tunnel at high gain: low contrast over a raised black level, uneven columns, bands of flicker.

    Column offsets are the fixed-pattern noise of column amplifiers (EMVA 1288, DSNU), here 10 % of full scale after
    gain. A rolling shutter under lamps on alternating current reads each row at another phase of their flicker, so
    brightness runs in bands down the image.
    """
    n, size = len(images), images.shape[-1]
    phase, cycles = _uniform(n, 0, 2 * math.pi, generator), _uniform(n, 0.5, 1.5, generator)
    row = torch.linspace(0, 1, size).view(1, 1, size, 1)
    flicker = 0.15 * torch.sin(2 * math.pi * cycles * row + phase)
    offset = 0.1 * torch.randn(n, 1, 1, size, generator=generator)
    contrast, black = _uniform(n, 0.4, 0.7, generator), _uniform(n, 0.2, 0.4, generator)
    return black + flicker + offset + contrast * images + 0.06 * _normal(images, generator)


def backlit(images: Tensor, generator: Generator) -> Tensor:
    """A sign on glass, read from behind against the light: mirrored, and ink blocks what comes through.

    The bright field spills over into what is dark: veiling glare, here 5 to 25 % of it over the whole image (ISO 9358).
    """
    n = len(images)
    bright, glare = _uniform(n, 0.7, 1.0, generator), _uniform(n, 0.05, 0.25, generator)
    through = 1 - images.flip(3)
    spilled = (1 - glare) * through + glare * through.mean((2, 3), keepdim=True)
    return bright * spilled + 0.06 * _normal(images, generator)


def sideways(images: Tensor, generator: Generator) -> Tensor:
    """A camera that had to be mounted on its side: the image of daylight, turned by a quarter."""
    return clear(images, generator).rot90(1, (2, 3)).contiguous()


def _uniform(n: int, low: float, high: float, generator: Generator) -> Tensor:
    return torch.rand(n, 1, 1, 1, generator=generator) * (high - low) + low


def _normal(like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator)


SITUATIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    BASE: clear,
    f"{BASE}@night": night,
    f"{BASE}@rain": rain,
    f"{BASE}@dark": dark,
    f"{BASE}@backlit": backlit,
    f"{BASE}@sideways": sideways,
}
