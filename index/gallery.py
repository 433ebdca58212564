"""A gallery: remembers images and finds the most similar ones."""

import logging
import threading
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from whymatch.embed import Array, Features, Model, WhymatchError, unit
from whymatch.index.errors import ModelMismatch, UnknownImage, UnknownLabel
from whymatch.index.faiss_index import FaissIndex
from whymatch.index.half_maps import HalfMap, compress
from whymatch.index.images import (
    Added,
    GalleryFacts,
    Match,
    NewImage,
    StoredImage,
    check_image_name,
    check_label,
    check_metadata,
)
from whymatch.index.store import Store, StoredFeatures
from whymatch.index.vector_index import Ids, VectorIndex

LOGGER = logging.getLogger(__name__)


class Gallery:
    """A named collection of images that one model embedded; thread-safe."""

    def __init__(self, folder: Path, model: Model) -> None:
        """Open a gallery; its vector index is read from its file or, if that does not fit, built anew.

        Raises:
            ModelMismatch, NewerFormat, BrokenGallery, ReadOnlyStorage.
        """
        self._store = Store(folder)
        facts = self._store.facts()
        if facts.model != model.fingerprint:
            self._store.close()
            raise ModelMismatch(folder.name, facts.model, model.fingerprint)
        self.name = folder.name
        self._model = model
        self._keeps_feature_maps = not facts.omit_feature_maps
        self._adding = threading.Lock()  # keeps the order of changes the same in store and index
        self._index: VectorIndex = FaissIndex(folder / "index.faiss", model.dimensions, facts.index_factory)
        self._index_is_current = True
        self._saved_generation = self._load_index()

    def facts(self) -> GalleryFacts:
        """Return what the gallery is."""
        return self._store.facts()

    def close(self) -> None:
        """Save the vector index and close the files."""
        with self._adding:
            try:
                generation = self._store.generation()
                if self._index_is_current and generation != self._saved_generation:
                    self._index.save(generation)
            finally:
                self._store.close()

    def discard(self) -> None:
        """Close the files without saving anything; later calls raise UnknownGallery."""
        with self._adding:
            self._store.close()

    def add(self, images: Sequence[NewImage]) -> list[Added | WhymatchError]:
        """Add images in one transaction; when it returns they are on disk and can be found.

        Returns for each image, in order, what became of it, or why it was not added (BadName, BadRequest, ImageExists).

        Raises:
            StorageFull, ReadOnlyStorage, BrokenGallery: nothing was added.
        """
        results: dict[int, Added | WhymatchError] = {}
        good: dict[int, NewImage] = {}
        for position, image in enumerate(images):
            try:
                _check(image.name, image.label, image.metadata)
                good[position] = image
            except WhymatchError as err:
                results[position] = err
        results.update(zip(good, self._add(list(good.values())), strict=True))
        return [results[position] for position in range(len(images))]

    def unchanged(self, name: str, content: bytes, label: str, metadata: Mapping[str, str]) -> Added | None:
        """Return the stored image if exactly this one is stored already, so that it need not be embedded."""
        image = self._store.find(name)
        if image is None or (image.label, image.metadata) != (label, dict(metadata)):
            return None
        return Added(image, unchanged=True) if image.content_sha256 == sha256(content).hexdigest() else None

    def get(self, name: str) -> StoredImage:
        """Return an image. Raises UnknownImage."""
        return self._store.get(name)

    def list_images(self, after: str = "", limit: int = 100) -> list[StoredImage]:
        """Return images by name, from the first name after `after`."""
        return self._store.list_images(after, limit)

    def delete(self, name: str) -> None:
        """Delete an image. Raises UnknownImage."""
        with self._adding:
            self._index.remove(self._store.delete(name))
            self._update_index({})

    def content(self, name: str) -> bytes:
        """Return the bytes of an image as they were added. Raises UnknownImage."""
        return self._store.content(name)

    def embeddings(self, names: Sequence[str]) -> Array:
        """Return the embeddings of images, (n, C) float32 of length 1. Raises UnknownImage."""
        pooled = self._store.pooled(names)
        for name in names:
            if name not in pooled:
                raise UnknownImage(name)
        return unit(np.array([pooled[name] for name in names], np.float32).reshape(-1, self._model.dimensions))

    def label_embeddings(self, label: str, *, without: str = "") -> Array:
        """Return the embeddings of all images of a label but one, (n, C) float32; n may be 0. Raises UnknownLabel."""
        ids = self._ids_of_labels([label])
        if without:
            ids = ids[ids != self._store.id_of(without)]
        batches = [unit(pooled) for _, pooled in self._store.vectors(ids)]
        return np.concatenate([np.empty((0, self._model.dimensions), np.float32), *batches])

    def labeled_pairs(self, count: int, seed: int) -> tuple[Array, Array]:
        """Draw pairs of different images of one label, and return the embeddings of both sides, (count, C) float32.

        First an image is drawn of all that share their label, then one of the others of the label. No image shares its
        label: both are empty.
        """
        first, second = _pairs(*self._store.labels(), count, seed)
        wanted, places = np.unique(np.concatenate([first, second]), return_inverse=True)
        vectors = np.zeros((len(wanted), self._model.dimensions), np.float32)  # of one deleted meanwhile it stays 0
        for ids, pooled in self._store.vectors(wanted):
            vectors[np.searchsorted(wanted, ids)] = unit(pooled)
        return vectors[places[: len(first)]], vectors[places[len(first) :]]

    def features(self, names: Sequence[str]) -> list[Features | None]:
        """Return the features of images, None for all if the gallery keeps no feature maps. Raises UnknownImage."""
        stored = self._store.features(names)
        for name in names:
            if name not in stored:
                raise UnknownImage(name)
        return [self._features(stored[name]) for name in names]

    def search(self, embeddings: Array, limit: int, labels: Sequence[str] = ()) -> list[list[Match]]:
        """Return the `limit` most similar images for each embedding (n, C), best first; of these labels only, if given.

        embeddings: float32 of any length; a score is the inner product with the image's embedding, of length 1.

        Raises:
            UnknownLabel: no image has one of the labels.
        """
        self._require_index()
        allowed = self._ids_of_labels(labels) if labels else None
        found = self._search(embeddings, limit, allowed)
        if any(match is None for matches in found for match in matches):
            with self._adding:  # an image was deleted between the index and the store: nothing is in here
                found = self._search(embeddings, limit, allowed)
        return [[match for match in matches if match is not None] for matches in found]

    def best_of_labels(self, embedding: Array, limit: int, labels: Sequence[str] = ()) -> list[Match]:
        """Return the best match of each label, for the `limit` labels where it is best; of these labels only, if given.

        embedding: (C,) float32. Images without a label are left out.

        Raises:
            UnknownLabel: no image has one of the labels.
        """
        self._require_index()
        allowed = self._ids_of_labels(labels) if labels else None
        label_of = dict(zip(*self._store.labels(), strict=True))
        best: dict[str, tuple[int, float]] = {}
        ranked = limit
        while True:
            scores, ids = self._ranked(embedding[None], ranked, allowed)
            for image_id, score in zip(ids[0].tolist(), scores[0].tolist(), strict=True):
                if image_id in label_of:
                    best.setdefault(label_of[image_id], (image_id, score))
            if len(best) >= limit or ranked >= self._store.count():
                break
            ranked *= 8
        first = list(best.values())[:limit]
        images = self._store.by_id([image_id for image_id, _ in first])
        return [Match(images[image_id], score) for image_id, score in first if image_id in images]

    def _search(self, embeddings: Array, limit: int, allowed: Ids | None) -> list[list[Match | None]]:
        """Return the matches of each embedding, None where the store does not know the image any more."""
        scores, ids = self._ranked(embeddings, limit, allowed)
        images = self._store.by_id({int(image_id) for image_id in ids.flat})
        return [
            [
                Match(images[i], float(score)) if i in images else None
                for i, score in zip(row, best, strict=True)
                if i >= 0
            ]
            for row, best in zip(ids.tolist(), scores, strict=True)
        ]

    def _ranked(self, embeddings: Array, limit: int, allowed: Ids | None) -> tuple[Array, Ids]:
        """Return scores and ids of the best images for each embedding; an id is -1 where there are no more."""
        scores, ids, final = self._index.search(embeddings, limit, allowed)
        return (scores, ids) if final else self._scored(embeddings, self._candidates(ids, limit, allowed), limit)

    def _candidates(self, ids: Ids, limit: int, allowed: Ids | None) -> Ids | None:
        """Return whose exact scores to compute: what was found, or, where that is too little, all that is allowed."""
        if allowed is not None:
            return allowed
        found = np.unique(ids[ids >= 0])
        known = set(self._store.by_id(found.tolist()))
        enough = min(limit, self._store.count())
        if all(len(known.intersection(row)) >= enough for row in ids.tolist()):
            return found
        return None

    def _scored(self, embeddings: Array, candidates: Ids | None, limit: int) -> tuple[Array, Ids]:
        """Return the best of the candidates, or of all images, for each embedding (n, C), by exact score."""
        scores = np.empty((len(embeddings), 0), np.float32)
        ids = np.empty((len(embeddings), 0), np.int64)
        for batch, pooled in self._store.vectors(candidates):
            scores = np.hstack([scores, embeddings @ unit(pooled).T])
            ids = np.hstack([ids, np.tile(batch, (len(embeddings), 1))])
            best = np.argsort(-scores, axis=1, kind="stable")[:, :limit]
            scores, ids = np.take_along_axis(scores, best, axis=1), np.take_along_axis(ids, best, axis=1)
        return scores, ids

    def _add(self, images: list[NewImage]) -> list[Added | WhymatchError]:
        maps = [self._compressed(image.features.feature_map) for image in images]
        with self._adding:
            results = self._store.add(images, maps)
            new = {
                result[0]: image.features.embedding
                for result, image in zip(results, images, strict=True)
                if isinstance(result, tuple) and not result[1].unchanged
            }
            self._update_index(new)
        return [result if isinstance(result, WhymatchError) else result[1] for result in results]

    def _compressed(self, feature_map: Array) -> HalfMap | None:
        return compress(feature_map, keep_peaks=self._model.pooling.kind == "max") if self._keeps_feature_maps else None

    def _update_index(self, new: Mapping[int, Array]) -> None:
        """Bring new vectors into the index, and build it anew when it is due, or when that fails."""
        try:
            if new:
                self._index.add(np.array(list(new), np.int64), np.stack(list(new.values())))
            due = self._index.stale(self._store.count())
        except Exception:
            LOGGER.exception("the index of gallery %r failed and is built anew", self.name)
            self._index_is_current, due = False, True
        if due:
            self._rebuild_index()

    def _rebuild_index(self) -> None:
        """Build the index anew from the store; a simpler one, if the one that was asked for cannot be built."""
        try:
            self._fill_index()
        except Exception:
            LOGGER.exception("the index of gallery %r cannot be built as asked and becomes flat", self.name)
            self._index_is_current = False
            self._index.give_up()
            self._fill_index()
        self._index_is_current = True

    def _fill_index(self) -> None:
        batches = ((ids, unit(pooled)) for ids, pooled in self._store.vectors())
        self._index.rebuild(self._store.count(), batches)

    def _require_index(self) -> None:
        """Build the index before anything is searched, if that failed when it was due."""
        if not self._index_is_current:
            with self._adding:
                if not self._index_is_current:
                    self._rebuild_index()

    def _features(self, stored: StoredFeatures | None) -> Features | None:
        if stored is None:
            return None
        placement = self._model.geometry.placement(stored.width_px, stored.height_px)
        return Features(stored.feature_map, stored.pooled, self._model.pooling, placement)

    def _load_index(self) -> int:
        """Take up the saved index, or build it anew; return the saved generation."""
        generation = self._store.generation()
        if self._index.load(generation):
            return generation
        self._rebuild_index()
        return -1

    def _ids_of_labels(self, labels: Sequence[str]) -> Ids:
        ids = []
        for label in labels:
            found = self._store.ids_of_label(label)
            if not len(found):
                raise UnknownLabel(label)
            ids.append(found)
        return np.unique(np.concatenate(ids))


def _pairs(ids: Sequence[int], labels: Sequence[str], count: int, seed: int) -> tuple[Ids, Ids]:
    """Draw `count` pairs of different ids of one label; none if there is no such pair."""
    numbers = np.array(ids, np.int64)
    _, label_numbers, sizes = np.unique(np.array(labels, object), return_inverse=True, return_counts=True)
    order = np.argsort(label_numbers, kind="stable")
    starts = np.cumsum(sizes) - sizes
    candidates = np.flatnonzero(sizes[label_numbers[order]] > 1)  # places in `order`
    if not len(candidates):
        return numbers[:0], numbers[:0]
    random = np.random.default_rng(seed)
    first = random.choice(candidates, count)
    label = label_numbers[order[first]]
    step = random.integers(1, sizes[label])  # to another place of the same label
    second = starts[label] + (first - starts[label] + step) % sizes[label]
    return numbers[order[first]], numbers[order[second]]


def _check(name: str, label: str, metadata: Mapping[str, str]) -> None:
    check_image_name(name)
    check_label(label)
    check_metadata(metadata)
