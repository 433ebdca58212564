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
    )
