"""What leads in a similarity: channels, pairs of cells, and the smallest box that holds a share of a map."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array, Features
from whymatch.explain.similarity import SimilarityMap

TINY = float(np.finfo(np.float32).tiny)
AT_ONCE = 2**22
"""Numbers in memory at once while all pairs are computed."""
Bounds: TypeAlias = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels of the upright original."""


@dataclass(frozen=True)
class ChannelShare:
    """What one channel contributes to a score; all channels add up to it."""

    channel: int
    score: float


@dataclass(frozen=True)
class Correspondence:
    """What a cell of the query and a cell of the match contribute to a score; all pairs add up to it."""

    query_cell: Bounds
    match_cell: Bounds
    score: float


@dataclass(frozen=True)
class CellShare:
    """What a cell of the query contributes to a score or a gap; all cells add up to it."""

    cell: Bounds
    score: float


def leading_channels(query: Array, match: Array, limit: int, *, either_sign: bool = False) -> list[ChannelShare]:
    """Return the channels with the largest parts in the inner product of two vectors (C,), largest first.

    The part of channel c is beta_qc beta_mc / (|beta_q| |beta_m|) for embeddings.

    either_sign: the largest parts are those farthest from 0.
    """
    parts = query * match
    order = np.argsort(-np.abs(parts) if either_sign else -parts, kind="stable")
    return [ChannelShare(int(channel), float(parts[channel])) for channel in order[:limit]]


def leading_cells(similarity_map: SimilarityMap, limit: int) -> list[CellShare]:
    """Return the cells of a map whose values are farthest from 0, farthest first."""
    values, placement = similarity_map.values, similarity_map.placement
    rows, columns = values.shape
    order = np.argsort(-np.abs(values.ravel()), kind="stable")[:limit]
    return [
        CellShare(placement.cell_box(place // columns, place % columns, rows, columns), float(values.flat[place]))
        for place in order.tolist()
    ]


def component_shares(queries: Array, matches: Array) -> tuple[Array, Array]:
    """Return the share of the score in the K leading channels, K from 1 to C: of each pair, (n, C), and of all, (C,).

    queries, matches: (n, C) float32. Pairs whose score is not positive have no shares and are left out.
    The share of all is that of their mean score: where channels are signed, a pair that is hardly similar has shares
    beyond all bounds, which would carry a mean of shares away. It is zeros without pairs.
    """
    sums: Array = np.cumsum(-np.sort(-queries * matches, axis=1), axis=1)
    sums = sums[sums[:, -1] > TINY]
    total: Array = sums.sum(axis=0, dtype=float)
    return sums / sums[:, -1:], total / max(total[-1], TINY)


def correspondences(
    query: Features,
    match: Features,
    limit: int,
    query_weights: Array | None = None,
    match_weights: Array | None = None,
) -> list[Correspondence]:
    """Return the pairs of cells with the largest a_q(x, y) . a_m(u, v) / (|beta_q| |beta_m|), largest first."""
    if not limit:
        return []
    ours, theirs = _weighted(query, query_weights), _weighted(match, match_weights)
    step = max(1, AT_ONCE // len(theirs))
    scores, pairs = np.empty(0, np.float32), np.empty(0, np.int64)
    for start in range(0, len(ours), step):
        some = (ours[start : start + step] @ theirs.T).ravel()
        scores = np.concatenate([scores, some])
        pairs = np.concatenate([pairs, np.arange(len(some)) + start * len(theirs)])
        best = _largest(scores, limit)
        scores, pairs = scores[best], pairs[best]
    order = np.argsort(-scores, kind="stable")
    return [
        Correspondence(_cell(query, pair // len(theirs)), _cell(match, pair % len(theirs)), score)
        for pair, score in zip(pairs[order].tolist(), scores[order].tolist(), strict=True)
    ]


def best_box(similarity_map: SimilarityMap, share: float = 0.5) -> Bounds | None:
    """Return the box of the fewest cells that holds `share` of all positive values, None if no value is positive.

    share: above 0 and up to 1. Of boxes of the same size the one that holds most is taken.
    """
    positive = similarity_map.values.clip(min=0).astype(float)
    wanted = positive.sum() * share * (1 - 1e-6)
    if wanted <= TINY:
        return None
    rows, columns = positive.shape
    sums = np.zeros((rows + 1, columns + 1))
    sums[1:, 1:] = positive.cumsum(axis=0).cumsum(axis=1)
    tops, bottoms = np.triu_indices(rows + 1, 1)
    lefts, rights = np.triu_indices(columns + 1, 1)
    best = (rows * columns + 1, 0.0, 0, 0)  # cells, minus what they hold, indices of the rows and of the columns
    step = max(1, AT_ONCE // len(lefts))
    for start in range(0, len(tops), step):
        strips = sums[bottoms[start : start + step]] - sums[tops[start : start + step]]
        held = strips[:, rights] - strips[:, lefts]
        cells = np.outer((bottoms - tops)[start : start + step], rights - lefts)
        fewest = np.where(held >= wanted, cells, rows * columns + 1).min()
        strip, span = np.unravel_index(np.where((cells == fewest) & (held >= wanted), held, -1).argmax(), held.shape)
        best = min(best, (int(fewest), -float(held[strip, span]), start + int(strip), int(span)))
    first = similarity_map.placement.cell_box(int(tops[best[2]]), int(lefts[best[3]]), rows, columns)
    last = similarity_map.placement.cell_box(int(bottoms[best[2]]) - 1, int(rights[best[3]]) - 1, rows, columns)
    return first[0], first[1], last[2], last[3]


def _largest(scores: Array, count: int) -> NDArray[np.int64]:
    """Return the places of the largest scores, in their order; of equal ones the first."""
    if len(scores) <= count:
        return np.arange(len(scores))
    cutoff = np.partition(scores, -count)[-count]
    above, equal = np.flatnonzero(scores > cutoff), np.flatnonzero(scores == cutoff)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def _weighted(features: Features, weights: Array | None) -> Array:
    """Return the contributions of each cell, (H W, C)."""
    contributions = features.contributions()
    if weights is not None:
        contributions = contributions * weights[..., None]
    return contributions.reshape(-1, contributions.shape[-1])


def _cell(features: Features, number: int) -> Bounds:
    rows, columns, _ = features.feature_map.shape
    return features.placement.cell_box(number // columns, number % columns, rows, columns)
