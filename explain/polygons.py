"""Polygons as arrays of corners, (n, 2) float64: clipping, area, and whether edges cross."""

import numpy as np
from numpy.typing import NDArray

from whymatch.explain.errors import BadRegion

Corners = NDArray[np.float64]


def clip(corners: Corners, axis: int, low: float, high: float) -> Corners:
    """Return the part of a polygon between two lines across an axis (Sutherland and Hodgman).

    Where the part falls apart, its pieces stay joined by edges along the lines, which enclose no area.
    """
    return _below(_below(corners, axis, high, 1), axis, low, -1)


def area(corners: Corners) -> float:
    """Return the area of a polygon, negative if its corners run the other way round."""
    x, y = corners.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def without_repeats(corners: Corners) -> Corners:
    """Return a polygon without corners that equal the next, such as a last one that repeats the first."""
    kept: Corners = corners[(corners != np.roll(corners, -1, axis=0)).any(axis=1)]
    return kept


def check_simple(corners: Corners) -> None:
    """Raise BadRegion if a polygon has no area, or edges that cross or touch."""
    following = np.roll(corners, -1, axis=0)
    for number in range(len(corners)):
        crossed = _crossed(corners[number], following[number], corners, following)
        crossed[[number, number - 1, (number + 1) % len(corners)]] = False
        if crossed.any():
            raise BadRegion(
                f"the edges from corners {number + 1} and {int(crossed.argmax()) + 1} of a polygon cross or touch; "
                "give the corners in order along the outline, or split it into several polygons"
            )
    if abs(area(corners)) <= 1e-9 * np.ptp(corners, axis=0).max() ** 2:
        raise BadRegion("a polygon has no area; its corners must not lie on one line")


def _below(corners: Corners, axis: int, limit: float, sign: int) -> Corners:
    """Return the part of a polygon where sign * (coordinate - limit) <= 0."""
    if not len(corners):
        return corners
    following = np.roll(corners, -1, axis=0)
    inside = sign * (corners[:, axis] - limit) <= 0
    crossing = inside != np.roll(inside, -1)
    step = np.where(crossing, following[:, axis] - corners[:, axis], 1.0)
    at_limit = corners + (following - corners) * ((limit - corners[:, axis]) / step)[:, None]
    both = np.stack([corners, at_limit], axis=1).reshape(-1, 2)
    kept: Corners = both[np.stack([inside, crossing], axis=1).ravel()]
    return kept


def _crossed(start: Corners, end: Corners, starts: Corners, ends: Corners) -> NDArray[np.bool_]:
    """Return which of many edges one edge meets."""
    ours = _side(start, end, starts) * _side(start, end, ends) <= 0
    theirs = _side(starts, ends, start) * _side(starts, ends, end) <= 0
    return ours & theirs & _boxes_meet(start, end, starts, ends)


def _side(start: Corners, end: Corners, point: Corners) -> NDArray[np.float64]:
    """Return on which side of the line from start to end a point lies: its sign; 0 on the line."""
    along, to = end - start, point - start
    sides: NDArray[np.float64] = np.sign(along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0])
    return sides


def _boxes_meet(start: Corners, end: Corners, starts: Corners, ends: Corners) -> NDArray[np.bool_]:
    low, high = np.minimum(start, end), np.maximum(start, end)
    lows, highs = np.minimum(starts, ends), np.maximum(starts, ends)
    return np.asarray(((low <= highs) & (lows <= high)).all(axis=-1))
