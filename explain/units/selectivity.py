"""How selective a unit is for colors: the index S_p of its top patches (Rafegas, Vanrell, 4).

The pixels of the patches, as memberships of the 11 color names, are sorted into k categories by k-means. With h_m the
m-th largest share of pixels in one category, S_p = h_1 + ... + h_p, which is 1 for a unit of p colors or fewer.
Equation 4 of the paper divides by p, which its own thresholds, up to 0.70, rule out; that is `quotient`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from whymatch.embed import ONE_BLAS_THREAD
from whymatch.explain.patches import Pixels, Wide
from whymatch.explain.units.color_names import CHROMATIC, COLOR_NAMES, color_memberships

THRESHOLDS = (0.30, 0.40, 0.50, 0.60, 0.70)
"""Of the curves of a layer, as in the paper."""


@dataclass(frozen=True)
class SelectivitySetting:
    """How to measure selectivity."""

    leading: int = 3
    """p, the categories that are summed, as in the paper."""
    categories: int = 20
    """k of k-means; the paper only says more than the eleven names. Of 20 alike, 3 are 0.15: not selective."""
    merge_distance: float = 0.2
    """Categories whose memberships differ by less are one, as k-means splits noise too; 0, as in the paper: none."""
    max_pixels: int = 20_000
    """Of all patches together; more are drawn from at random, which is exact to 0.004 of a share."""
    gray_share: float = 0.01
    """Patches with no larger share of pixels that are not black, gray or white have no color."""
    seed: int = 0
    """Of k-means and the draw; the same one finds the same."""


DEFAULT_SELECTIVITY = SelectivitySetting()


@dataclass(frozen=True, eq=False)
class ColorSelectivity:
    """The colors of a unit's top patches."""

    value: float | None
    """S_p, of 0 to 1; None for a dead unit, which has no patches."""
    is_gray: bool
    """Whether the patches have no color, so that S_p only distinguishes black, gray and white."""
    histogram: Wide
    """(K,), the share of pixels in each category, largest first; sums to 1."""
    centers: Wide
    """(K, 11), their mean memberships."""
    name_shares: Wide
    """(11,), the mean memberships of all pixels; sums to 1. Zeros for a dead unit."""
    patch_count: int
    pixel_count: int
    """Pixels that were looked at."""
    settings: SelectivitySetting

    @property
    def quotient(self) -> float | None:
        """S_p / p, equation 4 as it is printed."""
        return None if self.value is None else self.value / self.settings.leading


@dataclass(frozen=True)
class SelectivityCurve:
    """The share of a layer's units that are more selective than each threshold."""

    thresholds: tuple[float, ...]
    shares: tuple[float, ...] | None
    """Of the units that are not dead; None if all are."""
    unit_count: int
    """Units that are not dead."""
    dead_count: int
    is_gray: bool
    """Whether no unit's patches have color, as in a gallery of gray images; then the curve says nothing of colors."""


def color_selectivity(
    patches: Sequence[Pixels], settings: SelectivitySetting = DEFAULT_SELECTIVITY
) -> ColorSelectivity:
    """Measure how selective a unit is for colors.

    patches: of its top images, (h, w, 3) sRGB, of any sizes; each pixel counts the same. A dead unit has none.

    Raises:
        ValueError: invalid settings, or patches of another shape or without pixels.
    """
    _check(patches, settings)
    if not patches:
        none = np.zeros(0), np.zeros((0, len(COLOR_NAMES))), np.zeros(len(COLOR_NAMES))
        return ColorSelectivity(None, False, *none, 0, 0, settings)
    pixels = np.concatenate([patch.reshape(-1, 3) for patch in patches])
    if len(pixels) > settings.max_pixels:
        random = np.random.default_rng(settings.seed)
        pixels = pixels[random.choice(len(pixels), settings.max_pixels, replace=False)]
    members = color_memberships(pixels)
    is_gray = bool((members.argmax(axis=1) < CHROMATIC).mean() <= settings.gray_share)
    histogram, centers = _categories(members, settings)
    value, shares = min(1.0, float(histogram[: settings.leading].sum())), members.mean(axis=0)
    return ColorSelectivity(value, is_gray, histogram, centers, shares, len(patches), len(pixels), settings)


def selectivity_curve(
    units: Sequence[ColorSelectivity], thresholds: tuple[float, ...] = THRESHOLDS
) -> SelectivityCurve:
    """Return the share of units whose S_p is above each threshold."""
    values = np.array([unit.value for unit in units if unit.value is not None])
    shares = tuple(float((values > threshold).mean()) for threshold in thresholds) if len(values) else None
    is_gray = len(values) > 0 and all(unit.is_gray for unit in units if unit.value is not None)
    return SelectivityCurve(thresholds, shares, len(values), len(units) - len(values), is_gray)


def color_label(shares: Wide, *, limit: int = 3, least: float = 0.1) -> tuple[tuple[str, float], ...]:
    """Return the leading names with their shares, largest first: of a unit, or of one of its categories.

    shares: (11,), of 0 to 1.
    limit: how many names at most.
    least: the share that a name needs.
    """
    order = np.argsort(-shares, kind="stable")[:limit]
    return tuple((COLOR_NAMES[index], float(shares[index])) for index in order if shares[index] >= least)


def _check(patches: Sequence[Pixels], settings: SelectivitySetting) -> None:
    if min(settings.leading, settings.categories, settings.max_pixels) < 1:
        raise ValueError("p, k and the pixels must be at least 1")
    for patch in patches:
        if patch.ndim != 3 or patch.shape[-1] != 3 or not patch.size or patch.dtype != np.uint8:
            raise ValueError(f"a patch is {patch.dtype} of shape {patch.shape}; give pixels (h, w, 3) uint8")


def _categories(members: Wide, settings: SelectivitySetting) -> tuple[Wide, Wide]:
    """Return the shares (K,), largest first, and centers (K, 11) of the categories of memberships (n, 11)."""
    from sklearn.cluster import AgglomerativeClustering, KMeans  # late: it takes a second of a server's start

    points, counts = np.unique(members.round(2), axis=0, return_counts=True)  # few, as most pixels have one clear name
    with ONE_BLAS_THREAD, threadpool_limits(1):
        means = KMeans(min(settings.categories, len(points)), n_init=1, random_state=settings.seed)
        labels = means.fit_predict(points, sample_weight=counts)
    if len(centers := means.cluster_centers_) > 1:
        apart = 2 * settings.merge_distance  # what leaves one name comes to another, and both differ
        merge = AgglomerativeClustering(None, distance_threshold=apart, linkage="complete", metric="manhattan")
        labels = merge.fit_predict(centers)[labels]
    shares = np.bincount(labels, counts) / len(members)
    sums = np.stack([np.bincount(labels, counts * values) for values in points.T], axis=1)
    order = np.argsort(-shares, kind="stable")
    return shares[order], (sums / len(members) / shares[:, None])[order]
