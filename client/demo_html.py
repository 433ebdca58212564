"""What the parts of the demo's report are made of: pictures inside the page, maps drawn over them, and their scale."""

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from whymatch.client.colors import GRADIENTS
from whymatch.client.results import ColorScale, SimilarityMap
from whymatch.client.tiles import fitted

COLOR_MAP = "inferno"
SMALL_PX = 288
"""The longer side of one of four pictures in a row."""


def picture(content: bytes | Image.Image, text: str, *, size_px: int = 640) -> str:
    """Return an <img> that holds its own picture, no larger than `size_px`, as a page of many wants it."""
    file = io.BytesIO()
    fitted_down(content, size_px).save(file, "JPEG", quality=75)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img alt="{html.escape(text)}" src="data:image/jpeg;base64,{data}">'


def scale_bar(scale: ColorScale | None) -> str:
    """State what the colors stand for."""
    if scale is None:
        return ""
    colors = ", ".join(GRADIENTS.get(scale.color_map, ()))
    bar = f'<span class="bar" style="background: linear-gradient(90deg, {colors})"></span>' if colors else ""
    return (
        f'<div class="scale"><span>share of the score in one cell: {scale.low:.4f}</span>{bar}'
        f"<span>{scale.high:.4f} ({html.escape(scale.color_map)})</span></div>"
    )


def fitted_down(content: bytes | Image.Image, size_px: int) -> Image.Image:
    """Return an RGB picture whose longer side is at most `size_px`."""
    whole = content if isinstance(content, Image.Image) else Image.open(io.BytesIO(content))
    side_px = min(size_px, max(whole.size))
    return fitted(whole, (side_px, side_px))


def common_scale(maps: Iterable[SimilarityMap]) -> ColorScale:
    """Return one scale for maps of several answers; a server's pictures share theirs within one answer only.

    From 0 to the largest value: the maps of the demo's model have no negative values.
    """
    return ColorScale(0.0, max(float(one.values.max()) for one in maps), COLOR_MAP)


def lit(content: bytes, similarity_map: SimilarityMap, scale: ColorScale, *, size_px: int = SMALL_PX) -> Image.Image:
    """Return the picture in gray under the colors of its map, whose values are upscaled before they are colored."""
    drawn = fitted_down(content, size_px).convert("L").convert("RGB")
    shrink = drawn.width / similarity_map.width_px
    area = similarity_map.area
    corners = (area.left_px, area.top_px, area.right_px, area.bottom_px)
    left, top, right, bottom = (round(edge * shrink) for edge in corners)
    values = Image.fromarray(similarity_map.values).resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    ground = drawn.crop((left, top, right, bottom))
    drawn.paste(Image.blend(ground, _colored(np.asarray(values), scale), 0.55), (left, top))
    return drawn


def _colored(values: NDArray[np.float32], scale: ColorScale) -> Image.Image:
    table = np.array([ImageColor.getrgb(color) for color in GRADIENTS[scale.color_map]])  # (9, 3)
    steps = np.linspace(scale.low, scale.high, len(table))
    channels = [np.interp(values, steps, table[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).round().astype(np.uint8))
