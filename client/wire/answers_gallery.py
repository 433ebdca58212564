"""Answers of GalleryService."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp

from whymatch.client import errors, results
from whymatch.client.wire import answers_shapes
from whymatch.v1 import errors_pb2, gallery_service_pb2

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def image(message: gallery_service_pb2.Image) -> results.Image:
    """Read one image."""
    return results.Image(
        name=answers_shapes.short_name(message.name),
        label=message.label,
        metadata=_metadata(message.metadata),
        width_px=message.width_px,
        height_px=message.height_px,
        size_bytes=message.size_bytes,
        content_sha256=message.content_sha256,
        create_time=_time(message.create_time),
        update_time=_time(message.update_time),
    )


def gallery(message: gallery_service_pb2.Gallery) -> results.Gallery:
    """Read one gallery."""
    return results.Gallery(
        name=answers_shapes.short_name(message.name),
        model=message.model,
        index_factory=message.index_factory,
        omit_feature_maps=message.omit_feature_maps,
        image_count=message.image_count,
        create_time=_time(message.create_time),
        head=_head(message.head) if message.HasField("head") else None,
        generation=message.generation,
        oldest_generation=message.oldest_generation,
    )


def images(page: gallery_service_pb2.ListImagesResponse) -> tuple[list[results.Image], str]:
    """Read a page of images, and the token of the next page, empty if there is none."""
    return [image(one) for one in page.images], page.next_page_token


def galleries(page: gallery_service_pb2.ListGalleriesResponse) -> tuple[list[results.Gallery], str]:
    """Read a page of galleries, and the token of the next page, empty if there is none."""
    return [gallery(one) for one in page.galleries], page.next_page_token


def several(message: gallery_service_pb2.BatchGetImagesResponse) -> tuple[results.Image, ...]:
    """Read several images."""
    return tuple(image(one) for one in message.images)


def labels(message: gallery_service_pb2.ListLabelsResponse) -> tuple[results.LabelCount, ...]:
    """Read the labels of a gallery; the images without one, if there are any, come first."""
    unlabeled = [results.LabelCount("", message.unlabeled_count)] if message.unlabeled_count else []
    return (*unlabeled, *(results.LabelCount(one.label, one.count) for one in message.labels))


def generation(message: gallery_service_pb2.Generation) -> results.Generation:
    """Read one generation."""
    return results.Generation(
        number=message.number,
        change=message.change,
        create_time=_time(message.create_time),
        tags=tuple(message.tags),
    )


def generations(page: gallery_service_pb2.ListGenerationsResponse) -> tuple[list[results.Generation], str]:
    """Read a page of generations, and the token of the next page, empty if there is none."""
    return [generation(one) for one in page.generations], page.next_page_token


def deleted(message: gallery_service_pb2.DeleteImagesResponse) -> int:
    """Read how many images were deleted."""
    return message.deleted_count


def erased(message: gallery_service_pb2.EraseImagesResponse) -> tuple[str, ...]:
    """Read the names that are gone."""
    return tuple(answers_shapes.short_name(name) for name in message.names)


def purged(message: gallery_service_pb2.PurgeGalleryResponse) -> results.Purged:
    """Read what a purge left."""
    return results.Purged(gallery(message.gallery), message.removed_file_count)


def content(message: gallery_service_pb2.GetImageContentResponse) -> bytes:
    """Read the bytes of an image."""
    return message.content


def head_set(message: gallery_service_pb2.SetHeadResponse) -> results.Progress | results.Gallery:
    """Read how far a new head is, or the gallery with it."""
    if message.HasField("gallery"):
        return gallery(message.gallery)
    return answers_shapes.progress(message.progress)


def added(message: gallery_service_pb2.AddImagesResponse) -> results.Added:
    """Read what became of one image of a stream."""
    return results.Added(
        name=message.image_id,
        image=image(message.image) if message.HasField("image") else None,
        error=_stream_error(message.error) if message.HasField("error") else None,
        unchanged=message.unchanged,
        duplicate_of=answers_shapes.short_name(message.duplicate_of),
        replaced=message.replaced,
    )


def _metadata(message: Struct) -> dict[str, str | float | bool]:
    """Read metadata; a whole number is an int."""
    values = {key: getattr(value, value.WhichOneof("kind") or "") for key, value in message.fields.items()}
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in values.items()
    }


def _head(message: gallery_service_pb2.Head) -> results.Head:
    return results.Head(
        kind=message.kind,
        dimensions=message.dimensions,
        version=message.version,
        image_count=message.image_count,
        model=message.model,
        create_time=_time(message.create_time),
    )


def _stream_error(message: errors_pb2.Error) -> errors.WhymatchError:
    from google.rpc import code_pb2

    known = code_pb2.Code.values()
    code = code_pb2.Code.Name(message.code) if message.code in known else "UNKNOWN"
    # An enum value that a newer server sends has no name here.
    names = errors_pb2.ErrorReason.DESCRIPTOR.values_by_number
    reason = names[message.reason].name.removeprefix("ERROR_REASON_") if message.reason in names else ""
    return errors.ERRORS.get(code, errors.WhymatchError)(message.message, reason=reason)


def _time(message: Timestamp) -> datetime:
    return EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)  # ToDatetime takes 5 us
