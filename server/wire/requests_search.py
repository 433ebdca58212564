"""Requests of SearchService, checked at the door."""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime

from whymatch.embed import BadRequest
from whymatch.server.errors import BadLimit
from whymatch.server.sources import Embedding, Query
from whymatch.server.wire import requests_shapes
from whymatch.v1 import search_service_pb2

MAX_LABELS = 1000
MAX_EXCLUDED = 1000
MAX_SEARCHES = 100
"""Searches in one call."""
MAX_DRAWN = 100
"""Matches of one answer that can have pictures; a picture takes about 50 ms and up to some MB."""


@dataclass(frozen=True)
class Shown:
    """What an answer shows of its matches."""

    maps: bool
    overlay_px: int | None
    """The longer side of the pictures, None for no pictures."""
    box_share: float
    """The share of a map's positive values that its best box holds."""


def query(request: search_service_pb2.SearchRequest) -> Query:
    """Return what to search for; an embedding is not checked yet. Raises BadName, BadRequest."""
    match request.WhichOneof("query"):
        case "image":
            return requests_shapes.source(request.image, "image")
        case "embedding":
            return Embedding(request.embedding.values, request.embedding.model)
    raise BadRequest("the query is missing; give an `image` or an `embedding`")


def labels(request: search_service_pb2.SearchRequest | search_service_pb2.RerankRequest) -> frozenset[str]:
    """Return the labels that a search is for. Raises BadRequest."""
    if len(request.labels) > MAX_LABELS:
        raise BadRequest(f"`labels` holds {len(request.labels)} labels; give at most {MAX_LABELS}")
    return frozenset(request.labels)


def excluded(
    request: search_service_pb2.SearchRequest | search_service_pb2.RerankRequest, gallery: str
) -> frozenset[str]:
    """Return the names of the images to leave out. Raises BadName, BadRequest, BadLimit."""
    return frozenset(requests_shapes.image_names(request.exclude, gallery, "exclude", MAX_EXCLUDED))


def min_score(request: search_service_pb2.SearchRequest | search_service_pb2.RerankRequest) -> float:
    """Return what a match must score at least, minus infinity if that is all the same. Raises BadRequest."""
    if not request.HasField("min_score"):
        return -math.inf
    if not math.isfinite(request.min_score):
        raise BadRequest(f"`min_score` is {request.min_score:g}; take a number, or leave it out for all scores")
    return request.min_score


def digest(request: search_service_pb2.SearchRequest, gallery_time: datetime) -> str:
    """Return a hash of what a request asks for, whichever page of it and however long.

    gallery_time: when the gallery was created; another one may have its name.
    """
    asked = search_service_pb2.SearchRequest()
    asked.CopyFrom(request)
    asked.ClearField("page_token")
    asked.ClearField("limit")
    parts = gallery_time.isoformat().encode() + asked.SerializeToString(deterministic=True)
    return hashlib.sha256(parts).hexdigest()


def searches(request: search_service_pb2.BatchSearchRequest) -> list[search_service_pb2.SearchRequest]:
    """Return the searches of a batch. Raises BadRequest, BadLimit."""
    if not request.requests:
        raise BadRequest("`requests` is empty; give at least one search")
    if len(request.requests) > MAX_SEARCHES:
        raise BadLimit(f"there are {len(request.requests)} `requests`; give at most {MAX_SEARCHES}")
    return list(request.requests)


def shown(request: search_service_pb2.SearchRequest | search_service_pb2.RerankRequest, limit: int) -> Shown:
    """Return what the answer shall show of each match. Raises BadLimit, BadRequest."""
    size_px = requests_shapes.overlay_px(request)
    if size_px is not None and limit > MAX_DRAWN:
        raise BadLimit(
            f"at most {MAX_DRAWN} matches can have pictures, not {limit}; lower the limit or leave out `overlays`"
        )
    return Shown(request.with_maps or size_px is not None, size_px, requests_shapes.box_share(request))


def check_search(request: search_service_pb2.SearchRequest) -> None:
    """Raise BadRequest for what an embedding lacks: regions, and copies in the gallery."""
    if request.WhichOneof("query") == "embedding":
        if request.regions:
            raise BadRequest("an embedding has no regions; search by an `image`, or leave out `regions`")
        if request.exclude_itself:
            raise BadRequest("an embedding has no copies; search by an `image`, or leave out `exclude_itself`")


def check_rerank(request: search_service_pb2.RerankRequest) -> None:
    """Raise BadRequest for a request that has no regions."""
    if not request.query_regions and not request.match_regions:
        raise BadRequest("give `query_regions`, `match_regions` or both; by whole images, `Search` finds the order")


def candidates(request: search_service_pb2.RerankRequest, gallery: str, maximum: int) -> list[str]:
    """Return the names of the images to order, none for the most similar ones. Raises BadName, BadRequest, BadLimit."""
    if request.candidates and (request.labels or request.filter):
        which = "labels" if request.labels else "filter"
        raise BadRequest(f"`candidates` and `{which}` exclude each other; name the candidates or give `{which}`")
    return requests_shapes.image_names(request.candidates, gallery, "candidates", maximum)
