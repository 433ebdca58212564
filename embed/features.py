"""The features of one image: its feature map, pooled vector and embedding."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from whymatch.embed.errors import BadVector
from whymatch.embed.geometry import Placement
from whymatch.embed.head import NO_HEAD, Head
from whymatch.embed.pooling import Array, Pooling


@dataclass(frozen=True, eq=False)
class Features:
    """The feature map alpha of an image, the vector beta pooled from it, and the head between beta and the embedding.

    Contributions a (H, W, C) sum to beta; through a head P beta + b, those of the embedding are P a_xy + b / (H W). All
    are divided by the length of the embedding before it is scaled to 1; those of a zero vector are zeros.
    """

    feature_map: Array
    """alpha, (H, W, C) float32: activations before pooling, rows from top to bottom."""
    pooled: Array
    """beta, (C,) float32."""
    pooling: Pooling
    """How beta is pooled from alpha."""
    placement: Placement
    """Where the pixels of the image went."""
    head: Head = NO_HEAD
    """The map from beta to the embedding."""

    @property
    def embedding(self) -> Array:
        """The pooled vector through the head, scaled to length 1, (D,) float32; zeros for a zero vector."""
        return self.head.embed(self.pooled)

    def through(self, head: Head) -> Self:
        """Return the same with another head."""
        return replace(self, head=head)

    def contributions(self) -> Array:
        """Return each cell's share in the embedding, (H, W, D) float32; the sum over H and W is `embedding`."""
        shares = self.pooling.contributions(self.feature_map, self.pooled)
        return self.head.project(shares, 1 / self._cells) / self._length

    def spread(self, vector: Array) -> Array:
        """Return contributions() . vector, (H, W) float32, faster than through the contributions."""
        back, constant = self.head.pull_back(vector)
        spread = self.pooling.spread(self.feature_map, self.pooled, back)
        return (spread + np.float32(constant / self._cells)) / self._length

    def part(self, weights: Array) -> Array:
        """Return the sum of contributions(), each cell times its weight (H, W): (D,) float32, without these."""
        part = self.pooling.part(self.feature_map, self.pooled, weights)
        return self.head.project(part, float(weights.sum()) / self._cells) / self._length

    @property
    def _cells(self) -> int:
        return math.prod(self.feature_map.shape[:2])

    @property
    def _length(self) -> np.float32:
        """Of the embedding before it is scaled; infinite for a zero vector, so that its contributions are zeros."""
        return np.linalg.norm(self.head.project(self.pooled)) or np.float32(np.inf)


def check_embedding(values: Sequence[float], dimensions: int) -> Array:
    """Return a vector from outside as an embedding: (dimensions,) float32 of length 1.

    Raises:
        BadVector: another length, NaN, infinity, or nothing but zeros.
    """
    if len(values) != dimensions:
        raise BadVector(f"the embedding has {len(values)} values; those of the gallery have {dimensions}")
    wide = np.array(values, np.float64)
    if not np.isfinite(wide).all():
        raise BadVector(f"value {int(np.argmin(np.isfinite(wide)))} of the embedding is not a finite number")
    length = np.linalg.norm(wide)
    if length == 0:
        raise BadVector("the embedding is all zeros and has no direction")
    return (wide / length).astype(np.float32)
