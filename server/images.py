"""What an rpc needs to know of an image, given as bytes or by its place in a gallery, without blocking the loop."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from whymatch.embed import Array, Embedder, Features, check_embedding
from whymatch.index import Galleries, Match, StoredImage


class ImageName(NamedTuple):
    """Where a stored image is."""

    gallery: str
    image: str


Source: TypeAlias = bytes | ImageName
"""An image: its file's bytes, or its place in a gallery."""
Query: TypeAlias = Source | Array
"""What to search for: an image or its embedding."""


class Images:
    """Looks images up in the galleries, or runs the model on them."""

    def __init__(self, galleries: Galleries, embedder: Embedder) -> None:
        self._galleries = galleries
        self._embedder = embedder
        self.limits = embedder.limits

    async def embedding(self, query: Query) -> Array:
        """Return an embedding, (C,) float32 of length 1. Raises BadVector and the errors of galleries and images."""
        if isinstance(query, bytes):
            return (await self._embed(query)).embedding
        if isinstance(query, ImageName):
            return await asyncio.to_thread(self._stored_embedding, query)
        return check_embedding(query, self._embedder.model.dimensions)

    async def features(self, source: Source) -> Features:
        """Return what the model makes of an image."""
        if isinstance(source, bytes):
            return await self._embed(source)
        return (await self.stored_features(source.gallery, [source.image]))[0]

    async def stored_features(self, gallery: str, names: Sequence[str]) -> list[Features]:
        """Return the features of stored images, those that the gallery did not keep by embedding them again."""
        found = await asyncio.to_thread(self._kept_features, gallery, names)
        return await asyncio.gather(*[self._embed(one) if isinstance(one, bytes) else _itself(one) for one in found])

    async def similarities(self, gallery: str, names: Sequence[str], vector: Array) -> Array:
        """Return the inner products of a vector (C,) with the embeddings of stored images, (n,)."""
        embeddings = await asyncio.to_thread(lambda: self._galleries.open(gallery).embeddings(names))
        similarities: Array = embeddings @ vector
        return similarities

    async def found(self, gallery: str, names: Sequence[str]) -> list[StoredImage]:
        """Return what is known of stored images."""
        return await asyncio.to_thread(lambda: [self._galleries.open(gallery).get(name) for name in names])

    async def best_of_labels(self, gallery: str, vector: Array, limit: int, labels: Sequence[str]) -> list[Match]:
        """Return the best match of each label; see `Gallery.best_of_labels`."""
        return await asyncio.to_thread(lambda: self._galleries.open(gallery).best_of_labels(vector, limit, labels))

    async def label_embeddings(self, gallery: str, label: str, without: str) -> Array:
        """Return the embeddings of the images of a label, (n, C), without the one of that name. Raises UnknownLabel."""
        return await asyncio.to_thread(lambda: self._galleries.open(gallery).label_embeddings(label, without=without))

    async def labeled_pairs(self, gallery: str, count: int, seed: int) -> tuple[Array, Array]:
        """Return the embeddings of both sides of random pairs of one label; see `Gallery.labeled_pairs`."""
        return await asyncio.to_thread(lambda: self._galleries.open(gallery).labeled_pairs(count, seed))

    async def content(self, source: Source) -> bytes:
        """Return the file of an image."""
        if isinstance(source, bytes):
            return source
        return await asyncio.to_thread(self._content, source)

    async def stored(self, name: ImageName) -> tuple[StoredImage, Array]:
        """Return what is known of a stored image, and its embedding."""
        return await asyncio.to_thread(self._stored, name)

    async def _embed(self, content: bytes) -> Features:
        """Cancelling this drops the work."""
        return await asyncio.wrap_future(self._embedder.submit(content, urgent=True))

    def _stored(self, name: ImageName) -> tuple[StoredImage, Array]:
        gallery = self._galleries.open(name.gallery)
        return gallery.get(name.image), gallery.embeddings([name.image])[0]

    def _stored_embedding(self, name: ImageName) -> Array:
        embedding: Array = self._galleries.open(name.gallery).embeddings([name.image])[0]
        return embedding

    def _content(self, name: ImageName) -> bytes:
        return self._galleries.open(name.gallery).content(name.image)

    def _kept_features(self, gallery: str, names: Sequence[str]) -> list[Features | bytes]:
        """Return for each image its features or, where the gallery kept none, its file."""
        images = self._galleries.open(gallery)
        return [features or images.content(name) for name, features in zip(names, images.features(names), strict=True)]


async def _itself(features: Features) -> Features:
    return features
