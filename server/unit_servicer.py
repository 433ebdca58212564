"""UnitService: what the units of the network respond to. Every call is a stream that says how far it is."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from typing import TypeVar

import grpc

from whymatch.embed import BadRequest, Model, Progress
from whymatch.explain.units import TOP_IMAGES
from whymatch.server import unit_work
from whymatch.server.errors import ShuttingDown
from whymatch.server.interceptor import Context
from whymatch.server.provenance import Provenance
from whymatch.server.sources import Images
from whymatch.server.streams import steps
from whymatch.server.unit_work import Work
from whymatch.server.wire import answers_shapes, answers_unit, requests_shapes, requests_unit
from whymatch.v1 import unit_service_pb2 as pb
from whymatch.v1.unit_service_pb2_grpc import UnitServiceServicer, add_UnitServiceServicer_to_server

Found = TypeVar("Found")
Answer = TypeVar(
    "Answer",
    pb.DescribeUnitsResponse,
    pb.DecodeFiltersResponse,
    pb.DescribeLayerColorsResponse,
    pb.FindReceptiveFieldResponse,
    pb.SegmentUnitsResponse,
    pb.FindMinimalImageResponse,
)


class UnitServicer(UnitServiceServicer):
    """Looks into the network."""

    name = pb.DESCRIPTOR.services_by_name["UnitService"].full_name

    def __init__(
        self, images: Images, model: Model, explainer: Executor, stopping: asyncio.Event, *, max_limit: int
    ) -> None:
        """Serve. `explainer` has the one thread that all of this runs in."""
        self._images = images
        self._model = model
        self._explainer = explainer
        self._stopping = stopping
        self._max_limit = max_limit

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer these calls."""
        add_UnitServiceServicer_to_server(self, server)

    async def DescribeUnits(
        self, request: pb.DescribeUnitsRequest, context: Context
    ) -> AsyncIterator[pb.DescribeUnitsResponse]:
        """Stream what units respond to."""
        layer, channels = requests_unit.layer(request.layer), requests_unit.channels(request.channels)
        setting = requests_unit.description(request)
        work = await self._work(request.parent, layer)
        origin = await self._images.provenance(work.gallery.version)
        answer = partial(answers_unit.describe_response, work.gallery.name)
        async for one in self._answers(unit_work.describing(work, channels, setting), answer, origin):
            yield one

    async def DecodeFilters(
        self, request: pb.DecodeFiltersRequest, context: Context
    ) -> AsyncIterator[pb.DecodeFiltersResponse]:
        """Stream what units look for."""
        layer, channels = requests_unit.layer(request.layer), requests_unit.channels(request.channels)
        thresholds = requests_unit.thresholds(request.thresholds)
        answer = partial(answers_unit.decode_response, with_values=request.with_values)
        origin = await self._images.provenance(None)
        async for one in self._answers(unit_work.decoding(self._model, layer, channels, thresholds), answer, origin):
            yield one

    async def DescribeLayerColors(
        self, request: pb.DescribeLayerColorsRequest, context: Context
    ) -> AsyncIterator[pb.DescribeLayerColorsResponse]:
        """Stream how a layer is about color."""
        layer, channels = requests_unit.layer(request.layer), requests_unit.channels(request.channels)
        if not (request.with_axes or request.with_selectivity):
            raise BadRequest("nothing is asked for; set `with_axes`, `with_selectivity` or both")
        setting = requests_unit.selectivity(request.selectivity)
        top_count = requests_unit.top_count(request, TOP_IMAGES)
        filters = requests_unit.thresholds(request.thresholds), requests_unit.axes(request.axis_setting)
        selectivity = None
        if request.with_selectivity:
            selectivity = await self._work(request.parent, layer), setting, top_count
        origin = await self._images.provenance(selectivity[0].gallery.version if selectivity else None)
        coloring = unit_work.coloring(self._model, layer, filters if request.with_axes else None, selectivity, channels)
        async for one in self._answers(coloring, partial(answers_unit.layer_colors_response, layer), origin):
            yield one

    async def FindReceptiveField(
        self, request: pb.FindReceptiveFieldRequest, context: Context
    ) -> AsyncIterator[pb.FindReceptiveFieldResponse]:
        """Stream what pixels a unit really responds to."""
        layer, channel = requests_unit.unit(request.unit)
        count, setting = requests_unit.field_images(request), requests_unit.occluder(request.occluder)
        work = await self._work(request.parent, layer)
        origin = await self._images.provenance(work.gallery.version)
        occluding = unit_work.occluding(work, channel, count, setting)
        answer = partial(answers_unit.field_response, (layer, channel), setting)
        async for one in self._answers(occluding, answer, origin):
            yield one

    async def SegmentUnits(
        self, request: pb.SegmentUnitsRequest, context: Context
    ) -> AsyncIterator[pb.SegmentUnitsResponse]:
        """Stream where in an image units respond, and its matches."""
        layer, wanted = requests_unit.layer(request.layer), requests_unit.segments(request, self._max_limit)
        source, size_px = requests_shapes.source(request.image, "image"), requests_shapes.overlay_px(request)
        work = await self._work(request.parent, layer)
        version, content = work.gallery.version, await self._images.content(source)
        origin = await self._images.provenance(version, source)
        answer = partial(answers_unit.segment_response, work.gallery.name, layer)
        segmenting = unit_work.segmenting(work, version, content, wanted, size_px)
        async for one in self._answers(segmenting, answer, origin, origin.model):
            yield one

    async def FindMinimalImage(
        self, request: pb.FindMinimalImageRequest, context: Context
    ) -> AsyncIterator[pb.FindMinimalImageResponse]:
        """Stream an image as parts of it are removed."""
        wanted, source = requests_unit.minimal_image(request), requests_shapes.source(request.image, "image")
        size_px = requests_shapes.overlay_px(request)
        version = None
        if wanted.class_name is None:
            version = await self._images.version(requests_shapes.gallery_name(request.parent))
        origin = await self._images.provenance(version, source)
        content = await self._images.content(source)
        simplifying = unit_work.simplifying(self._model, version, content, wanted, size_px, self._images.limits)
        async for one in self._answers(simplifying, answers_unit.minimal_image_response, origin, origin.model):
            yield one

    async def _work(self, parent: str, layer: str) -> Work:
        gallery = await self._images.gallery(requests_shapes.gallery_name(parent))
        return Work(gallery, self._model, layer, self._images.limits)

    async def _answers(
        self,
        work: Iterator[Progress[Found]],
        answer: Callable[[Progress[Found]], Answer],
        origin: Provenance,
        model: str = "",
    ) -> AsyncGenerator[Answer]:
        """Do the work in the thread of explanations, and yield its answers; where one takes long, how far it was.

        model: the fingerprint that the answers are given, by default that without a head.
        """
        alive, provenance = answer(Progress("", 0, 0)), answers_shapes.provenance(origin)
        async with aclosing(steps(map(answer, work), self._explainer)) as answers:
            async for one in answers:
                if self._stopping.is_set():
                    raise ShuttingDown
                one = one or alive
                if one.WhichOneof("answer") == "progress":
                    alive = one
                else:
                    one.provenance.CopyFrom(provenance)
                one.model = model or origin.headless_model
                yield one
