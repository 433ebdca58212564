"""Bare FAISS, an index in memory, with the number of threads that suits it better.

FAISS searches a flat index with all threads by default. On two busy cores that takes several times longer than one.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import faiss
import numpy as np

from benchmarks.apart import Measure, apart
from benchmarks.report import Times
from benchmarks.vectors import LIMIT, Vectors, median_search

THREADS = (1, os.cpu_count() or 1)


@contextmanager
def bare_faiss(vectors: Vectors) -> Iterator[list[Measure]]:
    """Yield the median seconds of a search with each of `THREADS`, each in a process of its own."""
    with apart(faiss_search, vectors, THREADS[0]) as one, apart(faiss_search, vectors, THREADS[1]) as every:
        yield [one, every]


def faiss_search(vectors: Vectors, threads: int) -> Measure:
    """Measure exact searches with this number of threads."""
    stored = vectors.load()
    index = faiss.IndexFlatIP(stored.shape[1])
    index.add(stored)
    faiss.omp_set_num_threads(threads)
    return median_search(vectors, lambda query: index.search(query[None], LIMIT)[1][0].tolist())


def better_of(times: Times) -> tuple[Times, str]:
    """Return the times (rounds,) of the better of `THREADS` among those of both, (2, rounds), and words for both."""
    one_ms, every_ms = np.median(times, axis=1) * 1000
    winner, setting = (times[0], "one thread") if one_ms <= every_ms else (times[1], f"all {THREADS[1]} threads")
    words = f"bare FAISS {one_ms:.2f} ms with one thread, {every_ms:.2f} ms with all {THREADS[1]}"
    return winner, f"{words}, compared with {setting}"
