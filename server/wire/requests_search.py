"""Requests of SearchService, checked at the door."""

import hashlib
import math
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import Message

from whymatch.embed import BadRequest, DecodeLimits
from whymatch.explain import BadRegion
from whymatch.index import Variety
from whymatch.server.errors import BadLimit
from whymatch.server.examples import GivenExample
from whymatch.server.sources import Embedding, Query
from whymatch.server.wire import requests_shapes
from whymatch.v1 import search_service_pb2

MAX_LABELS = 1000
MAX_EXCLUDED = 1000
MAX_SEARCHES = 100
"""Searches in one call."""
MAX_DRAWN = 100
"""Matches of one answer that can have pictures; a picture takes about 50 ms and up to some MB."""
MAX_EXAMPLES = 32
MAX_PICTURES, MAX_MAPS = 200, 2000
"""Of one answer to examples, as many as the largest answer to another query has."""


@dataclass(frozen=True)
class Shown:
    """What an answer shows of its matches."""

    maps: bool
    overlay_px: int | None
    """The longer side of the pictures, None for no pictures."""
    box_share: float
    """The share of a map's positive values that its best box holds."""


async def examples(request: search_service_pb2.SearchRequest, limits: DecodeLimits) -> list[GivenExample]:
    """Return the examples that a search is by, none if it has a query; embeddings are not checked yet.

    Raises BadName, BadRequest, BadRegion, and the errors of masks.
    """
    if len(request.examples) > MAX_EXAMPLES:
        raise BadRequest(f"there are {len(request.examples)} `examples`; give at most {MAX_EXAMPLES}")
    if request.examples and (request.WhichOneof("query") or request.regions):
        raise BadRequest("`examples` replace the query and its `regions`; give these as one of the examples")
    masks = sum(region.HasField("mask") for one in request.examples for region in one.regions)
    if masks > MAX_EXAMPLES:  # each of them stays in memory for the whole call
        raise BadRegion(f"the examples have {masks} masks in all; give at most {MAX_EXAMPLES}, or boxes and polygons")
    return [await _example(one, f"examples[{number}]", limits) for number, one in enumerate(request.examples)]


def check_example_maps(examples: int, limit: int, shown: Shown) -> None:
    """Raise BadLimit if the answer would have too many maps: one for each match and for each example of a match."""
    most, what = (MAX_MAPS, "maps") if shown.overlay_px is None else (MAX_PICTURES, "pictures of maps")
    if examples and shown.maps and limit * (1 + examples) > most:
        raise BadLimit(
            f"{limit} matches by {examples} examples have {limit * (1 + examples)} {what}, more than {most}; lower the "
            f"limit to {most // (1 + examples)}"
        )


async def _example(message: search_service_pb2.Example, field: str, limits: DecodeLimits) -> GivenExample:
    weight = message.weight if message.HasField("weight") else None
    if weight is not None and not 0 < weight < math.inf:  # also refuses NaN
        raise BadRequest(
            f"`{field}.weight` is {weight:g}; take a finite number above 0, and set `unlike` for what counts against a "
            "match"
        )
    regions = await requests_shapes.regions(message.regions, f"{field}.regions", limits)
    match message.WhichOneof("example"):
        case "image":
            source: Query = requests_shapes.source(message.image, f"{field}.image")
        case "embedding":
            if regions:
                raise BadRequest(f"`{field}` is an embedding, which has no regions; give an `image`")
            source = Embedding(message.embedding.values, message.embedding.model)
        case _:
            raise BadRequest(f"`{field}` is empty; give an `image` or an `embedding`")
    return GivenExample(source, regions, message.unlike, weight)


def query(request: search_service_pb2.SearchRequest) -> Query:
    """Return what to search for; an embedding is not checked yet. Raises BadName, BadRequest."""
    match request.WhichOneof("query"):
        case "image":
            return requests_shapes.source(request.image, "image")
        case "embedding":
            return Embedding(request.embedding.values, request.embedding.model)
    raise BadRequest("the query is missing; give an `image`, an `embedding` or `examples`")


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


def variety(request: search_service_pb2.SearchRequest) -> Variety:
    """Return how the matches shall differ. Raises BadRequest."""
    if not 0 <= request.diversity <= 1:
        raise BadRequest(
            f"`diversity` is {request.diversity:g}; take 0 for the best matches, up to 1 for the most different ones"
        )
    return Variety(request.diversity, similarity(request, "fold_above") if request.HasField("fold_above") else None)


def above(request: search_service_pb2.FindDuplicatesRequest) -> float:
    """Return how similar near duplicates are at least. Raises BadRequest."""
    if not request.HasField("above"):
        raise BadRequest("`above` is missing; say how similar near duplicates are at least, such as 0.97")
    return similarity(request, "above")


def similarity(request: Message, field: str) -> float:
    """Return a field that is a cosine similarity. Raises BadRequest."""
    value: float = getattr(request, field)
    if not -1 <= value <= 1:
        raise BadRequest(f"`{field}` is {value:g}; a cosine similarity is from -1 to 1")
    return value


def check_search(request: search_service_pb2.SearchRequest) -> None:
    """Raise BadRequest for what excludes each other: an embedding has no regions, and no copies in the gallery."""
    if request.page_token and (request.diversity or request.HasField("fold_above")):
        raise BadRequest("`page_token` excludes `diversity` and `fold_above`, which choose from the first matches")
    if request.WhichOneof("query") == "embedding":
        if request.regions:
            raise BadRequest("an embedding has no regions; search by an `image`, or leave out `regions`")
        if request.exclude_itself:
            raise BadRequest("an embedding has no copies; search by an `image`, or leave out `exclude_itself`")
    if request.exclude_itself and request.examples and all(one.HasField("embedding") for one in request.examples):
        raise BadRequest("embeddings have no copies; give an `image` as an example, or leave out `exclude_itself`")


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
