"""The samplers of prediction difference: possible contents of an unknown window (Zintgraf, Cohen, Welling).

The conditional sampler assumes that the l x l patch around a k x k window is normal. For the values A of the window and
the values B around it, A given x_B has

    mean  mu_A + G (x_B - mu_B),  G = S_AB S_BB^-1,  and covariance  S_AA - G S_BA.

Pixels are (h, w, 3) with values of 0 to 255; the values of a patch lie in the order row, column, channel. The map of a
layer, (H, W, C), may take the place of the image: then its cells are taken as unknown (equation 6).
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from whymatch.embed import ONE_BLAS_THREAD, Array
from whymatch.explain.patches import Cells, PatchNormal, Wide

SamplerKind = Literal["conditional", "marginal", "mean"]
RIDGE = 1e-4
"""Added to the variance of each value, as a part of their mean, which keeps any covariance positive definite.
It is noise of 0.7 levels where pixels spread by 70, as in photographs. Values that never vary have a least variance."""


class Sampler(Protocol):
    """Draws possible contents of a window."""

    @property
    def kind(self) -> SamplerKind:
        """`conditional`, `marginal` or `mean`."""

    def draw(self, pixels: Cells, top: int, left: int, count: int) -> Array:
        """Return (count, k, k, C) float32 for the window whose first pixel, or cell, is at (top, left).

        A draw depends on the seed, the place and its number alone: drawing more leaves the first ones as they are.

        pixels: (h, w, 3) of 0 to 255, or the map of a layer (H, W, C).
        """


class ConditionalSampler:
    """Draws from the normal of a window given what is around it, clipped to what a pixel, or a cell, can be."""

    kind: SamplerKind = "conditional"

    def __init__(self, normal: PatchNormal, window_px: int, seed: int) -> None:
        self._windows = _Windows(normal, window_px)
        self._seed = seed

    def draw(self, pixels: Cells, top: int, left: int, count: int) -> Array:
        """Return (count, k, k, C) float32; see `Sampler`."""
        mean, factor = self._windows.given(pixels, top, left)
        noise = np.random.default_rng([self._seed, top, left]).standard_normal((count, len(mean)))
        # One product for each draw: the last digits of a product of matrices depend on how many rows there are.
        return self._windows.contents(mean + (factor @ noise[..., None])[..., 0])


class MeanSampler:
    """Gives the mean of a window given what is around it, clipped in the same way; all draws are the same."""

    kind: SamplerKind = "mean"

    def __init__(self, normal: PatchNormal, window_px: int) -> None:
        self._windows = _Windows(normal, window_px)

    def draw(self, pixels: Cells, top: int, left: int, count: int) -> Array:
        """Return (count, k, k, C) float32; see `Sampler`."""
        mean, _ = self._windows.given(pixels, top, left)
        return self._windows.contents(np.tile(mean, (count, 1)))


class MarginalSampler:
    """Draws, with replacement, from what other images have at the place of the window."""

    kind: SamplerKind = "marginal"

    def __init__(self, others: Cells, window_px: int, seed: int) -> None:
        """Keep the other images, (n, h, w, 3), or their maps, of the size of those that `draw` gets."""
        self._others, self._window_px, self._seed = others, window_px, seed

    def draw(self, pixels: Cells, top: int, left: int, count: int) -> Array:
        """Return (count, k, k, C) float32; see `Sampler`. `pixels` is not used."""
        chosen = np.random.default_rng([self._seed, top, left]).integers(len(self._others), size=count)
        rows, columns = slice(top, top + self._window_px), slice(left, left + self._window_px)
        return self._others[chosen, rows, columns].astype(np.float32)


@dataclass(frozen=True, eq=False)
class _Place:
    """Where a window lies in its patch, and what follows from that alone."""

    inside: NDArray[np.intp]
    """A, (a,): the window's values in the patch."""
    outside: NDArray[np.intp]
    """B, (b,): the others."""
    gain: Wide
    """G, (a, b)."""
    factor: Wide
    """(a, a), the Cholesky factor of the covariance of A given B."""


class _Windows:
    """The normals of windows of k x k pixels, or cells, given the rest of their patch of l x l."""

    def __init__(self, normal: PatchNormal, window_px: int) -> None:
        self._normal, self._window_px = normal, window_px
        self._places: dict[tuple[int, int], _Place] = {}

    def given(self, pixels: Cells, top: int, left: int) -> tuple[Wide, Wide]:
        """Return the mean (a,) of a window's values and the Cholesky factor (a, a) of their covariance."""
        side, mean = self._normal.context_px, self._normal.mean
        margin = (side - self._window_px) // 2  # the patch is centered on the window as the border allows
        first_row = min(max(top - margin, 0), pixels.shape[0] - side)
        first_column = min(max(left - margin, 0), pixels.shape[1] - side)
        place = self._place(top - first_row, left - first_column)
        patch = pixels[first_row : first_row + side, first_column : first_column + side]
        around = self._normal.values(patch)[place.outside]
        return mean[place.inside] + place.gain @ (around - mean[place.outside]), place.factor

    def contents(self, values: Wide) -> Array:
        """Return values (count, a) as windows (count, k, k, C)."""
        return self._normal.contents(values, self._window_px)

    def _place(self, row: int, column: int) -> _Place:
        if (row, column) not in self._places:
            side, window = (
                self._normal.context_px,
                np.s_[row : row + self._window_px, column : column + self._window_px],
            )
            unknown = np.zeros((side, side, self._normal.channels), bool)
            unknown[window] = True
            self._places[row, column] = _condition(self._normal, unknown.reshape(-1))
        return self._places[row, column]


def _condition(normal: PatchNormal, unknown: NDArray[np.bool_]) -> _Place:
    """Compute gain and factor from the Cholesky factor of the covariance with B before A, [[L_B, 0], [L_AB, L_A]].

    G = L_AB L_B^-1, and L_A is the factor of S_AA - G S_BA.
    """
    inside, outside = np.flatnonzero(unknown), np.flatnonzero(~unknown)
    covariance = normal.covariance
    ridge = RIDGE * max(float(covariance.diagonal().mean()), normal.least_variance)
    order, known = np.concatenate([outside, inside]), len(outside)
    with ONE_BLAS_THREAD, threadpool_limits(1, user_api="blas"):
        lower = np.linalg.cholesky(covariance[np.ix_(order, order)] + ridge * np.eye(len(order)))
        gain = np.linalg.solve(lower[:known, :known].T, lower[known:, :known].T).T
    return _Place(inside, outside, gain, np.ascontiguousarray(lower[known:, known:]))
