"""The demo's ranking: why one match of a query comes before the next, which scores about the same."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import render
from whymatch.client.draw.maps import SMALL_PX, common_scale, lit, signed_scale
from whymatch.client.inputs import Stored
from whymatch.client.results import Match, RankingExplanation

SHOWN = "motorcycle, brighter"


def why_before(client: Client, gallery: Sequence[View], query: View) -> Markup:
    """Explain the gap between the third and the fourth match of `query`."""
    first, second = client.search(query.content, limit=4)[2:]
    explanation = client.explain_ranking(query.content, Stored(first.name), Stored(second.name), channel_limit=3)
    return report(query, (first, second), explanation, {view.name: view.content for view in gallery})


def report(
    query: View, matches: tuple[Match, Match], explanation: RankingExplanation, pictures: Mapping[str, bytes]
) -> Markup:
    """Show the difference over the query, and both matches with their maps."""
    scale = signed_scale(explanation.difference_map)
    difference = lit(query.content, explanation.difference_map, scale)
    sides = zip("AB", matches, (explanation.first.match_map, explanation.second.match_map), strict=True)
    maps = [(letter, match, one) for letter, match, one in sides if one]
    match_scale = common_scale(one for _, _, one in maps)
    cards = [(letter, match, lit(pictures[match.name], one, match_scale)) for letter, match, one in maps]
    return render(
        "demo_ranking",
        query=query,
        explanation=explanation,
        difference=difference,
        scale=scale,
        cards=cards,
        match_scale=match_scale,
        size_px=SMALL_PX,
    )
