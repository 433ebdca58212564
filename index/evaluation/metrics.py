"""Measures of retrieval, from unit vectors and labels: is what comes first of the query's own label?

Each query orders the gallery by inner product, largest first; equal scores keep the order of the gallery. An image
never finds itself: a query that is in the gallery, too, searches the others, which is "leave one out" when all images
are both. Scores are float32, so those that differ by less than 1e-6 may come in either order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array

Mask = NDArray[np.bool_]
Positions = NDArray[np.intp]

RECALL_AT = (1, 5, 10)
SCORES_AT_A_TIME = 2**24
"""64 MiB, whatever the size of the gallery."""


@dataclass(frozen=True)
class Quality:
    """How well some queries found the images of their labels; all but counts are means over the queries, 0 to 1.

    r is how many images of its label a query can find, and an image's rank counts from 1.
    """

    queries: int
    """Those that could find something; only they count."""
    labels: int
    """Of these queries."""
    precision_at_1: float
    """How often the first image has the label."""
    recall_at: dict[int, float]
    """By k: how often one of the first k images has the label (as metric learning has it, not the share of r)."""
    mean_average_precision: float
    """Of one query: the mean, over the r images, of the share of the label among the images up to there."""
    map_at_r: float
    """The same, but an image ranked below r counts 0 (Musgrave et al., "A Metric Learning Reality Check")."""


def findable(labels: Sequence[str], queries: Mask, gallery: Mask) -> Mask:
    """Say which queries (n,) have another image of their label in the gallery; all others are to be left out."""
    _, numbers = np.unique(labels, return_inverse=True)
    found: Mask = queries & (_others(numbers, gallery) > 0)
    return found


def retrieval_quality(
    vectors: Array,
    labels: Sequence[str],
    *,
    queries: Mask | None = None,
    gallery: Mask | None = None,
    recall_at: Sequence[int] = RECALL_AT,
    scores_at_a_time: int = SCORES_AT_A_TIME,
    advance: Callable[[int], None] = lambda queries: None,
) -> Quality:
    """Let queries search a gallery.

    vectors: (n, D) float32, of length 1 or zero.
    labels: n.
    queries, gallery: (n,), which images are queries and which the gallery; by default all are both, which is leave one
        out. A query that has nothing to find stays in the gallery, but is left out as a query.
    advance: called now and then with the number of queries done since.

    Raises:
        ValueError: no query has anything to find.
    """
    everything = np.ones(len(vectors), bool)
    queries = everything if queries is None else queries
    gallery = everything if gallery is None else gallery
    asking = np.flatnonzero(findable(labels, queries, gallery))
    if not len(asking):
        raise ValueError("no query has another image of its label in the gallery")
    _, numbers = np.unique(labels, return_inverse=True)
    searched = np.flatnonzero(gallery)
    members = _members(numbers[searched], numbers.max() + 1)
    place = np.full(len(vectors), -1)
    place[searched] = np.arange(len(searched))  # in the gallery

    tally = _Tally()
    targets = np.ascontiguousarray(vectors[searched].T)
    step = max(1, scores_at_a_time // len(searched))
    for start in range(0, len(asking), step):
        some = asking[start : start + step]
        for query, scores in zip(some, vectors[some] @ targets, strict=True):
            relevant = members[numbers[query]]
            if gallery[query]:
                scores[place[query]] = -np.inf
                relevant = relevant[relevant != place[query]]
            tally.add(ranks(scores, relevant))
        advance(len(some))
    return tally.quality(len(np.unique(numbers[asking])), recall_at)


def ranks(scores: Array, relevant: Positions) -> Positions:
    """Return the ranks, counted from 1, that some positions have among scores (n,), in ascending order."""
    ordered = np.sort(scores)  # several times as fast as argsort, which only ties need
    wanted = np.sort(scores[relevant])[::-1]
    above = len(scores) - np.searchsorted(ordered, wanted, side="right")
    not_below = len(scores) - np.searchsorted(ordered, wanted, side="left")
    if (not_below - above == 1).all():
        return above + 1
    is_relevant = np.zeros(len(scores), bool)
    is_relevant[relevant] = True
    return np.flatnonzero(is_relevant[np.argsort(-scores, kind="stable")]) + 1


class _Tally:
    """What the queries found, one after the other."""

    def __init__(self) -> None:
        self._first: list[int] = []
        self._precisions: list[float] = []
        self._precisions_at_r: list[float] = []

    def add(self, ranks: Positions) -> None:
        """Count one query, which found its r images at these ascending ranks (r,)."""
        precisions = np.arange(1, len(ranks) + 1) / ranks
        self._first.append(ranks[0])
        self._precisions.append(precisions.mean())
        self._precisions_at_r.append(precisions[ranks <= len(ranks)].sum() / len(ranks))

    def quality(self, labels: int, recall_at: Sequence[int]) -> Quality:
        """Take the means."""
        first = np.array(self._first)
        return Quality(
            queries=len(first),
            labels=labels,
            precision_at_1=float(np.mean(first == 1)),
            recall_at={k: float(np.mean(first <= k)) for k in recall_at},
            mean_average_precision=float(np.mean(self._precisions)),
            map_at_r=float(np.mean(self._precisions_at_r)),
        )


def _others(numbers: Positions, gallery: Mask) -> Positions:
    """Return how many other images of its label the gallery has for each image, (n,)."""
    return np.bincount(numbers, gallery).astype(int)[numbers] - gallery


def _members(numbers: Positions, labels: int) -> list[Positions]:
    """Return the positions of each label, ascending."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.searchsorted(numbers[order], np.arange(1, labels)))
