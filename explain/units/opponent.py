"""The colors of a picture of a filter in opponent space, and the class they put its unit in (Rafegas, Vanrell, 3).

Opponent colors are intensity, red against green, and yellow against blue, each of -1 to 1: for R, G, B of 0 to 1

    O1 = (R + G + B - 1.5) / 1.5,  O2 = R - G,  O3 = (R + G - 2 B) / 2

Middle gray, which a filter of zeros is drawn as, is the origin. How far an axis passes from it is measured where the
filter is not zero: with the principal components of the colors c_i weighted by |c_i|, whose mean is m, first direction
u, and variance along it v,

    distance = |m - (m . u) u| / sqrt(v)

which neither the size of the weights changes, nor how much of the picture is gray. Where there is but one color beside
gray, the axis runs from one to the other: the distance is 0.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from whymatch.explain.patches import Wide
from whymatch.explain.units.color_names import COLOR_NAMES, color_memberships

Alignment = Literal["aligned", "dispersed"]
Position = Literal["centered", "shifted"]
Tone = Literal["black-white", "chromatic"]

_MATRIX = np.array([[2 / 3, 2 / 3, 2 / 3], [1, -1, 0], [0.5, 0.5, -1]])
_BLACK = np.array([-1.0, 0, 0])
_GRAY = COLOR_NAMES.index("gray")


@dataclass(frozen=True)
class ColorThresholds:
    """Where the classes of filters part; the paper gives no numbers."""

    flat_spread: float = 0.004
    """Colors whose standard deviation in opponent space is no larger are one color; 1 / 255 is a level of 8 bits."""
    aligned_share: float = 0.8
    """Least share of the variance along the axis of an aligned filter; its colors stray by half of what they spread."""
    centered_distance: float = 0.1
    """Largest distance of a centered axis from the origin, in standard deviations of the colors along it."""
    black_white_share: float = 0.75
    """Least share of the variance in intensity of a black-white filter; at 0.75 an axis is within 30 degrees of it."""
    name_share: float = 0.2
    """Least share of the pixels that are not gray, for a color name to count; what lies between two colors has less."""
    gray_share: float = 0.98
    """From this share of gray pixels on, gray is the one color; below, it does not count, being a filter's zero."""


DEFAULT_THRESHOLDS = ColorThresholds()


@dataclass(frozen=True, eq=False)
class ColorAxis:
    """The principal components of colors in opponent space; the axis is the line through the mean along the first."""

    mean: Wide
    """(3,)."""
    directions: Wide
    """(3, 3), a row of length 1 for each component, whose largest value is positive."""
    variances: Wide
    """(3,), largest first."""

    @property
    def distance(self) -> float:
        """How far the axis passes from middle gray, in standard deviations along it, which must not be 0."""
        away = np.linalg.norm(self.mean - (self.mean @ self.directions[0]) * self.directions[0])
        return float(away / np.sqrt(self.variances[0]))


@dataclass(frozen=True, eq=False)
class FilterColor:
    """The class of a filter by its colors, with what it follows from."""

    content: Literal["varied", "constant", "dead"]
    """Whether there is more than one color; dead is nothing but middle gray, a filter of zeros."""
    axis: ColorAxis
    axis_share: float | None
    """Of the variance, along the axis. None, like what follows from it, if the content is not varied."""
    alignment: Alignment | None
    axis_distance: float | None
    """How far the axis passes from middle gray, in standard deviations of the colors along it, as the module says."""
    position: Position | None
    """Whether the axis passes near middle gray; the paper asks it of aligned filters only."""
    intensity_share: float | None
    """Of the variance, in intensity, O1. Where it is high, a shifted filter may have shades of a color."""
    tone: Tone | None
    name_shares: Wide
    """(11,), the share of pixels whose leading name is that of `COLOR_NAMES`; sums to 1."""
    names: tuple[str, ...]
    """The names that count, leading first."""
    thresholds: ColorThresholds

    @property
    def colors(self) -> Literal["single", "double", "multiple"]:
        """How many names count; where none does, each has too little."""
        return "single" if len(self.names) == 1 else "double" if len(self.names) == 2 else "multiple"


def to_opponent(rgb: NDArray[Any]) -> Wide:
    """Return opponent colors (..., 3) of -1 to 1 of RGB (..., 3) of 0 to 1."""
    return np.asarray(np.einsum("...c,oc->...o", rgb, _MATRIX) + _BLACK)


