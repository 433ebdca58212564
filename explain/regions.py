"""Regions of an image as weights of the cells of its feature map."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array, DecodeLimits, Placement, WhymatchError, decode_image
from whymatch.explain.errors import BadRegion, EmptyRegion
from whymatch.explain.polygons import area, check_simple, clip, without_repeats

MAX_MASK_SIDE = 2048
"""Values of a mask along its longer side; a mask of 64 million pixels would stay in memory for the whole call."""
MAX_REGIONS, MAX_MASKS, MAX_CORNERS = 100, 4, 1000
"""In one set of regions; the corners of all its polygons together."""
FARTHEST = 1e9
"""No image has so many pixels in a row."""
SLACK = 1e-6
"""By this share of the image's size a region may stick out: rounding of whoever computed it."""
ROUNDING = 1e-12
"""A polygon that only touches a cell can seem to cover this share of it."""
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    left_px: float
    top_px: float
    right_px: float
    bottom_px: float


@dataclass(frozen=True)
class Polygon:
    """A closed outline whose edges do not cross. Raises BadRegion for any other."""

    points: tuple[tuple[float, float], ...]
    """x and y of each corner, in pixels."""

    def __post_init__(self) -> None:
        if not 3 <= len(self.points) <= MAX_CORNERS:
            raise BadRegion(f"a polygon has {len(self.points)} corners; give from 3 to {MAX_CORNERS}")
        if not np.isfinite(self.points).all():
            raise BadRegion(f"{_shown(self)} has a corner that is not a finite number; give pixels of the image")
        if (farthest := np.abs(self.points).max()) > FARTHEST:  # products of such numbers are no numbers any more
            raise BadRegion(f"{_shown(self)} has a corner at {farthest:g}, in no image; give pixels of the image")
        corners = self.corners()
        if len(corners) < 3:
            raise BadRegion("a polygon has fewer than three different corners and so no area")
        check_simple(corners)

    def corners(self) -> Floats:
        """Return the corners, (n, 2), without repeats."""
        return without_repeats(np.array(self.points, float))


@dataclass(frozen=True, eq=False)
class Mask:
    """A gray picture of the size of the image: 255 is in the region, 0 is not, gray is partly."""

    values: NDArray[np.uint8]
    """(rows, columns), one for each block of pixels."""
    width_px: int
    height_px: int
    block_px: int = 1
    """Width and height of a block; those on the right and bottom edge may be smaller."""


@dataclass(frozen=True)
class Point:
    """The whole cell under a point."""

    x_px: float
    y_px: float


@dataclass(frozen=True)
class Region:
    """A part of an image that counts, counts against, or is left out."""

    shape: Box | Polygon | Mask | Point
    weight: float = 1.0
    """-1 to 1; negative counts against a match, 0 leaves this part of the image out."""
    relative: bool = False
    """The numbers of the shape are shares of the image's width and height, 0 to 1; a mask is stretched to the image."""

    def __post_init__(self) -> None:
        if not -1 <= self.weight <= 1:  # also refuses NaN
            raise BadRegion(f"the weight {self.weight:g} of a region is not from -1 to 1; take for example 1")


