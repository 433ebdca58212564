"""ExplainService: where and why images match."""

import asyncio
import functools
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing

import grpc
import numpy as np
from PIL.Image import Image

from whymatch.embed import Array, Features, Head, Model
from whymatch.explain import (
    ChannelShare,
    ColorScale,
    MatchExplanation,
    NoLabeledPairs,
    Region,
    WeightMap,
    component_shares,
    correspondences,
    explain_interactive,
    explain_match,
    leading_cells,
    leading_channels,
    load_picture,
    region_vector,
    render_overlay,
    shared_scale,
    similarity_map,
)
from whymatch.index import GalleryVersion, Selection
from whymatch.server.differences import Differences
from whymatch.server.interceptor import Context
from whymatch.server.match_maps import MatchMaps, ShownMap, draw, draw_query, shown
from whymatch.server.rankings import (
    contender_as_of,
    draw_ranking,
    label_embeddings,
    neighborhood,
    rank,
    stored_sources,
)
from whymatch.server.regions import weights_of
from whymatch.server.sources import Images, Source, as_of, gallery_of
from whymatch.server.wire import (
    answers_difference,
    answers_explain,
    requests_difference,
    requests_explain,
    requests_shapes,
)
from whymatch.v1 import explain_service_pb2 as pb
from whymatch.v1.explain_service_pb2_grpc import ExplainServiceServicer, add_ExplainServiceServicer_to_server

MAX_CORRESPONDENCES = 1000
DEFAULT_PAIRS, MAX_PAIRS = 1000, 10_000
DEFAULT_NEIGHBORS, MAX_NEIGHBORS = 50, 1000


