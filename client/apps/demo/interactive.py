"""The demo's InterActive maps: where the neurons of some layers are active, supervised from above."""

from collections.abc import Sequence

from markupsafe import Markup

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.layer_choice import blocks
from whymatch.client.apps.pages import render
from whymatch.client.errors import InvalidArgument
from whymatch.client.results import InterActiveExplanation, InterActiveSetting, Layer

SHOWN = "motorcycle, brighter"
SIZE_PX = 256


def active_neurons(client: Client, query: View) -> Markup:
    """Weigh a low, a middle and a high layer for `query`, supervised by the last layer and by the one above."""
    layers = client.model().layers
    names = spread(layers)
    settings = [InterActiveSetting(name, "last") for name in names]
    settings += [InterActiveSetting(name, _next(client, query, layers, name)) for name in names]
    explanation = client.explain_interactive(query.content, settings, size_px=SIZE_PX, overlays=480)
    return report(query, explanation)


def spread(layers: Sequence[Layer]) -> list[str]:
    """Return the names of three layers below the last one, of whole blocks where there are enough."""
    names = blocks(layers[:-1])
    return [names[len(names) * place // 12] for place in (2, 6, 10)]


def _next(client: Client, query: View, layers: Sequence[Layer], name: str) -> str:
    """Return `next` or, in front of a linear bottleneck, which has no response, the name of the first layer behind."""
    try:
        client.explain_interactive(query.content, [InterActiveSetting(name, "next")], size_px=SIZE_PX)
    except InvalidArgument:
        names = [layer.name for layer in layers]
        return names[names.index(name) + 1]
    return "next"


def report(query: View, explanation: InterActiveExplanation) -> Markup:
    """Show the maps, a row for each supervision."""
    half = len(explanation.results) // 2
    rows = [explanation.results[:half], explanation.results[half:]]
    return render("demo_interactive", query=query, explanation=explanation, rows=rows)
