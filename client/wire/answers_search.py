"""Answers of SearchService."""

from __future__ import annotations

from whymatch.client import results
from whymatch.client.wire import answers_gallery, answers_shapes
from whymatch.v1 import search_service_pb2


def search_result(
    message: search_service_pb2.SearchResponse | search_service_pb2.RerankResponse,
) -> results.SearchResult:
    """Read the matches of a search, or the candidates in their new order."""
    return results.SearchResult(
        matches=tuple(map(match, message.matches)),
        model=message.model,
        color_scale=answers_shapes.color_scale(message),
        provenance=answers_shapes.provenance(message),
    )


def search_results(message: search_service_pb2.BatchSearchResponse) -> list[results.SearchResult]:
    """Read the matches of several searches."""
    return [search_result(one) for one in message.responses]


def match(message: search_service_pb2.Match) -> results.Match:
    """Read one match."""
    return results.Match(
        image=answers_gallery.image(message.image),
        score=message.score,
        image_score=message.image_score,
        query_map=answers_shapes.similarity_map(message.query_map) if message.HasField("query_map") else None,
        match_map=answers_shapes.similarity_map(message.match_map) if message.HasField("match_map") else None,
        shares=tuple(message.shares),
        example_maps=tuple(answers_shapes.similarity_map(one) if one.rows else None for one in message.example_maps),
        folded=tuple(map(match, message.folded)),
    )


def duplicates(message: search_service_pb2.FindDuplicatesResponse) -> results.Progress | results.DuplicateGroup:
    """Read how far the search for near duplicates is, or a group of them."""
    if message.HasField("progress"):
        return answers_shapes.progress(message.progress)
    return results.DuplicateGroup(
        names=tuple(map(answers_shapes.short_name, message.group.images)),
        least_score=message.group.least_score,
        largest_score=message.group.largest_score,
    )


def duplicates_origin(message: search_service_pb2.FindDuplicatesResponse) -> results.Provenance | None:
    """Read where the near duplicates come from, which one response says."""
    return answers_shapes.provenance(message)
