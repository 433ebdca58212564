"""Search by examples: the query that they make, and what each of them contributes to the matches, with its maps."""

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from PIL.Image import Image

from whymatch.embed import Array, WhymatchError
from whymatch.explain import (
    ColorScale,
    Example,
    ExampleQuery,
    Region,
    SimilarityMap,
    load_picture,
    region_vector,
    shared_scale,
)
from whymatch.index import GalleryVersion
from whymatch.server.errors import named
from whymatch.server.match_maps import MatchMaps, ShownMap, over, shown
from whymatch.server.regions import weights_of
from whymatch.server.sources import Embedding, ImageName, Images, Query


@dataclass(frozen=True)
class GivenExample:
    """An example as a request gives it."""

    source: Query
    regions: Sequence[Region]
    unlike: bool
    weight: float | None
    """Above 0; None for the default of its side."""


@dataclass(frozen=True)
class ExampleShares:
    """What the examples contribute to one match, in their order."""

    shares: Sequence[float]
    """They add up to the score."""
    maps: Sequence[ShownMap | None] = ()
    """Where in each example its share lies, None in an embedding; empty unless asked for."""


async def combined(
    images: Images, given: Sequence[GivenExample], version: GalleryVersion, *, with_maps: bool
) -> ExampleQuery:
    """Return the query that examples make behind a gallery's head; it can draw maps only where these are wanted.

    Raises ExamplesCancel, and the errors of images, embeddings and regions, which name the example.
    """
    examples = [_example(images, one, number, version, with_maps) for number, one in enumerate(given)]
    return ExampleQuery(await asyncio.gather(*examples))


async def find_shares(
    query: ExampleQuery, version: GalleryVersion, names: Sequence[str], box_share: float | None
) -> list[ExampleShares]:
    """Return what the examples contribute to stored images.

    box_share: of the best boxes of the maps; None for no maps.
    """
    return await asyncio.to_thread(lambda: _shares(query, version.embeddings(names), box_share))


async def draw(
    images: Images,
    given: Sequence[GivenExample],
    pairs: Sequence[tuple[MatchMaps, ImageName]],
    shares: Sequence[ExampleShares],
    size_px: int,
) -> tuple[list[MatchMaps], list[ExampleShares], ColorScale | None]:
    """Return the maps of matches and of examples with their pictures, and the one scale of all of them.

    pairs: the maps of each match with the image that matches.
    """
    if not pairs:
        return [], [], None
    scale = _scale(given, [match_maps for match_maps, _ in pairs], shares)
    load = functools.partial(load_picture, size_px=size_px, limits=images.limits)

    async def picture(source: Query) -> Image | None:
        if isinstance(source, Embedding):
            return None
        return await asyncio.to_thread(load, await images.content(source))

    examples = [await picture(one.source) for one in given]
    drawn_matches, drawn_shares = [], []
    for (maps, match), one in zip(pairs, shares, strict=True):  # one after the other: a cancelled call stops soon
        match_picture = await picture(match)
        assert match_picture
        drawn_matches.append(replace(maps, match=await asyncio.to_thread(over, match_picture, maps.match, scale)))
        drawn_shares.append(await asyncio.to_thread(_drawn, one, examples, scale))
    return drawn_matches, drawn_shares, scale


async def _example(
    images: Images, given: GivenExample, number: int, version: GalleryVersion, with_maps: bool
) -> Example:
    try:
        if isinstance(given.source, Embedding) or not (with_maps or given.regions):
            vector = await images.embedding(given.source, version)
            return Example(vector, given.unlike, given.weight)
        features = await images.features(given.source, version.head)
        weights = await weights_of(features, given.regions)
        vector = features.embedding if weights is None else await asyncio.to_thread(region_vector, features, weights)
        return Example(vector, given.unlike, given.weight, features, weights)
    except WhymatchError as err:
        raise named(err, f"`examples[{number}]`") from err


def _shares(query: ExampleQuery, embeddings: Array, box_share: float | None) -> list[ExampleShares]:
    shares = query.shares(embeddings).tolist()
    if box_share is None:
        return [ExampleShares(some) for some in shares]
    maps = [[shown(one, box_share) if one else None for one in query.maps(embedding)] for embedding in embeddings]
    return [ExampleShares(some, of_match) for some, of_match in zip(shares, maps, strict=True)]


def _drawn(one: ExampleShares, pictures: Sequence[Image | None], scale: ColorScale) -> ExampleShares:
    sides = zip(pictures, one.maps, strict=True)
    return replace(one, maps=[over(picture, shown, scale) if picture and shown else shown for picture, shown in sides])


def _scale(
    given: Sequence[GivenExample], match_maps: Sequence[MatchMaps], shares: Sequence[ExampleShares]
) -> ColorScale:
    """Return the scale of all maps, which those of whole images span; a region holds too much in each of its cells."""
    whole = [maps.match.map for maps in match_maps]
    parts: list[SimilarityMap] = []
    for example, *of_matches in zip(given, *(one.maps for one in shares), strict=True):
        (parts if example.regions else whole).extend(one.map for one in of_matches if one)
    return shared_scale(whole, parts)
