"""UnitService: what the units of the network respond to. Every call is a stream that says how far it is."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import aclosing
from typing import TypeVar

from whymatch.embed import BadRequest, Model
from whymatch.explain.units import TOP_IMAGES
from whymatch.server import unit_work
from whymatch.server.errors import ShuttingDown
from whymatch.server.interceptor import Context
from whymatch.server.sources import Images
from whymatch.server.streams import steps
from whymatch.server.wire import requests_shapes, requests_unit
from whymatch.v1 import unit_service_pb2 as pb
from whymatch.v1.unit_service_pb2_grpc import UnitServiceServicer

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

    def __init__(
        self, images: Images, model: Model, explainer: Executor, stopping: asyncio.Event, *, max_limit: int
    ) -> None:
        """Serve. `explainer` has the one thread that all of this runs in."""
        self._images = images
        self._model = model
        self._explainer = explainer
        self._stopping = stopping
        self._max_limit = max_limit

    async def DescribeUnits(
        self, request: pb.DescribeUnitsRequest, context: Context
    ) -> AsyncIterator[pb.DescribeUnitsResponse]:
        """Stream what units respond to."""
        layer, channels = requests_unit.layer(request.layer), requests_unit.channels(request.channels)
        setting = requests_unit.description(request)
        gallery = await self._images.gallery(requests_shapes.gallery_name(request.parent))
        work = unit_work.describing(gallery, self._model, layer, channels, setting, self._images.limits)
        async for answer in self._answers(work, pb.DescribeUnitsResponse()):
            yield answer

    async def DecodeFilters(
        self, request: pb.DecodeFiltersRequest, context: Context
    ) -> AsyncIterator[pb.DecodeFiltersResponse]:
        """Stream what units look for."""
        layer, channels = requests_unit.layer(request.layer), requests_unit.channels(request.channels)
        thresholds = requests_unit.thresholds(request.thresholds)
        work = unit_work.decoding(self._model, layer, channels, thresholds, with_values=request.with_values)
        async for answer in self._answers(work, pb.DecodeFiltersResponse()):
            yield answer

    async def DescribeLayerColors(
        self, request: pb.DescribeLayerColorsRequest, context: Context
    ) -> AsyncIterator[pb.DescribeLayerColorsResponse]:
        """Stream how a layer is about color."""
        layer = requests_unit.layer(request.layer)
        if not (request.with_axes or request.with_selectivity):
            raise BadRequest("nothing is asked for; set `with_axes`, `with_selectivity` or both")
        settings, top_count = (
            requests_unit.selectivity(request.selectivity),
            requests_unit.top_count(request, TOP_IMAGES),
        )
        filters = requests_unit.thresholds(request.thresholds), requests_unit.axes(request.axis_setting)
        selectivity = None
        if request.with_selectivity:
            gallery = await self._images.gallery(requests_shapes.gallery_name(request.parent))
            selectivity = gallery, settings, top_count, self._images.limits
        work = unit_work.coloring(self._model, layer, filters if request.with_axes else None, selectivity)
        async for answer in self._answers(work, pb.DescribeLayerColorsResponse()):
            yield answer

    async def FindReceptiveField(
        self, request: pb.FindReceptiveFieldRequest, context: Context
    ) -> AsyncIterator[pb.FindReceptiveFieldResponse]:
        """Stream what pixels a unit really responds to."""
        layer, channel = requests_unit.unit(request.unit)
        count, setting = requests_unit.field_images(request), requests_unit.occluder(request.occluder)
        gallery = await self._images.gallery(requests_shapes.gallery_name(request.parent))
        work = unit_work.occluding(gallery, self._model, layer, channel, count, setting, self._images.limits)
        async for answer in self._answers(work, pb.FindReceptiveFieldResponse()):
            yield answer

    async def SegmentUnits(
        self, request: pb.SegmentUnitsRequest, context: Context
    ) -> AsyncIterator[pb.SegmentUnitsResponse]:
        """Stream where in an image units respond, and its matches."""
        layer, channels = requests_unit.layer(request.layer), requests_unit.segmented(request)
        threshold, source = requests_unit.segment_threshold(request), requests_shapes.source(request.image, "image")
        limit, size_px = requests_unit.match_limit(request, self._max_limit), requests_shapes.overlay_px(request)
        gallery = await self._images.gallery(requests_shapes.gallery_name(request.parent))
        version, content = gallery.version, await self._images.content(source)
        work = unit_work.segmenting(
            gallery,
            version,
            self._model,
            layer,
            channels,
            threshold,
            content,
            limit,
            size_px,
            self._images.limits,
        )
        async for answer in self._answers(work, pb.SegmentUnitsResponse(), version.fingerprint):
            yield answer

    async def FindMinimalImage(
        self, request: pb.FindMinimalImageRequest, context: Context
    ) -> AsyncIterator[pb.FindMinimalImageResponse]:
        """Stream an image as parts of it are removed."""
        wanted, source = requests_unit.minimal_image(request), requests_shapes.source(request.image, "image")
        size_px = requests_shapes.overlay_px(request)
        version = None
        if wanted.class_name is None:
            version = await self._images.version(requests_shapes.gallery_name(request.parent))
        content = await self._images.content(source)
        work = unit_work.simplifying(self._model, version, content, wanted, size_px, self._images.limits)
        fingerprint = version.fingerprint if version else self._model.fingerprint
        async for answer in self._answers(work, pb.FindMinimalImageResponse(), fingerprint):
            yield answer

    async def _answers(self, work: Iterator[Answer], alive: Answer, model: str = "") -> AsyncGenerator[Answer]:
        """Do the work in the thread of explanations, and yield its answers; where one takes long, how far it was."""
        alive.progress.SetInParent()
        async with aclosing(steps(work, self._explainer)) as answers:
            async for answer in answers:
                if self._stopping.is_set():
                    raise ShuttingDown
                answer = answer or alive
                if answer.WhichOneof("answer") == "progress":
                    alive = answer
                answer.model = model or self._model.fingerprint
                yield answer
