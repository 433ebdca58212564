"""The picture that `whymatch compare` writes of each query: a row for each model, with the maps of both sides."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from whymatch.client.apps.compare.comparison import Comparison, Found, Query, Side
from whymatch.client.draw.maps import lit
from whymatch.client.draw.tiles import fitted, framed, scale_panel, side_by_side, stacked, text_panel, tile
from whymatch.client.results import ColorScale

TILE = (200, 200)
"""Width and height of one picture."""


def sheet(comparison: Comparison, number: int, pictures: Mapping[Path, Image.Image]) -> Image.Image:
    """Return the picture of one query, counted from 0; `pictures` are of all queries and matches, upright."""
    query = comparison.queries[number]
    rows = [_row(query, side, number, pictures) for side in comparison.sides]
    title = f"{query.name}   {query.label}"
    lines = [title, "left: where in the query; right: where in the match; a color scale for each model and query"]
    return framed(stacked([text_panel(lines, max(row.width for row in rows)), *rows]))


def _row(query: Query, side: Side, number: int, pictures: Mapping[Path, Image.Image]) -> Image.Image:
    scale = side.scale(number)
    matches = [_match(rank, query, found, scale, pictures) for rank, found in enumerate(side.answers[number], start=1)]
    row = side_by_side([tile(fitted(pictures[query.path], TILE), TILE), *matches])
    return stacked(
        [text_panel([f"{side.name}, {side.model.pooling} pooling"], row.width), row, scale_panel(scale, row.width)]
    )


def _match(
    rank: int, query: Query, found: Found, scale: ColorScale, pictures: Mapping[Path, Image.Image]
) -> Image.Image:
    sides = ((query.path, found.query_map), (found.path, found.match_map))
    maps = [tile(fitted(lit(pictures[path], one, scale), TILE), TILE) for path, one in sides]
    moved = "" if found.moved is None else f"   map moved by {found.moved:.2f}"
    pair = side_by_side(maps)
    lines = [f"{rank}.  {found.score:.3f}  {found.verdict}{moved}", found.label, found.path.name]
    return stacked([pair, text_panel(lines, pair.width)])
