"""The vector index of one gallery in FAISS, kept in memory and in one file."""

import hashlib
import json
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from whymatch.embed import Array
from whymatch.index.disk import disk_errors, not_written
from whymatch.index.errors import BadIndexFactory
from whymatch.index.scan import scan
from whymatch.index.shortlist import Chosen, Shortlist, pays, scores_of
from whymatch.index.vector_index import Ids

AUTO, FLAT = "auto", "Flat"
EXACT_UP_TO = 200_000
"""`auto` is exact up to here: about 10 ms for 512 dimensions on two cores."""
CANDIDATES = 10
"""An approximate search finds this many times the limit, for the gallery to score exactly."""
MAX_SIZE = 2**20
"""Largest number in a factory string; FAISS would try to allocate any."""
TRAINING_VECTORS = 39
"""FAISS requires this many vectors for each centroid that it trains."""
FEW = 4
"""Up to one part in so many of the vectors, comparing them one by one beats going through all."""
CHOSEN_KEPT = 16
"""Sets of ids whose places are remembered."""
PRODUCT_FROM, PRODUCT_UP_TO = 4, 8
"""From four queries on a matrix product beats comparing each; FAISS itself waits for 250 of 512 dimensions. With more
than eight it takes longer for each."""


ROUNDING = 1e-5
"""Products of unit vectors that NumPy and FAISS compute differ by less."""


