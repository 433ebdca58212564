"""What an rpc needs to know of an image, given as bytes or by its place in a gallery, without blocking the loop."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias, TypeVar

from whymatch.embed import NO_HEAD, Array, Embedder, Features, Head, check_embedding
from whymatch.index import Galleries, Gallery, GalleryVersion, OtherEmbedding, StoredImage, content_digest
from whymatch.server.provenance import Provenance, provenance_of


class ImageName(NamedTuple):
    """Where a stored image is."""

    gallery: str
    image: str
    at: int | None = None
    """Of which generation of the gallery, None for now."""


class Embedding(NamedTuple):
    """A vector that a client has of an image."""

    values: Sequence[float]
    model: str
    """The fingerprint of what made it, empty if the client does not say."""


Source: TypeAlias = bytes | ImageName
"""An image: its file's bytes, or its place in a gallery."""
Query: TypeAlias = Source | Embedding
"""What to search for: an image or its embedding."""
AnyQuery = TypeVar("AnyQuery", Source, Query)


def as_of(query: AnyQuery, gallery: str, at: int | None) -> AnyQuery:
    """Return a query that is read at a generation of a gallery, if it is an image of that gallery."""
    if isinstance(query, ImageName) and query.gallery == gallery:
        return query._replace(at=at)
    return query


def gallery_of(parent: str, *sources: Source) -> str:
    """Return the gallery whose head counts: the one that is named, else that of the first source that is stored."""
    return next(filter(None, [parent, *(one.gallery for one in sources if isinstance(one, ImageName))]), "")


class Images:
    """Looks images up in the galleries, or runs the model on them."""

    def __init__(self, galleries: Galleries, embedder: Embedder) -> None:
        self._galleries = galleries
        self._embedder = embedder
        self.limits = embedder.limits

    async def gallery(self, name: str) -> Gallery:
        """Return a gallery. Raises the errors of `Galleries.open`."""
        opened = self._galleries.opened(name)
        return await asyncio.to_thread(self._galleries.open, name) if opened is None else opened

    async def version(self, gallery: str, at: int | None = None) -> GalleryVersion:
        """Return the version of a gallery at a generation, the newest one without. Raises those of `snapshot`."""
        if at is None:
            return (await self.gallery(gallery)).version
        return (await asyncio.to_thread(self._galleries.snapshot, gallery, at)).version

    async def provenance(
        self,
        version: GalleryVersion | None,
        query: Query | None = None,
        match: Source | None = None,
        examples: Sequence[Query] = (),
    ) -> Provenance:
        """Return where an answer comes from. To be called before the work: the gallery may change during it."""
        origin = provenance_of(self._embedder.model, version)
        return replace(
            origin,
            query_sha256=await self.digest(query),
            match_sha256=await self.digest(match),
            example_sha256=tuple([await self.digest(one) for one in examples]),
        )

    async def head(self, gallery: str, at: int | None = None) -> tuple[Head, GalleryVersion | None]:
        """Return the head of a gallery, and its version; none of either if no gallery is named."""
        if not gallery:
            return NO_HEAD, None
        version = await self.version(gallery, at)
        return version.head, version

    async def embedding(self, query: Query, version: GalleryVersion) -> Array:
        """Return the embedding of a query behind a gallery's head, (D,) float32 of length 1.

        Raises:
            BadVector, OtherEmbedding, and the errors of galleries and images.
        """
        if isinstance(query, Embedding):
            if query.model not in ("", version.fingerprint):
                raise OtherEmbedding(version.gallery, query.model, version.fingerprint)
            return check_embedding(query.values, version.dimensions)
        if isinstance(query, ImageName):
            return (await self.stored(query, version.head))[1]
        return (await self.features(query, version.head)).embedding

    async def features(self, source: Source, head: Head) -> Features:
        """Return what the model and a head make of an image."""
        if isinstance(source, bytes):
            return (await self._embed(source)).through(head)
        return (await self.stored_features(source.gallery, [source.image], head, source.at))[0]

    async def stored_features(
        self, gallery: str, names: Sequence[str], head: Head, at: int | None = None
    ) -> list[Features]:
        """Return the features of stored images, those that the gallery did not keep by embedding them again."""
        found = await asyncio.to_thread(self._kept_features, gallery, names, at)
        features = await asyncio.gather(
            *[self._embed(one) if isinstance(one, bytes) else _itself(one) for one in found]
        )
        return [one.through(head) for one in features]

    async def similarities(self, version: GalleryVersion, names: Sequence[str], vector: Array) -> Array:
        """Return the inner products of a vector (D,) with the embeddings of stored images, (n,)."""
        embeddings = await asyncio.to_thread(version.embeddings, names)
        similarities: Array = embeddings @ vector
        return similarities

    async def found(self, gallery: str, names: Sequence[str], at: int | None = None) -> list[StoredImage]:
        """Return stored images, as they were at a generation if one is given."""
        return await asyncio.to_thread(self._found, gallery, names, at)

    async def stored(self, name: ImageName, head: Head) -> tuple[StoredImage, Array]:
        """Return a stored image, and its embedding behind a head."""
        return await asyncio.to_thread(self._stored, name, head)

    async def content(self, source: Source) -> bytes:
        """Return the file of an image."""
        if isinstance(source, bytes):
            return source
        return await asyncio.to_thread(self._content, source)

    async def digest(self, source: Query | None) -> str:
        """Return the `content_digest` of an image, by which a gallery knows its copies; empty of what is no image."""
        if isinstance(source, bytes):
            return await asyncio.to_thread(content_digest, source)
        if isinstance(source, ImageName):
            return (await self.found(source.gallery, [source.image], source.at))[0].content_sha256
        return ""

    async def _embed(self, content: bytes) -> Features:
        """Cancelling this drops the work."""
        return await asyncio.wrap_future(self._embedder.submit(content, urgent=True))

    def _stored(self, name: ImageName, head: Head) -> tuple[StoredImage, Array]:
        images = self._galleries.snapshot(name.gallery, name.at)
        return images.get(name.image), head.embed(images.pooled([name.image])[0])

    def _found(self, gallery: str, names: Sequence[str], at: int | None) -> list[StoredImage]:
        images = self._galleries.snapshot(gallery, at)
        return [images.get(name) for name in names]

    def _content(self, name: ImageName) -> bytes:
        return self._galleries.snapshot(name.gallery, name.at).content(name.image)

    def _kept_features(self, gallery: str, names: Sequence[str], at: int | None) -> list[Features | bytes]:
        """Return for each image its features or, where the gallery kept none, its file."""
        images = self._galleries.snapshot(gallery, at)
        return [features or images.content(name) for name, features in zip(names, images.features(names), strict=True)]


async def _itself(features: Features) -> Features:
    return features
