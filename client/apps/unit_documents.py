"""The JSON documents of `whymatch units`. Their names are promises to other programs."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from whymatch.client.apps.documents import grid
from whymatch.client.apps.unit_labels import NetworkLabels
from whymatch.client.draw.unit_words import UnitCard
from whymatch.client.results import Match
from whymatch.client.unit_results import (
    ColorSelectivity,
    DecodedFilter,
    EmpiricalField,
    LayerColors,
    MinimalImageStep,
    Segmentation,
    UnitSegment,
)

Document = dict[str, object]


def card(card: UnitCard, picture: Path | None = None) -> Document:
    """Return what is known of a unit."""
    unit = card.unit
    document: Document = {
        "layer": unit.layer,
        "unit": unit.channel,
        "model": unit.model,
        "image_count": unit.image_count,
        "dead": unit.is_dead,
        "maximum": unit.maximum,
        "top_images": [
            {
                "name": top.name,
                "label": top.label,
                "response": top.response,
                "cell": {"row": top.cell[0], "column": top.cell[1]},
                "box": asdict(top.box),
            }
            for top in unit.top_images
        ],
        "labels": [asdict(one) for one in unit.labels],
        "label_image_count": unit.label_image_count,
        "receptive_field": {"theoretical": asdict(unit.receptive_field)},
        "color": selectivity(unit.color) if unit.color else None,
    }
    if card.filter or card.no_filter:
        found = {"color": asdict(card.filter.color), "scale": card.filter.scale} if card.filter else None
        document["decoded_filter"] = found or {"error": card.no_filter}
    return document | _picture(picture)


def decoded_filter(one: DecodedFilter, picture: Path | None) -> Document:
    """Return what a unit looks for."""
    document: Document = {
        "layer": one.layer,
        "unit": one.channel,
        "model": one.model,
        "width_px": one.width_px,
        "height_px": one.height_px,
        "scale": one.scale,
        "color": asdict(one.color),
    }
    if one.values is not None:
        document["values"] = one.values.tolist()
    return document | _picture(picture)


def layer_colors(one: LayerColors) -> Document:
    """Return how a layer is about color."""
    return {
        "layer": one.layer,
        "model": one.model,
        "axes": [asdict(axis) for axis in one.axes],
        "no_axes": one.no_axes,
        "histogram": list(one.histogram),
        "aic": one.aic,
        "cut_deg": one.cut_deg,
        "axis_setting": asdict(one.axis_setting) if one.axis_setting else None,
        "curve": [{"threshold": threshold, "share": share} for threshold, share in one.curve],
        "dead_count": one.dead_count,
        "gray": one.gray,
        "units": [
            {
                "unit": unit.channel,
                "filter": asdict(unit.filter) if unit.filter else None,
                "color": selectivity(unit.selectivity) if unit.selectivity else None,
            }
            for unit in one.units
        ],
    }


def field(one: EmpiricalField) -> Document:
    """Return what a unit really responds to."""
    return {
        "layer": one.layer,
        "unit": one.channel,
        "model": one.model,
        "empirical": {"width_px": one.width_px, "height_px": one.height_px},
        "theoretical": asdict(one.theoretical),
        "dead": one.box is None,
        "box": asdict(one.box) if one.box else None,
        "map": grid(one.values),
        "image_count": one.image_count,
        "evaluations": one.evaluations,
        "positions": one.positions,
        "multiplied_share": one.multiplied_share,
        "occluder": asdict(one.occluder),
    }


def segmentation(image: str, found: Segmentation, overlays: Sequence[Path | None]) -> Document:
    """Return where in an image units respond."""
    return {
        "image": image,
        "model": found.model,
        "segments": [_segment(one) | _picture(file) for one, file in zip(found.segments, overlays, strict=True)],
        "matches": [_match(match) for match in found.matches],
    }


def minimal_image(image: str, steps: Sequence[MinimalImageStep], sheet: Path | None) -> Document:
    """Return what of an image is enough for its prediction, step by step."""
    first, last = steps[0], steps[-1]
    document: Document = {
        "image": image,
        "model": last.model,
        "prediction": last.prediction,
        "value": last.value,
        "area_share": last.area_share,
        "segments_left": last.segments_left,
        "evaluations": last.evaluations,
        "steps": [
            {"segment": step.segment, "value": step.value, "area_share": step.area_share}
            for step in steps
            if not step.minimal or len(steps) == 1
        ],
        "segments": None if first.segments is None else grid(first.segments),
    }
    return document | _picture(sheet)


def labels(networks: Sequence[NetworkLabels], precision: float) -> Document:
    """Return what labels the units of a layer prefer, network by network."""
    return {"precision": precision, "networks": [_network(one) for one in networks]}


def selectivity(one: ColorSelectivity) -> Document:
    """Return how selective a unit is for colors."""
    return asdict(one)


def _network(one: NetworkLabels) -> Document:
    units: Mapping[str, Sequence[int]] = one.detectors
    return {
        "network": one.network,
        "layer": one.layer,
        "model": one.model,
        "unit_count": len(one.units),
        "dead_count": one.dead_count,
        "units": [
            {"unit": unit.channel, "labels": [asdict(share) for share in unit.labels], "images": unit.label_image_count}
            for unit in one.units
        ],
        "detectors": [{"label": label, "units": list(channels)} for label, channels in units.items()],
    }


def _segment(one: UnitSegment) -> Document:
    return {
        "layer": one.layer,
        "unit": one.channel,
        "threshold": one.threshold,
        "maximum": one.maximum,
        "sampled_cells": one.sampled_cells,
        "area_share": one.area_share,
        "responses": grid(one.responses),
    }


def _match(match: Match) -> Document:
    return {"name": match.name, "label": match.label, "score": match.score}


def _picture(file: Path | None) -> Document:
    return {"picture": str(file)} if file else {}
