"""Answers of GalleryService."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from whymatch.embed import Progress
from whymatch.index import Added, GalleryFacts, Generation, HeadFacts, LabelCount, MetadataValue, StoredImage
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
        oldest_generation=facts.oldest_generation,
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
        metadata=_struct(stored.metadata) if stored.metadata else None,
        width_px=stored.width_px,
        height_px=stored.height_px,
        size_bytes=stored.size_bytes,
        content_sha256=stored.content_sha256,
        create_time=_timestamp(stored.create_time),
        update_time=_timestamp(stored.update_time),
    )


def images(gallery: str, stored: Sequence[StoredImage]) -> gallery_service_pb2.BatchGetImagesResponse:
    """Return several images."""
    return gallery_service_pb2.BatchGetImagesResponse(images=[image(gallery, one) for one in stored])


def labels(counts: Sequence[LabelCount]) -> gallery_service_pb2.ListLabelsResponse:
    """Return the labels of a gallery."""
    return gallery_service_pb2.ListLabelsResponse(
        labels=[gallery_service_pb2.LabelCount(label=one.label, count=one.count) for one in counts if one.label],
        unlabeled_count=sum(one.count for one in counts if not one.label),
    )


def generation(one: Generation) -> gallery_service_pb2.Generation:
    """Return a generation."""
    return gallery_service_pb2.Generation(
        number=one.number, change=one.change, create_time=_timestamp(one.create_time), tags=one.tags
    )


def generations_page(found: Sequence[Generation], size: int) -> gallery_service_pb2.ListGenerationsResponse:
    """Return the first `size` generations, and a token if there are more."""
    return gallery_service_pb2.ListGenerationsResponse(
        generations=[generation(one) for one in found[:size]],
        next_page_token=requests_gallery.page_token(str(found[size - 1].number)) if len(found) > size else "",
    )


def erased(gallery: str, names: Sequence[str]) -> gallery_service_pb2.EraseImagesResponse:
    """Return which images are gone for good."""
    return gallery_service_pb2.EraseImagesResponse(names=[answers_shapes.image_name(gallery, name) for name in names])


def purged(facts: GalleryFacts, removed: int) -> gallery_service_pb2.PurgeGalleryResponse:
    """Return a gallery that has forgotten, and how many files it gave up."""
    return gallery_service_pb2.PurgeGalleryResponse(gallery=gallery(facts), removed_file_count=removed)


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
        replaced=result.replaced,
    )


def added_alone(gallery: str, result: Added) -> gallery_service_pb2.AddImageResponse:
    """Return what became of an image that was added alone."""
    return gallery_service_pb2.AddImageResponse(
        image=image(gallery, result.image),
        unchanged=result.unchanged,
        duplicate_of=result.duplicate_of,
        replaced=result.replaced,
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


def _struct(metadata: Mapping[str, MetadataValue]) -> Struct:
    struct = Struct()
    struct.update(metadata)
    return struct


def _timestamp(time: datetime) -> Timestamp:
    return Timestamp(seconds=int(time.timestamp()), nanos=time.microsecond * 1000)
