"""The pages of a report on units."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from whymatch.client.apps.pages import render
from whymatch.client.apps.unit_labels import detectors

Document = Mapping[str, Any]
DETECTS = 0.5
"""The precision from which on a unit counts as a detector of its first label."""


def index_page(subject: Document, layers: Sequence[Document], waiting: Sequence[str]) -> str:
    """Return the first page: the subject of the report, and a line for each layer.

    waiting: names of layers without a page so far.
    """
    curves = [layer["colors"]["curve"] for layer in layers if layer["colors"]["curve"]]
    counted = [unit["label_image_count"] for layer in layers for unit in layer["units"]]
    return render(
        "audit_index",
        subject=subject,
        rows=[_layer_row(layer) for layer in layers],
        waiting=waiting,
        thresholds=[point["threshold"] for point in curves[0]] if curves else [],
        detects=DETECTS,
        label_image_count=max(counted, default=0),  # of the units that respond to as many images
    )


def layer_page(layer: Document, *, has_filters: bool) -> str:
    """Return the page of a layer: its filters, its axes, its detectors, and all its units."""
    units = layer["units"]
    return render(
        "audit_layer",
        subject=layer,
        layer=layer["layer"],
        colors=layer["colors"],
        units=units,
        label_image_count=max((unit["label_image_count"] for unit in units), default=0),
        fields=list(layer["fields"].values()),
        detectors=_detectors(units),
        detects=DETECTS,
        has_filters=has_filters,
    )


def unit_page(unit: Document, field: Document | None) -> str:
    """Return the page of a unit; `field` is its empirical receptive field."""
    return render("audit_unit", unit=unit, field=field)


def _layer_row(layer: Document) -> Document:
    colors, units = layer["colors"], layer["units"]
    seen = units[0]["receptive_field"]["theoretical"] if units else None
    fields = [one["empirical"] for one in layer["fields"].values()]
    sizes = [statistics.median(one[side] for one in fields) for side in ("width_px", "height_px")] if fields else []
    found = _detectors(units)
    return {
        "layer": layer["layer"],
        "folder": layer["folder"],
        "unit_count": layer["unit_count"],
        "wanted_count": layer["wanted_count"],
        "complete": layer["complete"],
        "dead_count": colors["dead_count"],
        "sees": f"{seen['width_px']} x {seen['height_px']}" if seen else "",
        "responds_to": " x ".join(f"{size:g}" for size in sizes),
        "axes": colors["axes"],
        "shares": [point["share"] for point in colors["curve"]],
        "detector_count": sum(map(len, found.values())),
        "page_count": len(units),
        "label_count": len(found),
    }


def _detectors(units: Sequence[Document]) -> dict[str, list[int]]:
    """Return the units that detect each label."""
    firsts = [(unit["unit"], unit["labels"][0]) for unit in units if unit["labels"]]
    return detectors([(channel, first["label"], first["precision"]) for channel, first in firsts], DETECTS)
