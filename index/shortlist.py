"""Finds out from rounded copies of vectors which are worth comparing exactly: a quarter of the memory to read."""

import math

import faiss
import numpy as np

from whymatch.embed import Array
from whymatch.index.scan import scan
from whymatch.index.vector_index import Ids

LEVELS = 255
ALIGNED = 16
"""FAISS compares bytes ten times as fast if a vector has a multiple of so many."""
MARGIN = 0.05
"""Of the range of values that is left for vectors to come, on either side."""
AT_A_TIME = 4096
SLACK = 1e-4
"""More than float32 rounds, and a hundredth of what bytes do."""


class Shortlist:
    """Copies of the vectors of a flat FAISS index, a byte for each value.

    Rounding moves a query by some distance and no vector further than `_error`. So the distance of their copies is off
    by both together at most (triangle inequality), which bounds how near a vector can be, and what it can score.
    """

    def __init__(self, vectors: Array) -> None:
        """Copy unit vectors (n, C), at least one."""
        self._dimensions = vectors.shape[1]
        low, high = float(vectors.min()), float(vectors.max())
        spare = MARGIN * (high - low) or 1.0
        self._low, self._high = low - spare, high + spare
        self._step = (self._high - self._low) / LEVELS
        self._error = 0.0
        self._copies = faiss.IndexScalarQuantizer(
            math.ceil(self._dimensions / ALIGNED) * ALIGNED, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2
        )
        for start in range(0, len(vectors), AT_A_TIME):
            self.add(vectors[start : start + AT_A_TIME])

    def fits(self, vectors: Array) -> bool:
        """Say whether the values of vectors (n, C) can be copied."""
        return bool(((vectors >= self._low) & (vectors <= self._high)).all())

    def add(self, vectors: Array) -> None:
        """Copy more vectors (n, C), which fit."""
        codes, moved = self._rounded(vectors)
        self._copies.add(codes)
        self._error = max(self._error, float(moved.max(initial=0)))

    def remove(self, places: Ids) -> None:
        """Remove vectors; those behind them move up."""
        self._copies.remove_ids(places)

    def nearest(self, query: Array, count: int) -> tuple[Ids, Array]:
        """Return where the vectors whose copies are nearest to a query (1, C) stand, and the most that each can score.

        count: how many; not more than there are.
        Returns places (count), nearest copy first, and upper bounds of the inner product of the vector there, and of
        all that come after it or not at all, with the query.
        """
        length = float(np.linalg.norm(query)) or 1.0
        codes, moved = self._rounded(query / length)
        squares, places = scan(self._copies, codes, count)
        distances = np.maximum(0, np.sqrt(squares[0]) * self._step - moved - self._error)
        return places[0], length * ((2 - distances**2) / 2 + SLACK)  # |q - x|^2 = 1 + |x|^2 - 2 q . x, and |x| <= 1

    def _rounded(self, vectors: Array) -> tuple[Array, Array]:
        """Return copies of vectors (n, C), (n, C aligned) float32 from 0 to 255, and how far each has moved, (n)."""
        codes = np.zeros((len(vectors), self._copies.d), np.float32)
        levels = codes[:, : self._dimensions]
        np.rint((vectors - self._low) / self._step, out=levels)
        np.clip(levels, 0, LEVELS, out=levels)
        return codes, np.linalg.norm(levels * self._step + self._low - vectors, axis=1)
