"""Near duplicates: groups of vectors whose inner products are high, found by comparing all with all."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array, Progress
from whymatch.index.vector_index import Ids

ROWS, COLUMNS = 1024, 4096
"""Vectors that are compared at a time; their scores fill 16 MiB."""
ROUNDING = 1e-6
"""What float32 may take off a score, that of an image with its own copy, say."""


class DuplicateGroup(NamedTuple):
    """Vectors that are near duplicates, directly or by way of others of the group."""

    members: Ids
    """Their places, ascending, two at least."""
    least: float
    """The lowest score of two of them; it may be below what was asked for, as a group can be a chain."""
    largest: float
    """The highest score of two of them."""


def near_duplicates(vectors: Array, above: float) -> Iterator[Progress[list[DuplicateGroup]]]:
    """Find the connected components of the graph of all pairs whose score is at least `above`.

    vectors: (n, D) float32 of length 1; a score is the inner product of two.
    above: -1 to 1.

    Yields how many vectors have been compared with all that follow, and last the groups, the largest first, of equally
    large ones the one with the first vector. The work grows with n^2 D; beside the vectors it takes some 200 MiB.
    """
    count = len(vectors)
    components = np.arange(count)
    for start in range(0, count, ROWS):
        for left in range(start, count, COLUMNS):
            scores = _scores(vectors[start : start + ROWS], vectors, left)
            components = _joined(components, start, left, scores >= above - ROUNDING)
            yield Progress("images", start, count)
    groups = []
    for members in _components(components):
        lowest, highest = 1.0, -1.0
        for low, high in _ranges(vectors[members]):
            lowest, highest = min(lowest, low), max(highest, high)
            yield Progress("images", count, count)
        groups.append(DuplicateGroup(members, max(-1.0, lowest), min(1.0, highest)))
    yield Progress("images", count, count, groups)


def _scores(rows: Array, vectors: Array, left: int) -> Array:
    """Return the scores of rows (r, D) with the vectors from place `left` on, (r, up to COLUMNS)."""
    scores: Array = rows @ vectors[left : left + COLUMNS].T
    return scores


def _joined(components: Ids, top: int, left: int, near: NDArray[np.bool_]) -> Ids:
    """Join the components of pairs; return the first place of the component of each place, (n,), as it is given.

    near: whether the places from `top` on and those from `left` on are a pair, (r, c); it is used up.
    """
    while near.any():
        first = components[top : top + near.shape[0]]
        second = components[left : left + near.shape[1]]
        near &= first[:, None] != second
        rows, columns = np.nonzero(near)
        one, other = first[rows], second[columns]
        parents = np.arange(len(components))
        np.minimum.at(parents, np.maximum(one, other), np.minimum(one, other))
        while (parents != parents[parents]).any():
            parents = parents[parents]
        components = parents[components]
    return components


def _components(components: Ids) -> list[Ids]:
    """Return the places of each component of two or more, the largest first."""
    order = np.argsort(components, kind="stable")
    borders = np.flatnonzero(np.diff(components[order])) + 1
    several = [members for members in np.split(order, borders) if len(members) > 1]
    return sorted(several, key=lambda members: (-len(members), members[0]))


def _ranges(vectors: Array) -> Iterator[tuple[float, float]]:
    """Yield the lowest and the highest score of two different vectors, of some pairs at a time."""
    for start in range(0, len(vectors), ROWS):
        for left in range(start, len(vectors), COLUMNS):
            scores = _scores(vectors[start : start + ROWS], vectors, left)
            pairs = scores[np.arange(len(scores))[:, None] + start < np.arange(scores.shape[1])[None] + left]
            if len(pairs):
                yield float(pairs.min()), float(pairs.max())
