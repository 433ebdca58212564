"""A gallery: remembers images, and keeps the version of their embeddings that finds them."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from whymatch.embed import NO_HEAD, Array, Head, Model, Progress, WhymatchError
from whymatch.index.errors import ModelMismatch
from whymatch.index.faiss_index import FaissIndex
from whymatch.index.gallery_version import GalleryVersion
from whymatch.index.half_maps import HalfMap, compress
from whymatch.index.open_files import OpenFiles
from whymatch.index.past import Past
from whymatch.index.records import (
    Added,
    Generation,
    MetadataValue,
    NewImage,
    StoredImage,
    check_image_name,
    check_label,
    check_metadata,
    check_tag,
    content_digest,
)
from whymatch.index.schema import LIVE
from whymatch.index.snapshot import Snapshot
from whymatch.index.store import Store
from whymatch.index.stored_images import Where

Fitting: TypeAlias = Callable[[Iterable[Array], int], Iterator[Progress[Head]]]
"""Fits a head to pooled vectors (n, C), given in batches, and C; see `fit_centering`."""


class Gallery(Snapshot):
    """A named collection of images that one model embedded, as it is now; thread-safe."""

    def __init__(self, folder: Path, model: Model, open_files: OpenFiles) -> None:
        """Open a gallery; its vector index is read from its file or, if that does not fit, built anew.

        Raises:
            ModelMismatch, NewerFormat, BrokenGallery, ReadOnlyStorage.
        """
        self._model = model
        self._adding = threading.Lock()  # keeps the order of changes the same in store and index
        self._store = Store(folder, open_files)
        try:
            facts = self._store.facts()
            if facts.model != model.fingerprint:
                raise ModelMismatch(folder.name, facts.model, model.fingerprint)
            self._index_factory = facts.index_factory
            self._keeps_feature_maps = not facts.omit_feature_maps
            super().__init__(self._store, model, self._new_version(self._store.head()))
            self._version.head_version = facts.head.version if facts.head else 0
            self._past = Past(self._store, model)
            self._version.load()
        except BaseException:
            self._store.close()
            raise

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

    # Generations.

    def at(self, generation: int) -> Snapshot:
        """Return the gallery as it was at a generation. Raises UnknownGeneration.

        The first time behind a head, all that the gallery keeps is read into memory.
        """
        self._store.check_generation(generation)
        return Snapshot(self._store, self._model, self._past.version(generation), generation)

    def generations(self, before: int = LIVE, limit: int = 100) -> list[Generation]:
        """Return the generations that can be asked for, newest first, those below `before`."""
        return self._store.generations(before, limit)

    def tagged(self, name: str) -> int:
        """Return the generation that a tag names. Raises UnknownTag."""
        return self._store.tagged(name)

    def set_tag(self, name: str, generation: int) -> None:
        """Name a generation, which is then kept until the tag is removed.

        Raises:
            BadName, UnknownGeneration, TagExists.
        """
        check_tag(name)
        self._store.set_tag(name, generation)

    def remove_tag(self, name: str) -> None:
        """Take a name off its generation. Raises UnknownTag."""
        self._store.remove_tag(name)

    def purge(self, before: int) -> int:
        """Forget the generations before one, and return how many image files went with them.

        Raises:
            UnknownGeneration, TaggedGeneration.
        """
        with self._adding:
            removed = self._store.purge(before)
            self._past.forget()
        return removed

    # Changes.

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
                check_image_name(image.name)
                check_label(image.label)
                check_metadata(image.metadata)
                good[position] = image
            except WhymatchError as err:
                results[position] = err
        results.update(zip(good, self._add(list(good.values())), strict=True))
        return [results[position] for position in range(len(images))]

    def unchanged(self, name: str, content: bytes, label: str, metadata: Mapping[str, MetadataValue]) -> Added | None:
        """Return the stored image if exactly this one is stored already, so that it need not be embedded."""
        image = self._images.find(name)
        if image is None or image.differing(label, metadata, content_digest(content)):
            return None
        return Added(image, unchanged=True)

    def update(
        self,
        name: str,
        label: str | None = None,
        metadata: Mapping[str, MetadataValue] | None = None,
        changed: Mapping[str, MetadataValue | None] | None = None,
    ) -> StoredImage:
        """Change the label of an image, all its metadata, or some; what is None stays. No image is embedded.

        changed: values by their key, None for those that go.

        Raises:
            BadRequest, UnknownImage.
        """
        check_label(label or "")
        return self._store.update(name, label, metadata, changed)

    def delete_where(self, where: Where) -> int:
        """Delete the images that meet a condition, and return how many; older generations keep them."""
        with self._adding:
            ids = self._store.delete_where(where)
            self._version.change({}, ids)
        return len(ids)

    def delete(self, *names: str) -> None:
        """Delete images; older generations keep them. Raises UnknownImage: nothing was deleted."""
        with self._adding:
            self._version.change({}, self._store.delete(names))

    def erase(self, *names: str) -> list[str]:
        """Remove images for good: their bytes, under every name and in every generation, and what is derived of them.

        names: of now or of any generation that is kept. Returns all names that are gone.
        Raises UnknownImage: nothing was erased.
        """
        with self._adding:
            gone, ids = self._store.erase(names)
            self._past.forget()
            self._version.change({}, ids)
            if not self._version.index.exact:  # which goes on holding what was removed, now or before
                self._version.build()
            self._version.save()
            self._store.remove_derived()
        return gone

    def set_head(self, fitting: Fitting, given_up: Callable[[], bool] = lambda: False) -> Iterator[int]:
        """Fit a head to the stored pooled vectors, and make it the gallery's; no image is decoded.

        Yields how many vectors have been seen. Until the end the old version serves, and it stays if this is not
        exhausted, or if `given_up` says so on the way; images are added as ever until the last step, which builds the
        new index.

        Raises:
            BadHead, TooFewImages, BadIndexFactory, and the errors of `add`: the old version stays.
        """
        head, count = NO_HEAD, 0
        for fit in fitting((pooled for _, pooled in self._images.vectors()), self._model.dimensions):
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
        folder, dimensions = self._store.folder, head.dimensions(self._model.dimensions)
        index = FaissIndex(folder / "index.faiss", dimensions, self._index_factory)
        return GalleryVersion(self._store.images(), self._model, head, index, self._adding)

    def _add(self, images: list[NewImage]) -> list[Added | WhymatchError]:
        maps = [self._compressed(image.features.feature_map) for image in images]
        with self._adding:
            results, added, removed = self._store.add(images, maps)
            self._version.change({new: images[place].features.pooled for place, new in added.items()}, removed)
        return list(results)

    def _compressed(self, feature_map: Array) -> HalfMap | None:
        return compress(feature_map, keep_peaks=self._model.pooling.kind == "max") if self._keeps_feature_maps else None
