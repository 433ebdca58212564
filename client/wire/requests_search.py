"""Requests of SearchService."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike

from whymatch.client.inputs import Example, ExampleInput, ImageInput, Query, RegionInput, SearchOptions, Stored
from whymatch.client.results import Embedding
from whymatch.client.wire import requests_shapes
from whymatch.v1 import search_service_pb2


def search(
    query: Query | None,
    gallery: str,
    *,
    like: Sequence[ExampleInput] = (),
    unlike: Sequence[ExampleInput] = (),
    limit: int | None = None,
    labels: Sequence[str] = (),
    regions: Sequence[RegionInput] = (),
    ignore: Sequence[RegionInput] = (),
    best_per_label: bool = False,
    with_maps: bool = False,
    overlays: bool | int = False,
    box_share: float | None = None,
    exclude_itself: bool = False,
    filter: str = "",
    min_score: float | None = None,
    exclude: Sequence[str] = (),
    at_generation: int | None = None,
    diversity: float | None = None,
    fold_above: float | None = None,
) -> search_service_pb2.SearchRequest:
    """Ask for the matches of `query`, or of examples. Raises TypeError unless one of them is given."""
    examples = [*_examples("like", like, gallery), *_examples("unlike", unlike, gallery)]
    if (query is None) != bool(examples):
        raise TypeError("search takes a query, or examples as like=[...] and unlike=[...]")
    request = search_service_pb2.SearchRequest(
        parent=requests_shapes.gallery_path(gallery),
        limit=limit,
        labels=requests_shapes.several("labels", labels),
        regions=[*requests_shapes.regions("regions", regions), *requests_shapes.left_out("ignore", ignore)],
        best_per_label=best_per_label,
        with_maps=with_maps,
        overlays=requests_shapes.overlay_options(overlays),
        box_share=box_share,
        exclude_itself=exclude_itself,
        examples=examples,
        diversity=diversity,
        fold_above=fold_above,
        filter=filter,
        min_score=min_score,
        exclude=_image_paths(gallery, "exclude", exclude),
        at_generation=at_generation,
    )
    if query is not None:
        _carry(query, request, gallery)
    return request


def duplicates(
    gallery: str, above: float, filter: str, at_generation: int | None
) -> search_service_pb2.FindDuplicatesRequest:
    """Ask for groups of near duplicates."""
    return search_service_pb2.FindDuplicatesRequest(
        parent=requests_shapes.gallery_path(gallery), above=above, filter=filter, at_generation=at_generation
    )


def several(
    queries: Sequence[Query], gallery: str, **options: Unpack[SearchOptions]
) -> search_service_pb2.BatchSearchRequest:
    """Ask for the matches of each query."""
    if isinstance(queries, (str, bytes, np.ndarray)) or not isinstance(queries, Sequence):
        raise TypeError("queries is a sequence of queries, not one; write queries=[QUERY], or call search")
    return search_service_pb2.BatchSearchRequest(requests=[search(query, gallery, **options) for query in queries])


def turn_page(request: search_service_pb2.SearchRequest, answer: search_service_pb2.SearchResponse) -> bool:
    """Let a request ask for the matches that follow; return whether there are any."""
    request.page_token = answer.next_page_token
    return bool(request.page_token)


def rerank(
    query: ImageInput | Stored,
    gallery: str,
    *,
    query_regions: Sequence[RegionInput],
    match_regions: Sequence[RegionInput],
    candidates: Sequence[str],
    candidate_limit: int | None,
    limit: int | None,
    labels: Sequence[str],
    with_maps: bool,
    overlays: bool | int,
    box_share: float | None,
    exclude_itself: bool,
    filter: str,
    min_score: float | None,
    exclude: Sequence[str],
    at_generation: int | None,
) -> search_service_pb2.RerankRequest:
    """Ask to order candidates by parts of their similarity to `query`."""
    return search_service_pb2.RerankRequest(
        parent=requests_shapes.gallery_path(gallery),
        query=requests_shapes.image_source(query, gallery),
        query_regions=requests_shapes.regions("query_regions", query_regions),
        match_regions=requests_shapes.regions("match_regions", match_regions),
        candidates=_image_paths(gallery, "candidates", candidates),
        candidate_limit=None if candidates else candidate_limit,
        limit=limit,
        labels=requests_shapes.several("labels", labels),
        with_maps=with_maps,
        overlays=requests_shapes.overlay_options(overlays),
        box_share=box_share,
        exclude_itself=exclude_itself,
        filter=filter,
        min_score=min_score,
        exclude=_image_paths(gallery, "exclude", exclude),
        at_generation=at_generation,
    )


def _examples(argument: str, given: Sequence[ExampleInput], gallery: str) -> list[search_service_pb2.Example]:
    """Carry the examples of an argument; raise TypeError for one alone."""
    if isinstance(given, (str, bytes, os.PathLike, Stored, Embedding, Example)) or not isinstance(given, Iterable):
        raise TypeError(f"{argument} is a sequence of examples, not one {type(given).__name__}; write {argument}=[...]")
    messages = []
    for one in given:
        example = one if isinstance(one, Example) else Example(one)
        message = search_service_pb2.Example(
            regions=requests_shapes.regions("regions", example.regions),
            weight=example.weight,
            unlike=argument == "unlike",
        )
        _carry(example.image, message, gallery)
        messages.append(message)
    return messages


def _carry(query: Query, message: search_service_pb2.SearchRequest | search_service_pb2.Example, gallery: str) -> None:
    """Put an image, the name of a stored one, or an embedding into a message."""
    if isinstance(query, Embedding):
        message.embedding.values.extend(_vector(query.embedding))
        message.embedding.model = query.model
    elif isinstance(query, (np.ndarray, list, tuple)):
        message.embedding.values.extend(_vector(query))
    else:
        message.image.CopyFrom(requests_shapes.image_source(query, gallery))


def _image_paths(gallery: str, argument: str, names: Sequence[str]) -> list[str]:
    return [requests_shapes.image_path(gallery, name) for name in requests_shapes.several(argument, names)]


def _vector(numbers: ArrayLike) -> list[float]:
    embedding = np.asarray(numbers)
    if embedding.ndim != 1 or embedding.dtype.kind not in "iuf":
        raise ValueError(
            f"an embedding is one vector of numbers, not {embedding.dtype} of shape {embedding.shape}; turn an array "
            "of pixels into an image with PIL.Image.fromarray, and search for one image at a time"
        )
    return embedding.tolist()  # type: ignore[no-any-return]
