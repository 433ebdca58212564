"""The color axes of a layer: a mixture of Gaussians over the chromatic angles of its units (Rafegas, Vanrell, 3 and 5).

Angles are of axes, so that 0 and 180 degrees are the same. A Gaussian knows no circle: the mixture of K is fitted with
the circle cut open at each bin of the histogram in turn, and the least AIC = 2 (3 K - 1) - 2 ln(likelihood) is taken.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from whymatch.embed import ONE_BLAS_THREAD
from whymatch.explain.patches import Wide
from whymatch.explain.units.opponent import FilterColor


class TooFewUnits(ValueError):
    """The units have too few different angles to fit a mixture to."""


@dataclass(frozen=True)
class AxisSetting:
    """How to look for the axes of a layer."""

    min_components: int = 3
    """Fewest Gaussians tried, as in the paper."""
    max_components: int = 10
    """Most Gaussians tried, as in the paper; fewer where there are few units."""
    bin_deg: int = 10
    """Width of a bin of the histogram, and step of the cut, in degrees; a divisor of 180."""
    min_spread_deg: float = 2.0
    """Added to the spread of each Gaussian, squared; without it AIC likes needles on units that happen to be alike."""
    seed: int = 0
    """Of the first guesses; the same one finds the same axes."""
    units_per_component: int = 9
    """Fewest units for each Gaussian of a mixture: three for each of its three numbers."""

    def check(self) -> None:
        """Raise ValueError for invalid settings."""
        if self.bin_deg < 1 or 180 % self.bin_deg:
            raise ValueError(f"bins of {self.bin_deg} degrees do not fill 180; take a divisor of 180")
        if not 1 <= self.min_components <= self.max_components:
            raise ValueError(
                f"{self.min_components} to {self.max_components} components are not a range; take at least 1"
            )
        if self.units_per_component < 3:
            raise ValueError(
                f"{self.units_per_component} units do not fix the 3 numbers of a component; take at least 3"
            )
        if not self.min_spread_deg > 0:
            raise ValueError(f"a least spread of {self.min_spread_deg} degrees makes needles; take more than 0")


DEFAULT_AXES = AxisSetting()
_Fit: TypeAlias = "tuple[float, int, tuple[LayerAxis, ...]]"
"""AIC, shift and axes."""


@dataclass(frozen=True)
class LayerAxis:
    """A color axis of a layer: a Gaussian of its mixture."""

    angle_deg: float
    """Mean, of 0 to 180; 0 is red against green, 90 yellow against blue."""
    spread_deg: float
    """Standard deviation."""
    weight: float
    """Of 0 to 1; those of a layer sum to 1."""


@dataclass(frozen=True, eq=False)
class LayerAxes:
    """The color axes of a layer, by angle, and how they were found."""

    axes: tuple[LayerAxis, ...]
    aic: float
    """Of the mixture; the least of all that were tried."""
    shift_deg: float
    """Where the circle was cut open."""
    unit_count: int
    histogram: Wide
    """(180 / bin_deg,), units in each bin, the first from 0 degrees."""
    tried: tuple[int, int]
    """The fewest and most Gaussians that were tried."""
    settings: AxisSetting

    def density(self, angles_deg: Wide) -> Wide:
        """Return the density of units per degree (n,) at angles (n,)."""
        density = np.zeros(len(angles_deg))
        for axis in self.axes:
            away = (angles_deg - self.shift_deg) % 180 - (axis.angle_deg - self.shift_deg) % 180  # as the fit saw it
            bell = np.exp(-0.5 * (away / axis.spread_deg) ** 2) / (axis.spread_deg * np.sqrt(2 * np.pi))
            density += axis.weight * bell
        return density


def chromatic_angle(color: FilterColor) -> float | None:
    """Return the angle, of 0 up to 180 degrees, between a unit's axis and that of red and green in the chromatic plane.

    None for units that say nothing of the axes of a layer: all but the aligned, centered and chromatic of two colors.
    """
    if (color.alignment, color.position, color.tone, color.colors) != ("aligned", "centered", "chromatic", "double"):
        return None
    _, red_green, yellow_blue = color.axis.directions[0]
    return float(np.degrees(np.arctan2(yellow_blue, red_green)) % 180 % 180)  # twice: -1e-20 % 180 is 180


def find_axes(angles_deg: Sequence[float], settings: AxisSetting = DEFAULT_AXES) -> LayerAxes:
    """Fit mixtures of each number of components to each cut of the circle, and return the one of least AIC.

    A mixture of K has 3 K - 1 numbers to fit; it is tried where there are `units_per_component` times K units, and K
    different angles.

    angles_deg: of the units of a layer, finite; angles 180 apart are the same.

    Raises:
        TooFewUnits: there are not enough for the fewest components.
        ValueError: invalid settings, or angles that are not finite.
    """
    *_, axes = search_axes(angles_deg, settings)
    assert axes
    return axes


def search_axes(angles_deg: Sequence[float], settings: AxisSetting = DEFAULT_AXES) -> Iterator[LayerAxes | None]:
    """Do what `find_axes` does; yields None after each mixture, and last the axes."""
    settings.check()
    if not np.isfinite(angles_deg).all():
        raise ValueError("there are angles that are no numbers; leave out units without an angle")
    angles = _rounded(angles_deg)
    fewest, different = settings.min_components, len(np.unique(angles))
    most = min(settings.max_components, len(angles) // settings.units_per_component, different)
    if most < fewest:
        raise TooFewUnits(
            f"too few units: {len(angles)} have a chromatic axis, at {different} different angles, and {fewest} color "
            f"axes need {fewest} in {settings.units_per_component * fewest} units; take a layer with more units, "
            "looser thresholds, or fewer units per component"
        )
    counts = range(fewest, most + 1)
    best: _Fit | None = None
    for shift, components in itertools.product(range(0, 180, settings.bin_deg), counts):
        fit = _fit(angles, shift, components, settings)
        if best is None or round(fit[0], 6) < round(best[0], 6):  # of equal ones the first cut
            best = fit
        yield None
    assert best
    aic, shift, axes = best
    tried = counts[0], counts[-1]
    yield LayerAxes(axes, aic, float(shift), len(angles), angle_histogram(angles_deg, settings), tried, settings)


def angle_histogram(angles_deg: Sequence[float], settings: AxisSetting = DEFAULT_AXES) -> Wide:
    """Return how many units there are in each bin, (180 / bin_deg,), the first from 0 degrees."""
    return np.histogram(_rounded(angles_deg), bins=180 // settings.bin_deg, range=(0, 180))[0].astype(float)


def _rounded(angles_deg: Sequence[float]) -> Wide:
    """Return angles of 0 up to 180; what differs by less than a hundredth is the same to k-means."""
    rounded: Wide = np.round(np.asarray(angles_deg, dtype=float) % 180, 2) % 180
    return rounded


def _fit(angles: Wide, shift: int, components: int, settings: AxisSetting) -> _Fit:
    """Return AIC, shift and axes of the mixture over angles counted from the cut at `shift` degrees."""
    from sklearn.mixture import GaussianMixture  # late: it takes a second of a server's start

    opened = ((angles - shift) % 180)[:, None]
    mixture = GaussianMixture(
        components, reg_covar=settings.min_spread_deg**2, max_iter=2000, random_state=settings.seed
    )
    with ONE_BLAS_THREAD, threadpool_limits(1):
        mixture.fit(opened)
    angle, spread = (mixture.means_[:, 0] + shift) % 180, np.sqrt(mixture.covariances_[:, 0, 0])
    found = zip(angle.tolist(), spread.tolist(), mixture.weights_.tolist(), strict=True)
    return float(mixture.aic(opened)), shift, tuple(LayerAxis(*axis) for axis in sorted(found))
