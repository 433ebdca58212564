"""The pages of a report on units."""

import html
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from whymatch.client.apps.pages import page
from whymatch.client.apps.unit_labels import detectors

Document = Mapping[str, Any]
DETECTS = 0.5
"""The precision from which on a unit counts as a detector of its first label."""


def index_page(subject: Document, layers: Sequence[Document]) -> str:
    """Return the first page: what was looked at, and a line for each layer."""
    head = _row(
        "th",
        "layer",
        "units",
        "dead",
        "sees at most",
        "responds to",
        "color axes",
        *(f"S > {point['threshold']:.2f}" for point in _first_curve(layers)),
        "detectors",
        "labels",
    )
    rows = "".join(_layer_row({**layer, "thresholds": _first_curve(layers)}) for layer in layers)
    plot = '<img class="plot" src="selectivity.png" alt="selectivity">' if _first_curve(layers) else ""
    return _page(
        f"{subject['network']}: what its units respond to",
        f"""
<h1>{html.escape(subject["network"])}: what its units respond to</h1>
<p class="lead">Seen through the {subject["image_count"]} images of gallery {html.escape(subject["gallery"])}.
Model {html.escape(subject["model"])}.</p>
<div class="card"><table>{head}{rows}</table></div>
{plot}
<p><b>Sees at most</b> is the theoretical receptive field in pixels of the network's input; <b>responds to</b> the
empirical one, where random occluders on a unit's top {subject["field_images"]} images change its response by more than
half of the most, the median over the units that were tried. <b>S</b> is the share of the colors of a unit's top nine
patches in its three largest categories; the columns say how many units are above. A unit is a <b>detector</b> if at
least {DETECTS:.0%} of its {_counted(layers)} leading images have the same label. All of it holds for the images of this
gallery.</p>""",
    )


def layer_page(layer: Document, *, has_filters: bool) -> str:
    """Return the page of a layer: its filters, its axes, its detectors, and all its units."""
    colors, units = layer["colors"], layer["units"]
    filters = _plot("Decoded filters", "filters.png") if has_filters else ""
    axes = _plot("Color axes", "axes.png") if has_filters else ""
    why = f"<p>No color axes: {html.escape(colors['no_axes'])}</p>" if colors["no_axes"] else ""
    fields = "".join(_field_row(field) for field in layer["fields"].values())
    field_table = f"<h2>Receptive fields</h2><div class='card'><table>{fields}</table></div>" if fields else ""
    tiles = "".join(_unit_tile(unit) for unit in units)
    return _page(
        layer["layer"],
        f"""
<p><a href="../index.html">all layers</a></p>
<h1>{html.escape(layer["layer"])}</h1>
<p class="lead">{len(colors["units"])} units, {colors["dead_count"]} of them dead; {len(units)} have a page.</p>
{_detectors(units)}{axes}{why}{field_table}{filters}
<h2>Units</h2><div class="units">{tiles}</div>""",
    )


def unit_page(unit: Document, field: Document | None) -> str:
    """Return the page of a unit."""
    name, number = html.escape(unit["layer"]), unit["unit"]
    tops = "".join(
        _row("td", f"{top['response']:.4g}", html.escape(top["label"]), html.escape(top["name"]), _box(top["box"]))
        for top in unit["top_images"]
    )
    labels = "".join(
        _row("td", html.escape(one["label"]), str(one["image_count"]), f"{one['precision']:.0%}")
        for one in unit["labels"]
    )
    dead = ", dead" if unit["dead"] else ""
    return _page(
        f"{unit['layer']} / {number}",
        f"""
<p><a href="index.html">layer {name}</a> · <a href="../index.html">all layers</a></p>
<h1>{name} / {number}</h1>
<p class="lead">Largest response {unit["maximum"]:.4g} over {unit["image_count"]} images{dead}.</p>
<img class="plot" src="{number:04}.png" alt="card of the unit">
{_field(unit, field)}
<h2>Top images</h2>
<div class="card"><table>{_row("th", "response", "label", "image", "what it sees, px")}{tops}</table></div>
<h2>Labels of the top {unit["label_image_count"]} images</h2>
<div class="card"><table>{_row("th", "label", "images", "precision")}{labels}</table></div>
{_color(unit["color"])}{_filter(unit.get("decoded_filter"))}""",
    )


def _plot(title: str, file: str) -> str:
    return f'<h2>{title}</h2><img class="plot" src="{file}" alt="{title}">'


def _layer_row(layer: Document) -> str:
    colors, units = layer["colors"], layer["units"]
    seen = units[0]["receptive_field"]["theoretical"]
    fields = [one["empirical"] for one in layer["fields"].values()]
    sizes = [statistics.median(one[side] for one in fields) for side in ("width_px", "height_px")] if fields else []
    found, thresholds = _found(units), len(layer["thresholds"])
    above = [f"{point['share']:.0%}" for point in colors["curve"]] or ["-"] * thresholds
    return _row(
        "td",
        f'<a href="{layer["folder"]}/index.html">{html.escape(layer["layer"])}</a>',
        str(len(colors["units"])),
        str(colors["dead_count"]),
        f"{seen['width_px']} x {seen['height_px']}",
        " x ".join(f"{size:g}" for size in sizes) or "-",
        ", ".join(f"{axis['angle_deg']:.0f}°" for axis in colors["axes"]) or "-",
        *above,
        f"{sum(map(len, found.values()))} of {len(units)}",
        str(len(found)),
    )


