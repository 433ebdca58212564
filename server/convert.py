"""Between protobuf and our own values; nothing else speaks both."""

import base64
import json
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from whymatch.embed import Array, BadVector, Features, Model
from whymatch.explain import ColorScale, MatchExplanation, SimilarityMap
from whymatch.index import (
    Added,
    BadName,
    BadRequest,
    GalleryFacts,
    Match,
    StoredImage,
    check_gallery_name,
    check_image_name,
)
from whymatch.server.adding import Arrival
from whymatch.server.errors import BadLimit, BadPageToken
from whymatch.server.evidence import Evidence
from whymatch.server.images import ImageName, Query, Source
from whymatch.server.status import code_of, message_of, reason_of
from whymatch.v1 import (
    embed_service_pb2,
    errors_pb2,
    explain_service_pb2,
    gallery_service_pb2,
    search_service_pb2,
    similarity_pb2,
)

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000
DEFAULT_LIMIT = 10
MAX_LABELS = 1000
DEFAULT_OVERLAY_PX, MAX_OVERLAY_PX = 512, 2048


# Requests.


def gallery_name(name: str) -> str:
    """Return the {gallery} of `galleries/{gallery}`. Raises BadName."""
    collection, _, gallery = name.partition("/")
    if collection != "galleries" or not gallery:
        raise BadName(f"{_shown(name)} names no gallery; write `galleries/` and the gallery's name")
    check_gallery_name(gallery)
    return gallery


def image_name(name: str) -> ImageName:
    """Return the parts of `galleries/{gallery}/images/{image}`. Raises BadName."""
    match name.split("/", 3):
        case ["galleries", gallery, "images", image]:
            check_gallery_name(gallery)
            check_image_name(image)
            return ImageName(gallery, image)
    raise BadName(f"{_shown(name)} names no image; write `galleries/` GALLERY `/images/` IMAGE")


def source(message: similarity_pb2.ImageSource, field: str) -> Source:
    """Return the image that a field of a request means. Raises BadName, BadRequest."""
    match message.WhichOneof("source"):
        case "content":
            return message.content
        case "image":
            return image_name(message.image)
    raise BadRequest(f"`{field}` is missing; give the bytes of an image as `content` or a stored one as `image`")


def query(request: search_service_pb2.SearchRequest, dimensions: int) -> Query:
    """Return what to search for; of an embedding only the length is checked. Raises BadName, BadRequest, BadVector."""
    match request.WhichOneof("query"):
        case "image":
            return source(request.image, "image")
        case "embedding":
            if (size := len(request.embedding.values)) != dimensions:
                raise BadVector(f"the embedding has {size} values; this model's have {dimensions}")
            return np.array(request.embedding.values, np.float32)
    raise BadRequest("the query is missing; give an `image` or an `embedding`")


def limit(request: search_service_pb2.SearchRequest, maximum: int) -> int:
    """Return how many matches to find. Raises BadLimit."""
    if not request.HasField("limit"):
        return min(DEFAULT_LIMIT, maximum)
    if not 1 <= request.limit <= maximum:
        raise BadLimit(f"the limit {request.limit} is not from 1 to {maximum}; ask for as many matches as that")
    return request.limit


def labels(request: search_service_pb2.SearchRequest) -> Sequence[str]:
    """Return the labels that a search is for. Raises BadRequest."""
    if len(request.labels) > MAX_LABELS:
        raise BadRequest(f"`labels` holds {len(request.labels)} labels; give at most {MAX_LABELS}")
    return request.labels


def arrival(request: gallery_service_pb2.AddImagesRequest) -> Arrival:
    """Return one image of a stream."""
    return Arrival(request.image_id, request.content, request.label, dict(request.metadata))


def page_size(size: int) -> int:
    """Return how many entries a page may have. Raises BadLimit."""
    if size < 0:
        raise BadLimit(f"the page size {size} is negative; leave it 0 for {DEFAULT_PAGE_SIZE}")
    return min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def overlay_px(request: search_service_pb2.SearchRequest | explain_service_pb2.ExplainMatchRequest) -> int | None:
    """Return the longer side of the pictures, None if there shall be none. Raises BadRequest."""
    if not request.HasField("overlays"):
        return None
    size_px = request.overlays.size_px
    if not 0 <= size_px <= MAX_OVERLAY_PX:
        raise BadRequest(f"`overlays.size_px` is {size_px}; take 1 to {MAX_OVERLAY_PX}, or 0 for {DEFAULT_OVERLAY_PX}")
    return size_px or DEFAULT_OVERLAY_PX


def last_name(page_token: str) -> str:
    """Return the last name of the page before, empty for the first page. Raises BadPageToken."""
    try:
        name = base64.b64decode(page_token.encode(), b"-_", validate=True).decode()
    except ValueError as err:
        raise BadPageToken from err
    if page_token and _page_token(name) != page_token:
        raise BadPageToken
    return name


# Answers.


def gallery(facts: GalleryFacts) -> gallery_service_pb2.Gallery:
    """Return a gallery as the API shows it."""
    return gallery_service_pb2.Gallery(
        name=f"galleries/{facts.name}",
        model=facts.model,
        index_factory=facts.index_factory,
        omit_feature_maps=facts.omit_feature_maps,
        image_count=facts.image_count,
        create_time=_timestamp(facts.create_time),
    )


