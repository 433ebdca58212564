"""From requests to our own values, checked at the door."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from google.protobuf.message import Message

from whymatch.embed import (
    MAX_DIMENSIONS,
    NO_HEAD,
    Aggregation,
    BadHead,
    DecodeLimits,
    Fit,
    Head,
    InterActiveSetting,
    fit_centering,
    fit_whitening,
    linear_head,
)
from whymatch.explain import (
    MAX_SIZE_PX,
    MIN_SIZE_PX,
    SIZE_PX,
    BadRegion,
    Box,
    Point,
    Polygon,
    Region,
    check_count,
    read_mask,
)
from whymatch.index import (
    BadName,
    BadRequest,
    Fitting,
    check_gallery_name,
    check_image_name,
)
from whymatch.server.adding import Arrival
from whymatch.server.errors import BadLimit, BadPageToken
from whymatch.server.images import Embedding, ImageName, Query, Source
from whymatch.v1 import (
    explain_service_pb2,
    gallery_service_pb2,
    search_service_pb2,
    similarity_pb2,
)

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000
DEFAULT_LIMIT = 10
MAX_LABELS = 1000
DEFAULT_OVERLAY_PX, MAX_OVERLAY_PX = 512, 2048
DEFAULT_BOX_SHARE = 0.5
MAX_SETTINGS = 64
MAX_DRAWN = 100
"""Matches of one answer that can have pictures; a picture takes about 50 ms and up to some MB."""


class WithOverlays(Protocol):
    """A request that may ask for pictures."""

    @property
    def overlays(self) -> similarity_pb2.OverlayOptions:
        """How to draw them."""

    def HasField(self, field_name: Any) -> bool:
        """Say whether a field is set."""


@dataclass(frozen=True)
class Shown:
    """What an answer shows of its matches."""

    maps: bool
    overlay_px: int | None
    """The longer side of the pictures, None for no pictures."""
    box_share: float
    """The share of a map's positive values that its best box holds."""


def gallery_name(name: str) -> str:
    """Return the {gallery} of `galleries/{gallery}`. Raises BadName."""
    collection, _, gallery = name.partition("/")
    if collection != "galleries" or not gallery:
        raise BadName(f"{_shown(name)} names no gallery; write `galleries/` and the gallery's name")
    check_gallery_name(gallery)
    return gallery


def parent(name: str) -> str:
    """Return the {gallery} of a field that may be empty. Raises BadName."""
    return gallery_name(name) if name else ""


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


def query(request: search_service_pb2.SearchRequest) -> Query:
    """Return what to search for; an embedding is not checked yet. Raises BadName, BadRequest."""
    match request.WhichOneof("query"):
        case "image":
            return source(request.image, "image")
        case "embedding":
            return Embedding(request.embedding.values, request.embedding.model)
    raise BadRequest("the query is missing; give an `image` or an `embedding`")


def limit(request: Message, field: str, maximum: int | None, *, least: int = 1, default: int = DEFAULT_LIMIT) -> int:
    """Return a number of things to find. Raises BadLimit.

    maximum: None for no other than what there is.
    """
    value: int = getattr(request, field)
    if not request.HasField(field):
        return default if maximum is None else min(default, maximum)
    if value < least or (maximum is not None and value > maximum):
        allowed = f"at least {least}" if maximum is None else f"from {least} to {maximum}"
        raise BadLimit(f"`{field}` is {value}, not {allowed}; ask for as many as that")
    return value


def labels(request: search_service_pb2.SearchRequest | search_service_pb2.RerankRequest) -> Sequence[str]:
    """Return the labels that a search is for. Raises BadRequest."""
    if len(request.labels) > MAX_LABELS:
        raise BadRequest(f"`labels` holds {len(request.labels)} labels; give at most {MAX_LABELS}")
    return request.labels


def label(text: str) -> str:
    """Return the label that a request is about. Raises BadRequest."""
    if not text:
        raise BadRequest("`label` is missing; give the label to explain")
    return text


def seed(value: int) -> int:
    """Return the seed of a draw. Raises BadRequest."""
    if value < 0:
        raise BadRequest(f"the seed {value} is negative; take 0 or more")
    return value


