"""Where the matches of an answer match: their maps, and the maps' pictures."""

import asyncio
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from PIL.Image import Image

from whymatch.embed import Array, Features
from whymatch.explain import ColorScale, SimilarityMap, load_picture, render_overlay, shared_scale, similarity_map
from whymatch.index import Match
from whymatch.server.images import ImageName, Images, Query, Source

CHUNK = 16
"""Matches whose feature maps are in memory at once."""


@dataclass(frozen=True)
class Evidence:
    """Where one match matches."""

    query_map: SimilarityMap | None
    """None for a search by embedding."""
    match_map: SimilarityMap
    query_picture: bytes = b""
    """PNG, empty unless asked for."""
    match_picture: bytes = b""


async def find_evidence(
    images: Images, query: Features | None, embedding: Array, gallery: str, matches: Sequence[Match]
) -> list[Evidence]:
    """Return the maps of each match with the query."""
    evidence: list[Evidence] = []
    for start in range(0, len(matches), CHUNK):
        names = [match.image.name for match in matches[start : start + CHUNK]]
        features = await images.stored_features(gallery, names)
        evidence += await asyncio.to_thread(_compare, query, embedding, features)
    return evidence


async def draw(
    images: Images, query: Query, pairs: Sequence[tuple[Evidence, Source]], size_px: int
) -> tuple[list[Evidence], ColorScale | None]:
    """Return the evidence with its pictures, and the one scale of all of them.

    pairs: each evidence with the image that matches.
    """
    if not pairs:
        return [], None
    scale = shared_scale(_maps(evidence for evidence, _ in pairs))
    load = functools.partial(load_picture, size_px=size_px, limits=images.limits)
    query_picture = None
    if isinstance(query, bytes | ImageName):
        query_picture = await asyncio.to_thread(load, await images.content(query))
    drawn = []
    for evidence, match in pairs:  # one after the other, so that a cancelled call stops soon
        match_content = await images.content(match)
        drawn.append(await asyncio.to_thread(_drawn, evidence, scale, query_picture, load, match_content))
    return drawn, scale


def _drawn(
    evidence: Evidence,
    scale: ColorScale,
    query_picture: Image | None,
    load: Callable[[bytes], Image],
    match_content: bytes,
) -> Evidence:
    drawn = replace(evidence, match_picture=render_overlay(load(match_content), evidence.match_map, scale))
    if query_picture is None or evidence.query_map is None:
        return drawn
    return replace(drawn, query_picture=render_overlay(query_picture, evidence.query_map, scale))


def _compare(query: Features | None, embedding: Array, matches: Sequence[Features]) -> list[Evidence]:
    return [
        Evidence(
            query_map=similarity_map(query, match.embedding) if query else None,
            match_map=similarity_map(match, embedding),
        )
        for match in matches
    ]


def _maps(evidence: Iterable[Evidence]) -> list[SimilarityMap]:
    both = [(one.query_map, one.match_map) for one in evidence]
    return [one for pair in both for one in pair if one]
