"""The report of `whymatch compare`: one HTML page with its pictures inside."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from whymatch.client.apps.add import Failure
from whymatch.client.apps.compare.comparison import Comparison, Found, Query, Side
from whymatch.client.apps.compare.measures import half_share
from whymatch.client.apps.pages import page, picture, scale_bar
from whymatch.client.draw.maps import lit
from whymatch.client.results import ColorScale

FACTS = ("model", "network", "pooling", "dimensions", "precision at 1", "map moved", "half of a map in", "fingerprint")
MARKS = {"": "", "right": ', <span class="good">right</span>', "wrong": ', <span class="bad">wrong</span>'}


def report(comparison: Comparison, pictures: Mapping[Path, Image.Image]) -> str:
    """Return the page; `pictures` are of all queries and matches, upright."""
    cards = [_card(comparison, number, pictures) for number in range(len(comparison.queries))]
    return page([_headline(comparison), *cards, _left_out(comparison.failures)], title="whymatch compare")


def _headline(comparison: Comparison) -> str:
    head = "".join(f"<th>{name}</th>" for name in FACTS)
    rows = "".join(_facts(side) for side in comparison.sides)
    queries, labeled = len(comparison.queries), sum(bool(query.label) for query in comparison.queries)
    return f"""
<h1>whymatch compare: the same queries under {len(comparison.sides)} models</h1>
<p class="lead">A gallery of {comparison.image_count} images, searched with {queries} queries; none finds itself.</p>
<div class="card"><table><tr>{head}</tr>{rows}</table></div>
<p>Each row below is a model with its best matches. Of two pictures the upper one is the query and the lower one the
match. Bright is where the similarity lies: every cell has a share of the score, and the shares of one map add up to the
score.</p>
<p>A score is a cosine in the model's own space, so scores of different models have different units: compare the order,
the labels and the maps. All maps of one model have one color scale, which is stated below each row; other models have
other scales.</p>
<p><b>Map moved</b> says how differently the query's map shares out its positive values from the map that the first
model makes of the same two images: 0 is the same, 1 no place in common. <b>Half of a map in</b> is the share of the
query's cells that hold half of its map, strongest first. <b>Precision at 1</b> is over the {labeled} queries below
whose label is known, too few to judge a model by; <code>whymatch evaluate</code> takes whole folders.</p>"""


def _facts(side: Side) -> str:
    model = side.model
    facts = (
        f"<b>{html.escape(side.name)}</b>",
        html.escape(model.backbone),
        html.escape(model.pooling),
        str(model.dimensions),
        _number(side.precision_at_1, ".2f"),
        _number(side.map_moved, ".2f"),
        _number(side.half_share, ".0%"),
        f"<code>{html.escape(model.fingerprint)}</code>",
    )
    return f"<tr>{''.join(f'<td>{fact}</td>' for fact in facts)}</tr>"


def _card(comparison: Comparison, number: int, pictures: Mapping[Path, Image.Image]) -> str:
    query = comparison.queries[number]
    label = f", {html.escape(query.label)}" if query.label else ""
    rows = "".join(_row(query, side, side.answers[number], pictures) for side in comparison.sides)
    return f'<div class="card"><h3>{number + 1}. {html.escape(query.name)}{label}</h3>{rows}</div>'


def _row(query: Query, side: Side, answer: Sequence[Found], pictures: Mapping[Path, Image.Image]) -> str:
    scale = side.scale
    matches = "".join(_match(rank, query, found, scale, pictures) for rank, found in enumerate(answer, start=1))
    return f"""
<div class="row"><figure>{picture(pictures[query.path], "the query")}
<figcaption><b>{html.escape(side.name)}</b><br>{html.escape(side.model.pooling)} pooling</figcaption></figure>
{matches}</div>{scale_bar(scale)}"""


def _match(rank: int, query: Query, found: Found, scale: ColorScale, pictures: Mapping[Path, Image.Image]) -> str:
    query_map = picture(lit(pictures[query.path], found.query_map, scale), "where in the query")
    match_map = picture(lit(pictures[found.path], found.match_map, scale), "where in the match")
    moved = "" if found.moved is None else f"map moved by <b>{found.moved:.2f}</b>, "
    half = _number(half_share(found.query_map), ".0%")
    return f"""<figure>{query_map}{match_map}
<figcaption>{rank}. score <b>{found.score:.3f}</b>{MARKS[found.verdict]}<br>{html.escape(found.label)}<br>
{moved}half in {half}<br><span class="soft">{html.escape(found.path.name)}</span></figcaption></figure>"""


def _left_out(failures: Sequence[Failure]) -> str:
    if not failures:
        return ""
    lines = "".join(f"<li>{html.escape(failure.path)}: {html.escape(failure.message)}</li>" for failure in failures)
    return f"<h2>Left out</h2><p>These images could not be read.</p><ul>{lines}</ul>"


def _number(value: float | None, pattern: str) -> str:
    return "-" if value is None else format(value, pattern)
