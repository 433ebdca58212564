"""Pooling a feature map into one vector, and the exact share that each cell has in it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed.single_thread import in_pieces

Array = NDArray[np.float32]
PoolingKind = Literal["average", "max", "gem"]

TINY = np.float32(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class Pooling:
    """How the cells of a feature map alpha (H, W, C) become a pooled vector beta (C).

    average: beta_c = mean(alpha_c)                        (Stylianou et al., equation 2)
    max:     beta_c = max(alpha_c)                         (equation 4)
    gem:     beta_c = mean(max(alpha_c, 0)^p)^(1/p)        (generalized mean; p = 1 is average, large p tends to max)
    """

    kind: PoolingKind = "average"
    power: float = 3.0
    """p of `gem`, at least 1; the others ignore it."""

    def pool(self, feature_maps: Array) -> Array:
        """Pool feature maps (..., H, W, C) into vectors (..., C), both float32."""
        if self.kind == "average":
            pooled: Array = np.mean(feature_maps, axis=(-3, -2), dtype=np.float32)
        elif self.kind == "max":
            pooled = np.max(feature_maps, axis=(-3, -2))
        else:
            pooled = self._generalized_mean(feature_maps)
        return pooled

    def contributions(self, feature_map: Array, pooled: Array) -> Array:
        """Return the share a (H, W, C) of each cell in a pooled vector: the sum of a over H and W is `pooled`.

        average: a_xyc = alpha_xyc / (H W)                                  (equation 3)
        max:     a_xyc = alpha_xyc / N_c where alpha_xyc is the maximum of its channel, else 0; N_c counts the ties
                                                                            (equation 5)
        gem:     a_xyc = beta_c alpha_xyc^p / sum_xy alpha_xyc^p

        feature_map: (H, W, C) float32; it may have been rounded since `pooled` (C) was made of it. What rounding took
        is given back to the cells in proportion to |a|, so that the sum holds all the same.
        """
        shares = self._shares(feature_map)
        size = np.abs(shares)
        weights = size / np.maximum(size.sum(axis=(0, 1)), TINY)
        exact: Array = shares + (pooled - shares.sum(axis=(0, 1))) * weights
        return exact

    def spread(self, feature_map: Array, pooled: Array, vector: Array) -> Array:
        """Return contributions(feature_map, pooled) . vector, (H, W), without making the contributions.

        One matrix product instead of a pass for each term. What rounding took is given back to the sums of the cells
        instead of to each channel; the result sums to pooled . vector all the same.
        """
        base, factors = self._factored(feature_map)
        spread = base @ (factors * vector)
        size = np.abs(spread)
        exact: Array = spread + (pooled @ vector - spread.sum()) * (size / max(size.sum(), TINY))
        return exact

    def part(self, feature_map: Array, pooled: Array, weights: Array) -> Array:
        """Return the sum of contributions(feature_map, pooled), each cell times its weight (H, W), as a vector (C,).

        The same to rounding, without making the contributions: two sums over the cells for each of shares and sizes.
        """
        base, factors = self._factored(feature_map)
        cells = base.reshape(-1, base.shape[-1])
        sums = np.stack([weights.ravel(), np.ones(len(cells), np.float32)])
        part, whole = sums @ cells * factors
        part_size, whole_size = sums @ np.abs(cells)
        exact: Array = part + (pooled - whole) * (part_size / np.maximum(whole_size, TINY))
        return exact

    def _shares(self, feature_map: Array) -> Array:
        base, factors = self._factored(feature_map)
        return base * factors

    def _factored(self, feature_map: Array) -> tuple[Array, Array | np.float32]:
        """Return the contributions as base (H, W, C) times factors, (C) or one for all."""
        rows, columns, _ = feature_map.shape
        if self.kind == "average":
            return feature_map, np.float32(1 / (rows * columns))
        if self.kind == "max":
            peak = feature_map.max(axis=(0, 1))
            highest = (feature_map == peak).astype(np.float32)
            return highest, peak / highest.sum(axis=(0, 1))
        powers = self._powers(feature_map)
        return powers, self._generalized_mean(feature_map) / np.maximum(powers.sum(axis=(0, 1)), TINY)

    def _generalized_mean(self, feature_maps: Array) -> Array:
        mean = np.mean(self._powers(feature_maps), axis=(-3, -2), dtype=np.float32)
        return np.power(mean, np.float32(1 / self.power)) * _peaks(feature_maps)[..., 0, 0, :]

    def _powers(self, feature_maps: Array) -> Array:
        """Return (alpha / peak)^p, activations clamped at 0: scaled by the peak of each channel, no power overflows."""
        peaks = _peaks(feature_maps)
        scaled = np.maximum(feature_maps, np.float32(0)) / np.where(peaks > 0, peaks, np.float32(1))
        return in_pieces(lambda piece: piece.pow(self.power), torch.from_numpy(scaled), np.float32)


def _peaks(feature_maps: Array) -> Array:
    """Return the largest activation of each channel, at least 0, (..., 1, 1, C)."""
    peaks: Array = np.max(feature_maps, axis=(-3, -2), keepdims=True)
    return np.maximum(peaks, np.float32(0))
