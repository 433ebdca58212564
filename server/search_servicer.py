"""SearchService: the most similar images, by the whole image or by regions, and where each similarity lies."""

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TypeVar

import grpc
import numpy as np

from whymatch.embed import Array, Progress, WhymatchError
from whymatch.explain import ExampleQuery, Region, region_vector
from whymatch.index import Duplicates, GalleryVersion, Match, Selection, UnknownImage
from whymatch.server import examples
from whymatch.server.errors import named
from whymatch.server.examples import GivenExample
from whymatch.server.interceptor import Context
from whymatch.server.match_maps import CHUNK, Sought, draw, find_match_maps, region_scores
from whymatch.server.provenance import Provenance
from whymatch.server.regions import MatchWeights, weights_of
from whymatch.server.search_batcher import SearchBatcher
from whymatch.server.search_pages import Cursor, Page, read_cursor
from whymatch.server.sources import Embedding, ImageName, Images, Query, as_of
from whymatch.server.streams import steps
from whymatch.server.wire import answers_search, answers_shapes, requests_search, requests_shapes
from whymatch.v1 import search_service_pb2 as pb
from whymatch.v1.search_service_pb2_grpc import SearchServiceServicer, add_SearchServiceServicer_to_server

RETRIES = 3
"""Searches after the first when a match is deleted meanwhile."""
SMALL_BYTES = 64 * 1024
"""To hash so much of a request takes less than to hand it to a thread and back."""
Answer = TypeVar("Answer")
DEFAULT_CANDIDATES = 100