class ExplainServicer(ExplainServiceServicer):
    """Compares images."""

    name = pb.DESCRIPTOR.services_by_name["ExplainService"].full_name

    def __init__(self, images: Images, model: Model, explainer: Executor, stopping: asyncio.Event) -> None:
        """Serve. `explainer` runs the network for explanations, beside the thread that embeds, for they take long."""
        self._images = images
        self._model = model
        self._explainer = explainer
        self._differences = Differences(images, model, explainer, stopping)

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer these calls."""
        add_ExplainServiceServicer_to_server(self, server)

    async def ExplainMatch(self, request: pb.ExplainMatchRequest, context: Context) -> pb.ExplainMatchResponse:
        """Return the similarity maps of both images, and what leads in them."""
        query, match = requests_shapes.source(request.query, "query"), requests_shapes.source(request.match, "match")
        gallery = gallery_of(requests_shapes.parent(request.parent), match, query)
        at = requests_explain.at_generation(request, gallery)
        query, match = as_of(query, gallery, at), as_of(match, gallery, at)
        channels = requests_shapes.limit(request, "channel_limit", None, least=0)
        pairs = requests_shapes.limit(request, "correspondence_limit", MAX_CORRESPONDENCES, least=0)
        box_share, size_px = requests_shapes.box_share(request), requests_shapes.overlay_px(request)

        query_regions = await requests_shapes.regions(request.query_regions, "query_regions", self._images.limits)
        match_regions = await requests_shapes.regions(request.match_regions, "match_regions", self._images.limits)
        head, version = await self._images.head(gallery, at)
        origin = await self._images.provenance(version, query, match)
        ours, theirs = await asyncio.gather(self._images.features(query, head), self._images.features(match, head))
        weights = await asyncio.gather(weights_of(ours, query_regions), weights_of(theirs, match_regions))
        explanation = await asyncio.to_thread(explain_match, ours, theirs, *weights)
        leading = leading_channels(explanation.query_vector, explanation.match_vector, channels)
        cells = await asyncio.to_thread(correspondences, ours, theirs, pairs, *weights)
        match_maps, scale = await asyncio.to_thread(_match_maps, explanation, box_share), None
        if size_px is not None:
            by_region = (bool(query_regions), bool(match_regions))
            [match_maps], scale = await draw(self._images, query, [(match_maps, match)], size_px, by_region)
        with_units = self._with_units(leading, head)
        return answers_explain.explain_response(origin, explanation, match_maps, scale, with_units, cells)

    async def ExplainRanking(self, request: pb.ExplainRankingRequest, context: Context) -> pb.ExplainRankingResponse:
        """Return why a query is more similar to one image or label than to another."""
        query, parent = requests_shapes.source(request.query, "query"), requests_shapes.parent(request.parent)
        first = requests_explain.contender(request.first, "first")
        second = requests_explain.contender(request.second, "second")
        gallery = gallery_of(parent, *stored_sources([first, second]), query)
        at = requests_explain.at_generation(request, gallery)
        query = as_of(query, gallery, at)
        sides = contender_as_of(first, gallery, at), contender_as_of(second, gallery, at)
        channels = requests_shapes.limit(request, "channel_limit", None, least=0)
        cells = requests_shapes.limit(request, "cell_limit", None, least=0)
        box_share, size_px = requests_shapes.box_share(request), requests_shapes.overlay_px(request)

        regions = await requests_shapes.regions(request.query_regions, "query_regions", self._images.limits)
        head, version = await self._images.head(gallery, at)
        origin = await self._images.provenance(version, query)
        features = await self._images.features(query, head)
        weights = await weights_of(features, regions)
        ranking = await rank(self._images, features, weights, sides, head, version, origin.query_sha256, box_share)
        if size_px is not None:
            ranking = await draw_ranking(self._images, query, sides, ranking, size_px)
        one = ranking.explanation
        leading = leading_channels(one.query_vector, one.difference, channels, either_sign=True)
        of_query = leading_cells(one.difference_map, cells)
        return answers_explain.ranking_response(origin, ranking, self._with_units(leading, head), of_query)

    async def ExplainRank(self, request: pb.ExplainRankRequest, context: Context) -> pb.ExplainRankResponse:
        """Return where a stored image stands among all images of its gallery."""
        at = requests_shapes.at_generation(request)
        image = requests_shapes.image_name(request.image)._replace(at=at)
        query = as_of(requests_shapes.source(request.query, "query"), image.gallery, at)
        limit = requests_shapes.limit(request, "limit", None)
        regions = await requests_shapes.regions(request.query_regions, "query_regions", self._images.limits)
        version = await self._images.version(image.gallery, at)
        origin = await self._images.provenance(version, query, image)
        selection = Selection(without_contents=frozenset([origin.query_sha256] if request.exclude_itself else []))
        vector = await self._vector(query, regions, version)
        standing = await asyncio.to_thread(version.standing, vector, image.image, limit, selection)
        return answers_explain.rank_response(origin, image.gallery, standing)

    async def ExplainNeighbors(
        self, request: pb.ExplainNeighborsRequest, context: Context
    ) -> pb.ExplainNeighborsResponse:
        """Return the labels of a query's neighborhood, and those that speak for and against it."""
        gallery, at = requests_shapes.gallery_name(request.parent), requests_shapes.at_generation(request)
        query = as_of(requests_shapes.source(request.query, "query"), gallery, at)
        limit = requests_shapes.limit(request, "limit", MAX_NEIGHBORS, default=DEFAULT_NEIGHBORS)
        label_limit = requests_shapes.limit(request, "label_limit", None, least=0)
        regions = await requests_shapes.regions(request.query_regions, "query_regions", self._images.limits)
        version = await self._images.version(gallery, at)
        origin = await self._images.provenance(version, query)
        vector = await self._vector(query, regions, version)
        found = await asyncio.to_thread(neighborhood, version, vector, limit, origin.query_sha256)
        return answers_explain.neighbors_response(origin, found, label_limit)

    async def ExplainLabel(self, request: pb.ExplainLabelRequest, context: Context) -> pb.ExplainLabelResponse:
        """Return the mean of the query's maps with all images of a label."""
        gallery, query = requests_shapes.gallery_name(request.parent), requests_shapes.source(request.query, "query")
        label, where = requests_shapes.label(request.label), requests_shapes.where(request.filter)
        at = requests_shapes.at_generation(request)
        query = as_of(query, gallery, at)
        box_share, size_px = requests_shapes.box_share(request), requests_shapes.overlay_px(request)

        version, own = await self._images.version(gallery, at), await self._images.digest(query)
        origin = await self._images.provenance(version, query)
        others = await asyncio.to_thread(label_embeddings, version, label, own, where)
        features = await self._images.features(query, version.head)
        score, one = await asyncio.to_thread(_with_all, features, others, box_share)
        scale = None
        if size_px is not None:
            one, scale = await draw_query(self._images, query, one, size_px)
        return answers_explain.label_response(origin, score, len(others), one, scale)

    async def ExplainComponents(
        self, request: pb.ExplainComponentsRequest, context: Context
    ) -> pb.ExplainComponentsResponse:
        """Return how the leading channels add up to the score, over random pairs of one label."""
        gallery = requests_shapes.gallery_name(request.parent)
        count = requests_shapes.limit(request, "pair_count", MAX_PAIRS, default=DEFAULT_PAIRS)
        seed, where = requests_shapes.seed(request.seed), requests_shapes.where(request.filter)
        version = await self._images.version(gallery, requests_shapes.at_generation(request))
        origin = await self._images.provenance(version)
        pairs = await asyncio.to_thread(version.labeled_pairs, count, seed, where)
        shares, mean = await asyncio.to_thread(component_shares, *pairs)
        if not len(shares):
            which = " that the filter holds for" if request.filter else ""
            raise NoLabeledPairs(
                f"no two images of gallery {gallery!r}{which} share a label and are at all similar; add images with "
                "labels"
            )
        low, high = await asyncio.to_thread(functools.partial(np.quantile, shares, [0.1, 0.9], axis=0))
        return answers_explain.components_response(origin, len(shares), mean, low, high)

    async def ExplainInterActive(
        self, request: pb.ExplainInterActiveRequest, context: Context
    ) -> pb.ExplainInterActiveResponse:
        """Return how active the neurons of some layers are."""
        source, settings = requests_shapes.source(request.image, "image"), requests_explain.settings(request)
        size_px, descriptor, overlay_px = (
            requests_explain.input_px(request),
            requests_explain.descriptor(request),
            requests_shapes.overlay_px(request),
        )
        origin = await self._images.provenance(None, source)
        content, limits = await self._images.content(source), self._images.limits
        weigh = functools.partial(
            explain_interactive, self._model, content, settings, size_px=size_px, warp=request.warp, limits=limits
        )
        explanation = await asyncio.get_running_loop().run_in_executor(self._explainer, weigh)
        drawings = []
        if overlay_px is not None:
            picture = await asyncio.to_thread(load_picture, content, size_px=overlay_px, limits=limits)
            drawings = await asyncio.to_thread(lambda: [_drawn(picture, one) for one in explanation.maps])
        return await asyncio.to_thread(answers_explain.interactive_response, origin, explanation, descriptor, drawings)

    async def ExplainPredictionDifference(
        self, request: pb.ExplainPredictionDifferenceRequest, context: Context
    ) -> AsyncIterator[pb.ExplainPredictionDifferenceResponse]:
        """Stream what each part of an image is worth for what the model makes of it."""
        overlay_px = requests_shapes.overlay_px(request)
        asked = await asyncio.to_thread(requests_difference.asked, request)
        async with aclosing(self._differences.answers(asked, overlay_px, context.time_remaining)) as answers:
            async for answer in answers:
                respond = functools.partial(answers_difference.difference_response, answer)
                yield await asyncio.to_thread(respond) if answer.progress.result else respond()

    async def _vector(self, query: Source, regions: Sequence[Region], version: GalleryVersion) -> Array:
        """Return what regions, or the whole of an image, have in its embedding, (D,) float32."""
        if not regions:
            return await self._images.embedding(query, version)
        features = await self._images.features(query, version.head)
        weights = await weights_of(features, regions)
        assert weights is not None
        return await asyncio.to_thread(region_vector, features, weights)

    def _with_units(self, channels: Sequence[ChannelShare], head: Head) -> list[answers_explain.Leading]:
        """Return channels with the units that they are; behind a head that mixes them they are none."""
        mixed = head.matrix is not None
        return [(one, None if mixed else self._model.unit_of(one.channel)) for one in channels]


def _drawn(picture: Image, weight_map: WeightMap) -> tuple[bytes, ColorScale]:
    scale = shared_scale([weight_map])
    return render_overlay(picture, weight_map, scale), scale


def _with_all(features: Features, others: Array, box_share: float) -> tuple[float, ShownMap]:
    """Return the mean similarity of an image with embeddings (n, C), and its map."""
    mean = others.mean(axis=0)
    return float(features.embedding @ mean), shown(similarity_map(features, mean), box_share)


def _match_maps(explanation: MatchExplanation, box_share: float) -> MatchMaps:
    return MatchMaps(shown(explanation.query_map, box_share), shown(explanation.match_map, box_share))
