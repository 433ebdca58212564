"""Answers of SearchService."""

from collections.abc import Mapping, Sequence
from typing import Any

from whymatch.embed import Progress
from whymatch.index import Duplicates, Match
from whymatch.server.examples import ExampleShares
from whymatch.server.match_maps import MatchMaps
from whymatch.server.provenance import Provenance
from whymatch.server.wire import answers_gallery, answers_shapes
from whymatch.v1 import search_service_pb2, shapes_pb2


def matches(
    gallery: str,
    found: Sequence[Match],
    image_scores: Mapping[str, float],
    match_maps: Sequence[MatchMaps] = (),
    example_shares: Sequence[ExampleShares] = (),
) -> list[search_service_pb2.Match]:
    """Return the matches of a search, with their maps and what examples contribute, if there are any.

    image_scores: how similar the whole images are, by the names of the matches and of what is folded into them.
    """
    messages = [_match(gallery, one, image_scores) for one in found]
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


def duplicates_begun(origin: Provenance) -> search_service_pb2.FindDuplicatesResponse:
    """Return that the search for near duplicates begins."""
    return search_service_pb2.FindDuplicatesResponse(
        progress=answers_shapes.progress(Progress[Any]("images", 0, origin.image_count)),
        provenance=answers_shapes.provenance(origin),
    )


def duplicates_progress(progress: Progress[Any]) -> search_service_pb2.FindDuplicatesResponse:
    """Return how far the search for near duplicates is."""
    return search_service_pb2.FindDuplicatesResponse(progress=answers_shapes.progress(progress))


def duplicates(gallery: str, group: Duplicates) -> search_service_pb2.FindDuplicatesResponse:
    """Return a group of near duplicates."""
    return search_service_pb2.FindDuplicatesResponse(
        group=search_service_pb2.DuplicateGroup(
            images=[answers_shapes.image_name(gallery, image.name) for image in group.images],
            least_score=group.least,
            largest_score=group.largest,
        )
    )


def _match(gallery: str, one: Match, image_scores: Mapping[str, float]) -> search_service_pb2.Match:
    return search_service_pb2.Match(
        image=answers_gallery.image(gallery, one.image),
        score=one.score,
        image_score=image_scores[one.image.name],
        folded=[_match(gallery, other, image_scores) for other in one.folded],
    )
