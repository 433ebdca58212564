"""Mean and covariance of vectors that come in batches."""

import numpy as np
from numpy.typing import NDArray

from whymatch.embed.pooling import Array

Wide = NDArray[np.float64]


class Moments:
    """Mean and covariance of vectors, taken in one pass: sums of the differences to the mean of the first batch."""

    def __init__(self, *, products: bool) -> None:
        self.count = 0
        self._origin: Wide = np.zeros(0)
        self._sum: Wide = np.zeros(0)
        self._squares = 0.0
        self._products: Wide | None = np.zeros((0, 0)) if products else None

    def add(self, batch: Array) -> None:
        """Take in vectors (n, C)."""
        wide = batch.astype(float)
        if not self.count:
            channels = wide.shape[1]
            self._origin, self._sum = wide.mean(axis=0), np.zeros(channels)
            self._products = None if self._products is None else np.zeros((channels, channels))
        wide -= self._origin
        self.count += len(wide)
        self._sum += wide.sum(axis=0)
        self._squares += float((wide**2).sum())
        if self._products is not None:
            self._products += wide.T @ wide

    @property
    def mean(self) -> Wide:
        """Of each channel, (C,)."""
        return self._origin + self._sum / self.count

    @property
    def covariance(self) -> Wide:
        """Of each pair of channels, (C, C)."""
        assert self._products is not None
        left = self._sum / self.count
        return self._products / self.count - np.outer(left, left)

    @property
    def variance(self) -> float:
        """The trace of the covariance."""
        return self._squares / self.count - float(((self._sum / self.count) ** 2).sum())
