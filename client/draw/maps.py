"""Maps drawn over images as the server draws them, with a scale that several answers share."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.client.draw.colors import colored
from whymatch.client.draw.decode import decode
from whymatch.client.draw.tiles import fitted
from whymatch.client.results import ColorScale, DifferenceMap, SimilarityMap

OPAQUE, FIRM = 0.75, 0.75
"""How opaque the colors of the largest values are, and the share of the scale whose colors signed maps have."""
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


def signed_scale(one: SimilarityMap | DifferenceMap) -> ColorScale:
    """Return a scale for one map alone, symmetric about 0 whatever its signs."""
    size = max(TINY, float(np.abs(one.values).max()))
    return ColorScale(-size, size, SIGNED_COLOR_MAP)


def lit(
    content: bytes | Image.Image,
    placed_map: SimilarityMap | DifferenceMap,
    scale: ColorScale,
    *,
    size_px: int = SMALL_PX,
) -> Image.Image:
    """Return the picture under the colors of its map, whose values are upscaled before they are colored.

    What is worth nothing stays as it is; what the network does not see is gray and pale.
    """
    picture = fitted_down(content, size_px)
    drawn = Image.blend(picture.convert("L").convert("RGB"), Image.new("RGB", picture.size, "white"), 0.7)
    area = placed_map.area
    left, right = _pixels(area.left_px, area.right_px, drawn.width / placed_map.width_px)
    top, bottom = _pixels(area.top_px, area.bottom_px, drawn.height / placed_map.height_px)
    values = Image.fromarray(placed_map.values).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    ground = picture.crop((left, top, right, bottom))
    drawn.paste(_blended(ground, np.asarray(values), scale), (left, top))
    return drawn


def _pixels(start: float, end: float, shrink: float) -> tuple[int, int]:
    """Return the first pixel of a stretch and the one after its last, at least one apart."""
    return round(start * shrink), max(round(end * shrink), round(start * shrink) + 1)


def _blended(picture: Image.Image, values: NDArray[np.float32], scale: ColorScale) -> Image.Image:
    """Lay colors over a picture, the more opaque, the farther a value is from 0."""
    share = (np.abs(values) / max(-scale.low, scale.high)).clip(0, 1)
    opacity = OPAQUE * share
    colors = Image.fromarray(colored(np.sign(values) * FIRM * scale.high if scale.low < 0 else values, scale))
    return Image.composite(colors, picture, Image.fromarray((opacity * 255).round().astype(np.uint8)))
