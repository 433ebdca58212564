"""GalleryService: galleries and the images in them."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import grpc
from google.protobuf.empty_pb2 import Empty

from whymatch.embed import BadRequest, Embedder, Progress, media_type
from whymatch.index import Added, Galleries, GalleryFacts, Generation, LabelCount, StoredImage, Where
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

    async def AddImage(self, request: pb.AddImageRequest, context: Context) -> pb.AddImageResponse:
        """Add one image."""
        gallery = requests_shapes.gallery_name(request.parent)
        adding = Adding(await asyncio.to_thread(self._galleries.open, gallery), self._embedder)
        async with aclosing(adding.results(_one(requests_gallery.arrival(request)))) as groups:
            [(_, result)] = await anext(groups)
        if isinstance(result, Exception):
            raise result
        self._metrics.images_added.inc(not result.unchanged)
        return answers_gallery.added_alone(gallery, result)

    async def GetImage(self, request: pb.GetImageRequest, context: Context) -> pb.Image:
        """Return an image."""
        name, at = requests_shapes.image_name(request.name), requests_shapes.at_generation(request)
        return answers_gallery.image(name.gallery, await asyncio.to_thread(self._get, name, at))

    async def BatchGetImages(self, request: pb.BatchGetImagesRequest, context: Context) -> pb.BatchGetImagesResponse:
        """Return several images."""
        gallery, at = requests_shapes.gallery_name(request.parent), requests_shapes.at_generation(request)
        names = requests_shapes.image_names(request.names, gallery, "names", requests_gallery.MAX_PAGE_SIZE)
        return answers_gallery.images(gallery, await asyncio.to_thread(self._get_several, gallery, names, at))

    async def ListImages(self, request: pb.ListImagesRequest, context: Context) -> pb.ListImagesResponse:
        """List the images of a gallery."""
        gallery, at = requests_shapes.gallery_name(request.parent), requests_shapes.at_generation(request)
        size, after = requests_gallery.page_size(request.page_size), requests_gallery.last_name(request.page_token)
        where = requests_shapes.where(request.filter)
        images = await asyncio.to_thread(self._list, gallery, at, after, size + 1, where)
        return answers_gallery.images_page(gallery, images, size)

    async def ListLabels(self, request: pb.ListLabelsRequest, context: Context) -> pb.ListLabelsResponse:
        """List the labels of a gallery."""
        gallery, at = requests_shapes.gallery_name(request.parent), requests_shapes.at_generation(request)
        where = requests_shapes.where(request.filter)
        return answers_gallery.labels(await asyncio.to_thread(self._labels, gallery, at, where))

    async def UpdateImage(self, request: pb.UpdateImageRequest, context: Context) -> pb.Image:
        """Change an image's label or metadata."""
        name, update = requests_shapes.image_name(request.image.name), requests_gallery.update(request)
        return answers_gallery.image(name.gallery, await asyncio.to_thread(self._update, name, update))

    async def DeleteImage(self, request: pb.DeleteImageRequest, context: Context) -> Empty:
        """Delete an image."""
        name = requests_shapes.image_name(request.name)
        await asyncio.to_thread(self._delete, name.gallery, [name.image])
        return Empty()

    async def DeleteImages(self, request: pb.DeleteImagesRequest, context: Context) -> pb.DeleteImagesResponse:
        """Delete several images."""
        gallery = requests_shapes.gallery_name(request.parent)
        if bool(request.names) == bool(request.filter):
            raise BadRequest("give either the `names` of images to delete, or a `filter`")
        if request.filter:
            where = requests_shapes.where(request.filter)
            return pb.DeleteImagesResponse(deleted_count=await asyncio.to_thread(self._delete_where, gallery, where))
        names = requests_shapes.image_names(request.names, gallery, "names", len(request.names))
        await asyncio.to_thread(self._delete, gallery, names)
        return pb.DeleteImagesResponse(deleted_count=len(names))

    async def EraseImages(self, request: pb.EraseImagesRequest, context: Context) -> pb.EraseImagesResponse:
        """Remove images for good."""
        gallery = requests_shapes.gallery_name(request.parent)
        names = requests_shapes.image_names(request.names, gallery, "names", len(request.names))
        if not names:
            raise BadRequest("`names` is empty; name the images to erase")
        return answers_gallery.erased(gallery, await asyncio.to_thread(self._erase, gallery, names))

    async def GetImageContent(self, request: pb.GetImageContentRequest, context: Context) -> pb.GetImageContentResponse:
        """Return the bytes of an image."""
        name, at = requests_shapes.image_name(request.name), requests_shapes.at_generation(request)
        return answers_gallery.content(*await asyncio.to_thread(self._content, name, at))

    async def ListGenerations(self, request: pb.ListGenerationsRequest, context: Context) -> pb.ListGenerationsResponse:
        """List what a gallery was."""
        gallery, size = requests_shapes.gallery_name(request.parent), requests_gallery.page_size(request.page_size)
        before = requests_gallery.generations_before(request.page_token)
        found = await asyncio.to_thread(self._generations, gallery, before, size + 1)
        return answers_gallery.generations_page(found, size)

    async def TagGeneration(self, request: pb.TagGenerationRequest, context: Context) -> pb.Generation:
        """Name a generation."""
        gallery = requests_shapes.gallery_name(request.parent)
        generation = request.generation if request.HasField("generation") else None
        return answers_gallery.generation(await asyncio.to_thread(self._tag, gallery, request.tag, generation))

    async def DeleteTag(self, request: pb.DeleteTagRequest, context: Context) -> Empty:
        """Take a name off its generation."""
        await asyncio.to_thread(self._delete_tag, requests_shapes.gallery_name(request.parent), request.tag)
        return Empty()

    async def PurgeGallery(self, request: pb.PurgeGalleryRequest, context: Context) -> pb.PurgeGalleryResponse:
        """Forget older generations."""
        gallery = requests_shapes.gallery_name(request.name)
        return answers_gallery.purged(*await asyncio.to_thread(self._purge, gallery, request.before_generation))

    # What runs off the event loop.

    def _create(self, name: str, settings: pb.Gallery) -> GalleryFacts:
        factory = settings.index_factory or "auto"
        return self._galleries.create(name, index_factory=factory, omit_feature_maps=settings.omit_feature_maps).facts()

    def _get(self, name: ImageName, at: int | None) -> StoredImage:
        return self._galleries.snapshot(name.gallery, at).get(name.image)

    def _get_several(self, gallery: str, names: Sequence[str], at: int | None) -> list[StoredImage]:
        images = self._galleries.snapshot(gallery, at)
        return [images.get(name) for name in names]

    def _list(self, gallery: str, at: int | None, after: str, limit: int, where: Where) -> list[StoredImage]:
        return self._galleries.snapshot(gallery, at).list_images(after, limit, where)

    def _labels(self, gallery: str, at: int | None, where: Where) -> list[LabelCount]:
        return self._galleries.snapshot(gallery, at).label_counts(where)

    def _update(self, name: ImageName, update: requests_gallery.Update) -> StoredImage:
        return self._galleries.open(name.gallery).update(name.image, *update)

    def _delete(self, gallery: str, names: Sequence[str]) -> None:
        self._galleries.open(gallery).delete(*names)

    def _delete_where(self, gallery: str, where: Where) -> int:
        return self._galleries.open(gallery).delete_where(where)

    def _erase(self, gallery: str, names: Sequence[str]) -> list[str]:
        return self._galleries.open(gallery).erase(*names)

    def _content(self, name: ImageName, at: int | None) -> tuple[bytes, str]:
        content = self._galleries.snapshot(name.gallery, at).content(name.image)
        return content, media_type(content)

    def _generations(self, gallery: str, before: int, limit: int) -> list[Generation]:
        return self._galleries.open(gallery).generations(before, limit)

    def _tag(self, name: str, tag: str, generation: int | None) -> Generation:
        gallery = self._galleries.open(name)
        number = gallery.generation() if generation is None else generation
        gallery.set_tag(tag, number)
        [tagged] = gallery.generations(number + 1, 1)
        return tagged

    def _delete_tag(self, gallery: str, tag: str) -> None:
        self._galleries.open(gallery).remove_tag(tag)

    def _purge(self, name: str, before: int) -> tuple[GalleryFacts, int]:
        gallery = self._galleries.open(name)
        removed = gallery.purge(before)
        return gallery.facts(), removed


async def _arrivals(first: pb.AddImagesRequest, rest: AsyncIterator[pb.AddImagesRequest]) -> AsyncIterator[Arrival]:
    yield requests_gallery.arrival(first)
    async for request in rest:
        if request.parent not in ("", first.parent):
            raise BadRequest("`parent` changed within the stream; use one stream for each gallery")
        yield requests_gallery.arrival(request)


async def _one(arrival: Arrival) -> AsyncIterator[Arrival]:
    yield arrival


def _is_new(result: Result) -> bool:
    return isinstance(result[1], Added) and not result[1].unchanged
