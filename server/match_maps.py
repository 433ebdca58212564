"""Where the matches of an answer match: their maps, the frames to draw on them, and the maps' pictures."""

import asyncio
import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from PIL.Image import Image

from whymatch.embed import Array, Features, Head
from whymatch.explain import (
    Bounds,
    ColorScale,
    SimilarityMap,
    best_box,
    load_picture,
    render_overlay,
    shared_scale,
    similarity_map,
)
from whymatch.index import Match
from whymatch.server.sources import ImageName, Images, Query, Source

CHUNK = 8
"""Matches whose feature maps are in memory at once; few enough to stay in the processor's cache."""


@dataclass(frozen=True)
class ShownMap:
    """A map with what is shown on it."""

    map: SimilarityMap
    best_box: Bounds | None
    picture: bytes = b""
    """PNG, empty unless asked for."""


@dataclass(frozen=True)
class MatchMaps:
    """Where one match matches."""

    query: ShownMap | None
    """None for a search by embedding."""
    match: ShownMap


def shown(similarity_map: SimilarityMap, box_share: float) -> ShownMap:
    """Return a map and its best box."""
    return ShownMap(similarity_map, best_box(similarity_map, box_share))


async def find_match_maps(
    images: Images,
    query: Features | None,
    embedding: Array,
    gallery: str,
    head: Head,
    matches: Sequence[Match],
    box_share: float,
) -> list[MatchMaps]:
    """Return the maps of each match with the query, both behind the same head."""
    match_maps: list[MatchMaps] = []
    for start in range(0, len(matches), CHUNK):
        names = [match.image.name for match in matches[start : start + CHUNK]]
        features = await images.stored_features(gallery, names, head)
        match_maps += await asyncio.to_thread(_compare, query, embedding, features, box_share)
    return match_maps


async def draw(
    images: Images,
    query: Query,
    pairs: Sequence[tuple[MatchMaps, Source]],
    size_px: int,
    scaled_by: Sequence[SimilarityMap] = (),
) -> tuple[list[MatchMaps], ColorScale | None]:
    """Return the maps with their pictures, and the one scale of all of them.

    pairs: the maps of each match with the image that matches.
    scaled_by: the maps whose values span the scale; by default all of them.
    """
    if not pairs:
        return [], None
    scale = shared_scale(scaled_by or _maps(match_maps for match_maps, _ in pairs))
    load = functools.partial(load_picture, size_px=size_px, limits=images.limits)
    query_picture = None
    if isinstance(query, bytes | ImageName):
        query_picture = await asyncio.to_thread(load, await images.content(query))
    drawn = []
    for match_maps, match in pairs:  # one after the other, so that a cancelled call stops soon
        match_content = await images.content(match)
        drawn.append(await asyncio.to_thread(_drawn, match_maps, scale, query_picture, load, match_content))
    return drawn, scale


async def draw_query(images: Images, query: Source, one: ShownMap, size_px: int) -> tuple[ShownMap, ColorScale]:
    """Return a map of the query with its picture, and the scale of it."""
    scale = shared_scale([one.map])
    load = functools.partial(load_picture, size_px=size_px, limits=images.limits)
    content = await images.content(query)
    return await asyncio.to_thread(lambda: _over(load(content), one, scale)), scale


def _drawn(
    match_maps: MatchMaps,
    scale: ColorScale,
    query_picture: Image | None,
    load: Callable[[bytes], Image],
    match_content: bytes,
) -> MatchMaps:
    query, match = match_maps.query, match_maps.match
    return MatchMaps(
        _over(query_picture, query, scale) if query and query_picture else query,
        _over(load(match_content), match, scale),
    )


def _over(picture: Image, one: ShownMap, scale: ColorScale) -> ShownMap:
    return replace(one, picture=render_overlay(picture, one.map, scale))


def _compare(
    query: Features | None, embedding: Array, matches: Sequence[Features], box_share: float
) -> list[MatchMaps]:
    return [
        MatchMaps(
            query=shown(similarity_map(query, match.embedding), box_share) if query else None,
            match=shown(similarity_map(match, embedding), box_share),
        )
        for match in matches
    ]


def _maps(match_maps: Iterable[MatchMaps]) -> list[SimilarityMap]:
    both = [(one.query, one.match) for one in match_maps]
    return [one.map for pair in both for one in pair if one]
