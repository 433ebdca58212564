"""GalleryService: what a server remembers."""

from collections.abc import AsyncIterator

from google.protobuf.empty_pb2 import Empty

from whymatch.embed import media_type
from whymatch.index import BadRequest
from whymatch.server import convert
from whymatch.server.adding import Upload, add_images
from whymatch.server.backend import Backend
from whymatch.server.calls import Context
from whymatch.server.metrics import Metrics
from whymatch.v1 import gallery_service_pb2 as pb
from whymatch.v1.gallery_service_pb2_grpc import GalleryServiceServicer


class GalleryService(GalleryServiceServicer):
    """Galleries and their images."""

    def __init__(self, backend: Backend, metrics: Metrics) -> None:
        self._backend = backend
        self._galleries = backend.galleries
        self._metrics = metrics

    async def CreateGallery(self, request: pb.CreateGalleryRequest, context: Context) -> pb.Gallery:
        """Make an empty gallery."""
        gallery = await self._backend.run(
            self._galleries.create,
            request.gallery_id,
            index_factory=request.gallery.index_factory or "auto",
            omit_feature_maps=request.gallery.omit_feature_maps,
        )
        return convert.gallery(await self._backend.run(gallery.facts))

    async def GetGallery(self, request: pb.GetGalleryRequest, context: Context) -> pb.Gallery:
        """Return what one gallery is."""
        return convert.gallery(await self._backend.run(self._galleries.describe, convert.gallery_name(request.name)))

    async def ListGalleries(self, request: pb.ListGalleriesRequest, context: Context) -> pb.ListGalleriesResponse:
        """Return one page of galleries."""
        size, after = convert.page(request.page_size, request.page_token)
        galleries = await self._backend.run(self._galleries.list_galleries)
        rest = [facts for facts in galleries if facts.name > after]
        token = convert.page_token([facts.name for facts in rest], size)
        return pb.ListGalleriesResponse(galleries=map(convert.gallery, rest[:size]), next_page_token=token)

    async def DeleteGallery(self, request: pb.DeleteGalleryRequest, context: Context) -> Empty:
        """Delete a gallery and everything in it."""
        await self._backend.run(self._galleries.delete, convert.gallery_name(request.name))
        return Empty()

    async def AddImages(
        self, requests: AsyncIterator[pb.AddImagesRequest], context: Context
    ) -> AsyncIterator[pb.AddImagesResponse]:
        """Add a stream of images."""
        first = await anext(aiter(requests), None)
        if first is None:
            return
        gallery = await self._backend.gallery(convert.gallery_name(first.parent))
        uploads = _uploads(first, requests)
        async for image_id, outcome in add_images(self._backend, gallery, uploads):
            self._metrics.images.inc()
            yield convert.added(gallery.name, image_id, outcome)

    async def GetImage(self, request: pb.GetImageRequest, context: Context) -> pb.Image:
        """Return what is known of one image."""
        name = convert.image_name(request.name)
        gallery = await self._backend.gallery(name.gallery)
        return convert.image(name.gallery, await self._backend.run(gallery.get, name.image))

    async def ListImages(self, request: pb.ListImagesRequest, context: Context) -> pb.ListImagesResponse:
        """Return one page of images."""
        size, after = convert.page(request.page_size, request.page_token)
        gallery = await self._backend.gallery(convert.gallery_name(request.parent))
        images = await self._backend.run(gallery.list_images, after, size + 1)
        return pb.ListImagesResponse(
            images=[convert.image(gallery.name, image) for image in images[:size]],
            next_page_token=convert.page_token([image.name for image in images], size),
        )

    async def DeleteImage(self, request: pb.DeleteImageRequest, context: Context) -> Empty:
        """Delete one image."""
        name = convert.image_name(request.name)
        gallery = await self._backend.gallery(name.gallery)
        await self._backend.run(gallery.delete, name.image)
        return Empty()

    async def GetImageContent(self, request: pb.GetImageContentRequest, context: Context) -> pb.GetImageContentResponse:
        """Return the bytes of an image as they were added."""
        content = await self._backend.content(convert.image_name(request.name))
        return pb.GetImageContentResponse(content=content, content_type=media_type(content))


async def _uploads(first: pb.AddImagesRequest, others: AsyncIterator[pb.AddImagesRequest]) -> AsyncIterator[Upload]:
    yield _upload(first)
    async for request in others:
        if request.parent not in ("", first.parent):
            raise BadRequest(f"`parent` changed from {first.parent!r} to {request.parent!r}; use one stream a gallery")
        yield _upload(request)


def _upload(request: pb.AddImagesRequest) -> Upload:
    return Upload(request.image_id, request.content, request.label, dict(request.metadata))
