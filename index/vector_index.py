"""What a gallery asks of a vector index: FAISS is the first to answer, one on another machine can be the second."""

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array

Ids = NDArray[np.int64]


class VectorIndex(Protocol):
    """Finds stored unit vectors by inner product.

    It is derived from the store, which can always build it again, and need be no more durable than that.
    """

    @property
    def exact(self) -> bool:
        """Whether a search is exact; the gallery re-scores what an approximate one finds."""

    def add(self, ids: Ids, vectors: Array) -> None:
        """Add unit vectors (n, C) under new ids (n)."""

    def remove(self, image_id: int) -> None:
        """Remove one vector. An approximate index may go on finding it; the gallery drops what is not in its store."""

    def search(self, queries: Array, limit: int, allowed: Ids | None = None) -> tuple[Array, Ids]:
        """Return scores and ids (n, limit) of the best vectors for each query (n, C), best first; id -1 where none.

        allowed: search only these ids; only exact indexes are asked to.
        """

    def stale(self) -> bool:
        """Whether it is worth building anew: it has outgrown its structure."""

    def rebuild(self, count: int, vectors: Iterable[tuple[Ids, Array]]) -> None:
        """Replace everything by `count` vectors, given a batch at a time, while the old ones go on being found."""

    def save(self, generation: int) -> None:
        """Keep it for the next start, marked with the store's generation."""

    def load(self, generation: int) -> bool:
        """Take up what was saved. False, and nothing taken, unless it is whole and of this generation."""