def read_mask(content: bytes, limits: DecodeLimits = DecodeLimits()) -> Mask:
    """Read a mask from the bytes of an image file; transparent is black, and large ones become means of blocks.

    Raises:
        BadRegion: it is all black.
        NotAnImage, BrokenImage, ImageTooLarge, TooManyPixels: it cannot be read.
    """
    try:
        picture = decode_image(content, limits, background="black").convert("L")
    except WhymatchError as error:
        raise type(error)(f"the mask cannot be read: {error}") from error
    block_px = -(-max(picture.size) // MAX_MASK_SIDE)
    values = np.asarray(picture.reduce(block_px))
    if not values.any():
        raise BadRegion("the mask is all black, so nothing is in the region; paint the region white")
    return Mask(values, *picture.size, block_px)


def cell_weights(regions: Sequence[Region], placement: Placement, rows: int, columns: int) -> Array:
    """Return how much each cell of a rows x columns grid counts, (rows, columns) float32, -1 to 1.

    The weight of a cell is the sum, over the regions, of the region's weight times the share of the cell's rectangle
    that it covers, exact to rounding. What regions of one sign add up to never exceeds 1 in size. If no region has a
    weight above 0, the rest of the image has weight 1: the share of each cell that no region covers. Regions of weight
    0 are left out of all this: the weight of a cell is multiplied by the share of it that they do not cover.

    Raises:
        BadRegion: a region without area, a box outside the image, or another shape that sticks out of it.
        EmptyRegion: nothing of a region is seen by the network, or nothing is left that counts.
    """
    edges = _edges(placement, rows, columns)
    covers = [(region.weight, _checked_cover(region, placement, edges)) for region in regions]

    def added(shares: Iterable[Floats]) -> Floats:
        return sum(shares, np.zeros((rows, columns))).clip(max=1)

    left = 1 - added(cover for weight, cover in covers if weight == 0)
    against = left * added(-weight * cover for weight, cover in covers if weight < 0)
    for_it = left * added(weight * cover for weight, cover in covers if weight > 0)
    if not any(weight > 0 for weight, _ in covers):
        for_it = left * (1 - added(cover for weight, cover in covers if weight < 0))
    weights = for_it - against
    if np.abs(weights).max() <= SLACK * max(for_it.max(), against.max()):
        raise EmptyRegion("the weights of the regions cancel each other out; leave one of them out")
    if not (narrow := weights.astype(np.float32)).any():
        raise EmptyRegion("the regions are too small, or their weights too near 0, to count; make them larger")
    return narrow


def check_count(regions: int, masks: int, corners: int) -> None:
    """Raise BadRegion if a caller gives too many regions, masks, or corners of polygons."""
    for count, most, what in [
        (regions, MAX_REGIONS, "regions"),
        (masks, MAX_MASKS, "masks"),
        (corners, MAX_CORNERS, "corners of polygons"),
    ]:
        if count > most:
            raise BadRegion(f"there are {count} {what}; give at most {most}, and paint what has many parts as one mask")


def _checked_cover(region: Region, placement: Placement, edges: tuple[Floats, Floats]) -> Floats:
    """Return the share of each cell that a region covers."""
    size = (1.0, 1.0) if region.relative else (float(placement.width_px), float(placement.height_px))
    scale = np.array([placement.width_px, placement.height_px]) / size
    shape = region.shape
    if isinstance(shape, Box):
        covered = _box_cover(shape, size, scale, edges)
    elif isinstance(shape, Polygon):
        covered = _polygon_cover(shape, size, scale, edges)
    elif isinstance(shape, Point):
        covered = _point_cover(shape, size, scale, edges)
    else:
        covered = _mask_cover(shape, placement, edges, stretched=region.relative)
    if not covered.any():
        raise EmptyRegion(
            f"the network sees nothing of {_shown(shape)}: the model crops images to the part "
            f"{', '.join(f'{edge:g}' for edge in placement.area)} px (left, top, right, bottom); choose a region in it"
        )
    return covered


def _edges(placement: Placement, rows: int, columns: int) -> tuple[Floats, Floats]:
    """Return the edges of the rows and of the columns, in pixels."""
    left, top, right, bottom = placement.area
    return np.linspace(top, bottom, rows + 1), np.linspace(left, right, columns + 1)


def _box_cover(box: Box, size: tuple[float, float], scale: Floats, edges: tuple[Floats, Floats]) -> Floats:
    corners = np.array([[box.left_px, box.top_px], [box.right_px, box.bottom_px]])
    if size == (1.0, 1.0):
        _check_inside(box, corners, size)  # not cut, for these are likelier to be pixels
    elif not (np.isfinite(corners).all() and (corners[0] < size).all() and (corners[1] > 0).all()):
        raise _outside(box, size)
    corners = corners.clip(0, size)
    if not (corners[0] < corners[1]).all():
        raise BadRegion(f"{_shown(box)} has no area; its right edge must be right of the left one, its bottom below")
    (left, top), (right, bottom) = corners * scale
    return _overlaps(edges[0], np.array([top, bottom])) @ _overlaps(edges[1], np.array([left, right])).T


def _point_cover(point: Point, size: tuple[float, float], scale: Floats, edges: tuple[Floats, Floats]) -> Floats:
    place = np.array([point.x_px, point.y_px])
    _check_inside(point, place[None], size)
    x, y = place.clip(0, size) * scale
    rows, columns = (_cell_of(edges[0], y), _cell_of(edges[1], x))
    return np.outer(rows, columns)


def _polygon_cover(polygon: Polygon, size: tuple[float, float], scale: Floats, edges: tuple[Floats, Floats]) -> Floats:
    corners = polygon.corners()
    _check_inside(polygon, corners, size)
    corners = corners * scale
    rows, columns = edges
    covered = np.zeros((len(rows) - 1, len(columns) - 1))
    for column, (left, right) in enumerate(itertools.pairwise(columns)):
        strip = clip(corners, 0, left, right)
        for row, (top, bottom) in enumerate(itertools.pairwise(rows)):
            covered[row, column] = abs(area(clip(strip, 1, top, bottom))) / ((bottom - top) * (right - left))
    return np.where(covered < ROUNDING, 0, covered)


def _mask_cover(mask: Mask, placement: Placement, edges: tuple[Floats, Floats], *, stretched: bool) -> Floats:
    width, height = mask.width_px, mask.height_px
    if not stretched and (width, height) != (placement.width_px, placement.height_px):
        raise BadRegion(
            f"the mask is {width} x {height} pixels and the upright image {placement.width_px} x "
            f"{placement.height_px}; make them the same"
        )
    down = _overlaps(edges[0], _block_edges(height, mask.block_px) * (placement.height_px / height))
    across = _overlaps(edges[1], _block_edges(width, mask.block_px) * (placement.width_px / width))
    strips = [shares[shares > 0] @ mask.values[shares > 0] for shares in down]  # a row of cells at a time
    covered: Floats = np.array(strips) @ across.T / 255
    return covered.clip(0, 1)


def _block_edges(length: int, block: int) -> Floats:
    return np.append(np.arange(0, length, block), length).astype(float)


def _check_inside(shape: Box | Polygon | Point, points: Floats, size: tuple[float, float]) -> None:
    slack = SLACK * np.array(size)
    if not ((points >= -slack) & (points <= size + slack)).all():  # also refuses NaN
        raise _outside(shape, size)


def _outside(shape: Box | Polygon | Point, size: tuple[float, float]) -> BadRegion:
    return BadRegion(f"{_shown(shape)} is not in the image, which spans {size[0]:g} x {size[1]:g}")


def _overlaps(edges: Floats, others: Floats) -> Floats:
    """Return the share of each interval between `edges` that lies in each interval between `others`."""
    low = np.maximum(edges[:-1, None], others[None, :-1])
    high = np.minimum(edges[1:, None], others[None, 1:])
    shares: Floats = (high - low).clip(min=0) / np.diff(edges)[:, None]
    return shares


def _cell_of(edges: Floats, place: float) -> Floats:
    """Return 1 for the interval that holds a place, 0 for the others; the last one holds its end."""
    inside = (edges[:-1] <= place) & (place < edges[1:])
    inside[-1] |= abs(place - edges[-1]) <= SLACK * edges[-1]
    return inside.astype(float)


def _shown(shape: Box | Polygon | Mask | Point) -> str:
    if isinstance(shape, Box):
        width, height = shape.right_px - shape.left_px, shape.bottom_px - shape.top_px
        corners = f"{shape.left_px:g}, {shape.top_px:g} to {shape.right_px:g}, {shape.bottom_px:g}"
        return f"the box from {corners} ({width:g} x {height:g})"
    if isinstance(shape, Point):
        return f"the point {shape.x_px:g}, {shape.y_px:g}"
    if isinstance(shape, Mask):
        return "the mask"
    points = [f"({x:g}, {y:g})" for x, y in shape.points]
    return "the polygon " + ", ".join([*points[:4], "..."] if len(points) > 4 else points)
