"""Requests from arguments, results from responses: the only place of the client that knows the fields of messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from whymatch.client import errors, results
from whymatch.client.inputs import ImageInput, NewImage, Query, Stored, image_bytes, image_name
from whymatch.v1 import (
    embed_service_pb2,
    errors_pb2,
    explain_service_pb2,
    gallery_service_pb2,
    search_service_pb2,
    similarity_pb2,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def gallery_path(gallery: str) -> str:
    """Return the name that the API gives a gallery."""
    return f"galleries/{gallery}"


def image_path(gallery: str, name: str) -> str:
    """Return the name that the API gives an image."""
    return f"galleries/{gallery}/images/{name}"


def short_name(path: str) -> str:
    """Return the last part of an API name."""
    return path.rpartition("/")[2]


# Requests


def search_request(
    query: Query,
    gallery: str,
    *,
    limit: int,
    labels: Sequence[str],
    with_maps: bool,
    overlays: bool,
    overlay_size_px: int,
) -> search_service_pb2.SearchRequest:
    """Ask for the matches of `query`."""
    request = search_service_pb2.SearchRequest(
        parent=gallery_path(gallery),
        limit=limit,
        labels=_labels(labels),
        with_maps=with_maps,
        overlays=_overlay_options(overlays, overlay_size_px),
    )
    if isinstance(query, np.ndarray):
        request.embedding.values.extend(_vector(query))
    else:
        request.image.CopyFrom(image_source(query, gallery))
    return request


def explain_match_request(
    query: ImageInput | Stored, match: ImageInput | Stored, gallery: str, *, overlays: bool, overlay_size_px: int
) -> explain_service_pb2.ExplainMatchRequest:
    """Ask why two images match."""
    return explain_service_pb2.ExplainMatchRequest(
        query=image_source(query, gallery),
        match=image_source(match, gallery),
        overlays=_overlay_options(overlays, overlay_size_px),
    )


def embed_request(
    image: ImageInput | Stored, gallery: str, *, with_feature_map: bool
) -> embed_service_pb2.EmbedImageRequest:
    """Ask for the embedding of an image."""
    return embed_service_pb2.EmbedImageRequest(source=image_source(image, gallery), with_feature_map=with_feature_map)


def add_request(new: NewImage | ImageInput, gallery: str) -> gallery_service_pb2.AddImagesRequest:
    """Ask to add one image, which is read now."""
    new = new if isinstance(new, NewImage) else NewImage(new)
    return gallery_service_pb2.AddImagesRequest(
        parent=gallery_path(gallery),
        image_id=image_name(new),
        content=image_bytes(new.content),
        label=new.label,
        metadata=dict(new.metadata),
    )


def create_gallery_request(
    name: str, *, index_factory: str, omit_feature_maps: bool
) -> gallery_service_pb2.CreateGalleryRequest:
    """Ask for a new gallery."""
    settings = gallery_service_pb2.Gallery(index_factory=index_factory, omit_feature_maps=omit_feature_maps)
    return gallery_service_pb2.CreateGalleryRequest(gallery_id=name, gallery=settings)


def image_source(image: ImageInput | Stored, gallery: str) -> similarity_pb2.ImageSource:
    """Name a stored image, or carry the bytes of any other."""
    if isinstance(image, Stored):
        return similarity_pb2.ImageSource(image=image_path(image.gallery or gallery, image.name))
    return similarity_pb2.ImageSource(content=image_bytes(image))


def _overlay_options(overlays: bool, size_px: int) -> similarity_pb2.OverlayOptions | None:
    return similarity_pb2.OverlayOptions(size_px=size_px) if overlays else None


def _labels(labels: Sequence[str]) -> Sequence[str]:
    if isinstance(labels, str):
        raise TypeError(f"labels is a sequence of labels, not one string; write labels=[{labels!r}]")
    return labels


def _vector(embedding: np.ndarray) -> list[float]:
    if embedding.ndim != 1:
        raise ValueError(
            f"an embedding is one vector, not an array of shape {embedding.shape}; "
            "turn an array of pixels into an image with PIL.Image.fromarray"
        )
    return embedding.tolist()  # type: ignore[no-any-return]


# Results


def image(message: gallery_service_pb2.Image) -> results.Image:
    """Read what is known of one image."""
    return results.Image(
        name=short_name(message.name),
        label=message.label,
        metadata=dict(message.metadata),
        width_px=message.width_px,
        height_px=message.height_px,
        size_bytes=message.size_bytes,
        content_sha256=message.content_sha256,
        create_time=_time(message.create_time),
    )


def gallery(message: gallery_service_pb2.Gallery) -> results.Gallery:
    """Read what is known of one gallery."""
    return results.Gallery(
        name=short_name(message.name),
        model=message.model,
        index_factory=message.index_factory,
        omit_feature_maps=message.omit_feature_maps,
        image_count=message.image_count,
        create_time=_time(message.create_time),
    )


def added(message: gallery_service_pb2.AddImagesResponse) -> results.Added:
    """Read what became of one image of a stream."""
    return results.Added(
        name=message.image_id,
        image=image(message.image) if message.HasField("image") else None,
        error=_stream_error(message.error) if message.HasField("error") else None,
        unchanged=message.unchanged,
        duplicate_of=short_name(message.duplicate_of),
    )


def search_result(message: search_service_pb2.SearchResponse) -> results.SearchResult:
    """Read the matches of a search."""
    return results.SearchResult(
        matches=tuple(_match(match) for match in message.matches),
        model=message.model,
        color_scale=_color_scale(message.color_scale) if message.HasField("color_scale") else None,
    )


def explanation(message: explain_service_pb2.ExplainMatchResponse) -> results.Explanation:
    """Read why two images match."""
    return results.Explanation(
        score=message.score,
        query_map=_similarity_map(message.query_map),
        match_map=_similarity_map(message.match_map),
        residual=message.residual,
        model=message.model,
        color_scale=_color_scale(message.color_scale) if message.HasField("color_scale") else None,
    )


def embedding(message: embed_service_pb2.EmbedImageResponse) -> results.Embedding:
    """Read the embedding of an image."""
    feature_map = None
    if message.HasField("feature_map"):
        grid = message.feature_map
        feature_map = np.array(grid.values, np.float32).reshape(grid.rows, grid.columns, grid.channels)
    return results.Embedding(
        embedding=np.array(message.embedding, np.float32),
        feature_map=feature_map,
        model=message.model,
        width_px=message.width_px,
        height_px=message.height_px,
    )


def model(message: embed_service_pb2.Model) -> results.Model:
    """Read what is known of the server's model."""
    return results.Model(
        fingerprint=message.fingerprint,
        backbone=message.backbone,
        layer=message.layer,
        pooling=message.pooling,
        precision=message.precision,
        dimensions=message.dimensions,
        description=_description(message.description_json),
    )


