"""What a gallery holds at one generation: what is read, searched and explained."""

from collections.abc import Sequence
from pathlib import Path

from whymatch.embed import Array, Features, Model
from whymatch.index.gallery_version import GalleryVersion
from whymatch.index.records import GalleryFacts, LabelCount, StoredImage
from whymatch.index.schema import DERIVED, NOW
from whymatch.index.store import Store
from whymatch.index.stored_images import ALL_IMAGES, StoredFeatures, Where


class Snapshot:
    """A gallery as it was at a generation, or, as `Gallery`, as it is at each moment; thread-safe."""

    def __init__(self, store: Store, model: Model, version: GalleryVersion, at: int = NOW) -> None:
        """version: the embeddings of just these images."""
        self.name = store.folder.name
        self._at = at
        self._store = store
        self._images = store.images(at)
        self._model = model
        self._version = version

    @property
    def version(self) -> GalleryVersion:
        """The embeddings; what one version answers fits together, whatever replaces it in the gallery meanwhile."""
        return self._version

    def facts(self) -> GalleryFacts:
        """Return what the gallery is."""
        return self._store.facts(self._at)

    def generation(self) -> int:
        """Return a number that grows with every change."""
        return self._images.generation()

    def get(self, name: str) -> StoredImage:
        """Return an image. Raises UnknownImage."""
        return self._images.get(name)

    def list_images(self, after: str = "", limit: int = 100, where: Where = ALL_IMAGES) -> list[StoredImage]:
        """Return images by name, from the first name after `after`; only those that meet a condition."""
        return self._images.list_images(after, limit, where)

    def label_counts(self, where: Where = ALL_IMAGES) -> list[LabelCount]:
        """Return each label and how many images that meet a condition have it, by label; "" stands for none."""
        return self._images.label_counts(where)

    def sample_names(self, count: int, seed: int) -> list[str]:
        """Return the names of `count` images drawn at random, of all if there are not more, in the order of adding."""
        return self._images.sample_names(count, seed)

    def distinct_images(self) -> list[StoredImage]:
        """Return the images in the order of adding, of those with the same content only the first."""
        return self._images.distinct_images()

    def content(self, name: str) -> bytes:
        """Return the bytes of an image as they were added. Raises UnknownImage."""
        return self._images.content(name)

    def pooled(self, names: Sequence[str]) -> list[Array]:
        """Return the pooled vectors of images, (C,) float32. Raises UnknownImage."""
        return self._images.pooled(names)

    def features(self, names: Sequence[str]) -> list[Features | None]:
        """Return the features of images, without a head; None if the gallery keeps no feature maps.

        Raises:
            UnknownImage.
        """
        return [self._features(stored) for stored in self._images.features(names)]

    def content_by_hash(self, digest: str) -> bytes | None:
        """Return the bytes of an image by the hash of its file, whatever its name; None if it is gone."""
        return self._store.content_by_hash(digest)

    def features_by_hash(self, digest: str) -> Features | None:
        """Return the features of an image likewise, without a head; None, too, if its feature map is not kept."""
        return self._features(self._store.features_by_hash(digest))

    def derived_file(self, name: str) -> Path:
        """Return where others may keep what they derive from the images; it may go at any time."""
        folder = self._store.folder / DERIVED
        folder.mkdir(exist_ok=True)
        return folder / name

    def _features(self, stored: StoredFeatures | None) -> Features | None:
        if stored is None:
            return None
        placement = self._model.geometry.placement(stored.width_px, stored.height_px)
        return Features(stored.feature_map, stored.pooled, self._model.pooling, placement)
