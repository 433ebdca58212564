"""What requests of several services hold, checked at the door: names, images, regions, limits."""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct, Value

from whymatch.embed import BadRequest, DecodeLimits
from whymatch.explain import BadRegion, Box, Point, Polygon, Region, check_count, read_mask
from whymatch.index import (
    ALL_IMAGES,
    BadName,
    MetadataValue,
    Where,
    check_gallery_name,
    check_image_name,
    parse_filter,
)
from whymatch.server.errors import BadLimit
from whymatch.server.sources import ImageName, Source
from whymatch.v1 import explain_service_pb2, search_service_pb2, shapes_pb2

DEFAULT_LIMIT = 10
DEFAULT_OVERLAY_PX, MAX_OVERLAY_PX = 512, 2048
DEFAULT_BOX_SHARE = 0.5


class WithGeneration(Protocol):
    """A request that may be about a gallery as it was."""

    @property
    def at_generation(self) -> int:
        """Which generation."""

    def HasField(self, field_name: Any) -> bool:
        """Say whether a field is set."""


class WithOverlays(Protocol):
    """A request that may ask for pictures."""

    @property
    def overlays(self) -> shapes_pb2.OverlayOptions:
        """How to draw them."""

    def HasField(self, field_name: Any) -> bool:
        """Say whether a field is set."""


def gallery_name(name: str) -> str:
    """Return the {gallery} of `galleries/{gallery}`. Raises BadName."""
    collection, _, gallery = name.partition("/")
    if collection != "galleries" or not gallery:
        raise BadName(f"{quoted(name)} names no gallery; write `galleries/` and the gallery's name")
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
    raise BadName(f"{quoted(name)} names no image; write `galleries/` GALLERY `/images/` IMAGE")


def image_names(names: Sequence[str], gallery: str, field: str, maximum: int) -> list[str]:
    """Return the {image} parts of names of one gallery, each once. Raises BadName, BadRequest, BadLimit."""
    if len(names) > maximum:
        raise BadLimit(f"there are {len(names)} `{field}`; give at most {maximum}")
    found = [image_name(name) for name in names]
    for name in found:
        if name.gallery != gallery:
            raise BadRequest(f"image {name.image!r} is of gallery {name.gallery!r}; give images of {gallery!r}")
    return list(dict.fromkeys(name.image for name in found))


def where(text: str) -> Where:
    """Return the images that a filter holds for; all of them if it is empty. Raises BadFilter."""
    return parse_filter(text).where() if text else ALL_IMAGES


def at_generation(request: WithGeneration) -> int | None:
    """Return the generation that a request is about, None for now."""
    return request.at_generation if request.HasField("at_generation") else None


def metadata(message: Struct) -> dict[str, MetadataValue]:
    """Return metadata. Raises BadRequest where a value is neither text, number nor boolean."""
    return {key: _metadata_value(key, value) for key, value in message.fields.items()}


def _metadata_value(key: str, value: Value) -> MetadataValue:
    match value.WhichOneof("kind"):
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        case "string_value":
            return value.string_value
        case "bool_value":
            return value.bool_value
    raise BadRequest(f"metadata {key!r} is neither text nor a number nor a boolean; a value is one of these")


def source(message: shapes_pb2.ImageSource, field: str) -> Source:
    """Return the image that a field of a request means. Raises BadName, BadRequest."""
    match message.WhichOneof("source"):
        case "content":
            return message.content
        case "image":
            return image_name(message.image)
    raise BadRequest(f"`{field}` is missing; give the bytes of an image as `content` or a stored one as `image`")


def limit(
    request: Message,
    field: str,
    maximum: int | None,
    *,
    least: int = 1,
    default: int = DEFAULT_LIMIT,
    flag: str = "",
) -> int:
    """Return a number of things to find. Raises BadLimit.

    maximum: None for no other than what there is.
    flag: that of `whymatch serve` which sets the maximum, if there is one.
    """
    value: int = getattr(request, field)
    if not request.HasField(field):
        return default if maximum is None else min(default, maximum)
    if value < least or (maximum is not None and value > maximum):
        allowed = f"at least {least}" if maximum is None else f"from {least} to {maximum}"
        way = f", or start the server with {flag} {value}" if flag and value > least else ""
        raise BadLimit(f"`{field}` is {value}, not {allowed}; ask for as many as that{way}")
    return value


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


def box_share(
    request: search_service_pb2.SearchRequest
    | search_service_pb2.RerankRequest
    | explain_service_pb2.ExplainMatchRequest
    | explain_service_pb2.ExplainLabelRequest
    | explain_service_pb2.ExplainRankingRequest,
) -> float:
    """Return the share of a map that its best box holds. Raises BadRequest."""
    if not request.HasField("box_share"):
        return DEFAULT_BOX_SHARE
    if not 0 < request.box_share <= 1:
        raise BadRequest(f"`box_share` is {request.box_share:g}; take more than 0 and at most 1")
    return request.box_share


async def regions(messages: Sequence[shapes_pb2.Region], field: str, limits: DecodeLimits) -> list[Region]:
    """Return the parts of an image that a field names. Raises BadRegion and the errors of images."""
    # To read masks may take a second.
    return await asyncio.to_thread(_regions, messages, field, limits) if messages else []


def _regions(messages: Sequence[shapes_pb2.Region], field: str, limits: DecodeLimits) -> list[Region]:
    check_count(len(messages), 0, 0)  # before they are looked at one by one
    masks = sum(message.HasField("mask") for message in messages)
    check_count(0, masks, sum(len(message.polygon.points) for message in messages))
    return [_region(message, f"{field}[{number}]", limits) for number, message in enumerate(messages)]


def _region(message: shapes_pb2.Region, field: str, limits: DecodeLimits) -> Region:
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


def overlay_px(request: WithOverlays) -> int | None:
    """Return the longer side of the pictures, None if there shall be none. Raises BadRequest."""
    if not request.HasField("overlays"):
        return None
    size_px = request.overlays.size_px
    if not 0 <= size_px <= MAX_OVERLAY_PX:
        raise BadRequest(f"`overlays.size_px` is {size_px}; take 1 to {MAX_OVERLAY_PX}, or 0 for {DEFAULT_OVERLAY_PX}")
    return size_px or DEFAULT_OVERLAY_PX


def quoted(name: str) -> str:
    """Return a name as a message shows it, cut short if it is long."""
    return repr(name) if len(name) <= 80 else f"{name[:60]!r}... ({len(name)} characters)"
