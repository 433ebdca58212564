"""Maps as pictures: values upscaled first, colored afterwards, laid over the image."""

import functools
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.embed import Array, DecodeLimits, Placement, decode_unconverted
from whymatch.embed.pictures import to_srgb

SEQUENTIAL = "inferno"
"""For maps without negative values: perceptually uniform, dark where nothing matches."""
DIVERGING = "RdBu_r"
"""For signed maps: red supports the match, blue speaks against it, white is nothing."""

OPAQUE = 0.75
"""How opaque the colors of the largest values are; those of others are in proportion."""

FIRM = 0.75
"""Signed maps have the colors of plus and minus this share of the scale: how opaque they are tells the rest."""

TINY = float(np.finfo(np.float32).tiny)


class PlacedMap(Protocol):
    """What can be drawn: a value for each cell of an image."""

    @property
    def values(self) -> Array:
        """(H, W) float32."""

    @property
    def placement(self) -> Placement:
        """Where the cells lie in the image."""


@dataclass(frozen=True)
class ColorScale:
    """The values that the ends of a color map stand for."""

    low: float
    high: float
    color_map: str
    """By its matplotlib name."""


def shared_scale(maps: Iterable[PlacedMap], others: Iterable[PlacedMap] = ()) -> ColorScale:
    """Return one scale for all maps of an answer, so that their pictures can be compared.

    From 0 to the largest value, or, if a value is negative beyond rounding, symmetric about 0.

    others: maps of the answer that may go beyond the scale; only their signs matter.
    """
    values = [one.values for one in maps]
    low = min(float(value.min()) for value in values)
    high = max(TINY, *(float(value.max()) for value in values))
    if any(_is_signed(value) for value in [*values, *(one.values for one in others)]):
        size = max(-low, high)
        return ColorScale(-size, size, DIVERGING)
    return ColorScale(0.0, high, SEQUENTIAL)


def _is_signed(values: Array) -> bool:
    """Say whether a value is negative beyond rounding."""
    return bool(values.min() < -1e-6 * max(TINY, values.max()))


def signed_scale(maps: Iterable[PlacedMap]) -> ColorScale:
    """Return one scale for all maps, symmetric about 0 whatever their signs."""
    size = max(TINY, *(float(np.abs(one.values).max()) for one in maps))
    return ColorScale(-size, size, DIVERGING)


def load_picture(content: bytes, *, size_px: int = 512, limits: DecodeLimits = DecodeLimits()) -> Image.Image:
    """Decode an image file for drawing; its longer side becomes `size_px`, a smaller image is not enlarged.

    Raises the errors of `decode_image`.
    """
    picture, profile = decode_unconverted(content, limits)
    picture.thumbnail((size_px, size_px))
    return to_srgb(picture, profile)


def render_overlay(picture: Image.Image, placed_map: PlacedMap, scale: ColorScale, *, clear: bool = False) -> bytes:
    """Draw a map over its image, in whatever size that is, and return a PNG.

    Colors are as opaque as OPAQUE times a value's share of the largest one on the scale: what is worth nothing leaves
    the image as it is. What the network does not see is gray and pale.

    clear: the image is pale and gray everywhere, and of the colors only the ends are used.
    """
    shrink = picture.width / placed_map.placement.width_px
    left, top, right, bottom = (round(edge * shrink) for edge in placed_map.placement.area)
    area = (left, top, min(max(right, left + 1), picture.width), min(max(bottom, top + 1), picture.height))
    drawn = _faded(picture)
    blend = _tinted if clear else _blended
    drawn.paste(blend(picture.crop(area), placed_map.values, scale), area[:2])
    png = io.BytesIO()
    drawn.save(png, "PNG", compress_level=1)
    return png.getvalue()


def upscale(values: Array, width: int, height: int) -> Array:
    """Interpolate values (H, W) bilinearly to (height, width); a cell's value sits at the center of its rectangle."""
    return np.asarray(Image.fromarray(values, "F").resize((width, height), Image.Resampling.BILINEAR))


def _blended(picture: Image.Image, values: Array, scale: ColorScale) -> Image.Image:
    """Lay the colored map over the picture, the more opaque, the farther a value is from 0."""
    wide = upscale(values, *picture.size)
    share = (np.abs(wide) / max(-scale.low, scale.high)).clip(0, 1)
    colored = np.sign(wide) * FIRM * scale.high if scale.low < 0 else wide
    place = ((colored - scale.low) / (scale.high - scale.low)).clip(0, 1)
    colors = Image.fromarray(_color_table(scale.color_map)[(place * 255).round().astype(np.uint8)])
    opacity = OPAQUE * share
    return Image.composite(colors, picture, Image.fromarray((opacity * 255).round().astype(np.uint8)))


def _tinted(picture: Image.Image, values: Array, scale: ColorScale) -> Image.Image:
    """Lay the colors of the map's ends over the pale grayscale picture, as dense as a value is far from 0."""
    share = upscale(values, *picture.size) / max(-scale.low, scale.high)
    density = Image.fromarray((np.abs(share).clip(0, 1) * 255).round().astype(np.uint8))
    table = _color_table(scale.color_map)
    ends = Image.fromarray(np.where(share[..., None] > 0, table[-32], table[31]))
    gray = Image.blend(picture.convert("L").convert("RGB"), Image.new("RGB", picture.size, "white"), 0.4)
    return Image.composite(ends, gray, density)


def _faded(picture: Image.Image) -> Image.Image:
    """Return a picture gray and pale, as what the network does not see is drawn."""
    return Image.blend(picture.convert("L").convert("RGB"), Image.new("RGB", picture.size, "white"), 0.7)


@functools.cache
def _color_table(color_map: str) -> NDArray[np.uint8]:
    """Return (256, 3) colors."""
    import matplotlib

    colors = matplotlib.colormaps[color_map](np.arange(256), bytes=True)
    table: NDArray[np.uint8] = np.asarray(colors)[:, :3]
    return table
