"""Which parts of an image go through a network: the whole image, or a grid of crops."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import DecodeLimits, Model
from whymatch.embed.image import decode_unconverted

Area = tuple[float, float, float, float]
AT_A_TIME = 16
"""Crops that go through a network together."""


@dataclass(frozen=True)
class Crops:
    """Squares of a scaled image, as in Simonyan and Zisserman, whose evaluation the paper repeats."""

    side: int = 0
    """The crops of a scale are side x side places of a regular grid, 1 for the center; 0: the whole image, once."""
    scales_px: tuple[int, ...] = (256,)
    """To which the shorter side of the image is resized. The whole image has the size of the model's inputs."""
    mirrored: bool = False
    """Whether each is also taken mirrored."""

    @property
    def count(self) -> int:
        """How many inputs there are for each image."""
        return max(1, self.side**2 * len(self.scales_px)) * (2 if self.mirrored else 1)

    def inputs(self, model: Model, content: bytes, limits: DecodeLimits) -> Iterator[NDArray[np.uint8]]:
        """Yield the inputs (B, h, w, 3) of a model for an image file, a few at a time.

        Raises:
            The errors of `decode_image`.
        """
        image, profile = decode_unconverted(content, limits)
        size = model.geometry.input_size(*image.size)
        areas = self.areas(*image.size, size[0]) if self.side else [model.geometry.placement(*image.size).area]
        for start in range(0, len(areas), AT_A_TIME):
            parts = [model.resize(image, profile, area, size) for area in areas[start : start + AT_A_TIME]]
            pixels = np.stack(parts)
            yield pixels
            if self.mirrored:
                yield np.ascontiguousarray(pixels[:, :, ::-1])

    def areas(self, width: int, height: int, crop_px: int) -> list[Area]:
        """Return the crops of crop_px x crop_px as left, top, right and bottom in pixels of the unscaled image."""
        areas = []
        for scale in self.scales_px:
            length = min(width, height) * crop_px / scale
            across, down = (self._places(side - length) for side in (width, height))
            areas += [(left, top, left + length, top + length) for top in down for left in across]
        return areas

    def _places(self, room: float) -> list[float]:
        return [float(place) for place in np.linspace(0, room, self.side)] if self.side > 1 else [room / 2]
