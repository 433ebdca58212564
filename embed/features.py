"""What a model makes of one image."""

from dataclasses import dataclass

import numpy as np

from whymatch.embed.errors import BadVector
from whymatch.embed.geometry import Placement
from whymatch.embed.pooling import Array, Pooling


@dataclass(frozen=True, eq=False)
class Features:
    """The feature map of an image and the vector pooled from it."""

    feature_map: Array
    """alpha, (H, W, C) float32: activations before pooling, rows from top to bottom."""
    pooled: Array
    """beta, (C,) float32."""
    pooling: Pooling
    """How beta was made of alpha."""
    placement: Placement
    """Where the pixels of the image went."""

    @property
    def embedding(self) -> Array:
        """The pooled vector scaled to length 1, (C,) float32; zeros for a zero vector."""
        return unit(self.pooled)

    def contributions(self) -> Array:
        """Return each cell's share in the embedding, (H, W, C) float32; the sum over H and W is `embedding`."""
        length = np.linalg.norm(self.pooled) or np.float32(1)
        return self.pooling.contributions(self.feature_map, self.pooled) / length

    def spread(self, vector: Array) -> Array:
        """Return contributions() . vector, (H, W) float32, faster than by making the contributions."""
        length = np.linalg.norm(self.pooled) or np.float32(1)
        return self.pooling.spread(self.feature_map, self.pooled, vector) / length

    def part(self, weights: Array) -> Array:
        """Return the sum of contributions(), each cell times its weight (H, W), (C,) float32, without making them."""
        length = np.linalg.norm(self.pooled) or np.float32(1)
        return self.pooling.part(self.feature_map, self.pooled, weights) / length


def unit(vectors: Array) -> Array:
    """Scale vectors (..., C) to length 1; zero vectors stay zero."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def check_embedding(values: Array, dimensions: int) -> Array:
    """Return a vector from outside as an embedding: (dimensions,) float32 of length 1.

    Raises:
        BadVector: another length, NaN, infinity, or nothing but zeros.
    """
    if values.shape != (dimensions,):
        raise BadVector(f"the embedding has {values.size} values; this model's have {dimensions}")
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all():
        raise BadVector(f"value {int(np.argmin(np.isfinite(wide)))} of the embedding is not a finite number")
    length = np.linalg.norm(wide)
    if length == 0:
        raise BadVector("the embedding is all zeros and has no direction")
    return (wide / length).astype(np.float32)
