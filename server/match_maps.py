"""Where the matches of an answer match: their maps, the frames to draw on them, and the maps' pictures."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL.Image import Image

from whymatch.embed import Array, Features, Head
from whymatch.explain import (
    Bounds,
    ColorScale,
    SimilarityMap,
    best_box,
    load_picture,
    region_vector,
    render_overlay,
    shared_scale,
    similarity_map,
)
from whymatch.index import Match
from whymatch.server.regions import MatchWeights
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


@dataclass(frozen=True)
class Sought:
    """What matches are compared with, and by which parts."""

    features: Features | None
    """None if only the vector is known."""
    weights: Array | None
    """(H, W) float32 of the cells of the query's regions; None for the whole image."""
    vector: Array
    """(C,) float32, what the regions have in the query's embedding: all of it without regions."""
    match_weights: MatchWeights
    """Those of the matches' regions."""

    @property
    def by_region(self) -> tuple[bool, bool]:
        """Whether only regions of the query count, and only regions of the matches."""
        return self.weights is not None, bool(self.match_weights)


async def find_match_maps(
    images: Images,
    sought: Sought,
    gallery: str,
    head: Head,
    matches: Sequence[Match],
    box_share: float,
    at: int | None = None,
) -> list[MatchMaps]:
    """Return the maps of each match with the query, both behind the same head; they add up to its score.

    at: of which generation of the gallery the matches are, None for now.
    """
    match_maps: list[MatchMaps] = []
    for start in range(0, len(matches), CHUNK):
        names = [match.image.name for match in matches[start : start + CHUNK]]
        features = await images.stored_features(gallery, names, head, at)
        match_maps += await asyncio.to_thread(_compare, sought, names, features, box_share)
    return match_maps


def region_scores(sought: Sought, names: Sequence[str], matches: Sequence[Features]) -> list[float]:
    """Return how much of the similarity of matches lies in the regions. Raises BadRegion, EmptyRegion."""
    weights = [sought.match_weights.of(name, match) for name, match in zip(names, matches, strict=True)]
    spread = [match.spread(sought.vector) for match in matches]
    maps = [one if some is None else one * some for one, some in zip(spread, weights, strict=True)]
    return [float(one.sum(dtype=float)) for one in maps]


async def draw(
    images: Images,
    query: Query,
    pairs: Sequence[tuple[MatchMaps, Source]],
    size_px: int,
    by_region: tuple[bool, bool] = (False, False),
) -> tuple[list[MatchMaps], ColorScale | None]:
    """Return the maps with their pictures, and the one scale of all of them.

    pairs: the maps of each match with the image that matches.
    by_region: whether the maps of the query are of regions only, and those of the matches. A region, or even a point,
        holds too much in each of its cells: the maps of whole images span the scale, if there are any.
    """
    if not pairs:
        return [], None
    scale = _scale([match_maps for match_maps, _ in pairs], by_region)
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
    return await draw_over(images, query, one, scale, size_px), scale


async def draw_over(images: Images, image: Source, one: ShownMap, scale: ColorScale, size_px: int) -> ShownMap:
    """Return a map with its picture, on a given scale."""
    content = await images.content(image)
    load = functools.partial(load_picture, content, size_px=size_px, limits=images.limits)
    return await asyncio.to_thread(lambda: over(load(), one, scale))


def _drawn(
    match_maps: MatchMaps,
    scale: ColorScale,
    query_picture: Image | None,
    load: Callable[[bytes], Image],
    match_content: bytes,
) -> MatchMaps:
    query, match = match_maps.query, match_maps.match
    return MatchMaps(
        over(query_picture, query, scale) if query and query_picture else query,
        over(load(match_content), match, scale),
    )


def over(picture: Image, one: ShownMap, scale: ColorScale) -> ShownMap:
    """Return a map with its picture."""
    return replace(one, picture=render_overlay(picture, one.map, scale))


def _compare(sought: Sought, names: Sequence[str], matches: Sequence[Features], box_share: float) -> list[MatchMaps]:
    return [_compared(sought, name, match, box_share) for name, match in zip(names, matches, strict=True)]


def _compared(sought: Sought, name: str, match: Features, box_share: float) -> MatchMaps:
    weights, query_map = sought.match_weights.of(name, match), None
    if sought.features:
        vector = match.embedding if weights is None else region_vector(match, weights)
        query_map = shown(similarity_map(sought.features, vector, sought.weights), box_share)
    return MatchMaps(query_map, shown(similarity_map(match, sought.vector, weights), box_share))


def _scale(match_maps: Sequence[MatchMaps], by_region: tuple[bool, bool]) -> ColorScale:
    """Return the scale of all maps: those of whole images span it, if there are any."""
    sides = [(one, some) for both in match_maps for one, some in zip((both.query, both.match), by_region, strict=True)]
    maps = [(one.map, some) for one, some in sides if one]
    every = [one for one, _ in maps]
    return shared_scale([one for one, some in maps if not some] or every, every)
