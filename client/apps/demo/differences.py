"""The demo's prediction difference: what each part of a photo contributes to its best match, label and class."""

from markupsafe import Markup

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import render
from whymatch.client.draw.maps import lit, signed_scale
from whymatch.client.results import PredictionDifferenceExplanation
from whymatch.client.targets import ClassProbability, Evidence, Similarity

SHOWN = "astronaut, brighter"
WINDOW_PX, STRIDE_PX, SAMPLES = 16, 10, 4
"""Coarse, so that the demo takes seconds."""


def difference_maps(client: Client, query: View) -> Markup:
    """Explain the similarity of `query` to its best match, the evidence for that match's label, and its class."""
    match = client.search(query.content, limit=1)[0]
    explanation = client.explain_prediction_difference(
        query.content,
        [Similarity(client.content(match.name)), Evidence(match.label), ClassProbability("top1")],
        window_px=WINDOW_PX,
        stride_px=STRIDE_PX,
        sample_count=SAMPLES,
    )
    return report(query, client.content(match.name), match.label, explanation)


def report(query: View, match: bytes, label: str, explanation: PredictionDifferenceExplanation) -> Markup:
    """Show the maps beside the query and its match, each with a scale of its own: their measures differ."""
    likeliest = explanation.maps[2].target.removeprefix("class:")
    targets = [
        "similarity to the best match",
        f"probability of the label {label!r} among the neighbors",
        f"probability of the class {likeliest!r}, the likeliest",
    ]
    return render(
        "demo_differences",
        query=query,
        match=match,
        label=label,
        explanation=explanation,
        maps=[
            (one, lit(query.content, one, signed_scale(one)), target)
            for one, target in zip(explanation.maps, targets, strict=True)
        ],
        window_px=WINDOW_PX,
        samples=SAMPLES,
    )