@dataclass(frozen=True)
class Asked:
    """What a request compares with a gallery, and what its answer shows of the matches."""

    gallery: str
    at: int | None
    """Which generation of the gallery, None for now."""
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
        return await self._search(request)

    async def BatchSearch(self, request: pb.BatchSearchRequest, context: Context) -> pb.BatchSearchResponse:
        """Return the answers to several searches."""
        numbered = enumerate(requests_search.searches(request))
        answers = await asyncio.gather(*[self._numbered(*one) for one in numbered], return_exceptions=True)
        if failure := next((one for one in answers if isinstance(one, BaseException)), None):
            raise failure
        return pb.BatchSearchResponse(responses=[one for one in answers if isinstance(one, pb.SearchResponse)])

    async def _numbered(self, number: int, request: pb.SearchRequest) -> pb.SearchResponse:
        """Search; the error says which of several searches failed."""
        try:
            return await self._search(request)
        except WhymatchError as err:
            raise named(err, f"`requests[{number}]`") from err

    async def _search(self, request: pb.SearchRequest) -> pb.SearchResponse:
        gallery = requests_shapes.gallery_name(request.parent)
        given = await requests_search.examples(request, self._images.limits)
        limit = requests_shapes.limit(request, "limit", self._max_limit, flag="--max-limit")
        shown = requests_search.shown(request, limit)
        requests_search.check_search(request)
        variety, least = requests_search.variety(request), requests_search.min_score(request)
        requests_search.check_example_maps(len(given), limit, shown)
        digest, cursor = await self._cursor(request, gallery)
        at = cursor.generation if cursor else requests_shapes.at_generation(request)
        given = [replace(one, source=as_of(one.source, gallery, at)) for one in given]
        query = None if given else as_of(requests_search.query(request), gallery, at)
        selection = await self._selection(request, gallery, query, *(one.source for one in given))
        if query is None:
            asked = await self._asked_by_examples(gallery, at, given, shown)
        else:
            regions = await requests_shapes.regions(request.regions, "regions", self._images.limits)
            asked = await self._asked(gallery, at, query, shown, regions)
        vector = asked.sought.vector
        page = Page(cursor, limit, _label_of if request.best_per_label else _name_of)
        depth = variety.candidates(limit) if variety else page.depth

        async def attempt() -> pb.SearchResponse:
            if request.best_per_label:
                found = await asyncio.to_thread(asked.version.best_of_labels, vector, depth, selection)
            else:
                found = await self._batcher.search(asked.version, vector, depth, selection)
            if variety:
                kept = _at_least(least, found)
                matches = await asyncio.to_thread(asked.version.varied, kept, limit, variety)
                return await self._answer(pb.SearchResponse, asked, matches)
            matches = _at_least(least, page.matches(found, vector))
            more = len(found) == page.depth and found[-1].score >= least
            following = page.next(digest, asked.origin.generation, matches, vector) if more else None
            token = following.token() if following else ""
            return await self._answer(functools.partial(pb.SearchResponse, next_page_token=token), asked, matches)

        return await _retried(attempt)

    async def _cursor(self, request: pb.SearchRequest, gallery: str) -> tuple[str, Cursor | None]:
        """Return the hash of a request, and where the page before ended, None for the first one."""
        version = await self._images.version(gallery)
        if request.ByteSize() < SMALL_BYTES:
            digest = requests_search.digest(request, version.create_time)
        else:
            digest = await asyncio.to_thread(requests_search.digest, request, version.create_time)
        return digest, read_cursor(request.page_token, digest) if request.page_token else None

    async def Rerank(self, request: pb.RerankRequest, context: Context) -> pb.RerankResponse:
        """Return candidates, ordered by regions of the query, of themselves, or of both."""
        gallery, at = requests_shapes.gallery_name(request.parent), requests_shapes.at_generation(request)
        query = as_of(requests_shapes.source(request.query, "query"), gallery, at)
        limit = requests_shapes.limit(request, "limit", self._max_limit, flag="--max-limit")
        candidate_limit = requests_shapes.limit(
            request, "candidate_limit", self._max_limit, default=DEFAULT_CANDIDATES, flag="--max-limit"
        )
        shown = requests_search.shown(request, limit)
        requests_search.check_rerank(request)
        least = requests_search.min_score(request)
        names_given = requests_search.candidates(request, gallery, self._max_limit)
        selection = await self._selection(request, gallery, query)
        named = await self._images.found(gallery, names_given, at)
        query_regions = await requests_shapes.regions(request.query_regions, "query_regions", self._images.limits)
        match_regions = await requests_shapes.regions(request.match_regions, "match_regions", self._images.limits)
        asked = await self._asked(gallery, at, query, shown, query_regions, match_regions)

        async def attempt() -> pb.RerankResponse:
            left = [image for image in named if image.content_sha256 not in selection.without_contents]
            names = [image.name for image in left if image.name not in selection.without_names]
            if not request.candidates:
                found = await self._batcher.search(asked.version, asked.embedding, candidate_limit, selection)
                names = [match.image.name for match in found]
            scores = await self._scores(asked, names)
            best = np.argsort(-np.array(scores), kind="stable")[:limit].tolist()
            images = await self._images.found(gallery, [names[place] for place in best], at)
            matches = [Match(image, scores[place]) for image, place in zip(images, best, strict=True)]
            return await self._answer(pb.RerankResponse, asked, _at_least(least, matches))

        return await (attempt() if request.candidates else _retried(attempt))

    async def FindDuplicates(
        self, request: pb.FindDuplicatesRequest, context: Context
    ) -> AsyncIterator[pb.FindDuplicatesResponse]:
        """Find groups of near duplicates."""
        gallery, above = requests_shapes.gallery_name(request.parent), requests_search.above(request)
        where = requests_shapes.where(request.filter)
        version = await self._images.version(gallery, requests_shapes.at_generation(request))
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

    async def _selection(
        self, request: pb.SearchRequest | pb.RerankRequest, gallery: str, *queries: Query | None
    ) -> Selection:
        """Return which images a request may find."""
        own = [await self._images.digest(query) for query in queries if request.exclude_itself]
        return Selection(
            labels=requests_search.labels(request),
            where=requests_shapes.where(request.filter),
            without_names=requests_search.excluded(request, gallery),
            without_contents=frozenset(own) - {""},
        )

    async def _asked(
        self,
        gallery: str,
        at: int | None,
        query: Query,
        shown: requests_search.Shown,
        regions: Sequence[Region],
        match_regions: Sequence[Region] = (),
    ) -> Asked:
        version = await self._images.version(gallery, at)
        origin = await self._images.provenance(version, query)
        of_matches = MatchWeights(match_regions)
        if isinstance(query, Embedding) or not (shown.maps or regions):
            embedding = await self._images.embedding(query, version)
            sought = Sought(None, None, embedding, of_matches)
            return Asked(gallery, at, version, origin, query, sought, embedding, shown)
        features = await self._images.features(query, version.head)
        weights = await weights_of(features, regions)
        embedding = features.embedding
        vector = embedding if weights is None else await asyncio.to_thread(region_vector, features, weights)
        sought = Sought(features, weights, vector, of_matches)
        return Asked(gallery, at, version, origin, query, sought, embedding, shown)

    async def _asked_by_examples(
        self, gallery: str, at: int | None, given: Sequence[GivenExample], shown: requests_search.Shown
    ) -> Asked:
        version = await self._images.version(gallery, at)
        query = await examples.combined(self._images, given, version, with_maps=shown.maps)
        origin = await self._images.provenance(version, examples=[one.source for one in given])
        sought = Sought(None, None, query.vector, MatchWeights(()))
        return Asked(gallery, at, version, origin, None, sought, query.vector, shown, given, query)

    async def _scores(self, asked: Asked, names: Sequence[str]) -> list[float]:
        """Return the parts of the scores of images that lie in the regions."""
        sought = asked.sought
        if not sought.match_weights:
            whole: list[float] = (await self._images.similarities(asked.version, names, sought.vector)).tolist()
            return whole
        scores: list[float] = []
        for start in range(0, len(names), CHUNK):
            some = names[start : start + CHUNK]
            features = await self._images.stored_features(asked.gallery, some, asked.version.head, asked.at)
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
            match_maps = await find_match_maps(
                self._images, asked.sought, asked.gallery, head, matches, box_share, asked.at
            )
        if asked.shown.overlay_px is not None:
            sources = [ImageName(asked.gallery, name, asked.at) for name in names]
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


def _at_least(score: float, matches: Sequence[Match]) -> list[Match]:
    return [match for match in matches if match.score >= score]


def _name_of(match: Match) -> str:
    return match.image.name


def _label_of(match: Match) -> str:
    return match.image.label


async def _retried(attempt: Callable[[], Awaitable[Answer]]) -> Answer:
    """Try again when an image is gone: one deleted since it was found is passed by in the next search."""
    for _ in range(RETRIES):
        try:
            return await attempt()
        except UnknownImage:
            continue
    return await attempt()
