"""Answers of SearchService."""

from collections.abc import Sequence

from whymatch.index import Match
from whymatch.server.examples import ExampleShares
from whymatch.server.match_maps import MatchMaps
from whymatch.server.wire import answers_gallery, answers_shapes
from whymatch.v1 import search_service_pb2, shapes_pb2


def matches(
    gallery: str,
    found: Sequence[Match],
    image_scores: Sequence[float],
    match_maps: Sequence[MatchMaps] = (),
    example_shares: Sequence[ExampleShares] = (),
) -> list[search_service_pb2.Match]:
    """Return the matches of a search, with their maps and what examples contribute, if there are any."""
    messages = [
        search_service_pb2.Match(
            image=answers_gallery.image(gallery, one.image), score=one.score, image_score=image_score
        )
        for one, image_score in zip(found, image_scores, strict=True)
    ]
    for message, one in zip(messages, match_maps, strict=bool(match_maps)):
        if one.query:
            message.query_map.CopyFrom(answers_shapes.similarity_map(one.query))
        message.match_map.CopyFrom(answers_shapes.similarity_map(one.match))
    for message, shares in zip(messages, example_shares, strict=bool(example_shares)):
        message.shares.extend(shares.shares)
        message.example_maps.extend(
            answers_shapes.similarity_map(one) if one else shapes_pb2.SimilarityMap() for one in shares.maps
        )
    return messages
