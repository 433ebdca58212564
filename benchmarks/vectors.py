"""Random unit vectors to search, what is nearest to some queries, and how long a search for each of these takes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.apart import Measure

LIMIT = 10
QUERIES = 20
Search = Callable[[NDArray[np.float32]], Sequence[int]]
"""Returns the numbers of the vectors that are most similar to a query (C,), best first."""


@dataclass(frozen=True)
class Vectors:
    """Vectors in a file, so that processes of their own read them."""

    file: Path
    queries: NDArray[np.float32]
    """(QUERIES, C)"""
    nearest: NDArray[np.int64]
    """(QUERIES, LIMIT), best first."""

    def load(self) -> NDArray[np.float32]:
        """Return all vectors, (n, C)."""
        vectors: NDArray[np.float32] = np.load(self.file)
        return vectors


def write_vectors(folder: Path, count: int, dimensions: int) -> Vectors:
    """Draw vectors and queries; the same ones every time."""
    drawn = np.random.default_rng(0).standard_normal((count + QUERIES, dimensions), np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    vectors, queries = drawn[:count], drawn[count:]
    file = folder / f"{count}.npy"
    np.save(file, vectors)
    return Vectors(file, queries, np.argsort(-queries @ vectors.T, axis=1)[:, :LIMIT])


def median_search(vectors: Vectors, search: Search) -> Measure:
    """Return what measures the median seconds of a search for each query, and checks what it finds."""

    def measure() -> float:
        times = []
        for query, nearest in zip(vectors.queries, vectors.nearest.tolist(), strict=True):
            started = time.perf_counter()
            found = search(query)
            times.append(time.perf_counter() - started)
            if list(found) != nearest:
                raise RuntimeError(f"a search found {found}, and {nearest} are nearest")
        return float(np.median(times))

    return measure
