"""SearchService: the most similar images, and where each similarity lies."""

from collections.abc import Sequence

import numpy as np

from whymatch.embed import Array, Features
from whymatch.explain import SimilarityMap, similarity_map
from whymatch.index import Gallery, Match
from whymatch.server import convert
from whymatch.server.backend import Backend, Source, Stored
from whymatch.server.batching import SearchBatcher
from whymatch.server.calls import Context
from whymatch.server.maps import MapOf, with_pictures
from whymatch.v1 import search_service_pb2 as pb
from whymatch.v1.search_service_pb2_grpc import SearchServiceServicer


class SearchService(SearchServiceServicer):
    """Searches galleries."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._model = backend.embedder.model
        self._batcher = SearchBatcher(backend)

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        """Return the most similar images, best first."""
        query = convert.query(request, self._model.dimensions)
        limit = convert.limit(request, self._backend.config.max_limit)
        convert.overlay_px(request.overlays)
        gallery = await self._backend.gallery(convert.gallery_name(request.parent))
        with_maps = request.with_maps or request.HasField("overlays")
        embedding, features = await self._embedded(query, with_maps)
        found = await self._batcher.search(gallery, embedding, limit, tuple(request.labels))
        response = pb.SearchResponse(
            model=self._model.fingerprint, matches=[convert.match(gallery.name, match) for match in found]
        )
        if with_maps:
            match_maps = await self._match_maps(gallery, found, embedding)
            query_maps = await self._query_maps(gallery, found, query, features)
            await self._fill(response, query_maps, match_maps, request)
        return response

    async def _embedded(self, query: Source | Array, with_maps: bool) -> tuple[Array, Features | None]:
        """Return the query's embedding and, if it is an image whose map is wanted, its features."""
        if isinstance(query, np.ndarray):
            return query, None
        if isinstance(query, Stored) and not with_maps:
            gallery = await self._backend.gallery(query.gallery)
            return await self._backend.run(gallery.embedding, query.image), None
        features = await self._backend.features(query)
        return features.embedding, features

    async def _match_maps(self, gallery: Gallery, found: Sequence[Match], embedding: Array) -> list[MapOf]:
        sources = [Stored(gallery.name, match.image.name) for match in found]
        stored = await self._backend.run(_stored_maps, gallery, sources, embedding)
        return [
            (similarity or similarity_map(await self._backend.features(source), embedding), source)
            for similarity, source in zip(stored, sources, strict=True)
        ]

    async def _query_maps(
        self, gallery: Gallery, found: Sequence[Match], query: Source | Array, features: Features | None
    ) -> list[MapOf]:
        """Return the map of the query for each match; none for a query that was a mere embedding."""
        if features is None or isinstance(query, np.ndarray):
            return []
        names = [match.image.name for match in found]
        maps = await self._backend.run(_maps_of_query, gallery, names, features)
        return [(similarity, query) for similarity in maps]

    async def _fill(
        self, response: pb.SearchResponse, query_maps: list[MapOf], match_maps: list[MapOf], request: pb.SearchRequest
    ) -> None:
        """Put the maps into the response, with pictures if they are asked for."""
        if request.HasField("overlays"):
            messages, scale = await with_pictures(self._backend, [*match_maps, *query_maps], request.overlays)
            if scale:
                response.color_scale.CopyFrom(scale)
        else:
            messages = [convert.similarity_map(similarity) for similarity, _ in [*match_maps, *query_maps]]
        count = len(match_maps)
        for match, message in zip(response.matches, messages[:count], strict=True):
            match.match_map.CopyFrom(message)
        for match, message in zip(response.matches, messages[count:], strict=False):
            match.query_map.CopyFrom(message)


def _stored_maps(gallery: Gallery, sources: Sequence[Stored], embedding: Array) -> list[SimilarityMap | None]:
    stored = [gallery.features(source.image) for source in sources]
    return [similarity_map(features, embedding) if features else None for features in stored]


def _maps_of_query(gallery: Gallery, names: Sequence[str], features: Features) -> list[SimilarityMap]:
    return [similarity_map(features, gallery.embedding(name)) for name in names]