def shown(request: search_service_pb2.SearchRequest | search_service_pb2.RerankRequest, limit: int) -> Shown:
    """Return what the answer shall show of each match. Raises BadLimit, BadRequest."""
    size_px = overlay_px(request)
    if size_px is not None and limit > MAX_DRAWN:
        raise BadLimit(
            f"at most {MAX_DRAWN} matches can have pictures, not {limit}; lower the limit or leave out `overlays`"
        )
    return Shown(request.with_maps or size_px is not None, size_px, box_share(request))


def box_share(
    request: search_service_pb2.SearchRequest
    | search_service_pb2.RerankRequest
    | explain_service_pb2.ExplainMatchRequest
    | explain_service_pb2.ExplainLabelRequest,
) -> float:
    """Return the share of a map that its best box holds. Raises BadRequest."""
    if not request.HasField("box_share"):
        return DEFAULT_BOX_SHARE
    if not 0 < request.box_share <= 1:
        raise BadRequest(f"`box_share` is {request.box_share:g}; take more than 0 and at most 1")
    return request.box_share


def regions(messages: Sequence[similarity_pb2.Region], field: str, limits: DecodeLimits) -> list[Region]:
    """Return parts of an image; it may take a second to read masks. Raises BadRegion and the errors of images."""
    check_count(len(messages), 0, 0)  # before they are looked at one by one
    masks = sum(message.HasField("mask") for message in messages)
    check_count(0, masks, sum(len(message.polygon.points) for message in messages))
    return [_region(message, f"{field}[{number}]", limits) for number, message in enumerate(messages)]


def check_search(request: search_service_pb2.SearchRequest) -> None:
    """Raise BadRequest for regions of an embedding."""
    if request.regions and request.WhichOneof("query") == "embedding":
        raise BadRequest("an embedding has no regions; search by an `image`, or leave out `regions`")


def check_rerank(request: search_service_pb2.RerankRequest) -> None:
    """Raise BadRequest for a request that has no regions."""
    if not request.query_regions and not request.match_regions:
        raise BadRequest("give `query_regions`, `match_regions` or both; by whole images, `Search` finds the order")


def candidates(request: search_service_pb2.RerankRequest, gallery: str, maximum: int) -> list[str]:
    """Return the names of the images to order, none for the most similar ones. Raises BadName, BadRequest, BadLimit."""
    if request.candidates and request.labels:
        raise BadRequest("`candidates` and `labels` exclude each other; name the candidates or the labels")
    if len(request.candidates) > maximum:
        raise BadLimit(f"there are {len(request.candidates)} `candidates`; give at most {maximum}")
    names = [image_name(name) for name in request.candidates]
    for name in names:
        if name.gallery != gallery:
            raise BadRequest(f"candidate {name.image!r} is of gallery {name.gallery!r}; give images of {gallery!r}")
    return list(dict.fromkeys(name.image for name in names))


def _region(message: similarity_pb2.Region, field: str, limits: DecodeLimits) -> Region:
    weight = message.weight if message.HasField("weight") else 1.0
    match message.WhichOneof("shape"):
        case "box":
            box = message.box
            return Region(Box(box.left_px, box.top_px, box.right_px, box.bottom_px), weight, message.relative)
        case "polygon":
            points = tuple((point.x_px, point.y_px) for point in message.polygon.points)
            return Region(Polygon(points), weight, message.relative)
        case "mask":
            return Region(read_mask(message.mask, limits), weight, message.relative)
        case "point":
            return Region(Point(message.point.x_px, message.point.y_px), weight, message.relative)
    raise BadRegion(f"`{field}` has no shape; give a `box`, a `polygon`, a `mask` or a `point`")


def fitting(request: gallery_service_pb2.SetHeadRequest) -> Fitting:
    """Return how to make the head that a request asks for. Raises BadRequest, BadHead."""
    match request.WhichOneof("head"):
        case "none":
            return lambda batches, channels: iter([Fit(0, NO_HEAD)])
        case "centering":
            return lambda batches, channels: fit_centering(batches)
        case "whitening":
            dimensions = request.whitening.dimensions
            if dimensions < 0:
                raise BadHead(f"{dimensions} dimensions cannot be kept; take 1 or more, or 0 for the default")
            return lambda batches, channels: fit_whitening(batches, channels, dimensions or None)
        case "linear":
            return lambda batches, channels: iter([Fit(0, _layer(request.linear, channels))])
    raise BadRequest("the head is missing; give `none`, `centering`, `whitening` or `linear`")


