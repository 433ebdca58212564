"""How far a similarity map moved from one model to another, and how few of its cells carry it, each as one number."""

import numpy as np
from numpy.typing import NDArray

from whymatch.client.results import SimilarityMap

Edges = NDArray[np.float64]
Shares = NDArray[np.float64]


def map_distance(one: SimilarityMap, other: SimilarityMap) -> float | None:
    """Return how differently two maps of one image share out their positive values over it.

    The total variation distance: 0 if both give every place the same share, 1 if they have no place in common. Grids
    may differ: both maps are cut along the edges of all cells of both. None if a map has no positive value.
    """
    rows = np.union1d(_row_edges(one), _row_edges(other))
    columns = np.union1d(_column_edges(one), _column_edges(other))
    if one.values.max() <= 0 or other.values.max() <= 0:
        return None
    return float(np.abs(_shares(one, rows, columns) - _shares(other, rows, columns)).sum() / 2)


def half_share(one: SimilarityMap) -> float | None:
    """Return the share of the cells that hold half of the map's positive values, the largest first.

    Above 0 and up to 1; small for a map with few strong cells. None if the map has no positive value.
    """
    sums = np.sort(np.maximum(one.values, 0, dtype=np.float64), axis=None)[::-1].cumsum()
    if sums[-1] <= 0:
        return None
    return float((np.searchsorted(sums, sums[-1] / 2) + 1) / sums.size)


def _row_edges(one: SimilarityMap) -> Edges:
    return np.linspace(one.area.top_px, one.area.bottom_px, one.values.shape[0] + 1)


def _column_edges(one: SimilarityMap) -> Edges:
    return np.linspace(one.area.left_px, one.area.right_px, one.values.shape[1] + 1)


def _shares(one: SimilarityMap, rows: Edges, columns: Edges) -> Shares:
    """Return the share of the positive values that lies in each rectangle between edges, (n, m)."""
    values = np.maximum(one.values, 0, dtype=np.float64)
    down, across = _overlaps(rows, _row_edges(one)), _overlaps(columns, _column_edges(one))
    shares: Shares = down @ (values / values.sum()) @ across.T  # (n, rows) x (rows, columns) x (columns, m)
    return shares


def _overlaps(edges: Edges, cells: Edges) -> Shares:
    """Return which share of each of c cells lies in each of n stretches, (n, c)."""
    first = np.maximum(edges[:-1, None], cells[:-1])
    last = np.minimum(edges[1:, None], cells[1:])
    overlaps: Shares = np.maximum(last - first, 0) / np.diff(cells)
    return overlaps
