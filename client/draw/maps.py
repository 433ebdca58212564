"""Maps drawn over images as the server draws them, with a scale that several answers share."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from whymatch.client.draw.colors import GRADIENTS
from whymatch.client.draw.decode import decode
from whymatch.client.draw.tiles import fitted
from whymatch.client.results import ColorScale, SimilarityMap

COLOR_MAP, SIGNED_COLOR_MAP = "inferno", "RdBu_r"
SMALL_PX = 288
"""The longer side of one of four pictures in a row."""

TINY = float(np.finfo(np.float32).tiny)


def fitted_down(content: bytes | Image.Image, size_px: int) -> Image.Image:
    """Return an RGB picture whose longer side is at most `size_px`; that of a file is upright, and on white."""
    whole = content if isinstance(content, Image.Image) else decode(content)
    side_px = min(size_px, max(whole.size))
    return fitted(whole, (side_px, side_px))


def common_scale(maps: Iterable[SimilarityMap]) -> ColorScale:
    """Return one scale for maps of several answers; a server's pictures share theirs within one answer only.

    As the server's: from 0 to the largest value or, if one is negative beyond rounding, symmetric about 0.
    """
    values = np.concatenate([one.values.ravel() for one in maps])
    low, high = float(values.min()), max(float(values.max()), TINY)
    if low < -1e-6 * high:
        return ColorScale(-max(-low, high), max(-low, high), SIGNED_COLOR_MAP)
    return ColorScale(0.0, high, COLOR_MAP)


def lit(
    content: bytes | Image.Image, similarity_map: SimilarityMap, scale: ColorScale, *, size_px: int = SMALL_PX
) -> Image.Image:
    """Return the picture in gray under the colors of its map, whose values are upscaled before they are colored."""
    drawn = fitted_down(content, size_px).convert("L").convert("RGB")
    area = similarity_map.area
    left, right = _pixels(area.left_px, area.right_px, drawn.width / similarity_map.width_px)
    top, bottom = _pixels(area.top_px, area.bottom_px, drawn.height / similarity_map.height_px)
    values = Image.fromarray(similarity_map.values).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    ground = drawn.crop((left, top, right, bottom))
    drawn.paste(Image.blend(ground, _colored(np.asarray(values), scale), 0.55), (left, top))
    return drawn


def _pixels(start: float, end: float, shrink: float) -> tuple[int, int]:
    """Return the first pixel of a stretch and the one after its last, at least one apart."""
    return round(start * shrink), max(round(end * shrink), round(start * shrink) + 1)


def _colored(values: NDArray[np.float32], scale: ColorScale) -> Image.Image:
    table = np.array([ImageColor.getrgb(color) for color in GRADIENTS[scale.color_map]])  # (9, 3)
    steps = np.linspace(scale.low, scale.high, len(table))
    channels = [np.interp(values, steps, table[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))
