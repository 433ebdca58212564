"""Patches of a layer's cells, and the normal distribution fitted to them in the layer's leading principal channels.

A layer has too many channels for a covariance over patches of all of them. A cell c (C,) is taken for
m + U' (U (c - m)): U (r, C) has the leading principal directions of the layer's cells, m is their mean.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

from whymatch.embed import ONE_BLAS_THREAD, Array, Moments, Progress, TooFewImages
from whymatch.explain.patches import (
    BATCH,
    PATCHES,
    Cells,
    PatchNormal,
    Wide,
    add_batches,
    random_patches,
    side_by_side,
)

PRINCIPAL_CHANNELS = 64
"""r at most."""
PRINCIPAL_CELLS = 20_000
"""About how many cells the principal directions come from: those of the first images' patches."""


@dataclass(frozen=True, eq=False)
class CellNormal(PatchNormal):
    """The normal distribution over patches of l x l cells of a layer, in its r leading principal channels.

    `context_px` is in cells, `mean` is (l l r,) and `covariance` (l l r, l l r).
    """

    least_variance: ClassVar[float] = 1e-12
    center: Wide
    """m, (C,)."""
    directions: Wide
    """U, (r, C); rows of length 1, at right angles."""
    low: Array
    """(C,), the smallest response of each channel in the images; 0 behind a ReLU that is ever closed."""
    high: Array
    """(C,), the largest."""
    variance_share: float
    """How much of the variance of a cell lies in the leading principal channels, 0 to 1."""

    def values(self, patch: Cells) -> Wide:
        """Return the values (l l r,) of a patch (l, l, C)."""
        values: Wide = ((patch - self.center) @ self.directions.T).reshape(-1)
        return values

    def contents(self, values: Wide, side: int) -> Array:
        """Return values (count, side side r) as windows (count, side, side, C), clipped to each channel's range."""
        cells = self.center + values.reshape(-1, side, side, len(self.directions)) @ self.directions
        return cells.clip(self.low, self.high).astype(np.float32)


def fit_cells(
    maps: Iterable[Array], image_count: int, context: int, *, seed: int = 0
) -> Iterator[Progress[CellNormal]]:
    """Fit a normal to about 25,000 patches of cells, equally many of each map, at random places.

    Yields how many images have been seen, and last the normal. It has 64 principal channels, fewer where the layer has
    fewer, or where the patches that fit into the maps side by side are no more than the values of a patch.

    maps: (H, W, C) float32 each; those with a side shorter than a patch are skipped.
    image_count: how many maps come.

    Raises:
        TooFewImages: not even one channel is left.
    """
    fitting = _Fitting(context)
    per_image = -(-PATCHES // max(1, image_count))
    for done, cells in enumerate(maps, 1):
        if min(cells.shape[:2]) >= context:
            fitting.add(cells, per_image, np.random.default_rng([seed, done]))
        yield Progress("images", done, image_count)
    yield Progress("images", image_count, image_count, fitting.finished())


class _Fitting:
    """Takes in maps; the first ones wait until there are enough of them to find the principal directions."""

    def __init__(self, context: int) -> None:
        self._context = context
        self._moments = Moments(products=True)
        self._waiting: list[Array] = []
        self._waiting_cells = 0
        self._principal: _Principal | None = None
        self._low, self._high = np.zeros(0, np.float32), np.zeros(0, np.float32)
        self._apart = self._images = 0

    def add(self, cells: Array, count: int, random: np.random.Generator) -> None:
        """Take in `count` patches of a map, no more than there are places for them."""
        low, high = cells.min((0, 1)), cells.max((0, 1))
        first = self._images == 0
        self._low, self._high = (low, high) if first else (np.minimum(self._low, low), np.maximum(self._high, high))
        places = (cells.shape[0] - self._context + 1) * (cells.shape[1] - self._context + 1)
        self._waiting.append(random_patches(cells, self._context, min(count, places), random))
        self._waiting_cells += self._waiting[-1].shape[0] * self._context**2
        self._apart += side_by_side(cells, self._context)
        self._images += 1
        if self._waiting_cells >= (PRINCIPAL_CELLS if self._principal is None else BATCH):
            self._take_in()

    def finished(self) -> CellNormal:
        """Return the normal, with as many channels as the patches suffice for. Raises TooFewImages."""
        squares = self._context**2
        enough = (self._apart - 1) // squares
        if enough < 1:
            raise TooFewImages(
                f"{self._apart} patches of {self._context} x {self._context} cells fit into the layer's maps side by "
                f"side, and their covariance needs {squares + 1}; add images, or take a smaller context or the "
                "marginal sampler"
            )
        self._take_in()
        assert self._principal
        kept, found = min(enough, len(self._principal.directions)), self._principal
        place = np.arange(squares * len(found.directions)).reshape(squares, -1)[:, :kept].ravel()
        return CellNormal(
            self._context,
            self._moments.mean[place],
            self._moments.covariance[np.ix_(place, place)],
            self._moments.count,
            self._images,
            found.center,
            found.directions[:kept],
            self._low,
            self._high,
            min(1.0, float(found.shares[:kept].sum())),
        )

    def _take_in(self) -> None:
        if not self._waiting:
            return
        patches = np.concatenate(self._waiting)  # (n, l l C)
        cells = patches.reshape(-1, len(self._low))
        if self._principal is None:
            self._principal = _principal(cells)
        values = (cells - self._principal.center) @ self._principal.directions.T
        add_batches(self._moments, values.reshape(len(patches), -1).astype(np.float32))
        self._waiting, self._waiting_cells = [], 0


@dataclass(frozen=True, eq=False)
class _Principal:
    center: Wide
    directions: Wide
    shares: Wide
    """Of the variance, for each direction."""


def _principal(cells: Array) -> _Principal:
    """Return the leading principal directions of cells (n, C)."""
    moments = Moments(products=True)
    add_batches(moments, cells)
    with ONE_BLAS_THREAD, threadpool_limits(1, user_api="blas"):
        variances, directions = np.linalg.eigh(moments.covariance)
    variances = variances.clip(min=0)
    leading = np.argsort(-variances, kind="stable")[:PRINCIPAL_CHANNELS]
    return _Principal(moments.mean, directions[:, leading].T.copy(), variances[leading] / max(variances.sum(), 1e-30))
