"""The demo's class maps: where one photograph is like each of the labels that are most similar to it."""

import html
from collections.abc import Mapping, Sequence

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import picture, scale_bar
from whymatch.client.draw.maps import SMALL_PX, common_scale, lit
from whymatch.client.results import ColorScale, LabelExplanation, Match

SHOWN = "motorcycle, brighter"
LIMIT = 3


def class_maps(client: Client, gallery: Sequence[View], query: View) -> str:
    """Explain `query` for each of its most similar labels."""
    matches = client.search(query.content, limit=LIMIT, best_per_label=True)
    explanations = [client.explain_label(query.content, match.label) for match in matches]
    return report(query, list(zip(matches, explanations, strict=True)), {view.name: view.content for view in gallery})


def report(query: View, labels: Sequence[tuple[Match, LabelExplanation]], pictures: Mapping[str, bytes]) -> str:
    """Show for each label its best match above the query's map for all images of the label."""
    scale = common_scale(explanation.query_map for _, explanation in labels)
    figures = "".join(
        _figure(rank, match, explanation, query, scale, pictures)
        for rank, (match, explanation) in enumerate(labels, start=1)
    )
    return f"""
<h2>Class maps</h2>
<p>The labels that are most similar to one query, here the photographs that the gallery's views were cut from. For each
label the upper picture is its best match; the lower one is the query, with the mean of its maps with all images of the
label. A class map adds up to the mean score, and all class maps below have the same color scale.</p>
<div class="card"><h3>{html.escape(query.name)}</h3><div class="row">
<figure>{picture(query.content, "the query", size_px=SMALL_PX)}<figcaption>the query</figcaption></figure>
{figures}</div>{scale_bar(scale)}</div>"""


def _figure(
    rank: int,
    match: Match,
    explanation: LabelExplanation,
    query: View,
    scale: ColorScale,
    pictures: Mapping[str, bytes],
) -> str:
    class_map = lit(query.content, explanation.query_map, scale)
    best = picture(pictures[match.name], "the best match of the label", size_px=SMALL_PX)
    return f"""<figure>{best}{picture(class_map, "class map")}
<figcaption>{rank}. <b>{html.escape(match.label)}</b>: best match {match.score:.3f},
mean <b>{explanation.score:.3f}</b> over {explanation.image_count} images<br>{html.escape(match.name)}</figcaption>
</figure>"""
