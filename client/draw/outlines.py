"""Lines over the picture of a map: its best box, its regions, and numbered cells."""

import functools
import math
from collections.abc import Iterable, Sequence

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from whymatch.client import results
from whymatch.client.draw.decode import decode
from whymatch.client.draw.tiles import font
from whymatch.client.inputs import Mask, Point, Polygon, Region, image_bytes

POSITIVE, NEGATIVE, LEFT_OUT, FRAME = "#2bd44f", "#3d8bff", "#9aa0a6", "white"
PAIR_COLORS = (
    "#ffd92f",
    "#e78ac3",
    "#66c2ff",
    "#a6d854",
    "#fc8d62",
    "#b79cff",
    "#40e0d0",
    "#e5c494",
    "#ff6b6b",
    "#d9d9d9",
)
"""One color for each numbered pair of cells, legible under black numbers."""
CHIP_PX = 20
Pixels = tuple[float, float]


def draw_best_box(picture: Image.Image, similarity_map: results.SimilarityMap) -> None:
    """Frame the best box of a map on its picture, whatever its size."""
    if similarity_map.best_box:
        _rectangle(picture, *_corners(similarity_map.best_box, *_scale(picture, similarity_map)), color=FRAME)


def draw_regions(picture: Image.Image, similarity_map: results.SimilarityMap, regions: Iterable[Region]) -> None:
    """Outline regions: green where they count, blue where they count against, gray where they are left out."""
    for region in regions:
        scale = picture.size if region.relative else _scale(picture, similarity_map)
        color = POSITIVE if region.weight > 0 else NEGATIVE if region.weight else LEFT_OUT
        _draw_region(picture, region, scale, color)


def draw_numbered(picture: Image.Image, similarity_map: results.SimilarityMap, boxes: Sequence[results.Box]) -> None:
    """Draw each box in its own color with its number, from 1; boxes of one cell lie within each other."""
    cells: dict[results.Box, list[int]] = {}
    for number, box in enumerate(boxes):
        cells.setdefault(box, []).append(number)
    for box, numbers in cells.items():
        first, last = _corners(box, *_scale(picture, similarity_map))
        for depth, number in enumerate(numbers):
            _rectangle(picture, *_shrunk(first, last, 4 * depth), color=_pair_color(number))
        _draw_chips(picture, first, last, numbers)


def _draw_region(picture: Image.Image, region: Region, scale: Pixels, color: str) -> None:
    match region.shape:
        case results.Box():
            _rectangle(picture, *_corners(region.shape, *scale), color=color)
        case Polygon(points):
            _line(picture, [(x * scale[0], y * scale[1]) for x, y in [*points, points[0]]], color)
        case Point(x, y):
            _cross(picture, x * scale[0], y * scale[1], color)
        case Mask(image):
            outline_mask(picture, read_mask(image_bytes(image)), color)


def outline_mask(picture: Image.Image, mask: Image.Image, color: str) -> None:
    """Draw the rim of a mask, white inside, of whatever size."""
    mask = mask.resize(picture.size).point([255 * (value > 127) for value in range(256)])
    rim = ImageChops.subtract(mask.filter(ImageFilter.MaxFilter(3)), mask.filter(ImageFilter.MinFilter(3)))
    picture.paste("black", mask=rim.filter(ImageFilter.MaxFilter(3)))
    picture.paste(color, mask=rim)


def _rectangle(picture: Image.Image, first: Pixels, last: Pixels, *, color: str) -> None:
    """Draw a rectangle with a dark rim, so that it is seen on every ground."""
    (left, top), (right, bottom) = first, last
    left, top = max(0, left), max(0, top)
    right, bottom = max(left, min(right, picture.width) - 1), max(top, min(bottom, picture.height) - 1)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, right, bottom), outline="black", width=4)
    if min(right - left, bottom - top) > 2:
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=color, width=2)


def _line(picture: Image.Image, points: Sequence[Pixels], color: str) -> None:
    draw = ImageDraw.Draw(picture)
    draw.line(points, fill="black", width=4, joint="curve")
    draw.line(points, fill=color, width=2, joint="curve")


def _cross(picture: Image.Image, x: float, y: float, color: str) -> None:
    draw = ImageDraw.Draw(picture)
    for width, fill, arm in ((6, "black", 10), (2, color, 9)):
        draw.line((x - arm, y, x + arm, y), fill=fill, width=width)
        draw.line((x, y - arm, x, y + arm), fill=fill, width=width)


@functools.lru_cache(maxsize=4)  # one mask is drawn on every tile of a sheet
def read_mask(content: bytes) -> Image.Image:
    """Return a mask as the server reads it: upright, transparent is black."""
    mask = decode(content, background="black")
    mask.thumbnail((2048, 2048))
    return mask.convert("L")


def _draw_chips(picture: Image.Image, first: Pixels, last: Pixels, numbers: Sequence[int]) -> None:
    """Write the numbers of one cell as small plates in its corner, at most three rows of them."""
    draw = ImageDraw.Draw(picture)
    in_a_row = max(1, int((last[0] - first[0]) // CHIP_PX), math.ceil(len(numbers) / 3))
    left = max(0, min(first[0], picture.width - min(in_a_row, len(numbers)) * CHIP_PX))
    top = max(0, min(first[1], picture.height - math.ceil(len(numbers) / in_a_row) * CHIP_PX))
    for place, number in enumerate(numbers):
        x, y = left + place % in_a_row * CHIP_PX, top + place // in_a_row * CHIP_PX
        draw.rectangle((x, y, x + CHIP_PX - 1, y + CHIP_PX - 1), fill=_pair_color(number), outline="black")
        draw.text((x + CHIP_PX / 2, y + CHIP_PX / 2), str(number + 1), fill="black", font=font(13), anchor="mm")


def _pair_color(number: int) -> str:
    return PAIR_COLORS[number % len(PAIR_COLORS)]


def _shrunk(first: Pixels, last: Pixels, by_px: float) -> tuple[Pixels, Pixels]:
    """Move all sides of a rectangle inwards, but leave a middle."""
    by_x = min(by_px, max(0, (last[0] - first[0]) / 2 - 4))
    by_y = min(by_px, max(0, (last[1] - first[1]) / 2 - 4))
    return (first[0] + by_x, first[1] + by_y), (last[0] - by_x, last[1] - by_y)


def _corners(box: results.Box, scale_x: float, scale_y: float) -> tuple[Pixels, Pixels]:
    return (box.left_px * scale_x, box.top_px * scale_y), (box.right_px * scale_x, box.bottom_px * scale_y)


def _scale(picture: Image.Image, similarity_map: results.SimilarityMap) -> Pixels:
    """How many pixels of the picture a pixel of the original is, across and down."""
    return picture.width / similarity_map.width_px, picture.height / similarity_map.height_px
