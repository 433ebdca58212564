"""Compares one query with all vectors of a FAISS index that keeps them one behind the other."""

import itertools
import os
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import faiss
import numpy as np

from whymatch.embed import Array
from whymatch.index.vector_index import Ids

PART = 2**23
"""Numbers from which a thread of their own saves time; it starts a millisecond late."""
NEVER = 2**31 - 1
"""Keeps FAISS from a matrix product, which rounds otherwise: one query is compared in one way, whatever ran before."""
THREADS = min(4, os.cpu_count() or 1)
"""Threads that scan for one query; more would wait for memory."""
_scanners = ThreadPoolExecutor(THREADS, "scan", faiss.omp_set_num_threads, (1,))


def scan(index: Any, query: Array, limit: int, among: Any = None) -> tuple[Array, Ids]:
    """Return the scores of the best vectors for one query (1, C), and their places, (1, limit) each, best first.

    index: nobody may change it meanwhile. A part of it is compared in each thread.
    among: a selector of FAISS for the places to compare, None for all. A place is -1 where there are no more.
    """
    parts = max(1, min(THREADS, index.ntotal * index.d // PART))
    borders = [index.ntotal * part // parts for part in range(parts + 1)]
    faiss.omp_set_num_threads(1)
    faiss.cvar.distance_compute_blas_threshold = NEVER
    if parts == 1:
        return index.search(query, limit, params=_only(among))  # type: ignore[no-any-return]
    ranges = [faiss.IDSelectorRange(first, end) for first, end in itertools.pairwise(borders)]
    own, *others = (_only(part if among is None else faiss.IDSelectorAnd(part, among)) for part in ranges)
    waiting = [_scanners.submit(index.search, query, limit, params=other) for other in others]
    try:
        found = [index.search(query, limit, params=own)]
    finally:
        wait(waiting)
    found += [other.result() for other in waiting]
    scores, places = (np.concatenate(part, axis=1) for part in zip(*found, strict=True))
    order = np.argsort(-scores if index.metric_type == faiss.METRIC_INNER_PRODUCT else scores, kind="stable")
    best = order[:, :limit]
    return np.take_along_axis(scores, best, 1), np.take_along_axis(places, best, 1)


def _only(selector: Any) -> Any:
    return None if selector is None else faiss.SearchParameters(sel=selector)