def _field_row(field: Document) -> str:
    number = field["unit"]
    return _row(
        "td",
        f'<a href="{number:04}.html">{number}</a>',
        f'<img class="field" src="{number:04}-field.png" alt="receptive field">',
        f"{field['empirical']['width_px']} x {field['empirical']['height_px']} px",
        f"of at most {field['theoretical']['width_px']} x {field['theoretical']['height_px']} px",
        f"{field['image_count']} images, {field['evaluations']} evaluations",
    )


def _unit_tile(unit: Document) -> str:
    number = unit["unit"]
    words = "dead" if unit["dead"] else ", ".join(one["label"] for one in unit["labels"][:1])
    return (
        f'<a href="{number:04}.html"><img loading="lazy" src="{number:04}.png" alt="unit {number}">'
        f"<span>{number} {html.escape(words)}</span></a>"
    )


def _detectors(units: Sequence[Document]) -> str:
    found = _found(units)
    if not found:
        return f"<p>No unit has a label that at least {DETECTS:.0%} of its leading images share.</p>"
    rows = "".join(
        _row("td", html.escape(label), " ".join(f'<a href="{one:04}.html">{one}</a>' for one in channels))
        for label, channels in found.items()
    )
    return f'<h2>Detectors</h2><div class="card"><table>{_row("th", "label", "units")}{rows}</table></div>'


def _found(units: Sequence[Document]) -> dict[str, list[int]]:
    """Return the units that detect each label."""
    firsts = [(unit["unit"], unit["labels"][0]) for unit in units if unit["labels"]]
    return detectors([(channel, first["label"], first["precision"]) for channel, first in firsts], DETECTS)


def _field(unit: Document, field: Document | None) -> str:
    seen = unit["receptive_field"]["theoretical"]
    most = f"It sees at most {seen['width_px']} x {seen['height_px']} px of the network's input"
    if field is None:
        return f"<p>{most}.</p>"
    really = f"{field['empirical']['width_px']} x {field['empirical']['height_px']} px"
    return f"""<p>{most}, and responds to {really}: where occluders of {field["occluder"]["side_px"]} px, every
{field["occluder"]["stride_px"]} px on its top {field["image_count"]} images, change its response by more than
{field["occluder"]["threshold"]:.0%} of the most.</p>
<img class="field" src="{unit["unit"]:04}-field.png" alt="field">"""


def _color(color: Document | None) -> str:
    if color is None:
        return ""
    rows = "".join(
        _row("td", f"{one['share']:.1%}", ", ".join(f"{name['name']} {name['share']:.0%}" for name in one["names"]))
        for one in color["categories"]
    )
    grays = " Its patches have no color." if color["gray"] else ""
    return f"""<h2>Colors of its patches</h2><p>S = {color["selectivity"]:.3f}, the share of the
{color["setting"]["leading"]} largest categories; divided by their number {color["quotient"]:.3f}.{grays}</p>
<div class="card"><table>{_row("th", "share", "category")}{rows}</table></div>
<p class="soft">{_settings(color["setting"])}; {color["pixel_count"]} pixels.</p>"""


def _filter(decoded: Document | None) -> str:
    if not decoded:
        return ""
    if "error" in decoded:
        return f"<h2>Decoded filter</h2><p>{html.escape(decoded['error'])}</p>"
    color = decoded["color"]
    parts = [color["content"], color["alignment"], color["position"], color["tone"], f"{color['colors']} color"]
    names = ", ".join(color["names"]) or "none that counts"
    return f"""<h2>Decoded filter</h2><p>{", ".join(filter(None, parts))}: {names}. {color["axis_share"]:.0%} of the
variance lies along the axis, {color["intensity_share"]:.0%} in intensity; it passes middle gray at
{color["axis_distance"]:.3f}.</p>
<p class="soft">{_settings(color["thresholds"])}.</p>"""


def _settings(setting: Document) -> str:
    return ", ".join(f"{name} = {value:g}" for name, value in setting.items())


def _box(box: Document) -> str:
    return f"{box['left_px']:.0f}, {box['top_px']:.0f} to {box['right_px']:.0f}, {box['bottom_px']:.0f}"


def _counted(layers: Sequence[Document]) -> int:
    """Return how many leading images labels were counted over, of units that respond to so many."""
    return max((unit["label_image_count"] for layer in layers for unit in layer["units"]), default=0)


def _first_curve(layers: Sequence[Document]) -> Sequence[Document]:
    return next((layer["colors"]["curve"] for layer in layers if layer["colors"]["curve"]), [])


def _row(cell: str, *values: str) -> str:
    return f"<tr>{''.join(f'<{cell}>{value}</{cell}>' for value in values)}</tr>"


def _page(title: str, body: str) -> str:
    style = """<style>
.plot { width: auto; max-width: 100%; height: auto; background: none; margin: 12px 0; }
.field { width: 160px; height: 160px; }
.units { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 14px; }
.units img { height: 150px; object-fit: cover; object-position: left top; }
.units span { font-size: 14px; }
</style>"""
    return page([style + body], title=title)
