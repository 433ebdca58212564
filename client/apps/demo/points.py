"""The demo's point: what in the second camera's picture corresponds to a point of the first one's."""

from collections.abc import Sequence

from markupsafe import Markup

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import render
from whymatch.client.draw.maps import common_scale, fitted_down, lit
from whymatch.client.draw.outlines import draw_numbered, draw_regions
from whymatch.client.inputs import Point, Region, Stored
from whymatch.client.results import MatchExplanation

POINT = Region(Point(0.541, 0.436), relative=True)
"""On the motorcycle's tank."""
PAIRS = 5
SIZE_PX = 480


def corresponding_places(client: Client, query: View, match: View) -> Markup:
    """Explain one point of `query`, which the gallery holds, and the whole pair, each with its leading cells."""
    point, whole = (
        client.explain_match(
            Stored(query.name), match.content, query_regions=regions, channel_limit=0, correspondence_limit=PAIRS
        )
        for regions in ([POINT], [])
    )
    return report(query, match, point, whole)


def report(query: View, match: View, point: MatchExplanation, whole: MatchExplanation) -> Markup:
    """Show the point and its map, then the cells that correspond most over the whole pair."""
    cards = [_card(query, match, point, [POINT]), _card(query, match, whole, [])]
    return render("demo_points", point=point, cards=cards)


def _card(query: View, match: View, explanation: MatchExplanation, regions: Sequence[Region]) -> dict[str, object]:
    pairs, scale = explanation.correspondences, common_scale([explanation.match_map])
    left, right = fitted_down(query.content, SIZE_PX), lit(match.content, explanation.match_map, scale, size_px=SIZE_PX)
    draw_regions(left, explanation.query_map, regions)
    if not regions:
        draw_numbered(left, explanation.query_map, [pair.query_box for pair in pairs])
    draw_numbered(right, explanation.match_map, [pair.match_box for pair in pairs])
    return {"left": left, "right": right, "pairs": pairs, "scale": scale}
