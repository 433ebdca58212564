"""Requests of GalleryService, checked at the door."""

import base64
from typing import NamedTuple

import numpy as np

from whymatch.embed import (
    MAX_DIMENSIONS,
    NO_HEAD,
    BadHead,
    BadRequest,
    Head,
    Progress,
    fit_centering,
    fit_whitening,
    linear_head,
)
from whymatch.index import Fitting, MetadataValue
from whymatch.server.errors import BadLimit, BadPageToken
from whymatch.server.ingest import Arrival
from whymatch.server.wire import requests_shapes
from whymatch.v1 import gallery_service_pb2

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000
NEWEST = 2**63 - 1
"""Above every generation."""


def fitting(request: gallery_service_pb2.SetHeadRequest) -> Fitting:
    """Return how to make the head that a request asks for. Raises BadRequest, BadHead."""
    match request.WhichOneof("head"):
        case "none":
            return lambda batches, channels: iter([Progress("vectors", 0, 0, NO_HEAD)])
        case "centering":
            return lambda batches, channels: fit_centering(batches)
        case "whitening":
            dimensions = request.whitening.dimensions
            if dimensions < 0:
                raise BadHead(f"{dimensions} dimensions cannot be kept; take 1 or more, or 0 for the default")
            return lambda batches, channels: fit_whitening(batches, channels, dimensions or None)
        case "linear":
            return lambda batches, channels: iter([Progress("vectors", 0, 0, _layer(request.linear, channels))])
    raise BadRequest("the head is missing; give `none`, `centering`, `whitening` or `linear`")


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


def arrival(request: gallery_service_pb2.AddImagesRequest | gallery_service_pb2.AddImageRequest) -> Arrival:
    """Return one image of a stream."""
    metadata = requests_shapes.metadata(request.metadata)
    return Arrival(request.image_id, request.content, request.label, metadata, request.replace)


class Update(NamedTuple):
    """What becomes of an image; see `Gallery.update`."""

    label: str | None
    metadata: dict[str, MetadataValue] | None
    changed: dict[str, MetadataValue | None]


def update(request: gallery_service_pb2.UpdateImageRequest) -> Update:
    """Return what changes of an image. Raises BadRequest."""
    paths = list(request.update_mask.paths) or ["label", "metadata"]
    metadata = requests_shapes.metadata(request.image.metadata)
    changed: dict[str, MetadataValue | None] = {}
    for path in paths:
        field, _, key = path.partition(".")
        if field == "metadata" and key:
            changed[key] = metadata.get(key)
        elif path not in ("label", "metadata"):
            raise BadRequest(f"{path!r} cannot be updated; `update_mask` has `label`, `metadata` or `metadata.KEY`")
    return Update(request.image.label if "label" in paths else None, metadata if "metadata" in paths else None, changed)


def generations_before(token: str) -> int:
    """Return below which generation a page begins. Raises BadPageToken."""
    last = last_name(token)
    if last and not last.isdecimal():
        raise BadPageToken
    return int(last) if last else NEWEST


def page_size(size: int) -> int:
    """Return how many entries a page may have. Raises BadLimit."""
    if size < 0:
        raise BadLimit(f"the page size {size} is negative; leave it 0 for {DEFAULT_PAGE_SIZE}")
    return min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)


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
