"""SearchService: the most similar images, by the whole image or by regions, and where each similarity lies."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

import grpc
import numpy as np

from whymatch.embed import Array, Progress
from whymatch.explain import ExampleQuery, Region, region_vector
from whymatch.index import Duplicates, GalleryVersion, Match, Selection, UnknownImage
from whymatch.server import examples
from whymatch.server.examples import GivenExample
from whymatch.server.interceptor import Context
from whymatch.server.match_maps import CHUNK, Sought, draw, find_match_maps, region_scores
from whymatch.server.provenance import Provenance
from whymatch.server.regions import MatchWeights, weights_of
from whymatch.server.search_batcher import SearchBatcher
from whymatch.server.sources import Embedding, ImageName, Images, Query
from whymatch.server.streams import steps
from whymatch.server.wire import answers_search, answers_shapes, requests_search, requests_shapes
from whymatch.v1 import search_service_pb2 as pb
from whymatch.v1.search_service_pb2_grpc import SearchServiceServicer, add_SearchServiceServicer_to_server

RETRIES = 3
"""Searches after the first when a match is deleted meanwhile."""
Answer = TypeVar("Answer")
DEFAULT_CANDIDATES = 100


@dataclass(frozen=True)
class Asked:
    """What a request compares with a gallery, and what its answer shows of the matches."""

    gallery: str
    version: GalleryVersion
    origin: Provenance
    query: Query | None
    """None if the search is by examples."""
    sought: Sought
    embedding: Array
    """Of the whole query."""
    shown: requests_search.Shown
    given: Sequence[GivenExample] = ()
    examples: ExampleQuery | None = None


class SearchServicer(SearchServiceServicer):
    """Searches galleries."""

    name = pb.DESCRIPTOR.services_by_name["SearchService"].full_name

    def __init__(self, images: Images, batcher: SearchBatcher, *, max_limit: int) -> None:
        self._images = images
        self._batcher = batcher
        self._max_limit = max_limit

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer these calls."""
        add_SearchServiceServicer_to_server(self, server)

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        """Return the most similar images, best first."""
        gallery = requests_shapes.gallery_name(request.parent)
        given = await requests_search.examples(request, self._images.limits)
        query = None if given else requests_search.query(request)
        limit = requests_shapes.limit(request, "limit", self._max_limit, flag="--max-limit")
        shown = requests_search.shown(request, limit)
        requests_search.check_search(request)
        variety = requests_search.variety(request)
        depth = variety.candidates(limit)
        requests_search.check_example_maps(len(given), limit, shown)
        selection = await self._selection(request, query, *(one.source for one in given))
        if query is None:
            asked = await self._asked_by_examples(gallery, given, shown)
        else:
            regions = await requests_shapes.regions(request.regions, "regions", self._images.limits)
            asked = await self._asked(gallery, query, shown, regions)
        vector = asked.sought.vector

        async def attempt() -> pb.SearchResponse:
            if request.best_per_label:
                matches = await asyncio.to_thread(asked.version.best_of_labels, vector, depth, selection)
            else:
                matches = await self._batcher.search(asked.version, vector, depth, selection)
            if variety:
                matches = await asyncio.to_thread(asked.version.varied, matches, limit, variety)
            return await self._answer(pb.SearchResponse, asked, matches)

        return await _retried(attempt)

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:
        """Return candidates, ordered by regions of the query, of themselves, or of both."""
        gallery, query = requests_shapes.gallery_name(request.parent), requests_shapes.source(request.query, "query")
        limit = requests_shapes.limit(request, "limit", self._max_limit, flag="--max-limit")
        candidate_limit = requests_shapes.limit(
            request, "candidate_limit", self._max_limit, default=DEFAULT_CANDIDATES, flag="--max-limit"
        )
        shown = requests_search.shown(request, limit)
        requests_search.check_rerank(request)
        names_given = requests_search.candidates(request, gallery, self._max_limit)
        selection, named = await self._selection(request, query), await self._images.found(gallery, names_given)
        query_regions = await requests_shapes.regions(request.query_regions, "query_regions", self._images.limits)
        match_regions = await requests_shapes.regions(request.match_regions, "match_regions", self._images.limits)
        asked = await self._asked(gallery, query, shown, query_regions, match_regions)

        async def attempt() -> pb.RerankResponse:
            names = [image.name for image in named if image.content_sha256 not in selection.without_contents]
            if not request.candidates:
                found = await self._batcher.search(asked.version, asked.embedding, candidate_limit, selection)
                names = [match.image.name for match in found]
            scores = await self._scores(asked, names)
            best = np.argsort(-np.array(scores), kind="stable")[:limit].tolist()
            images = await self._images.found(gallery, [names[place] for place in best])
            matches = [Match(image, scores[place]) for image, place in zip(images, best, strict=True)]
            return await self._answer(pb.RerankResponse, asked, matches)

        return await (attempt() if request.candidates else _retried(attempt))

    async def FindDuplicates(
        self, request: pb.FindDuplicatesRequest, context: Context
    ) -> AsyncIterator[pb.FindDuplicatesResponse]:
        """Find groups of near duplicates."""
        gallery, above = requests_shapes.gallery_name(request.parent), requests_search.above(request)
        where = requests_shapes.where(request.filter)
        version = await self._images.version(gallery)
        origin = await self._images.provenance(version)
        yield answers_search.duplicates_begun(origin)
        reached, groups = Progress[list[Duplicates]]("images", 0, origin.image_count), []
        async with aclosing(steps(version.duplicates(above, where))) as progress:
            async for step in progress:
                reached = step or reached
                groups = reached.result or []
                yield answers_search.duplicates_progress(reached)
        for group in groups:
            yield answers_search.duplicates(gallery, group)

    async def _selection(self, request: pb.SearchRequest | pb.RerankRequest, *queries: Query | None) -> Selection:
        """Return which images a request may find."""
        labels = requests_search.labels(request)
        own = [await self._images.digest(query) for query in queries if request.exclude_itself]
        return Selection(labels, frozenset(own) - {""})

    async def _asked(
        self,
        gallery: str,
        query: Query,
        shown: requests_search.Shown,
        regions: Sequence[Region],
        match_regions: Sequence[Region] = (),
    ) -> Asked:
        version = await self._images.version(gallery)
        origin = await self._images.provenance(version, query)
        of_matches = MatchWeights(match_regions)
        if isinstance(query, Embedding) or not (shown.maps or regions):
            embedding = await self._images.embedding(query, version)
            sought = Sought(None, None, embedding, of_matches)
            return Asked(gallery, version, origin, query, sought, embedding, shown)
        features = await self._images.features(query, version.head)
        weights = await weights_of(features, regions)
        embedding = features.embedding
        vector = embedding if weights is None else await asyncio.to_thread(region_vector, features, weights)
        sought = Sought(features, weights, vector, of_matches)
        return Asked(gallery, version, origin, query, sought, embedding, shown)

    async def _asked_by_examples(
        self, gallery: str, given: Sequence[GivenExample], shown: requests_search.Shown
    ) -> Asked:
        version = await self._images.version(gallery)
        origin = await self._images.provenance(version)
        query = await examples.combined(self._images, given, version, with_maps=shown.maps)
        sought = Sought(None, None, query.vector, MatchWeights(()))
        return Asked(gallery, version, origin, None, sought, query.vector, shown, given, query)

    async def _scores(self, asked: Asked, names: Sequence[str]) -> list[float]:
        """Return the parts of the scores of images that lie in the regions."""
        sought = asked.sought
        if not sought.match_weights:
            whole: list[float] = (await self._images.similarities(asked.version, names, sought.vector)).tolist()
            return whole
        scores: list[float] = []
        for start in range(0, len(names), CHUNK):
            some = names[start : start + CHUNK]
            features = await self._images.stored_features(asked.gallery, some, asked.version.head)
            scores += await asyncio.to_thread(region_scores, sought, some, features)
        return scores

    async def _answer(self, response: Callable[..., Answer], asked: Asked, matches: Sequence[Match]) -> Answer:
        """Return the matches with their maps and pictures, as far as they are asked for."""
        names = [match.image.name for match in matches]
        image_scores = {one.image.name: one.score for match in matches for one in (match, *match.folded)}
        if any(asked.sought.by_region):
            whole = await self._images.similarities(asked.version, list(image_scores), asked.embedding)
            image_scores = dict(zip(image_scores, whole.tolist(), strict=True))
        match_maps, shares, scale = [], [], None
        if asked.examples:
            box_share = asked.shown.box_share if asked.shown.maps else None
            shares = await examples.find_shares(asked.examples, asked.version, names, box_share)
        if asked.shown.maps:
            head, box_share = asked.version.head, asked.shown.box_share
            match_maps = await find_match_maps(self._images, asked.sought, asked.gallery, head, matches, box_share)
        if asked.shown.overlay_px is not None:
            sources = [ImageName(asked.gallery, name) for name in names]
            pairs, size_px = list(zip(match_maps, sources, strict=True)), asked.shown.overlay_px
            if asked.query is None:
                match_maps, shares, scale = await examples.draw(self._images, asked.given, pairs, shares, size_px)
            else:
                match_maps, scale = await draw(self._images, asked.query, pairs, size_px, asked.sought.by_region)
        return response(
            model=asked.origin.model,
            provenance=answers_shapes.provenance(asked.origin),
            matches=answers_search.matches(asked.gallery, matches, image_scores, match_maps, shares),
            color_scale=answers_shapes.color_scale(scale),
        )


async def _retried(attempt: Callable[[], Awaitable[Answer]]) -> Answer:
    """Try again when an image is gone: one deleted since it was found is passed by in the next search."""
    for _ in range(RETRIES):
        try:
            return await attempt()
        except UnknownImage:
            continue
    return await attempt()
