"""The demo's search by examples: what is like two photographs and unlike a third, with the share of each."""

from collections.abc import Sequence

from markupsafe import Markup

from whymatch.client import Client, SearchResult
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import render
from whymatch.client.draw.maps import SMALL_PX

LIKE, UNLIKE = ("coffee", "flower"), ("chelsea",)
CHANGE = "brighter"
LIMIT = 3


def search_by_examples(client: Client, queries: Sequence[View]) -> Markup:
    """Search for what is like two photographs and unlike a third; nothing without them."""
    views = {query.photo: query.content for query in queries if query.name.endswith(f", {CHANGE}")}
    if not {*LIKE, *UNLIKE} <= set(views):
        return Markup()
    like, unlike = ([views[photo] for photo in side] for side in (LIKE, UNLIKE))
    result = client.search(like=like, unlike=unlike, limit=LIMIT, best_per_label=True, overlays=SMALL_PX)
    return report([*(f"like {photo}" for photo in LIKE), *(f"unlike {photo}" for photo in UNLIKE)], result)


def report(names: Sequence[str], result: SearchResult) -> Markup:
    """Show each match beside its examples, with their shares and maps."""
    rows = [(match, list(zip(names, match.shares, match.example_maps, strict=True))) for match in result]
    return render("demo_examples", rows=rows, scale=result.color_scale)
