"""The protocol between a gallery and its vector index: FAISS implements it, an index on another machine can, too."""

from collections.abc import Callable, Iterable
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
    def kind(self) -> str:
        """What it is now, in FAISS's words: `Flat`, `IVF256,Flat`, ..."""

    @property
    def exact(self) -> bool:
        """Whether it never misses one of the best vectors."""

    def add(self, ids: Ids, vectors: Array) -> None:
        """Add unit vectors (n, C) under new ids (n)."""

    def remove(self, ids: Ids) -> None:
        """Remove vectors. An approximate index may go on finding them; the gallery drops what is not in its store."""

    def search(self, queries: Array, limit: int, allowed: Ids | None = None) -> tuple[Array, Ids, bool]:
        """Find the best vectors for each query (n, C).

        allowed: search only these ids; an approximate index that cannot returns nothing.
        Returns scores (n, m) and ids (n, m), best first, id -1 where there are fewer; and whether they are final. If
        not, they are candidates, more than `limit`, whose exact scores the gallery computes itself.
        """

    def best_of_groups(self, query: Array, limit: int, groups_of: Callable[[Ids], Ids]) -> tuple[Array, Ids] | None:
        """Find the best vector of each group for a query (C,), for the `limit` groups where it is best.

        groups_of: returns the group of each id (n), a small number from 0, or -1 for none.
        Returns scores (m) and ids (m), best first; None from an index that cannot.
        """

    def stale(self, count: int) -> bool:
        """Whether it is worth building anew for the `count` vectors that are left."""

    def rebuild(self, count: int, vectors: Iterable[tuple[Ids, Array]]) -> None:
        """Replace everything by `count` vectors, given a batch at a time, while the old ones go on being found."""

    def give_up(self) -> None:
        """Take a structure that always works from the next `rebuild` on: the one asked for cannot be built."""

    def save(self, generation: int) -> None:
        """Keep it for the next start, marked with the store's generation."""

    def load(self, generation: int) -> bool:
        """Take up what was saved. False, and nothing taken, unless it is whole and of this generation."""
