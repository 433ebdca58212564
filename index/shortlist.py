"""Finds the best vectors of a flat FAISS index, exactly, by comparing rounded copies first: a byte for each value."""

import math
from typing import Any, NamedTuple

import faiss
import numpy as np

from whymatch.embed import Array
from whymatch.index.scan import scan
from whymatch.index.vector_index import Ids

PAYS_FROM = 2**22
"""Numbers from which on copies save time."""
LENGTH, TIMES = 512, 8
"""Vectors on a shortlist: LENGTH, or TIMES the limit if that is more."""
SHARE = 16
"""A shortlist of more than this part of all vectors is not worth it."""
LONGEST_PAUSE = 64
"""Queries that go by without a shortlist where it keeps being too short."""
LEVELS = 255
ALIGNED = 16
"""FAISS compares bytes ten times as fast if the length of a vector is a multiple of this."""
MARGIN = 0.05
"""Of the range of values that is left for vectors to come, on either side."""
AT_A_TIME = 4096
SLACK = 1e-4
"""Of scores of unit queries: more than float32 rounds, and little beside what bytes do."""


def pays(count: int, dimensions: int) -> bool:
    """Say whether copies of that many vectors save time."""
    return count >= LENGTH * SHARE and count * dimensions >= PAYS_FROM


class Chosen(NamedTuple):
    """Some places of a flat index."""

    places: Ids
    """Ascending."""
    selector: Any
    """Of FAISS, for the same places."""


class Shortlist:
    """Copies of the vectors of a flat FAISS index, in the same places.

    Rounding moves a query by some distance, and no vector further than `_error`. So the distance of their copies is off
    by both together at most (triangle inequality), which bounds how near a vector can be, and what it can score. If the
    best that is found scores more than any vector could that is not on the shortlist, it is the best of all.
    """

    def __init__(self, vectors: Array) -> None:
        """Copy vectors (n, C) of length 1 or 0, at least one."""
        self._dimensions = vectors.shape[1]
        low, high = float(vectors.min()), float(vectors.max())
        spare = MARGIN * (high - low) or 1.0
        self._low, self._high = low - spare, high + spare
        self._step = (self._high - self._low) / LEVELS
        self._error = 0.0
        self._pause = self._pauses_left = 0
        self._copies = faiss.IndexScalarQuantizer(
            math.ceil(self._dimensions / ALIGNED) * ALIGNED, faiss.ScalarQuantizer.QT_8bit_direct, faiss.METRIC_L2
        )
        self.add(vectors)

    def fits(self, vectors: Array) -> bool:
        """Say whether vectors (n, C) can be copied: their values are in the range that bytes stand for."""
        return bool(((vectors >= self._low) & (vectors <= self._high)).all())

    def add(self, vectors: Array) -> None:
        """Copy more vectors (n, C), which fit."""
        for start in range(0, len(vectors), AT_A_TIME):
            codes, moved = self._rounded(vectors[start : start + AT_A_TIME])
            self._copies.add(codes)
            self._error = max(self._error, float(moved.max()))

    def remove(self, places: Ids) -> None:
        """Remove vectors; those behind them move up."""
        self._copies.remove_ids(places)

    def best(self, flat: Any, query: Array, limit: int, chosen: "Chosen | None" = None) -> tuple[Array, Ids] | None:
        """Return the scores of the best vectors for one query (1, C), and their places, (1, limit) each, best first.

        flat: the index that was copied. chosen: the places to compare, None for all.
        Returns None where the shortlist may be too short. It is then left out for a query, and each next time for
        twice as many: some galleries have no use for it.
        """
        count = max(LENGTH, TIMES * limit)
        if count > (flat.ntotal if chosen is None else len(chosen.places)) // SHARE or self._rests():
            return None
        exact = query.astype(float)  # the length of a tiny query is less than float32 can hold, or divide by
        length = float(np.linalg.norm(exact)) or 1.0
        unit = (exact / length).astype(np.float32)
        places, bounds = self._nearest(unit, count, None if chosen is None else chosen.selector)
        worth = np.sort(places[bounds >= scores_of(flat, unit, places[:limit]).min()])
        if len(worth) == count:
            self._pause = self._pauses_left = min(2 * self._pause or 1, LONGEST_PAUSE)
            return None
        self._pause = 0
        scores = scores_of(flat, unit, worth)
        best = np.argsort(-scores, kind="stable")[:limit]
        return (scores[None, best] * length).astype(np.float32), worth[None, best]

    def _rests(self) -> bool:
        self._pauses_left -= 1
        return self._pauses_left >= 0

    def _nearest(self, query: Array, count: int, among: Any = None) -> tuple[Ids, Array]:
        """Return where the vectors whose copies are nearest to a query (1, C) stand, and the most that each can score.

        query: of length 1 or 0. count: not more than there are. among: as of `scan`.
        Returns places (count), nearest copy first, and upper bounds of the inner product with the vector there, and
        with all that come after it or not at all.
        """
        inside = query.clip(self._low, self._high)
        codes, moved = self._rounded(inside)
        squares, places = scan(self._copies, codes, count, among)
        distances = np.maximum(0, np.sqrt(squares[0]) * self._step - moved - self._error)
        beyond = ((query - inside) ** 2).sum()  # all vectors lie on the other side of `inside`: squares add, at least
        return places[0], (2 - beyond - distances**2) / 2 + SLACK  # |q - x|^2 = |q|^2 + |x|^2 - 2 q . x

    def _rounded(self, vectors: Array) -> tuple[Array, Array]:
        """Return copies of vectors (n, C), (n, C aligned) float32 from 0 to 255, and how far each has moved, (n)."""
        codes = np.zeros((len(vectors), self._copies.d), np.float32)
        levels = codes[:, : self._dimensions]
        np.rint((vectors - self._low) / self._step, out=levels)
        np.clip(levels, 0, LEVELS, out=levels)
        return codes, np.linalg.norm(levels * self._step + self._low - vectors, axis=1)


def scores_of(flat: Any, query: Array, places: Ids) -> Array:
    """Return the inner products of a query (1, C) with vectors of a flat index, (n)."""
    scores, places = np.empty(len(places), np.float32), np.ascontiguousarray(places)
    if not len(places):  # which FAISS refuses
        return scores
    flat.compute_distance_subset(1, faiss.swig_ptr(query), len(places), faiss.swig_ptr(scores), faiss.swig_ptr(places))
    return scores