def from_opponent(opponent: Wide) -> Wide:
    """Return RGB (..., 3) of opponent colors (..., 3); outside of 0 to 1 where there is no such color."""
    return np.asarray(np.einsum("...o,co->...c", opponent - _BLACK, np.linalg.inv(_MATRIX)))


def color_axis(rgb: NDArray[Any], *, ignore_gray: bool = False) -> ColorAxis:
    """Return the principal components of the opponent colors of RGB (..., 3) of 0 to 1.

    ignore_gray: weigh each color by its distance from middle gray; there must be one that is not gray.
    """
    colors = to_opponent(rgb).reshape(-1, 3)
    weights = np.linalg.norm(colors, axis=1) if ignore_gray else np.ones(len(colors))
    weights /= weights.sum()
    mean = np.einsum("n,nc->c", weights, colors)
    away = colors - mean
    variances, columns = np.linalg.eigh(np.einsum("n,nc,nd->cd", weights, away, away))
    directions = columns.T[::-1]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    return ColorAxis(mean, directions * np.sign(largest), variances[::-1].clip(min=0))


def classify_filter(picture: NDArray[Any], thresholds: ColorThresholds = DEFAULT_THRESHOLDS) -> FilterColor:
    """Return the class of a filter by the colors of its picture.

    picture: (h, w, 3) RGB of 0 to 1, where 0.5 is a weight of zero.

    Raises:
        ValueError: another shape, no pixels, or values that are not of 0 to 1.
    """
    _check(picture)
    axis = color_axis(picture)
    total = axis.variances.sum()
    shares = _name_shares(picture)
    seen = shares, _counted(shares, thresholds), thresholds
    if total <= thresholds.flat_spread**2:
        dead = np.linalg.norm(axis.mean) <= thresholds.flat_spread
        return FilterColor("dead" if dead else "constant", axis, None, None, None, None, None, None, *seen)
    along, intensity = float(axis.variances[0] / total), float(to_opponent(picture)[..., 0].var() / total)
    alignment: Alignment = "aligned" if along >= thresholds.aligned_share else "dispersed"
    distance = _distance(picture, thresholds.flat_spread)
    position: Position = "centered" if distance <= thresholds.centered_distance else "shifted"
    tone: Tone = "black-white" if intensity >= thresholds.black_white_share else "chromatic"
    return FilterColor("varied", axis, along, alignment, distance, position, intensity, tone, *seen)


def _distance(picture: NDArray[Any], flat_spread: float) -> float:
    """Return how far the axis passes from middle gray; not at all if there is but one color beside gray."""
    axis = color_axis(picture, ignore_gray=True)
    return axis.distance if axis.variances[0] > flat_spread**2 else 0.0


def _check(picture: NDArray[Any]) -> None:
    if picture.ndim != 3 or picture.shape[-1] != 3 or not picture.size:
        raise ValueError(f"a picture of shape {picture.shape} has no pixels in three channels; give (h, w, 3)")
    if not ((picture >= 0) & (picture <= 1)).all():
        raise ValueError("the picture has values that are not of 0 to 1; scale it so that a weight of zero is 0.5")


def _name_shares(picture: NDArray[Any]) -> Wide:
    """Return the share of pixels (11,) that each name leads, as the picture shows them, in 8 bits."""
    red, green, blue = np.moveaxis((picture * 255).round().astype(np.int64), -1, 0)
    shown, counts = np.unique(red << 16 | green << 8 | blue, return_counts=True)
    colors = np.stack([shown >> 16, shown >> 8 & 255, shown & 255], axis=-1)
    leading = color_memberships(colors).argmax(axis=-1)
    return np.asarray(np.bincount(leading, counts, minlength=len(COLOR_NAMES)) / counts.sum())


def _counted(shares: Wide, thresholds: ColorThresholds) -> tuple[str, ...]:
    """Return the names that count of shares (11,), leading first."""
    if shares[_GRAY] >= thresholds.gray_share:
        return ("gray",)
    others = np.where(np.arange(len(shares)) == _GRAY, 0, shares) / (1 - shares[_GRAY])
    order = np.argsort(-others, kind="stable")
    return tuple(COLOR_NAMES[index] for index in order if others[index] >= thresholds.name_share)
