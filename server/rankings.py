"""Why a query is more similar to one image or label than to another, and which labels are around it."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from whymatch.embed import Array, BadRequest, Features, Head
from whymatch.explain import (
    ColorScale,
    NoLabeledPairs,
    RankingExplanation,
    explain_ranking,
    shared_scale,
    signed_scale,
    similarity_map,
)
from whymatch.index import ALL_IMAGES, GalleryVersion, LabelScore, Selection, Where
from whymatch.server.match_maps import ShownMap, draw_over, shown
from whymatch.server.sources import Images, Source, as_of


@dataclass(frozen=True)
class OfLabel:
    """All images of a label but the query itself."""

    label: str


Contender: TypeAlias = Source | OfLabel
"""What a query is compared with."""


@dataclass(frozen=True, eq=False)
class Ranked:
    """One of two things that a query is compared with."""

    embedding: Array
    """(D,) float32; of a label the mean over its images."""
    image_count: int = 1
    features: Features | None = None
    """None for a label."""
    content_sha256: str = ""
    """Empty for a label."""
    match_map: ShownMap | None = None
    """None for a label."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """Why a query is more similar to the first than to the second."""

    explanation: RankingExplanation
    difference: ShownMap
    first: Ranked
    second: Ranked
    scale: ColorScale | None = None
    """Of the picture of the difference."""
    match_scale: ColorScale | None = None
    """Of the pictures of both matches."""


@dataclass(frozen=True)
class NeighborLabel:
    """What part of a query's neighbors has a label."""

    label: str
    neighbor_count: int
    share: float
    """Of the neighbors, 0 to 1."""
    score_share: float
    """Of their summed scores, 0 to 1."""


@dataclass(frozen=True)
class Neighborhood:
    """The labels around a query."""

    neighbor_count: int
    neighbors: list[NeighborLabel]
    """That of most neighbors first."""
    labels: list[LabelScore]
    """All labels, that with the highest mean score first."""


def stored_sources(sides: Sequence[Contender]) -> list[Source]:
    """Return the images among the things that a query is compared with."""
    return [one for one in sides if not isinstance(one, OfLabel)]


def contender_as_of(one: Contender, gallery: str, at: int | None) -> Contender:
    """Return a thing to compare with that is read at a generation of a gallery; a label is that of the version."""
    return one if isinstance(one, OfLabel) else as_of(one, gallery, at)


def label_embeddings(version: GalleryVersion, label: str, own: str, where: Where = ALL_IMAGES) -> Array:
    """Return the embeddings of all images of a label but those with the query's content, (n, D), n at least 1.

    own: the `content_digest` of the query. where: only images that meet this. Raises UnknownLabel, NoLabeledPairs.
    """
    others = version.label_embeddings(label, without_content=own, where=where)
    if not len(others):
        which = "" if where == ALL_IMAGES else " that the filter holds for"
        raise NoLabeledPairs(f"label {label!r} has no image{which} but the query itself; add others to the gallery")
    return others


async def rank(
    images: Images,
    query: Features,
    weights: Array | None,
    sides: tuple[Contender, Contender],
    head: Head,
    version: GalleryVersion | None,
    own: str,
    box_share: float,
) -> Ranking:
    """Explain the gap between the scores of two things.

    weights: (H, W) float32 of the query's cells, None for all of it. own: the `content_digest` of the query.
    """
    first, second = await asyncio.gather(*[_ranked(images, one, head, version, own) for one in sides])
    return await asyncio.to_thread(_compared, query, weights, first, second, box_share)


async def draw_ranking(
    images: Images, query: Source, sides: tuple[Contender, Contender], ranking: Ranking, size_px: int
) -> Ranking:
    """Return a ranking with its pictures: the difference on a scale of its own, both matches on one."""
    scale = signed_scale([ranking.difference.map])
    difference = await draw_over(images, query, ranking.difference, scale, size_px)
    maps = [one.match_map.map for one in (ranking.first, ranking.second) if one.match_map]
    match_scale = shared_scale(maps) if maps else None

    async def drawn(source: Contender, one: Ranked) -> Ranked:
        if isinstance(source, OfLabel) or match_scale is None or one.match_map is None:
            return one
        return replace(one, match_map=await draw_over(images, source, one.match_map, match_scale, size_px))

    first, second = await drawn(sides[0], ranking.first), await drawn(sides[1], ranking.second)
    return Ranking(ranking.explanation, difference, first, second, scale, match_scale)


def neighborhood(version: GalleryVersion, embedding: Array, limit: int, own: str) -> Neighborhood:
    """Return the labels of the `limit` nearest images, and the mean score of all labels.

    embedding: (D,) float32. own: the `content_digest` of the query, whose copies do not count.
    """
    selection = Selection(without_contents=frozenset([own]))
    [found] = version.search(embedding[None], limit, selection)
    scores = defaultdict[str, list[float]](list)
    for match in found:
        scores[match.image.label].append(max(match.score, 0.0))
    total = sum(map(sum, scores.values()))
    neighbors = [
        NeighborLabel(label, len(some), len(some) / len(found), sum(some) / total if total else 0.0)
        for label, some in scores.items()
    ]
    neighbors.sort(key=lambda one: (-one.neighbor_count, -one.score_share))
    return Neighborhood(len(found), neighbors, version.label_scores(embedding, selection))


async def _ranked(images: Images, one: Contender, head: Head, version: GalleryVersion | None, own: str) -> Ranked:
    if isinstance(one, OfLabel):
        if version is None:
            raise BadRequest(f"label {one.label!r} is of no gallery; name the gallery as `parent`")
        others = await asyncio.to_thread(label_embeddings, version, one.label, own)
        return Ranked(others.mean(axis=0), len(others))
    features = await images.features(one, head)
    return Ranked(features.embedding, 1, features, await images.digest(one))


def _compared(query: Features, weights: Array | None, first: Ranked, second: Ranked, box_share: float) -> Ranking:
    explanation = explain_ranking(query, first.embedding, second.embedding, weights)
    first, second = (_with_map(one, explanation.query_vector, box_share) for one in (first, second))
    return Ranking(explanation, shown(explanation.difference_map, box_share), first, second)


def _with_map(one: Ranked, query_vector: Array, box_share: float) -> Ranked:
    if one.features is None:
        return one
    return replace(one, match_map=shown(similarity_map(one.features, query_vector), box_share))
