"""A gallery: remembers images and finds the most similar ones."""

import threading
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed import Array, Features, Model, WhymatchError, in_pieces, unit
from whymatch.index.errors import ModelMismatch, UnknownImage, UnknownLabel
from whymatch.index.faiss_index import FaissIndex
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

CANDIDATES = 10
"""An approximate index is asked for this many times the limit, and the best of them by exact score are returned."""
MAX_HALF = float(np.finfo(np.float16).max)


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
        self._saved_generation = self._load_index()

    def facts(self) -> GalleryFacts:
        """Return what the gallery is."""
        return self._store.facts()

    def close(self) -> None:
        """Save the vector index and close the files."""
        with self._adding:
            generation = self._store.generation()
            if generation != self._saved_generation:
                self._index.save(generation)
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

    def content(self, name: str) -> bytes:
        """Return the bytes of an image as they were added. Raises UnknownImage."""
        return self._store.content(name)

    def embedding(self, name: str) -> Array:
        """Return the embedding of an image, (C,) float32 of length 1. Raises UnknownImage."""
        return unit(self._store.pooled(name))

    def features(self, names: Sequence[str]) -> list[Features | None]:
        """Return the features of images, None for all if the gallery keeps no feature maps. Raises UnknownImage."""
        stored = self._store.features(names)
        for name in names:
            if name not in stored:
                raise UnknownImage(name)
        return [self._features(stored[name]) for name in names]

    def search(self, embeddings: Array, limit: int, labels: Sequence[str] = ()) -> list[list[Match]]:
        """Return the `limit` most similar images for each embedding (n, C), best first; of these labels only, if given.

        Raises:
            UnknownLabel: no image has one of the labels.
        """
        allowed = self._ids_of_labels(labels) if labels else None
        if self._index.exact:
            scores, ids = self._index.search(embeddings, limit, allowed)
        elif allowed is not None:
            scores, ids = self._rescored(embeddings, np.tile(allowed, (len(embeddings), 1)), limit)
        else:
            _, candidates = self._index.search(embeddings, limit * CANDIDATES)
            scores, ids = self._rescored(embeddings, candidates, limit)
        images = self._store.by_id({int(image_id) for image_id in ids.flat})
        return [
            [Match(images[i], float(score)) for i, score in zip(row, row_scores, strict=True) if i in images]
            for row, row_scores in zip(ids.tolist(), scores, strict=True)
        ]

    def _add(self, images: list[NewImage]) -> list[Added | WhymatchError]:
        maps = [self._compressed(image.features.feature_map) for image in images]
        with self._adding:
            results = self._store.add(images, maps)
            new = {
                result[0]: image.features.embedding
                for result, image in zip(results, images, strict=True)
                if isinstance(result, tuple) and not result[1].unchanged
            }
            if new:
                self._index.add(np.array(list(new), np.int64), np.stack(list(new.values())))
            if self._index.stale():
                self._rebuild_index()
        return [result if isinstance(result, WhymatchError) else result[1] for result in results]

    def _compressed(self, feature_map: Array) -> bytes | None:
        """Round a feature map to float16, without making new ties at the maximum of a channel."""
        if not self._keeps_feature_maps:
            return None
        rounded = in_pieces(_clamped, torch.from_numpy(feature_map), torch.float16)
        half: NDArray[np.float16] = rounded.numpy()
        if self._model.pooling.kind == "max":
            peak = half.max(axis=(0, 1))
            rounded_up = (half == peak) & (feature_map < feature_map.max(axis=(0, 1)))
            half = np.where(rounded_up, np.nextafter(peak, np.float16(-np.inf)), half)
        return half.tobytes()

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

    def _rebuild_index(self) -> None:
        batches = ((ids, unit(pooled)) for ids, pooled in self._store.all_pooled())
        self._index.rebuild(self._store.facts().image_count, batches)

    def _ids_of_labels(self, labels: Sequence[str]) -> Ids:
        ids = [self._store.ids_of_label(label) for label in labels]
        for label, found in zip(labels, ids, strict=True):
            if not len(found):
                raise UnknownLabel(label)
        return np.unique(np.concatenate(ids))

    def _rescored(self, embeddings: Array, candidates: Ids, limit: int) -> tuple[Array, Ids]:
        """Return the best candidates (n, m) of each embedding (n, C) by exact score, best first; id -1 where none."""
        scores = np.full((len(embeddings), limit), -np.inf, np.float32)
        ids = np.full((len(embeddings), limit), -1, np.int64)
        for row, embedding in enumerate(embeddings):
            found, pooled = self._store.pooled_by_id(candidates[row])
            if len(found):
                exact = unit(pooled) @ embedding
                best = np.argsort(-exact, kind="stable")[:limit]
                scores[row, : len(best)], ids[row, : len(best)] = exact[best], found[best]
        return scores, ids


def _clamped(values: torch.Tensor) -> torch.Tensor:
    return values.clamp(-MAX_HALF, MAX_HALF)


def _check(name: str, label: str, metadata: Mapping[str, str]) -> None:
    check_image_name(name)
    check_label(label)
    check_metadata(metadata)
