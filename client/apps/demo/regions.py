"""The demo's search by region: parts of one picture that find what the whole picture does not."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup
from PIL import Image, ImageOps

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import render
from whymatch.client.draw.maps import SMALL_PX, common_scale, fitted_down, lit
from whymatch.client.draw.outlines import draw_best_box, draw_regions
from whymatch.client.inputs import Region, Stored
from whymatch.client.results import Box, Match, MatchExplanation

CHANGE = "brighter"
"""The queries that are searched by region."""
HALF_PX = 240
"""The side of each of two photographs in one picture."""
LEFT = Region(Box(0.0, 0.0, 0.5, 1.0), relative=True)
RIGHT = Region(Box(0.5, 0.0, 1.0, 1.0), relative=True)
SHOWN_PAIR = ("flower", "astronaut")
SHOWN_PHOTO = "rocket"
SHOWN_PARTS = {
    "the rocket": Region(Box(0.50, 0.30, 0.63, 1.0), relative=True),
    "the sky": Region(Box(0.0, 0.0, 1.0, 0.3), relative=True),
}
LIMIT = 3


@dataclass(frozen=True)
class Half:
    """What the region that holds one of two photographs found first."""

    photo: str
    beside: str
    found: str


@dataclass(frozen=True)
class Row:
    """One search by a region, or by the whole picture, and why each of its matches was found."""

    name: str
    regions: Sequence[Region]
    answers: Sequence[str]
    """The labels of a right first match."""
    matches: Sequence[Match]
    explanations: Sequence[MatchExplanation]


def region_search(client: Client, gallery: Sequence[View], queries: Sequence[View]) -> Markup:
    """Search by regions whose photographs are known, and show two pictures with their regions."""
    chosen = {query.photo: query for query in queries if query.name.endswith(f", {CHANGE}")}
    pictures = {view.name: view.content for view in gallery}
    halves = _search_halves(client, list(chosen.values()))
    parts = [introduction(halves)]
    if set(SHOWN_PAIR) <= set(chosen):
        parts.append(_pair_card(client, pictures, *(chosen[photo] for photo in SHOWN_PAIR)))
    if SHOWN_PHOTO in chosen:
        parts.append(_parts_card(client, pictures, chosen[SHOWN_PHOTO]))
    return Markup().join(parts)


def introduction(halves: Sequence[Half]) -> Markup:
    """Introduce the search by region, and say how many regions found their photograph."""
    missed = [half for half in halves if half.found != half.photo]
    return render("demo_regions", halves=halves, found=len(halves) - len(missed), missed=missed)


def beside(left: View, right: View) -> bytes:
    """Return a JPEG of two pictures side by side, each cut to a square."""
    both = Image.new("RGB", (2 * HALF_PX, HALF_PX))
    for place, view in enumerate((left, right)):
        with Image.open(io.BytesIO(view.content)) as whole:
            both.paste(ImageOps.fit(whole, (HALF_PX, HALF_PX)), (place * HALF_PX, 0))
    file = io.BytesIO()
    both.save(file, "JPEG", quality=90)
    return file.getvalue()


def card(title: str, query: bytes, rows: Sequence[Row], pictures: Mapping[str, bytes]) -> Markup:
    """Show a query with a row for each search; the maps of one row have one scale."""
    return render("demo_region_card", title=title, rows=[_drawn(query, row, pictures) for row in rows])


def _search_halves(client: Client, views: Sequence[View]) -> list[Half]:
    """Search each half of each picture of a photograph beside the next one, the last beside the first."""
    halves = []
    for left, right in zip(views, [*views[1:], *views[:1]], strict=True):
        both = beside(left, right)
        for region, view, other in ((LEFT, left, right), (RIGHT, right, left)):
            [first] = client.search(both, regions=[region], limit=1)
            halves.append(Half(view.photo, other.photo, first.label))
    return halves


def _pair_card(client: Client, pictures: Mapping[str, bytes], left: View, right: View) -> Markup:
    both = beside(left, right)
    rows = [
        _search(client, both, "the whole picture", answers=(left.photo, right.photo)),
        _search(client, both, "the left half", LEFT, answers=[left.photo]),
        _search(client, both, "the right half", RIGHT, answers=[right.photo]),
    ]
    return card(f"{left.photo} beside {right.photo}: the three best matches", both, rows, pictures)


def _parts_card(client: Client, pictures: Mapping[str, bytes], view: View) -> Markup:
    searches: list[tuple[str, list[Region]]] = [("the whole picture", [])]
    searches += [(name, [region]) for name, region in SHOWN_PARTS.items()]
    rows = [
        _search(client, view.content, name, *regions, answers=[view.photo], best_per_label=True)
        for name, regions in searches
    ]
    return card(f"{view.name}: the best match of each of the three best labels", view.content, rows, pictures)


def _search(
    client: Client, query: bytes, name: str, *regions: Region, answers: Sequence[str], best_per_label: bool = False
) -> Row:
    result = client.search(query, regions=regions, limit=LIMIT, best_per_label=best_per_label)
    explanations = [
        client.explain_match(query, Stored(match.name), query_regions=regions, channel_limit=0, correspondence_limit=0)
        for match in result
    ]
    return Row(name, regions, answers, result, explanations)


def _drawn(query: bytes, row: Row, pictures: Mapping[str, bytes]) -> dict[str, object]:
    """Draw the maps of a row; only its first match is right or wrong, the others are for looking."""
    scale = common_scale(explanation.match_map for explanation in row.explanations)
    outlined = fitted_down(query, SMALL_PX)
    draw_regions(outlined, row.explanations[0].query_map, row.regions)
    matches: list[tuple[Match, Image.Image, bool | None]] = []
    for match, explanation in zip(row.matches, row.explanations, strict=True):
        drawn = lit(pictures[match.name], explanation.match_map, scale)
        draw_best_box(drawn, explanation.match_map)
        matches.append((match, drawn, None if matches else match.label in row.answers))
    return {"name": row.name, "query": outlined, "by_region": bool(row.regions), "matches": matches, "scale": scale}
