"""The general parts of the demo's report: each function returns one of them."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import render
from whymatch.client.results import MatchExplanation, SearchResult


def headline(*, found: int, queries: int, photos: int, images: int, facts: Mapping[str, str]) -> Markup:
    """Introduce the demo, and give its total."""
    return render("demo_headline", found=found, queries=queries, photos=photos, images=images, facts=facts)


def matches_with_maps(results: Sequence[tuple[View, SearchResult]]) -> Markup:
    """Show queries with their matches and both maps, and explain a map."""
    return render("demo_matches", results=results)


def instance_pair(explanation: MatchExplanation) -> Markup:
    """Show why two views of one scene match."""
    return render("demo_pair", explanation=explanation)


def misses(missed: Sequence[tuple[View, SearchResult]], pictures: Mapping[str, bytes]) -> Markup:
    """Show each query that found another photograph first, beside its first match."""
    ranked = [(query, result, _rank(query.photo, result)) for query, result in missed]
    return render("demo_misses", missed=ranked, pictures=pictures)


def _rank(photo: str, result: SearchResult) -> int | None:
    return next((rank for rank, match in enumerate(result, start=1) if match.label == photo), None)
