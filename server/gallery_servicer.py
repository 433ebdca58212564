"""GalleryService: galleries and the images in them."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc
from google.protobuf.empty_pb2 import Empty

from whymatch.embed import BadRequest, Embedder, Progress, media_type
from whymatch.index import Added, Galleries, GalleryFacts, StoredImage
from whymatch.server.incoming import incoming
from whymatch.server.ingest import Adding, Arrival, Result
from whymatch.server.interceptor import Context
from whymatch.server.metrics import Metrics
from whymatch.server.sources import ImageName
from whymatch.server.streams import steps
from whymatch.server.wire import answers_gallery, requests_gallery, requests_shapes
from whymatch.v1 import gallery_service_pb2 as pb
from whymatch.v1.gallery_service_pb2_grpc import GalleryServiceServicer, add_GalleryServiceServicer_to_server


class GalleryServicer(GalleryServiceServicer):
    """Keeps galleries."""

    name = pb.DESCRIPTOR.services_by_name["GalleryService"].full_name

    def __init__(
        self,
        galleries: Galleries,
        embedder: Embedder,
        metrics: Metrics,
        *,
        stream_idle_s: float,
        stopping: asyncio.Event,
    ) -> None:
        self._galleries = galleries
        self._embedder = embedder
        self._metrics = metrics
        self._stream_idle_s = stream_idle_s
        self._stopping = stopping

    def add_to(self, server: grpc.aio.Server) -> None:
        """Let a server answer these calls."""
        add_GalleryServiceServicer_to_server(self, server)

    async def CreateGallery(self, request: pb.CreateGalleryRequest, context: Context) -> pb.Gallery:
        """Make an empty gallery."""
        return answers_gallery.gallery(await asyncio.to_thread(self._create, request.gallery_id, request.gallery))

    async def GetGallery(self, request: pb.GetGalleryRequest, context: Context) -> pb.Gallery:
        """Return one gallery."""
        name = requests_shapes.gallery_name(request.name)
        return answers_gallery.gallery(await asyncio.to_thread(self._galleries.describe, name))

    async def ListGalleries(self, request: pb.ListGalleriesRequest, context: Context) -> pb.ListGalleriesResponse:
        """List the galleries."""
        size, after = requests_gallery.page_size(request.page_size), requests_gallery.last_name(request.page_token)
        facts = await asyncio.to_thread(self._galleries.list_galleries)
        return answers_gallery.galleries_page([one for one in facts if one.name > after], size)

    async def DeleteGallery(self, request: pb.DeleteGalleryRequest, context: Context) -> Empty:
        """Delete a gallery."""
        await asyncio.to_thread(self._galleries.delete, requests_shapes.gallery_name(request.name))
        return Empty()

    async def SetHead(self, request: pb.SetHeadRequest, context: Context) -> AsyncIterator[pb.SetHeadResponse]:
        """Give a gallery another head."""
        name, fitting = requests_shapes.gallery_name(request.name), requests_gallery.fitting(request)
        gallery = await asyncio.to_thread(self._galleries.open, name)
        image_count = (await asyncio.to_thread(gallery.facts)).image_count
        fitted = 0
        ended = threading.Event()
        try:
            async with aclosing(steps(gallery.set_head(fitting, ended.is_set))) as progress:
                async for step in progress:
                    fitted = fitted if step is None else step
                    yield answers_gallery.head_progress(Progress("images", fitted, max(image_count, fitted)))
        finally:
            ended.set()
        yield answers_gallery.head_set(await asyncio.to_thread(gallery.facts))

    async def AddImages(
        self, request_iterator: AsyncIterator[pb.AddImagesRequest], context: Context
    ) -> AsyncIterator[pb.AddImagesResponse]:
        """Add images; a bad one fails alone."""
        every = incoming(aiter(request_iterator), idle_s=self._stream_idle_s, stopping=self._stopping)
        async with aclosing(every) as requests:
            first = await anext(requests, None)
            if first is None:
                return
            if not first.parent:
                raise BadRequest("`parent` is missing; the first request of a stream must name the gallery")
            gallery = requests_shapes.gallery_name(first.parent)
            adding = Adding(await asyncio.to_thread(self._galleries.open, gallery), self._embedder)
            async with aclosing(adding.results(_arrivals(first, requests))) as groups:
                async for group in groups:
                    self._metrics.images_added.inc(sum(_is_new(result) for result in group))
                    for arrival, result in group:
                        yield answers_gallery.added(gallery, arrival.name, result)

    async def GetImage(self, request: pb.GetImageRequest, context: Context) -> pb.Image:
        """Return an image."""
        name = requests_shapes.image_name(request.name)
        return answers_gallery.image(name.gallery, await asyncio.to_thread(self._get, name))

    async def ListImages(self, request: pb.ListImagesRequest, context: Context) -> pb.ListImagesResponse:
        """List the images of a gallery."""
        gallery = requests_shapes.gallery_name(request.parent)
        size, after = requests_gallery.page_size(request.page_size), requests_gallery.last_name(request.page_token)
        return answers_gallery.images_page(gallery, await asyncio.to_thread(self._list, gallery, after, size + 1), size)

    async def DeleteImage(self, request: pb.DeleteImageRequest, context: Context) -> Empty:
        """Delete an image."""
        await asyncio.to_thread(self._delete, requests_shapes.image_name(request.name))
        return Empty()

    async def GetImageContent(self, request: pb.GetImageContentRequest, context: Context) -> pb.GetImageContentResponse:
        """Return the bytes of an image."""
        return answers_gallery.content(
            *await asyncio.to_thread(self._content, requests_shapes.image_name(request.name))
        )

    # What runs off the event loop.

    def _create(self, name: str, settings: pb.Gallery) -> GalleryFacts:
        factory = settings.index_factory or "auto"
        return self._galleries.create(name, index_factory=factory, omit_feature_maps=settings.omit_feature_maps).facts()

    def _get(self, name: ImageName) -> StoredImage:
        return self._galleries.open(name.gallery).get(name.image)

    def _list(self, gallery: str, after: str, limit: int) -> list[StoredImage]:
        return self._galleries.open(gallery).list_images(after, limit)

    def _delete(self, name: ImageName) -> None:
        self._galleries.open(name.gallery).delete(name.image)

    def _content(self, name: ImageName) -> tuple[bytes, str]:
        content = self._galleries.open(name.gallery).content(name.image)
        return content, media_type(content)


async def _arrivals(first: pb.AddImagesRequest, rest: AsyncIterator[pb.AddImagesRequest]) -> AsyncIterator[Arrival]:
    yield requests_gallery.arrival(first)
    async for request in rest:
        if request.parent not in ("", first.parent):
            raise BadRequest("`parent` changed within the stream; use one stream for each gallery")
        yield requests_gallery.arrival(request)


def _is_new(result: Result) -> bool:
    return isinstance(result[1], Added) and not result[1].unchanged
