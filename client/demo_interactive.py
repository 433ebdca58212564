"""The demo's InterActive maps: where the neurons of some layers are active, told from above."""

import html
from collections.abc import Callable, Sequence

from whymatch.client import Client
from whymatch.client.demo_photos import View
from whymatch.client.errors import InvalidArgument
from whymatch.client.html_parts import picture
from whymatch.client.layer_choice import blocks
from whymatch.client.results import Activeness, InterActiveExplanation, InterActiveSetting, Layer

SHOWN = "motorcycle, brighter"
SIZE_PX = 256


def active_neurons(client: Client, query: View) -> str:
    """Weigh a low, a middle and a high layer for `query`, told by the last layer and by the next one."""
    settings = [
        InterActiveSetting(layer, supervision)
        for supervision in ("last", "next")
        for layer in spread(client.model().layers, lambda name: _next_can_tell(client, query, name))
    ]
    explanation = client.explain_interactive(
        query.content, settings, size_px=SIZE_PX, overlays=True, overlay_size_px=480
    )
    return report(query, explanation)


def spread(layers: Sequence[Layer], allowed: Callable[[str], bool] = lambda name: True) -> list[str]:
    """Return the names of three layers below the last one, of whole blocks or, where not allowed, of a layer below."""
    names, every = blocks(layers[:-1]), [layer.name for layer in layers]
    wanted = [names[len(names) * place // 12] for place in (3, 6, 10)]
    return [next(filter(allowed, reversed(every[: every.index(name) + 1])), every[0]) for name in wanted]


def _next_can_tell(client: Client, query: View, layer: str) -> bool:
    """Ask the server: in front of a linear bottleneck there is no next layer with a ReLU."""
    try:
        client.explain_interactive(query.content, [InterActiveSetting(layer, "next")], size_px=SIZE_PX)
    except InvalidArgument:
        return False
    return True


def report(query: View, explanation: InterActiveExplanation) -> str:
    """Show the maps, a row for each supervision."""
    half = len(explanation.results) // 2
    rows = "".join(_row(query, part) for part in (explanation.results[:half], explanation.results[half:]))
    return f"""
<h2>InterActive: which neurons are active</h2>
<p>No match is needed for these maps. They weigh the neurons of a layer by what the layers above make of them, summed
over its channels: above told by the last layer, below by the next one, which heeds what is striking nearby. Each map
has its own color scale; red is for, blue against.</p>
<div class="card"><h3>{html.escape(query.name)}</h3>{rows}
<p class="soft">The network saw {explanation.input_width_px} x {explanation.input_height_px} pixels; the norm is
2.</p></div>"""


def _row(query: View, results: Sequence[Activeness]) -> str:
    figures = "".join(
        f"""<figure>{picture(one.map.overlay_png, "weights of the neurons")}
<figcaption>{html.escape(one.setting.layer)}, told by the {one.setting.supervision} layer,
{one.map.values.shape[0]} x {one.map.values.shape[1]} cells</figcaption></figure>"""
        for one in results
    )
    return f"""<div class="row"><figure>{picture(query.content, "the query")}
<figcaption>the query</figcaption></figure>{figures}</div>"""
