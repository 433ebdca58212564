"""The demo's class maps: where one photograph is like each of the labels that are most similar to it."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import render
from whymatch.client.draw.maps import SMALL_PX, common_scale, lit
from whymatch.client.results import LabelExplanation, Match

SHOWN = "motorcycle, brighter"
LIMIT = 3


def class_maps(client: Client, gallery: Sequence[View], query: View) -> Markup:
    """Explain `query` for each of its most similar labels."""
    matches = client.search(query.content, limit=LIMIT, best_per_label=True)
    explanations = [client.explain_label(query.content, match.label) for match in matches]
    return report(query, list(zip(matches, explanations, strict=True)), {view.name: view.content for view in gallery})


def report(query: View, labels: Sequence[tuple[Match, LabelExplanation]], pictures: Mapping[str, bytes]) -> Markup:
    """Show for each label its best match above the query's map for all images of the label."""
    scale = common_scale(explanation.query_map for _, explanation in labels)
    drawn = [(match, one, lit(query.content, one.query_map, scale)) for match, one in labels]
    return render("demo_labels", query=query, labels=drawn, scale=scale, pictures=pictures, size_px=SMALL_PX)