def settings(request: explain_service_pb2.ExplainInterActiveRequest) -> list[InterActiveSetting]:
    """Return the layers to weigh, and how. Raises BadRequest, BadLayer."""
    if not 1 <= len(request.settings) <= MAX_SETTINGS:
        raise BadRequest(f"there are {len(request.settings)} `settings`; give 1 to {MAX_SETTINGS}")
    if empty := next((one for one in request.settings if not one.layer), None):
        raise BadRequest(f"a setting has no `layer` ({empty}); name one that GetModel lists")
    return [
        InterActiveSetting(
            one.layer,
            one.supervision or InterActiveSetting.supervision,
            one.norm if one.HasField("norm") else InterActiveSetting.norm,
        )
        for one in request.settings
    ]


def input_px(request: explain_service_pb2.ExplainInterActiveRequest) -> int:
    """Return the size of the network's input. Raises BadRequest."""
    if not request.HasField("size_px"):
        return SIZE_PX
    if not MIN_SIZE_PX <= request.size_px <= MAX_SIZE_PX:
        raise BadRequest(f"`size_px` is {request.size_px}; take {MIN_SIZE_PX} to {MAX_SIZE_PX}")
    return request.size_px


def descriptor(request: explain_service_pb2.ExplainInterActiveRequest) -> Aggregation | None:
    """Return how to pool descriptors, None for no descriptors. Raises BadRequest."""
    if request.descriptor in ("average", "max"):
        return cast(Aggregation, request.descriptor)
    if request.descriptor:
        raise BadRequest(f"`descriptor` is {_shown(request.descriptor)}; take `average` or `max`, or leave it empty")
    return None


def _layer(layer: gallery_service_pb2.LinearLayer, channels: int) -> Head:
    rows, rest = divmod(len(layer.weight), channels)
    if rest or not 1 <= rows <= MAX_DIMENSIONS:  # before they become an array
        raise BadHead(
            f"the weight has {len(layer.weight)} values; this model needs {channels} in each of 1 to {MAX_DIMENSIONS} "
            "rows"
        )
    if len(layer.bias) not in (0, rows):
        raise BadHead(f"the bias has {len(layer.bias)} values for {rows} rows (is the weight transposed?)")
    weight, bias = np.array(layer.weight, np.float32), np.array(layer.bias, np.float32)
    return linear_head(weight.reshape(rows, channels), bias if bias.size else None, channels)


def arrival(request: gallery_service_pb2.AddImagesRequest) -> Arrival:
    """Return one image of a stream."""
    return Arrival(request.image_id, request.content, request.label, dict(request.metadata))


def page_size(size: int) -> int:
    """Return how many entries a page may have. Raises BadLimit."""
    if size < 0:
        raise BadLimit(f"the page size {size} is negative; leave it 0 for {DEFAULT_PAGE_SIZE}")
    return min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


def overlay_px(request: WithOverlays) -> int | None:
    """Return the longer side of the pictures, None if there shall be none. Raises BadRequest."""
    if not request.HasField("overlays"):
        return None
    size_px = request.overlays.size_px
    if not 0 <= size_px <= MAX_OVERLAY_PX:
        raise BadRequest(f"`overlays.size_px` is {size_px}; take 1 to {MAX_OVERLAY_PX}, or 0 for {DEFAULT_OVERLAY_PX}")
    return size_px or DEFAULT_OVERLAY_PX


def last_name(token: str) -> str:
    """Return the last name of the page before, empty for the first page. Raises BadPageToken."""
    try:
        name = base64.b64decode(token.encode(), b"-_", validate=True).decode()
    except ValueError as err:
        raise BadPageToken from err
    if token and page_token(name) != token:
        raise BadPageToken
    return name


def page_token(name: str) -> str:
    """Return the token of the page after a name."""
    return base64.urlsafe_b64encode(name.encode()).decode()


def _shown(name: str) -> str:
    return repr(name) if len(name) <= 80 else f"{name[:60]!r}... ({len(name)} characters)"