def _match(message: search_service_pb2.Match) -> results.Match:
    return results.Match(
        image=image(message.image),
        score=message.score,
        query_map=_similarity_map(message.query_map) if message.HasField("query_map") else None,
        match_map=_similarity_map(message.match_map) if message.HasField("match_map") else None,
    )


def _similarity_map(message: similarity_pb2.SimilarityMap) -> results.SimilarityMap:
    area = message.area
    return results.SimilarityMap(
        values=np.array(message.values, np.float32).reshape(message.rows, message.columns),
        total=message.total,
        width_px=message.width_px,
        height_px=message.height_px,
        area=results.Box(area.left_px, area.top_px, area.right_px, area.bottom_px),
        overlay_png=message.overlay_png,
    )


def _color_scale(message: similarity_pb2.ColorScale) -> results.ColorScale:
    return results.ColorScale(message.low, message.high, message.color_map)


def _stream_error(message: errors_pb2.Error) -> errors.WhymatchError:
    from google.rpc import code_pb2

    known = code_pb2.Code.values()
    code = code_pb2.Code.Name(message.code) if message.code in known else "UNKNOWN"
    # An enum value that a newer server sends has no name here.
    names = errors_pb2.ErrorReason.DESCRIPTOR.values_by_number
    reason = names[message.reason].name.removeprefix("ERROR_REASON_") if message.reason in names else ""
    return errors.ERRORS.get(code, errors.WhymatchError)(message.message, reason=reason)


def _description(text: str) -> Mapping[str, object]:
    value: Mapping[str, object] = json.loads(text or "{}")
    return value


def _time(message: Timestamp) -> datetime:
    return EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)  # ToDatetime takes 5 us
