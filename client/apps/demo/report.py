"""The demo's report: one HTML page with its pictures inside. Each function returns one part of it."""

import html
from collections.abc import Mapping, Sequence

from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import picture, scale_bar
from whymatch.client.results import Match, MatchExplanation, SearchResult, SimilarityMap


def headline(*, found: int, queries: int, photos: int, images: int, facts: Mapping[str, str]) -> str:
    """Say what the demo is, and its total."""
    terms = "".join(f"<dt>{html.escape(term)}</dt><dd>{html.escape(fact)}</dd>" for term, fact in facts.items())
    return f"""
<h1>whymatch: image search that shows its reasons</h1>
<p class="lead">A gallery of {images} views of {photos} photographs, searched with {queries} queries whose right answers
are known. The photographs come with scikit-image and scikit-learn.</p>
<p class="figure">{found} of {queries} queries found their photo first.</p>
<p>The gallery holds each photograph whole and as four corners. A query is another cut of a photograph that overlaps
these, brighter or darker, smaller, sometimes mirrored and saved as a coarser JPEG; one more query is a second camera's
view of a scene. Guessing would find the photo first once in {photos} queries.</p>
<dl>{terms}</dl>"""


def matches_with_maps(results: Sequence[tuple[View, SearchResult]]) -> str:
    """Show queries with their matches and both maps, and say what a map means."""
    cards = "".join(_search_card(query, result) for query, result in results)
    return f"""
<h2>Matches, and where each similarity lies</h2>
<p>For each match the upper picture is the query and the lower one the match. Bright is where the similarity lies:
every cell of the grid has a share of the score, and the shares of one map add up to the score. All maps of one search
have the same color scale, so a bright cell weighs the same in each of them; its colors lie half transparent over the
picture in gray.</p>
<p>A map says which places the network's vector rests on. It does not say that the two images show the same object, and
a high share on a background means that the background matched.</p>
{cards}"""


def instance_pair(explanation: MatchExplanation) -> str:
    """Show why two views of one scene match."""
    query_map, match_map = explanation.query_map, explanation.match_map
    return f"""
<h2>One scene, two cameras</h2>
<p>The right camera's view of a motorcycle as the query, the left camera's as the match, explained as a pair. The score
is <b>{explanation.score:.4f}</b>; the query's map adds up to {query_map.total:.4f} and the match's to
{match_map.total:.4f}, which leaves a residual of {explanation.residual:.1e}.</p>
<div class="card"><div class="pair">
<figure>{_overlay(query_map)}<figcaption>query: where it is like the match
({_grid(query_map)})</figcaption></figure>
<figure>{_overlay(match_map)}<figcaption>match: where it is like the query
({_grid(match_map)})</figcaption></figure>
</div>{scale_bar(explanation.color_scale)}</div>"""


def misses(missed: Sequence[tuple[View, SearchResult]], pictures: Mapping[str, bytes]) -> str:
    """Show each query that found another photograph first, beside what it found."""
    if not missed:
        return "<h2>Misses</h2><p>None: every query found its photo first.</p>"
    cards = "".join(_miss_card(query, result, pictures) for query, result in missed)
    return f"""
<h2>Misses</h2>
<p>These queries found another photograph first. Each is shown beside what it found.</p>
<div class="small">{cards}</div>"""


def _search_card(query: View, result: SearchResult) -> str:
    matches = "".join(_match_figure(rank, match, query.photo) for rank, match in enumerate(result, start=1))
    return f"""
<div class="card"><h3>{html.escape(query.name)}</h3><div class="row">
<figure>{picture(query.content, "the query")}<figcaption>the query</figcaption></figure>
{matches}</div>{scale_bar(result.color_scale)}</div>"""


def _match_figure(rank: int, match: Match, answer: str) -> str:
    overlays = "".join(_overlay(side) for side in (match.query_map, match.match_map) if side)
    verdict = '<span class="good">right</span>' if match.label == answer else '<span class="bad">wrong</span>'
    return f"""<figure>{overlays}
<figcaption>{rank}. score <b>{match.score:.3f}</b>, {verdict}<br>{html.escape(match.name)}</figcaption></figure>"""


def _miss_card(query: View, result: SearchResult, pictures: Mapping[str, bytes]) -> str:
    first = result[0]
    rank = next((rank for rank, match in enumerate(result, start=1) if match.label == query.photo), None)
    where = f"its photo came at rank {rank}" if rank else f"its photo is not among the first {len(result)}"
    return f"""
<div class="card"><figure><div class="both">{picture(query.content, "the query")}
{picture(pictures[first.name], "its first match")}</div>
<figcaption><b>{html.escape(query.name)}</b> found {html.escape(first.name)} ({first.score:.3f});
{where}</figcaption></figure></div>"""


def _grid(similarity_map: SimilarityMap) -> str:
    rows, columns = similarity_map.values.shape
    return f"{rows} x {columns} cells"


def _overlay(similarity_map: SimilarityMap) -> str:
    return picture(similarity_map.overlay_png, "similarity map")
