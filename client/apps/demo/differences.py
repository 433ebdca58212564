"""The demo's prediction difference: what each part of a photo is worth for its best match, its label, its class."""

import html

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.pages import picture
from whymatch.client.results import DifferenceMap, PredictionDifferenceExplanation
from whymatch.client.targets import ClassProbability, Evidence, Similarity

SHOWN = "astronaut, brighter"
WINDOW_PX, STRIDE_PX, SAMPLES = 16, 10, 4
"""Coarse, so that the demo takes seconds."""


def difference_maps(client: Client, query: View) -> str:
    """Explain the similarity of `query` to its best match, the evidence for that match's label, and its class."""
    match = client.search(query.content, limit=1)[0]
    explanation = client.explain_prediction_difference(
        query.content,
        [Similarity(client.content(match.name)), Evidence(match.label), ClassProbability("top1")],
        window_px=WINDOW_PX,
        stride_px=STRIDE_PX,
        sample_count=SAMPLES,
        overlays=480,
    )
    return report(query, client.content(match.name), match.label, explanation)


def report(query: View, match: bytes, label: str, explanation: PredictionDifferenceExplanation) -> str:
    """Show the maps beside the query and its match."""
    similar, evident, classified = explanation.maps
    share = f"{explanation.multiplied_share:.0%}"
    return f"""
<h2>Prediction difference: evidence for and against</h2>
<p>Each window of the query is replaced by samples of what it might hold, told from the pixels around it. Red places
support the number below the map, which falls without them; blue ones speak against it; where nothing is colored,
nothing changes. {explanation.evaluations} altered images went through the network, which computed only what each window
changes: {share} of the multiplications at the end.</p>
<div class="card"><h3>{html.escape(query.name)}</h3><div class="row">
<figure>{picture(query.content, "the query")}<figcaption>the query</figcaption></figure>
<figure>{picture(match, "the best match")}
<figcaption>the best match, of label {html.escape(label)}</figcaption></figure>
{_figure(similar, "similarity to the best match")}
{_figure(evident, f"probability of the label {label!r} among the neighbors")}
{_figure(classified, f"probability of the class {classified.target.removeprefix('class:')!r}, the likeliest")}
</div><p class="soft">Windows of {WINDOW_PX} pixels of the network's input, {SAMPLES} samples each.</p></div>"""


def _figure(one: DifferenceMap, what: str) -> str:
    scale = one.color_scale
    assert scale
    return f"""<figure>{picture(one.overlay_png, "prediction difference")}
<figcaption>{html.escape(what)}: <b>{one.value:.3f}</b>; a pixel is worth up to {scale.high:.2g} ({one.measure})
</figcaption></figure>"""
