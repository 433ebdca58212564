"""The demo's point: what in the second camera's picture corresponds to a point of the first one's."""

from collections.abc import Sequence

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import picture, scale_bar
from whymatch.client.draw.maps import common_scale, fitted_down, lit
from whymatch.client.draw.outlines import draw_numbered, draw_regions
from whymatch.client.inputs import Point, Region, Stored
from whymatch.client.results import MatchExplanation

POINT = Region(Point(0.541, 0.436), relative=True)
"""On the motorcycle's tank."""
PAIRS = 5
SIZE_PX = 480


def corresponding_places(client: Client, query: View, match: View) -> str:
    """Explain one point of `query`, which the gallery holds, and the whole pair, each with its leading cells."""
    point, whole = (
        client.explain_match(
            Stored(query.name), match.content, query_regions=regions, channel_limit=0, correspondence_limit=PAIRS
        )
        for regions in ([POINT], [])
    )
    return report(query, match, point, whole)


def report(query: View, match: View, point: MatchExplanation, whole: MatchExplanation) -> str:
    """Show the point and its map, then the cells that correspond most over the whole pair."""
    return f"""
<h2>A point, and what corresponds to it</h2>
<p>The left camera's picture with a point, and the right camera's with the map of that point. A point stands for the
whole cell under it, which holds {point.score:.4f} of the score of {point.image_score:.4f}; the map adds up to
{point.match_map.total:.4f}. The cells that answer most are numbered. What is near the cameras stands a little farther
left in the right one's picture.</p>
<p>Such a map says how alike the network finds the cell and each place, and how strongly both speak: a strong cell
answers to many points. It does not measure where a point went.</p>
{_card(query, match, point, [POINT])}
<p>Below, the pairs of cells that contribute most to the score of the whole pictures. One cell may lead several pairs,
because its neighbors in the other picture are alike.</p>
{_card(query, match, whole, [])}"""


def _card(query: View, match: View, explanation: MatchExplanation, regions: Sequence[Region]) -> str:
    pairs, scale = explanation.correspondences, common_scale([explanation.match_map])
    left, right = fitted_down(query.content, SIZE_PX), lit(match.content, explanation.match_map, scale, size_px=SIZE_PX)
    draw_regions(left, explanation.query_map, regions)
    if not regions:
        draw_numbered(left, explanation.query_map, [pair.query_box for pair in pairs])
    draw_numbered(right, explanation.match_map, [pair.match_box for pair in pairs])
    scores = ", ".join(f"{number}: {pair.score:.5f}" for number, pair in enumerate(pairs, start=1))
    return f"""
<div class="card"><div class="pair">
<figure>{picture(left, "the left camera")}<figcaption>the left camera</figcaption></figure>
<figure>{picture(right, "the right camera")}<figcaption>the right camera; {scores}</figcaption></figure>
</div>{scale_bar(scale)}</div>"""