class FaissIndex:
    """A `VectorIndex` of FAISS; thread-safe.

    A factory that must be trained waits until there are enough vectors and searches exactly until then. Only the flat
    index forgets a vector at once: the others go on finding it, the gallery drops what its store does not know, and the
    next rebuild leaves it out.
    """

    def __init__(self, path: Path, dimensions: int, factory: str) -> None:
        """Make an empty index, to be kept in `path`. Raises BadIndexFactory."""
        self._path = path
        self._dimensions = dimensions
        self._factory = factory
        self._lock = threading.Lock()
        self._trained_from = 0 if factory == AUTO else _try(factory, dimensions)
        self._kind = FLAT
        self._index = _with_ids(_build(FLAT, dimensions))
        self._shortlist: Shortlist | None = None
        self._chosen: OrderedDict[int, tuple[Ids, Chosen]] = OrderedDict()  # by identity of the ids, which it holds

    @property
    def kind(self) -> str:
        """The factory string of the structure that searches now."""
        return self._kind

    @property
    def exact(self) -> bool:
        """Whether it compares a query with every vector."""
        return self._kind == FLAT

    def add(self, ids: Ids, vectors: Array) -> None:
        """Add unit vectors (n, C) under new ids (n)."""
        with self._lock:
            shortlist, self._shortlist = self._shortlist, None  # none rather than one that was changed by half
            self._chosen.clear()
            self._index.add_with_ids(vectors, ids)
            if shortlist and shortlist.fits(vectors):
                shortlist.add(vectors)
            else:
                shortlist = _shortlist_of(self._index, self._kind)
            self._shortlist = shortlist

    def remove(self, ids: Ids) -> None:
        """Remove vectors from a flat index."""
        with self._lock:
            if self._kind == FLAT:
                shortlist, self._shortlist = self._shortlist, None
                self._chosen.clear()
                if shortlist:
                    shortlist.remove(np.flatnonzero(np.isin(faiss.vector_to_array(self._index.id_map), ids)))
                self._index.remove_ids(ids)
                self._shortlist = shortlist

    def search(self, queries: Array, limit: int, allowed: Ids | None = None) -> tuple[Array, Ids, bool]:
        """Return scores, ids and whether they are final; see `VectorIndex`."""
        queries = np.ascontiguousarray(queries, np.float32)
        with self._lock:
            exact = self._kind == FLAT
            if allowed is not None and not exact:
                return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64), False
            wanted = max(1, min(limit if exact else limit * CANDIDATES, self._index.ntotal))
            if exact and len(queries) and (allowed is not None or len(queries) < PRODUCT_FROM):
                chosen = None if allowed is None else self._chosen_places(allowed)
                found = [self._best(query[None], wanted, chosen) for query in queries]
            else:
                found = self._batches(queries, wanted)
        scores, ids = (np.concatenate(part) for part in zip(*found, strict=True))
        return scores, ids, exact

    def best_of_groups(self, query: Array, limit: int, groups_of: Callable[[Ids], Ids]) -> tuple[Array, Ids] | None:
        """Return the scores and ids of the best vectors of each group; see `VectorIndex`."""
        query = np.ascontiguousarray(query, np.float32)
        with self._lock:
            if self._kind != FLAT:
                return None
            ids = faiss.vector_to_array(self._index.id_map)
            groups = groups_of(ids)
            slack = ROUNDING * float(np.linalg.norm(query))
            places = _contenders(_vectors_of(self._index) @ query, groups, limit, slack)
            scores = scores_of(faiss.downcast_index(self._index.index), query[None], places)
        order = np.argsort(-scores, kind="stable")
        _, first = np.unique(groups[places[order]], return_index=True)
        best = order[np.sort(first)][:limit]
        return scores[best], ids[places[best]]

    def _best(self, query: Array, limit: int, chosen: Chosen | None) -> tuple[Array, Ids]:
        """Return the best of a flat index for one query (1, C), among some places if they are given."""
        flat = faiss.downcast_index(self._index.index)
        found = self._shortlist.best(flat, query, limit, chosen) if self._shortlist else None
        if found is None and chosen is not None and len(chosen.places) <= flat.ntotal // FEW:
            found = _best_of_few(flat, query, limit, chosen.places)
        scores, places = found or scan(flat, query, limit, chosen and chosen.selector)
        ids = [self._index.id_map.at(place) if place >= 0 else -1 for place in places[0].tolist()]
        return scores, np.array([ids], np.int64)

    def _chosen_places(self, ids: Ids) -> Chosen:
        """Return where the vectors of some ids stand, as far as they are there.

        The same array is looked up once, until something changes.
        """
        if id(ids) not in self._chosen:
            there = np.isin(faiss.vector_to_array(self._index.id_map), ids)
            selector = faiss.IDSelectorBitmap(np.packbits(there, bitorder="little"))
            self._chosen[id(ids)] = ids, Chosen(np.flatnonzero(there), selector)
            while len(self._chosen) > CHOSEN_KEPT:
                self._chosen.popitem(last=False)
        self._chosen.move_to_end(id(ids))
        return self._chosen[id(ids)][1]

    def _batches(self, queries: Array, limit: int) -> list[tuple[Array, Ids]]:
        """Search for queries (n, C), some at a time."""
        faiss.cvar.distance_compute_blas_threshold = PRODUCT_FROM * self._dimensions
        faiss.omp_set_num_threads(max(1, (os.cpu_count() or 1) // 2))  # the other cores stay free for everything else
        starts = range(0, max(1, len(queries)), PRODUCT_UP_TO)
        return [self._index.search(queries[start : start + PRODUCT_UP_TO], limit) for start in starts]

    def stale(self, count: int) -> bool:
        """Whether `count` vectors call for another structure, or many removed ones are still in it."""
        return self._kind != self._planned(count) or self._index.ntotal - count > count // 10

    def rebuild(self, count: int, vectors: Iterable[tuple[Ids, Array]]) -> None:
        """Build anew, then change over in one step."""
        kind = self._planned(count)
        inner = _build(kind, self._dimensions)
        batches = vectors
        if not inner.is_trained:
            batches = list(vectors)
            inner.train(_sample([batch for _, batch in batches], _training_vectors(inner)))
        index = _with_ids(inner)
        for ids, batch in batches:
            index.add_with_ids(batch, ids)
        shortlist = _shortlist_of(index, kind)
        with self._lock:
            self._index, self._kind, self._shortlist = index, kind, shortlist
            self._chosen.clear()

    def give_up(self) -> None:
        """Be flat from the next rebuild on: the index of the factory cannot be built."""
        self._factory, self._trained_from = FLAT, 0

    def save(self, generation: int) -> None:
        """Write the index and, last, the facts that vouch for it; each file appears whole or not at all."""
        temporary = self._path.with_suffix(".tmp")
        try:
            with self._lock, disk_errors(str(self._path), self._path.parent):
                self._write(temporary, generation)
        finally:
            with suppress(OSError):  # half a file must not keep a disk full
                temporary.unlink(missing_ok=True)

    def _write(self, temporary: Path, generation: int) -> None:
        try:
            faiss.write_index(self._index, str(temporary))
        except RuntimeError as err:  # all that FAISS says of a disk
            raise not_written(err, str(self._path), self._path.parent) from err
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
            self._shortlist = _shortlist_of(self._index, self._kind)
        return True

    @property
    def _facts_path(self) -> Path:
        return self._path.with_suffix(".json")

    def _identity(self) -> dict[str, object]:
        return {"dimensions": self._dimensions, "factory": self._factory, "kind": self._kind}

    def _planned(self, count: int) -> str:
        """Return the factory string that `count` vectors call for."""
        if self._factory != AUTO:
            return self._factory if count >= self._trained_from else FLAT
        if count <= (EXACT_UP_TO if self._kind == FLAT else EXACT_UP_TO // 2):  # no going to and fro at the border
            return FLAT
        return f"IVF{2 ** round(np.log2(4 * np.sqrt(min(count, 10**8))))},Flat"  # FAISS's guideline, in steps


def _try(factory: str, dimensions: int) -> int:
    """Return how many vectors a factory requires before it is built. Raises BadIndexFactory where it cannot work."""
    sizes = [int(size) for size in re.findall(r"\d+", factory)]
    if any(not 1 <= size <= MAX_SIZE for size in sizes) or re.search(r"HNSW1\b", factory):
        raise _bad_factory(factory, dimensions, f"its numbers must be from 1 to {MAX_SIZE}, of HNSW from 2")
    index = _build(factory, dimensions)
    if not index.is_trained:
        return _training_vectors(index)
    try:
        trial = _with_ids(index)
        trial.add_with_ids(np.eye(2, dimensions, dtype=np.float32), np.arange(2))
        trial.search(np.eye(1, dimensions, dtype=np.float32), 1)
    except (RuntimeError, MemoryError) as err:
        raise _bad_factory(factory, dimensions, str(err)) from err
    return 0


def _build(factory: str, dimensions: int) -> Any:
    try:
        index = faiss.index_factory(dimensions, factory, faiss.METRIC_INNER_PRODUCT)
    except (RuntimeError, MemoryError) as err:
        raise _bad_factory(factory, dimensions, str(err)) from err
    if (lists := _inverted_lists(index)) is not None:
        lists.nprobe = max(8, lists.nlist // 16)
    return index


def _bad_factory(factory: str, dimensions: int, why: str) -> BadIndexFactory:
    return BadIndexFactory(
        f"FAISS cannot build an index {factory!r} for {dimensions} dimensions ({why.rsplit(': ', 1)[-1]}); try `auto`, "
        "`Flat`, `IVF256,Flat` or `HNSW32`"
    )


def _with_ids(index: Any) -> Any:
    return faiss.IndexIDMap2(index)


def _shortlist_of(index: Any, kind: str) -> Shortlist | None:
    """Return copies of the vectors of a large flat index."""
    if kind != FLAT or not pays(index.ntotal, index.d):
        return None
    return Shortlist(_vectors_of(index))


def _vectors_of(index: Any) -> Array:
    """Return the vectors (n, C) of a flat index, as they lie in it, until it changes."""
    if not index.ntotal:
        return np.empty((0, index.d), np.float32)
    values: Array = faiss.rev_swig_ptr(faiss.downcast_index(index.index).get_xb(), index.ntotal * index.d)
    return values.reshape(index.ntotal, index.d)


def _best_of_few(flat: Any, query: Array, limit: int, places: Ids) -> tuple[Array, Ids]:
    """Return the scores of the best vectors for one query (1, C) among some places, and where they are, (1, limit)."""
    scores = scores_of(flat, query, places)
    best = np.argsort(-scores, kind="stable")[:limit]
    return scores[None, best], places[None, best]


def _contenders(scores: Array, groups: Ids, limit: int, slack: float) -> Ids:
    """Return the places that may have the best score of one of the `limit` best groups.

    scores, groups: of each place, (n); a group of -1 is none. slack: what scores may be off by.
    """
    places = np.flatnonzero(groups >= 0)
    scores, groups = scores[places], groups[places]
    best = np.full(groups.max(initial=0) + 1, -np.inf, np.float32)
    np.maximum.at(best, groups, scores)
    least = np.sort(best)[-limit:][0]
    contenders: Ids = places[scores >= np.maximum(best[groups], least) - 2 * slack]
    return contenders


def _inverted_lists(index: Any) -> Any:
    """Return the inverted lists in an index, also behind a transformation, None if it has none."""
    try:
        return faiss.extract_index_ivf(index)
    except RuntimeError:
        return None


def _training_vectors(index: Any) -> int:
    """Return how many vectors the training of an empty index requires."""
    lists = _inverted_lists(index)
    codes = 0 if isinstance(index, faiss.IndexIVFFlat) else 256
    return TRAINING_VECTORS * max(lists.nlist if lists is not None else 0, codes)


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
