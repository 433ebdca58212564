"""Names the colors of pixels: the parametric model of Benavente, Vanrell and Baldrich (JOSA A 25, 2008).

At each level of lightness the plane (a, b) of CIELab has a gray ellipse in its middle, and around it sectors of names.
Each begins where its neighbor ends, so that what the one loses at their boundary, the other gains:

    chromatic membership = E B (1 - B of the next name),  E = S(slope (r^2 - 1)),  B = S(slope of the boundary x)

with S(z) = 1 / (1 + exp(-z)), r the distance from the center in units of the ellipse, and x that from the boundary in
CIELab. Black, gray and white share the rest by lightness; then all are divided by their sum.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whymatch.explain.patches import Wide

COLOR_NAMES = ("red", "orange", "brown", "yellow", "green", "blue", "purple", "pink", "black", "gray", "white")
"""The basic terms of Berlin and Kay, in the order of memberships."""
CHROMATIC = 8
"""How many of them, from the first on, are no grays."""


@dataclass(frozen=True)
class _Level:
    """The names of one level of lightness."""

    above: float
    """L* from which it reaches to the next level."""
    center: tuple[float, float]
    """(a, b) of the ellipse, where all boundaries meet."""
    axes: tuple[float, float]
    """Half the lengths of the ellipse."""
    turn: float
    """Of the ellipse, in radians."""
    slope: float
    """How sharply the ellipse ends."""
    begins: dict[str, tuple[float, float]]
    """The names counterclockwise; of the boundary where each begins: its angle in radians, and how sharp it is."""


# fmt: off
_LEVELS = (
    _Level(0, (0.424199636, 0.249359126), (5.88939523, 7.47432124), 0.0405071773, 9.84405931, {
        "red": (-0.0390823298, 0.900991049), "brown": (0.58382621, 1.72499209), "green": (1.82483514, 0.844028374),
        "blue": (3.91978603, 1.95218383), "purple": (-0.997514408, 1.01425447),
    }),
    _Level(31, (0.22956322, 0.663190063), (6.45705135, 7.87254713), 0.30701632, 6.03260303, {
        "red": (0.0385324254, 0.524362727), "brown": (0.718827304, 5.0), "green": (1.69072643, 0.692404886),
        "blue": (3.67330031, 0.958110786), "purple": (-1.02073594, 0.916607781), "pink": (-0.274359589, 1.10031784),
    }),
    _Level(42, (-0.117335858, 0.518007668), (5.38109004, 6.98237582), 0.341770788, 6.81218149, {
        "red": (0.23688003, 0.999376086), "orange": (0.775874556, 0.56527939), "brown": (1.0687817, 0.517227023),
        "green": (1.68694113, 0.844786041), "blue": (3.47977445, 0.599760697), "purple": (-1.01645481, 0.800824361),
        "pink": (-0.39503422, 0.623673475),
    }),
    _Level(51, (-0.44316908, 1.07591884), (6.06365916, 7.50204671), 0.428449446, 7.3185827, {
        "red": (0.462878817, 0.939107161), "orange": (0.575756054, 0.754842803), "yellow": (1.39830359, 0.478353741),
        "green": (1.66981459, 0.728741639), "blue": (3.46127611, 0.643832855), "purple": (-1.02581112, 0.755213599),
        "pink": (-0.592058089, 5.0),
    }),
    _Level(66, (-0.565458039, 1.16327519), (5.36820773, 6.90048122), 0.432023987, 100.0, {
        "orange": (0.449437961, 1.99511862), "yellow": (1.29424234, 0.839910145), "green": (1.78496461, 0.856004138),
        "blue": (3.29110617, 0.736644526), "purple": (-1.06168967, 0.474809095), "pink": (-0.568069463, 1.73558321),
    }),
    _Level(76, (-1.25643027, 1.8143809), (6.03989989, 7.39318578), -0.0208201846, 100.0, {
        "orange": (0.449316962, 1.02801414), "yellow": (1.26437482, 0.790983657), "green": (1.85425811, 0.957414544),
        "blue": (3.31692392, 0.900009936), "purple": (-1.03729281, 0.598984911), "pink": (-0.564895945, 1.93131386),
    }),
)
# fmt: on
BLACK_GRAY = (28.28252201, 0.71423449)
"""L* of the boundary, and how sharp it is."""
GRAY_WHITE = (79.64930057, 0.30674052)

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.9505, 1.0, 1.0891])


def color_memberships(pixels: NDArray[Any]) -> Wide:
    """Return how much each pixel belongs to each of the 11 `COLOR_NAMES`.

    pixels: (..., 3) sRGB of 0 to 255, whole or not.
    Returns (..., 11) of 0 to 1 that sum to 1.

    Raises:
        ValueError: another shape, or values that are not of 0 to 255.
    """
    if not pixels.ndim or pixels.shape[-1] != 3:
        raise ValueError(f"pixels of shape {pixels.shape} have no three channels; give (..., 3)")
    if not ((pixels >= 0) & (pixels <= 255)).all():
        raise ValueError("there are values that are not of 0 to 255; give sRGB pixels")
    lab = _to_lab(pixels.reshape(-1, 3).astype(float) / 255)
    members = np.zeros((len(lab), len(COLOR_NAMES)))
    levels = np.searchsorted([level.above for level in _LEVELS[1:]], lab[:, 0])
    for index, level in enumerate(_LEVELS):
        members[levels == index, :CHROMATIC] = _chromatic(lab[levels == index, 1:], level)
    rest = np.maximum(1 - members.sum(axis=1), 0)
    members[:, CHROMATIC:] = rest[:, None] * _achromatic(lab[:, 0])
    members /= members.sum(axis=1, keepdims=True)
    return members.reshape(*pixels.shape[:-1], len(COLOR_NAMES))


def _to_lab(rgb: Wide) -> Wide:
    """Return CIELab (n, 3) of sRGB (n, 3) of 0 to 1 (D65)."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.einsum("nc,xc->nx", linear, _TO_XYZ) / _WHITE
    knee = 6 / 29
    root = np.where(xyz > knee**3, np.cbrt(xyz), xyz / (3 * knee**2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def _chromatic(plane: Wide, level: _Level) -> Wide:
    """Return the memberships (n, 8) of colors (n, 2), the a and b of CIELab."""
    a, b = (plane - level.center).T
    cos, sin = np.cos(level.turn), np.sin(level.turn)
    along, across = (a * cos + b * sin) / level.axes[0], (b * cos - a * sin) / level.axes[1]
    outside = _sigmoid(level.slope * (along**2 + across**2 - 1))
    angle, slope = np.array(list(level.begins.values())).T
    begun = _sigmoid(slope * (b[:, None] * np.cos(angle) - a[:, None] * np.sin(angle)))  # (n, names of this level)
    members = np.zeros((len(plane), CHROMATIC))
    members[:, [COLOR_NAMES.index(name) for name in level.begins]] = begun * (1 - np.roll(begun, -1, axis=1))
    return members * outside[:, None]


def _achromatic(lightness: Wide) -> Wide:
    """Return the shares (n, 3) of black, gray and white."""
    light, lighter = (_sigmoid(slope * (lightness - at)) for at, slope in (BLACK_GRAY, GRAY_WHITE))
    return np.stack([1 - light, light * (1 - lighter), lighter], axis=1)


def _sigmoid(values: Wide) -> Wide:
    return 0.5 + 0.5 * np.tanh(values / 2)  # never overflows
