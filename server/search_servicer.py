"""SearchService: the most similar images, and where each similarity lies."""

from collections.abc import Sequence

import numpy as np

from whymatch.embed import Array, Features, Model
from whymatch.explain import ColorScale
from whymatch.index import Match, UnknownImage
from whymatch.server import convert
from whymatch.server.calls import Context
from whymatch.server.errors import BadLimit
from whymatch.server.evidence import Evidence, draw, find_evidence
from whymatch.server.images import ImageName, Images, Query
from whymatch.server.search_batcher import SearchBatcher
from whymatch.v1 import search_service_pb2 as pb
from whymatch.v1.search_service_pb2_grpc import SearchServiceServicer

MAX_DRAWN = 100
"""Matches of one answer that can have pictures; a picture takes about 50 ms and up to some MB."""

RETRIES = 3
"""Searches after the first when a match is deleted meanwhile."""


class SearchServicer(SearchServiceServicer):
    """Searches galleries."""

    def __init__(self, model: Model, images: Images, batcher: SearchBatcher, *, max_limit: int) -> None:
        self._model = model
        self._images = images
        self._batcher = batcher
        self._max_limit = max_limit

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        """Return the most similar images, best first."""
        gallery, query = convert.gallery_name(request.parent), convert.query(request, self._model.dimensions)
        limit, size_px = convert.limit(request, self._max_limit), convert.overlay_px(request)
        labels = convert.labels(request)
        with_maps = request.with_maps or size_px is not None
        if size_px is not None and limit > MAX_DRAWN:
            raise BadLimit(
                f"at most {MAX_DRAWN} matches can have pictures, not {limit}; lower the limit or leave out `overlays`"
            )

        features = await self._images.features(query) if with_maps and not isinstance(query, np.ndarray) else None
        embedding = await self._images.embedding(query) if features is None else features.embedding
        retries = RETRIES
        while True:
            matches = await self._batcher.search(gallery, embedding, limit, labels)
            if not with_maps:
                return convert.search_response(self._model.fingerprint, gallery, matches)
            try:
                evidence, scale = await self._explained(query, features, embedding, gallery, matches, size_px)
            except UnknownImage as err:
                if not retries or err.name not in {match.image.name for match in matches}:
                    raise
                retries -= 1  # deleted since it was found, so the next search passes it by
                continue
            return convert.search_response(self._model.fingerprint, gallery, matches, evidence, scale)

    async def _explained(
        self,
        query: Query,
        features: Features | None,
        embedding: Array,
        gallery: str,
        matches: Sequence[Match],
        size_px: int | None,
    ) -> tuple[list[Evidence], ColorScale | None]:
        """Return the maps of all matches and, if `size_px` asks for them, their pictures and the scale of these."""
        evidence = await find_evidence(self._images, features, embedding, gallery, matches)
        if size_px is None:
            return evidence, None
        names = [ImageName(gallery, match.image.name) for match in matches]
        return await draw(self._images, query, list(zip(evidence, names, strict=True)), size_px)
