"""The demo's InterActive maps: where the neurons of some layers are active, told from above."""

import html
from collections.abc import Sequence

from whymatch.client import Client
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.layer_choice import blocks
from whymatch.client.apps.pages import picture
from whymatch.client.errors import InvalidArgument
from whymatch.client.results import Activeness, InterActiveExplanation, InterActiveSetting, Layer

SHOWN = "motorcycle, brighter"
SIZE_PX = 256


def active_neurons(client: Client, query: View) -> str:
    """Weigh a low, a middle and a high layer for `query`, told by the last layer and by the one above."""
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


def report(query: View, explanation: InterActiveExplanation) -> str:
    """Show the maps, a row for each supervision."""
    half = len(explanation.results) // 2
    rows = "".join(_row(query, part) for part in (explanation.results[:half], explanation.results[half:]))
    return f"""
<h2>InterActive: which neurons are active</h2>
<p>No match is needed for these maps. They weigh the neurons of a layer by what the layers above make of them, summed
over its channels. In the upper row the last layer tells, in the lower one the layer above, which heeds what is striking
nearby. Each map has its own color scale; red is for, blue against.</p>
<div class="card"><h3>{html.escape(query.name)}</h3>{rows}
<p class="soft">The network saw {explanation.input_width_px} x {explanation.input_height_px} pixels; the norm is
2.</p></div>"""


def _row(query: View, results: Sequence[Activeness]) -> str:
    figures = "".join(
        f"""<figure>{picture(one.map.overlay_png, "weights of the neurons")}
<figcaption>{html.escape(one.setting.layer)}, told by {_teller(one.setting.supervision)},
{one.map.values.shape[0]} x {one.map.values.shape[1]} cells</figcaption></figure>"""
        for one in results
    )
    return f"""<div class="row"><figure>{picture(query.content, "the query")}
<figcaption>the query</figcaption></figure>{figures}</div>"""


def _teller(supervision: str) -> str:
    return f"the {supervision} layer" if supervision in ("last", "next") else html.escape(supervision)