def galleries_page(facts: Sequence[GalleryFacts], size: int) -> gallery_service_pb2.ListGalleriesResponse:
    """Return the first `size` galleries, and a token if there are more."""
    return gallery_service_pb2.ListGalleriesResponse(
        galleries=[gallery(one) for one in facts[:size]],
        next_page_token=_page_token(facts[size - 1].name) if len(facts) > size else "",
    )


def image(gallery: str, stored: StoredImage) -> gallery_service_pb2.Image:
    """Return an image as the API shows it."""
    return gallery_service_pb2.Image(
        name=f"galleries/{gallery}/images/{stored.name}",
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
        next_page_token=_page_token(images[size - 1].name) if len(images) > size else "",
    )


def added(gallery: str, image_id: str, result: Added | Exception) -> gallery_service_pb2.AddImagesResponse:
    """Return what became of one image of a stream."""
    if isinstance(result, Exception):
        return gallery_service_pb2.AddImagesResponse(image_id=image_id, error=error(result))
    return gallery_service_pb2.AddImagesResponse(
        image_id=image_id,
        image=image(gallery, result.image),
        unchanged=result.unchanged,
        duplicate_of=result.duplicate_of,
    )


def error(err: Exception) -> errors_pb2.Error:
    """Return the error of one image of a stream."""
    code: int = code_of(err).value[0]
    reason = errors_pb2.ErrorReason.Value(f"ERROR_REASON_{reason_of(err)}")
    return errors_pb2.Error(code=code, reason=reason, message=message_of(err))


def search_response(
    model: str,
    gallery: str,
    matches: Sequence[Match],
    evidence: Sequence[Evidence] = (),
    scale: ColorScale | None = None,
) -> search_service_pb2.SearchResponse:
    """Return the matches of a search, with their maps if there is evidence."""
    response = search_service_pb2.SearchResponse(
        model=model,
        matches=[search_service_pb2.Match(image=image(gallery, one.image), score=one.score) for one in matches],
        color_scale=_color_scale(scale),
    )
    for message, maps in zip(response.matches, evidence, strict=bool(evidence)):
        message.match_map.CopyFrom(_similarity_map(maps.match_map, maps.match_picture))
        if maps.query_map:
            message.query_map.CopyFrom(_similarity_map(maps.query_map, maps.query_picture))
    return response


def explain_response(
    model: str, explanation: MatchExplanation, evidence: Evidence, scale: ColorScale | None
) -> explain_service_pb2.ExplainMatchResponse:
    """Return why two images match."""
    return explain_service_pb2.ExplainMatchResponse(
        model=model,
        score=explanation.score,
        query_map=_similarity_map(explanation.query_map, evidence.query_picture),
        match_map=_similarity_map(explanation.match_map, evidence.match_picture),
        residual=explanation.residual,
        color_scale=_color_scale(scale),
    )


def embed_response(
    model: str, features: Features, *, with_feature_map: bool = False
) -> embed_service_pb2.EmbedImageResponse:
    """Return what the model makes of an image."""
    return embed_service_pb2.EmbedImageResponse(
        model=model,
        embedding=features.embedding.tolist(),
        feature_map=_feature_map(features.feature_map) if with_feature_map else None,
        width_px=features.placement.width_px,
        height_px=features.placement.height_px,
    )


def stored_embed_response(model: str, stored: StoredImage, embedding: Array) -> embed_service_pb2.EmbedImageResponse:
    """Return what the model made of a stored image."""
    return embed_service_pb2.EmbedImageResponse(
        model=model, embedding=embedding.tolist(), width_px=stored.width_px, height_px=stored.height_px
    )


def model(description: Model) -> embed_service_pb2.Model:
    """Return the model as the API shows it."""
    return embed_service_pb2.Model(
        fingerprint=description.fingerprint,
        backbone=description.backbone,
        layer=description.trunk.layer,
        pooling=description.pooling.kind,
        precision=description.precision,
        dimensions=description.dimensions,
        description_json=json.dumps(description.description),
    )


def _similarity_map(values: SimilarityMap, overlay_png: bytes) -> similarity_pb2.SimilarityMap:
    rows, columns = values.values.shape
    left, top, right, bottom = values.placement.area
    return similarity_pb2.SimilarityMap(
        rows=rows,
        columns=columns,
        values=values.values.ravel().tolist(),
        total=values.total,
        width_px=values.placement.width_px,
        height_px=values.placement.height_px,
        area=similarity_pb2.PixelBox(left_px=left, top_px=top, right_px=right, bottom_px=bottom),
        overlay_png=overlay_png,
    )


def _feature_map(values: Array) -> embed_service_pb2.FeatureMap:
    rows, columns, channels = values.shape
    return embed_service_pb2.FeatureMap(rows=rows, columns=columns, channels=channels, values=values.ravel().tolist())


def _color_scale(scale: ColorScale | None) -> similarity_pb2.ColorScale | None:
    if scale is None:
        return None
    return similarity_pb2.ColorScale(low=scale.low, high=scale.high, color_map=scale.color_map)


def _timestamp(time: datetime) -> Timestamp:
    return Timestamp(seconds=int(time.timestamp()), nanos=time.microsecond * 1000)


def _page_token(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _shown(name: str) -> str:
    return repr(name) if len(name) <= 80 else f"{name[:60]!r}... ({len(name)} characters)"
