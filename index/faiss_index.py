"""The vector index of one gallery in FAISS, kept in memory and in one file."""

import hashlib
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from whymatch.embed import Array
from whymatch.index.disk import disk_errors
from whymatch.index.errors import BadIndexFactory
from whymatch.index.vector_index import Ids

FLAT = "Flat"
EXACT_UP_TO = 200_000
"""`auto` is exact up to here: about 30 ms for 512 dimensions on one core."""
TRAINING_VECTORS = 39
"""FAISS wants this many vectors for each centroid that it trains."""
PRODUCT_FROM = 8
"""Queries from which one matrix product beats one scan for each; FAISS itself waits for 250 of 512 dimensions."""


class FaissIndex:
    """A `VectorIndex` of FAISS; thread-safe.

    A factory that must be trained waits until there are enough vectors and searches exactly until then.
    """

    def __init__(self, path: Path, dimensions: int, factory: str) -> None:
        """Make an empty index, to be kept in `path`. Raises BadIndexFactory."""
        faiss.cvar.distance_compute_blas_threshold = PRODUCT_FROM * dimensions
        self._path = path
        self._dimensions = dimensions
        self._factory = factory
        self._lock = threading.Lock()
        self._removed = 0
        _build(self._planned(10**9), dimensions)  # a wrong factory string fails here
        self._kind = self._planned(0)
        self._index = _with_ids(_build(self._kind, dimensions))

    @property
    def exact(self) -> bool:
        """Whether it is flat."""
        return self._kind == FLAT

    def add(self, ids: Ids, vectors: Array) -> None:
        """Add unit vectors (n, C) under new ids (n)."""
        with self._lock:
            self._index.add_with_ids(vectors, ids)

    def remove(self, image_id: int) -> None:
        """Remove one vector, or count it as removed where the structure cannot."""
        with self._lock:
            try:
                self._index.remove_ids(np.array([image_id], np.int64))
            except RuntimeError:  # graphs cannot forget a vector; the next rebuild does
                self._removed += 1

    def search(self, queries: Array, limit: int, allowed: Ids | None = None) -> tuple[Array, Ids]:
        """Return scores and ids, at most as many as there are vectors."""
        options = {} if allowed is None else {"params": faiss.SearchParameters(sel=faiss.IDSelectorBatch(allowed))}
        with self._lock:
            # A scan for one query runs on one core whatever the team; half of the cores stay free for everything else.
            faiss.omp_set_num_threads(1 if len(queries) == 1 else max(1, (os.cpu_count() or 1) // 2))
            scores, ids = self._index.search(queries, max(1, min(limit, self._index.ntotal)), **options)
        return scores, ids

    def stale(self) -> bool:
        """Whether its count calls for another structure, or many removed vectors are still in it."""
        count = self._index.ntotal
        return self._kind != self._planned(count) or self._removed > count // 10

    def rebuild(self, count: int, vectors: Iterable[tuple[Ids, Array]]) -> None:
        """Build anew, then change over in one step."""
        kind = self._planned(count)
        inner = _build(kind, self._dimensions)
        batches = vectors
        if not inner.is_trained:
            batches = list(vectors)
            inner.train(_sample([batch for _, batch in batches], _wanted(inner)))
        index = _with_ids(inner)
        for ids, batch in batches:
            index.add_with_ids(batch, ids)
        with self._lock:
            self._index, self._kind, self._removed = index, kind, 0

    def save(self, generation: int) -> None:
        """Write the index and, last, the facts that vouch for it; each file appears whole or not at all."""
        with self._lock, disk_errors(str(self._path)):
            temporary = self._path.with_suffix(".tmp")
            faiss.write_index(self._index, str(temporary))
            facts = {**self._identity(), "generation": generation, "sha256": _sha256(temporary)}
            _replace(temporary, self._path)
            temporary.write_text(json.dumps(facts))
            _replace(temporary, self._facts_path)

    def load(self, generation: int) -> bool:
        """Read the file if its facts, checksum and generation fit."""
        try:
            facts = json.loads(self._facts_path.read_text())
            expected = {
                **self._identity(),
                "kind": facts["kind"],
                "generation": generation,
                "sha256": _sha256(self._path),
            }
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if facts != expected:
            return False
        with self._lock:
            self._index, self._kind = faiss.read_index(str(self._path)), facts["kind"]
        return True

    @property
    def _facts_path(self) -> Path:
        return self._path.with_suffix(".json")

    def _identity(self) -> dict[str, object]:
        return {"dimensions": self._dimensions, "factory": self._factory, "kind": self._kind}

    def _planned(self, count: int) -> str:
        """Return the factory string that `count` vectors call for."""
        if self._factory != "auto":
            return self._factory if count >= _wanted(_build(self._factory, self._dimensions)) else FLAT
        if count <= EXACT_UP_TO:
            return FLAT
        return f"IVF{2 ** round(np.log2(4 * np.sqrt(min(count, 10**8))))},Flat"  # FAISS's guideline, in steps


def _build(factory: str, dimensions: int) -> Any:
    try:
        index = faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as err:
        reason = str(err).rsplit(": ", 1)[-1]
        raise BadIndexFactory(
            f"FAISS cannot build an index {factory!r} for {dimensions} dimensions ({reason}); try `auto`, `Flat`, "
            "`IVF256,Flat` or `HNSW32`"
        ) from err
    if hasattr(index, "nprobe"):
        index.nprobe = max(8, index.nlist // 16)
    return index


def _with_ids(index: Any) -> Any:
    return faiss.IndexIDMap2(index)


def _wanted(index: Any) -> int:
    """Return how many vectors an empty index wants to be trained with."""
    if index.is_trained:
        return 0
    lists = int(getattr(index, "nlist", 0))
    codes = 0 if isinstance(index, faiss.IndexIVFFlat) else 256
    return TRAINING_VECTORS * max(lists, codes)


def _sample(batches: list[Array], count: int) -> Array:
    """Return `count` vectors, evenly from all batches."""
    step = max(1, sum(len(batch) for batch in batches) // max(count, 1))
    return np.concatenate([batch[::step] for batch in batches])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(temporary: Path, path: Path) -> None:
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)
