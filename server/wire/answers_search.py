"""Answers of SearchService."""

from collections.abc import Sequence

from whymatch.index import (
    Match,
)
from whymatch.server.match_maps import Evidence
from whymatch.server.wire import answers_gallery, answers_shapes
from whymatch.v1 import (
    search_service_pb2,
)


def matches(
    gallery: str, found: Sequence[Match], image_scores: Sequence[float], evidence: Sequence[Evidence] = ()
) -> list[search_service_pb2.Match]:
    """Return the matches of a search, with their maps if there is evidence."""
    messages = [
        search_service_pb2.Match(
            image=answers_gallery.image(gallery, one.image), score=one.score, image_score=image_score
        )
        for one, image_score in zip(found, image_scores, strict=True)
    ]
    for message, one in zip(messages, evidence, strict=bool(evidence)):
        if one.query:
            message.query_map.CopyFrom(answers_shapes.similarity_map(one.query))
        message.match_map.CopyFrom(answers_shapes.similarity_map(one.match))
    return messages
