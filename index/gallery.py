"""A gallery: remembers images, and keeps the version of their embeddings that finds them."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from whymatch.embed import NO_HEAD, Array, Features, Head, Model, Progress, WhymatchError
from whymatch.index.errors import ModelMismatch
from whymatch.index.faiss_index import FaissIndex
from whymatch.index.gallery_version import GalleryVersion
from whymatch.index.half_maps import HalfMap, compress
from whymatch.index.open_files import OpenFiles
from whymatch.index.records import (
    Added,
    GalleryFacts,
    NewImage,
    StoredImage,
    check_image_name,
    check_label,
    check_metadata,
    content_digest,
)
from whymatch.index.store import Store, StoredFeatures

Fitting: TypeAlias = Callable[[Iterable[Array], int], Iterator[Progress[Head]]]
"""Fits a head to pooled vectors (n, C), given in batches, and C; see `fit_centering`."""


class Gallery:
    """A named collection of images that one model embedded; thread-safe."""

    def __init__(self, folder: Path, model: Model, open_files: OpenFiles) -> None:
        """Open a gallery; its vector index is read from its file or, if that does not fit, built anew.

        Raises:
            ModelMismatch, NewerFormat, BrokenGallery, ReadOnlyStorage.
        """
        self.name = folder.name
        self._model = model
        self._adding = threading.Lock()  # keeps the order of changes the same in store and index
        self._store = Store(folder, open_files)
        try:
            facts = self._store.facts()
            if facts.model != model.fingerprint:
                raise ModelMismatch(folder.name, facts.model, model.fingerprint)
            self._index_factory = facts.index_factory
            self._keeps_feature_maps = not facts.omit_feature_maps
            self._create_time = facts.create_time
            self._version = self._new_version(self._store.head())
            self._version.head_version = facts.head.version if facts.head else 0
            self._version.load()
        except BaseException:
            self._store.close()
            raise

    @property
    def version(self) -> GalleryVersion:
        """The embeddings as they are now; what one version answers fits together, whatever replaces it meanwhile."""
        return self._version

    def facts(self) -> GalleryFacts:
        """Return what the gallery is."""
        return self._store.facts()

    def close(self) -> None:
        """Save the vector index and close the files."""
        with self._adding:
            try:
                self._version.save()
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
        return Added(image, unchanged=True) if image.content_sha256 == content_digest(content) else None

    def get(self, name: str) -> StoredImage:
        """Return an image. Raises UnknownImage."""
        return self._store.get(name)

    def list_images(self, after: str = "", limit: int = 100) -> list[StoredImage]:
        """Return images by name, from the first name after `after`."""
        return self._store.list_images(after, limit)

    def delete(self, name: str) -> None:
        """Delete an image. Raises UnknownImage."""
        with self._adding:
            self._version.remove(self._store.delete(name))

    def content(self, name: str) -> bytes:
        """Return the bytes of an image as they were added. Raises UnknownImage."""
        return self._store.content(name)

    def content_by_hash(self, digest: str) -> bytes | None:
        """Return the bytes of an image by the hash of its file, whatever its name; None if it is gone."""
        return self._store.content_by_hash(digest)

    def features_by_hash(self, digest: str) -> Features | None:
        """Return the features of an image likewise, without a head; None, too, if its feature map is not kept."""
        return self._features(self._store.features_by_hash(digest))

    def sample_names(self, count: int, seed: int) -> list[str]:
        """Return the names of `count` images drawn at random, of all if there are not more, in the order of adding."""
        return self._store.sample_names(count, seed)

    def distinct_images(self) -> list[StoredImage]:
        """Return the images in the order of adding, of those with the same content only the first."""
        return self._store.distinct_images()

    def derived_file(self, name: str) -> Path:
        """Return where others may keep what they derive from the images; it goes when the gallery does."""
        return self._store.folder / name

    def generation(self) -> int:
        """Return a number that grows with every change."""
        return self._store.generation()

    def pooled(self, names: Sequence[str]) -> list[Array]:
        """Return the pooled vectors of images, (C,) float32. Raises UnknownImage."""
        return self._store.pooled(names)

    def features(self, names: Sequence[str]) -> list[Features | None]:
        """Return the features of images, without a head; None if the gallery keeps no feature maps.

        Raises:
            UnknownImage.
        """
        return [self._features(stored) for stored in self._store.features(names)]

    def set_head(self, fitting: Fitting, given_up: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Fit a head to the stored pooled vectors, and make it the gallery's; no image is decoded.

        Yields how many vectors have been seen. Until the end the old version serves, and it stays if this is not
        exhausted, or if `given_up` says so on the way; images are added as ever until the last step, which builds the
        new index.

        Raises:
            BadHead, TooFewImages, BadIndexFactory, and the errors of `add`: the old version stays.
        """
        head, count = NO_HEAD, 0
        for fit in fitting((pooled for _, pooled in self._store.vectors()), self._model.dimensions):
            head, count = fit.result or NO_HEAD, fit.done
            yield count
        with self._adding:
            version = self._new_version(head)
            version.fill(given_up)
            if given_up():
                return
            version.head_version = self._store.set_head(head, version.dimensions, version.fingerprint, count)
            self._version = version

    def _new_version(self, head: Head) -> GalleryVersion:
        dimensions = head.dimensions(self._model.dimensions)
        index = FaissIndex(self._store.folder / "index.faiss", dimensions, self._index_factory)
        return GalleryVersion(self._store, self._model, head, index, self._adding, self._create_time)

    def _features(self, stored: StoredFeatures | None) -> Features | None:
        if stored is None:
            return None
        placement = self._model.geometry.placement(stored.width_px, stored.height_px)
        return Features(stored.feature_map, stored.pooled, self._model.pooling, placement)

    def _add(self, images: list[NewImage]) -> list[Added | WhymatchError]:
        maps = [self._compressed(image.features.feature_map) for image in images]
        with self._adding:
            results = self._store.add(images, maps)
            new = {
                result[0]: image.features.pooled
                for result, image in zip(results, images, strict=True)
                if isinstance(result, tuple) and not result[1].unchanged
            }
            self._version.add(new)
        return [result if isinstance(result, WhymatchError) else result[1] for result in results]

    def _compressed(self, feature_map: Array) -> HalfMap | None:
        return compress(feature_map, keep_peaks=self._model.pooling.kind == "max") if self._keeps_feature_maps else None


def _check(name: str, label: str, metadata: Mapping[str, str]) -> None:
    check_image_name(name)
    check_label(label)
    check_metadata(metadata)
