"""The embeddings of a gallery at older generations."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from whymatch.embed import Head, Model
from whymatch.index.faiss_index import FLAT, FaissIndex
from whymatch.index.gallery_version import GalleryVersion
from whymatch.index.store import Store

HEADS_KEPT = 2
"""Heads whose indexes stay in memory."""
VERSIONS_KEPT = 8
"""Generations whose images stay known; searches of one version go together."""


@dataclass
class _Filled:
    """An exact index of all that the gallery keeps, behind one head."""

    index: FaissIndex
    last_id: int
    """The highest vector id in it."""


class Past:
    """Makes the versions of a gallery that were; thread-safe.

    An exact index of all images at all generations stands behind each head that is asked for. It is filled when it is
    first asked for, and a search passes by what was not there at its generation.
    """

    def __init__(self, store: Store, model: Model) -> None:
        self._store = store
        self._model = model
        self._filled: OrderedDict[str, _Filled] = OrderedDict()
        self._versions: OrderedDict[int, GalleryVersion] = OrderedDict()
        self._filling = threading.Lock()

    def version(self, at: int) -> GalleryVersion:
        """Return the embeddings at a generation, which the store has; the same while it is asked for often."""
        with self._filling:
            version = self._versions.pop(at, None) or self._new_version(at)
            self._versions[at] = version
            while len(self._versions) > VERSIONS_KEPT:
                self._versions.popitem(last=False)
        return version

    def forget(self) -> None:
        """Let go of what is in memory: some of it must not be found again."""
        with self._filling:
            self._filled.clear()
            self._versions.clear()

    def _new_version(self, at: int) -> GalleryVersion:
        head = self._store.head(at)
        index = self._index(head)
        version = GalleryVersion(self._store.images(at), self._model, head, index, self._filling)
        facts = self._store.facts(at).head
        version.head_version = facts.version if facts else 0
        return version

    def _index(self, head: Head) -> FaissIndex:
        fingerprint = head.fingerprint(self._model.fingerprint)
        filled = self._filled.setdefault(fingerprint, self._empty(head))
        self._filled.move_to_end(fingerprint)
        while len(self._filled) > HEADS_KEPT:
            _, last = self._filled.popitem(last=False)
            kept = ((at, version) for at, version in self._versions.items() if version.index is not last.index)
            self._versions = OrderedDict(kept)
        for ids, pooled in self._store.kept_vectors(filled.last_id):
            filled.index.add(ids, head.embed(pooled))
            filled.last_id = int(ids[-1])
        return filled.index

    def _empty(self, head: Head) -> _Filled:
        path = self._store.folder / "past"  # never saved
        return _Filled(FaissIndex(path, head.dimensions(self._model.dimensions), FLAT), 0)
