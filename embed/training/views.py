"""Views of an image for training: a random part of it, resized to a square, perhaps mirrored, in another light."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

Pixels = NDArray[np.uint8]
Part = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of an image, in pixels."""

LIGHTS = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)


@dataclass(frozen=True)
class ViewSetting:
    """How much views differ."""

    smallest_part: float = 0.25
    """The least share of the image's area that a view shows; 1 is always the whole image, squeezed to a square."""
    stretch: float = 4 / 3
    """Width over height of the part, relative to the image's own, is up to this or down to its inverse."""
    light: float = 0.3
    """Brightness, contrast and saturation change by up to this share; 0 leaves them."""


def random_part(rng: np.random.Generator, width: int, height: int, settings: ViewSetting) -> Part:
    """Draw the part that a view shows."""
    share = rng.uniform(settings.smallest_part, 1)
    stretch = np.exp(rng.uniform(-1, 1) * np.log(settings.stretch)) if settings.smallest_part < 1 else 1.0
    part_width = min(1.0, np.sqrt(share * stretch)) * width
    part_height = min(1.0, np.sqrt(share / stretch)) * height
    left, top = rng.uniform(0, width - part_width), rng.uniform(0, height - part_height)
    return left, top, left + part_width, top + part_height


def resized_part(image: Image.Image, part: Part, size_px: int) -> Image.Image:
    """Resize a part of an image to a square of `size_px`."""
    return image.resize((size_px, size_px), Image.Resampling.BILINEAR, box=part, reducing_gap=2.0)


def in_another_light(rng: np.random.Generator, view: Image.Image, settings: ViewSetting) -> Image.Image:
    """Change brightness, contrast and saturation, each by a random factor."""
    for light in LIGHTS:
        factor = 1 + rng.uniform(-settings.light, settings.light)
        if settings.light:
            view = light(view).enhance(factor)
    return view
