"""The color maps that servers draw maps with, as nine colors at even steps, to draw the scale beside them."""

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from whymatch.client.results import ColorScale

GRADIENTS = {
    "inferno": ["#000004", "#210c4a", "#57106e", "#8a226a", "#bc3754", "#e45a31", "#f98e09", "#f9cb35", "#fcffa4"],
    "RdBu_r": ["#053061", "#2a71b2", "#6bacd1", "#c2ddec", "#f7f6f6", "#fbccb4", "#e48066", "#ba2832", "#67001f"],
}
"""By their matplotlib names; other color maps are shown without a bar."""


def colored(values: NDArray[np.floating], scale: ColorScale) -> NDArray[np.uint8]:
    """Return the colors (..., 3) of values (...) on a scale; what is beyond an end has its color."""
    table = np.array([ImageColor.getrgb(color) for color in GRADIENTS[scale.color_map]])  # (9, 3)
    steps = np.linspace(scale.low, scale.high, len(table))
    channels = [np.interp(values, steps, table[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)
