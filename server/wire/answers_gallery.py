"""Answers of GalleryService."""

from collections.abc import Sequence
from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from whymatch.embed import Progress
from whymatch.index import Added, GalleryFacts, HeadFacts, StoredImage
from whymatch.server.wire import answers_errors, answers_shapes, requests_gallery
from whymatch.v1 import gallery_service_pb2


def gallery(facts: GalleryFacts) -> gallery_service_pb2.Gallery:
    """Return a gallery as the API shows it."""
    return gallery_service_pb2.Gallery(
        name=f"galleries/{facts.name}",
        model=facts.fingerprint,
        index_factory=facts.index_factory,
        omit_feature_maps=facts.omit_feature_maps,
        image_count=facts.image_count,
        create_time=_timestamp(facts.create_time),
        head=_head(facts.model, facts.head) if facts.head else None,
        generation=facts.generation,
    )


def galleries_page(facts: Sequence[GalleryFacts], size: int) -> gallery_service_pb2.ListGalleriesResponse:
    """Return the first `size` galleries, and a token if there are more."""
    return gallery_service_pb2.ListGalleriesResponse(
        galleries=[gallery(one) for one in facts[:size]],
        next_page_token=requests_gallery.page_token(facts[size - 1].name) if len(facts) > size else "",
    )


def image(gallery: str, stored: StoredImage) -> gallery_service_pb2.Image:
    """Return an image as the API shows it."""
    return gallery_service_pb2.Image(
        name=answers_shapes.image_name(gallery, stored.name),
        label=stored.label,
        metadata=stored.metadata or None,  # an empty map takes as long as all other fields together
        width_px=stored.width_px,
        height_px=stored.height_px,
        size_bytes=stored.size_bytes,
        content_sha256=stored.content_sha256,
        create_time=_timestamp(stored.create_time),
    )


def images_page(gallery: str, images: Sequence[StoredImage], size: int) -> gallery_service_pb2.ListImagesResponse:
    """Return the first `size` images, and a token if there are more."""
    return gallery_service_pb2.ListImagesResponse(
        images=[image(gallery, one) for one in images[:size]],
        next_page_token=requests_gallery.page_token(images[size - 1].name) if len(images) > size else "",
    )


def content(data: bytes, media_type: str) -> gallery_service_pb2.GetImageContentResponse:
    """Return the bytes of an image."""
    return gallery_service_pb2.GetImageContentResponse(content=data, content_type=media_type)


def head_progress(progress: Progress[None]) -> gallery_service_pb2.SetHeadResponse:
    """Return how far a new head is."""
    return gallery_service_pb2.SetHeadResponse(progress=answers_shapes.progress(progress))


def head_set(facts: GalleryFacts) -> gallery_service_pb2.SetHeadResponse:
    """Return the gallery with its new head."""
    return gallery_service_pb2.SetHeadResponse(gallery=gallery(facts))


def added(gallery: str, image_id: str, result: Added | Exception) -> gallery_service_pb2.AddImagesResponse:
    """Return what became of one image of a stream."""
    if isinstance(result, Exception):
        return gallery_service_pb2.AddImagesResponse(image_id=image_id, error=answers_errors.error(result))
    return gallery_service_pb2.AddImagesResponse(
        image_id=image_id,
        image=image(gallery, result.image),
        unchanged=result.unchanged,
        duplicate_of=result.duplicate_of,
    )


def _head(model: str, stored: HeadFacts) -> gallery_service_pb2.Head:
    return gallery_service_pb2.Head(
        kind=stored.kind,
        dimensions=stored.dimensions,
        version=stored.version,
        image_count=stored.image_count,
        create_time=_timestamp(stored.create_time),
        model=model,
    )


def _timestamp(time: datetime) -> Timestamp:
    return Timestamp(seconds=int(time.timestamp()), nanos=time.microsecond * 1000)
