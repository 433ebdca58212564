"""The JSON documents of the command line, and how they are printed. Their names are promises to other programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from whymatch.client import results, unit_results
from whymatch.client.apps.plain import Document, plain, record
from whymatch.client.draw.unit_words import filter_classes
from whymatch.client.provenance import provenance

if TYPE_CHECKING:
    from whymatch.client.apps.unit_labels import NetworkLabels
    from whymatch.client.draw.runs import DifferenceRun
    from whymatch.client.draw.unit_words import UnitCard


_OfUnit = (
    unit_results.UnitDescription | unit_results.DecodedFilter | unit_results.EmpiricalField | unit_results.UnitSegment
)

SETTING = ("window_px", "context_px", "sample_count", "stride_px")
OF_PIXELS = ("kind", "image_count", "patch_count", "seed")
"""What there is to say of a sampler of pixels; one of a layer has channels as well."""


def origin(answer: results.Provenance | None) -> Document:
    """Return what is put into every document: where its answer comes from."""
    return {"provenance": provenance(answer)}


def print_document(document: Document | list[Document]) -> None:
    """Print one JSON document on stdout, with escapes of JSON for all but ASCII if the encoding lacks a character."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:  # or a path is not UTF-8
        text = json.dumps(document, allow_nan=False)
    print(text)


def print_facts(document: Document, json: bool) -> None:
    """Print one thing as JSON, or as a line for each fact."""
    if json:
        print_document(document)
        return
    for key, value in document.items():
        print(f"{key:18} {value}")


# Galleries and images


def image(image: results.Image) -> Document:
    """Return all facts of an image."""
    return record(image)


def gallery(gallery: results.Gallery) -> Document:
    """Return all facts of a gallery."""
    return record(
        gallery,
        "name",
        "model",
        "index_factory",
        "omit_feature_maps",
        "image_count",
        "generation",
        "oldest_generation",
        "create_time",
        "head",
    )


def info(info: results.ServerInfo) -> Document:
    """Return what a server is; of its model, what tells it from others."""
    model = record(info.model, "fingerprint", "backbone", "layer", "pooling", "precision", "dimensions")
    return record(info) | {"model": model}


def layers(model: results.Model) -> Document:
    """Return the layers of a model by name."""
    return {"model": model.fingerprint, **record(model, "backbone", "layers")}


def embedding(query: str, embedding: results.Embedding) -> Document:
    """Return an embedding and, if it came, its feature map as values[row][column][channel]."""
    document = {"query": query, **record(embedding, "model", "width_px", "height_px", "embedding")}
    values = embedding.feature_map
    if values is not None:
        shape = dict(zip(("rows", "columns", "channels"), values.shape, strict=True))
        document["feature_map"] = {**shape, "values": plain(values)}
    return document


# Matches


def search(
    query: str | None,
    result: results.SearchResult,
    overlays: Mapping[str, Path],
    *,
    by_region: bool,
    rest_counts: Sequence[str] = (),
    like: Sequence[str] = (),
    unlike: Sequence[str] = (),
) -> Document:
    """Return the matches of a search, with their maps if they have them; one by examples has no query.

    rest_counts: `query`, `match`, both or none: which of the images counts beside its regions.
    """
    matches = [_match(rank, match, overlays, by_region) for rank, match in enumerate(result, start=1)]
    rest = {"rest_counts": list(rest_counts)} if rest_counts else {}
    asked = {"query": query} if query is not None else {"like": list(like), "unlike": list(unlike)}
    return {**asked, "model": result.model, **rest, "matches": matches}


def duplicates(found: results.Duplicates, pictures: Sequence[Path] = ()) -> Document:
    """Return groups of near duplicates, and the range of the similarities in each, with its picture if there are."""
    ranges = [record(group, "least_score", "largest_score") for group in found]
    files = {"pictures": [str(file) for file in pictures]} if pictures else {}
    return {"groups": [list(group.names) for group in found], "scores": ranges, **files}


def explanation(
    query: str,
    match: str,
    explanation: results.MatchExplanation,
    overlays: Mapping[str, Path],
    cards: Mapping[int, Path],
) -> Document:
    """Return why two images match; `cards` are pictures of units, by their channels."""
    return {
        "query": query,
        "match": match,
        **record(explanation, "model", "score", "image_score", "residual"),
        "query_map": _similarity_map(explanation.query_map, overlays.get("query")),
        "match_map": _similarity_map(explanation.match_map, overlays.get("match")),
        "channels": [_channel(one, cards.get(one.channel)) for one in explanation.channels],
        "correspondences": plain(explanation.correspondences),
    }


def label_explanation(query: str, label: str, explanation: results.LabelExplanation, overlay: Path | None) -> Document:
    """Return why an image is similar to the images of a label."""
    return {
        "query": query,
        "label": label,
        **record(explanation, "model", "score", "image_count"),
        "query_map": _similarity_map(explanation.query_map, overlay),
    }


def ranking(
    query: str, first: str, second: str, explanation: results.RankingExplanation, overlays: Mapping[str, Path]
) -> Document:
    """Return why a query is more similar to one thing than to another; `map` is the difference of its two maps."""
    return {
        "query": query,
        "first": _ranked(first, explanation.first, overlays.get("first")),
        "second": _ranked(second, explanation.second, overlays.get("second")),
        **record(explanation, "model", "gap", "residual"),
        "map": _similarity_map(explanation.difference_map, overlays.get("difference")),
        "channels": [_channel(one, None) for one in explanation.channels],
        "cells": plain(explanation.cells),
    }


def standing(query: str, name: str, found: results.Standing) -> Document:
    """Return where an image stands for a query."""
    facts = ("model", "score", "rank", "image_count", "needed_score", "rival", "rival_rank")
    return {"query": query, "name": name, **record(found, *facts)}


def neighborhood(query: str, found: results.Neighborhood) -> Document:
    """Return the labels around a query."""
    facts = ("model", "neighbor_count", "neighbors", "label_count", "best_labels", "worst_labels")
    return {"query": query, **record(found, *facts)}


def component_shares(shares: results.ComponentShares) -> Document:
    """Return how few channels carry a similarity; entry K - 1 is the share of the score in the K leading channels.

    `marked` is the point of ten channels, null if there are fewer.
    """
    curves, count = record(shares, "mean", "low", "high"), results.MARKED_CHANNELS
    document = record(shares, "model", "pair_count") | {f"{name}_shares": curve for name, curve in curves.items()}
    if len(shares.mean) < count:
        return document | {"marked": None}
    return document | {"marked": {"channels": count} | {f"{name}_share": curves[name][count - 1] for name in curves}}


def _match(rank: int, match: results.Match, overlays: Mapping[str, Path], by_region: bool) -> Document:
    document = record(match, "name", "label", "score", "image_score") | record(
        match.image, "metadata", "content_sha256"
    )
    if by_region:
        document["region_share"] = match.region_share
    if match.query_map:
        document["query_map"] = _similarity_map(match.query_map, overlays.get(f"{rank:02}-query"))
    if match.match_map:
        document["match_map"] = _similarity_map(match.match_map, overlays.get(f"{rank:02}-match"))
    if match.shares:
        document["shares"] = list(match.shares)
    if match.example_maps:
        files = [overlays.get(f"{rank:02}-example-{number}") for number in range(1, len(match.shares) + 1)]
        document["example_maps"] = [
            _similarity_map(one, file) if one else None for one, file in zip(match.example_maps, files, strict=True)
        ]
    if match.folded:
        document["folded"] = [record(one, "name", "label", "score", "image_score") for one in match.folded]
    return document


def _ranked(name: str, one: results.RankedScore, overlay: Path | None) -> Document:
    document = {"name": name, **record(one, "score", "image_count", "content_sha256")}
    return document | ({"match_map": _similarity_map(one.match_map, overlay)} if one.match_map else {})


def _similarity_map(similarity_map: results.SimilarityMap, overlay: Path | None) -> Document:
    """Return a map as values[row][column], and the file of its picture if one was written."""
    return {**plain(similarity_map.values), **record(similarity_map, "total", "best_box"), **_file("overlay", overlay)}


def _channel(channel: results.ChannelShare, card: Path | None) -> Document:
    """Return a channel and, if it is one, the unit that it is."""
    document = record(channel, "channel", "score", "share")
    if channel.unit:
        document["unit"] = dict(zip(("layer", "unit"), channel.unit, strict=True))
    return document | _file("card", card)


# InterActive and prediction difference


def interactive(image: str, explanation: results.InterActiveExplanation, overlays: Sequence[Path]) -> Document:
    """Return how active the neurons of some layers are: of one setting as it is, of several as `results`."""
    documents = [_activeness(one, explanation, overlay) for one, overlay in zip_longest(explanation.results, overlays)]
    whole: Document = {"image": image, "model": explanation.model}
    return whole | documents[0] if len(documents) == 1 else whole | {"results": documents}


def prediction_difference(run: "DifferenceRun", one: results.DifferenceMap, overlay: Path | None) -> Document:
    """Return what each pixel of an image is worth for a target, and how that was found."""
    explanation, sampler = run.explanation, run.explanation.sampler
    steep = {} if one.sensitivities is None else {"sensitivity": plain(one.sensitivities)}
    return {
        "image": run.image,
        **record(one, "target", "value"),
        "unit": one.measure,
        "map": plain(one.values),
        "standard_error": plain(one.standard_errors),
        **steep,
        **record(explanation, "evaluations", "planned_evaluations"),
        "seed": sampler.seed if sampler else None,
        "sampler": plain(sampler) if run.layer or not sampler else record(sampler, *OF_PIXELS),
        **{name: getattr(explanation.setting, name, None) for name in SETTING},
        **record(explanation, "name", "model", "complete", "multiplied_share", "computed_whole"),
        **({"network": run.network} if run.network else {}),
        **({"layer": run.layer} if run.layer else {}),
        **_file("overlay", overlay),
    }


def _activeness(one: results.Activeness, explanation: results.InterActiveExplanation, overlay: Path | None) -> Document:
    document = {
        **record(one.setting),
        "input": {"width": explanation.input_width_px, "height": explanation.input_height_px},
        "map": plain(one.map.values),
    }
    if one.descriptor is not None:
        document["descriptor"] = plain(one.descriptor)
    return document | _file("overlay", overlay)


# Units


def card(card: "UnitCard", picture: Path | None = None) -> Document:
    """Return what a unit responds to and looks for."""
    unit = card.unit
    document = {
        **_unit(unit),
        **record(unit, "model", "image_count"),
        "dead": unit.is_dead,
        "maximum": unit.maximum,
        "top_images": [_top_image(top) for top in unit.top_images],
        **record(unit, "labels", "label_image_count"),
        "receptive_field": {"theoretical": plain(unit.receptive_field)},
        "color": plain(unit.color),
    }
    if card.filter:
        document["decoded_filter"] = record(card.filter, "color", "scale")
    elif card.no_filter:
        document["decoded_filter"] = {"error": card.no_filter}
    return document | _file("picture", picture)


def decoded_filter(one: unit_results.DecodedFilter, picture: Path | None) -> Document:
    """Return what a unit looks for."""
    document = _unit(one) | record(one, "model", "width_px", "height_px", "scale", "color")
    if one.values is not None:
        document["values"] = plain(one.values)
    return document | _file("picture", picture)


def layer_colors(one: unit_results.LayerColors) -> Document:
    """Return the colors of a layer's units."""
    return {
        **record(one, "layer", "model", "axes", "no_axes", "histogram", "aic", "cut_deg", "axis_setting"),
        "curve": [{"threshold": threshold, "share": share} for threshold, share in one.curve],
        **record(one, "dead_count", "gray"),
        **({"classes": filter_classes(one)} if one.axis_setting else {}),
        "units": [
            {"unit": unit.channel, "filter": plain(unit.filter), "color": plain(unit.selectivity)} for unit in one.units
        ],
    }


def field(one: unit_results.EmpiricalField) -> Document:
    """Return the pixels that a unit responds to."""
    return {
        **_unit(one),
        "model": one.model,
        "empirical": record(one, "width_px", "height_px"),
        "theoretical": plain(one.theoretical),
        "dead": one.box is None,
        "box": plain(one.box),
        "map": plain(one.values),
        **record(one, "image_count", "evaluations", "positions", "multiplied_share", "occluder"),
    }


def segmentation(image: str, found: unit_results.Segmentation, overlays: Sequence[Path | None]) -> Document:
    """Return where in an image units respond."""
    return {
        "image": image,
        "model": found.model,
        "segments": [_segment(one, file) for one, file in zip(found.segments, overlays, strict=True)],
        "matches": [record(match, "name", "label", "score") for match in found.matches],
        "classes": plain(found.classes),
    }


def minimal_image(image: str, steps: Sequence[unit_results.MinimalImageStep], sheet: Path | None) -> Document:
    """Return what of an image is enough for its prediction, step by step."""
    shown = [step for step in steps if not step.minimal or len(steps) == 1]
    return {
        "image": image,
        **record(steps[-1], "model", "prediction", "value", "area_share", "segments_left", "evaluations"),
        "steps": [record(step, "segment", "value", "area_share") for step in shown],
        "segments": plain(steps[0].segments),
        **_file("picture", sheet),
    }


def labels(networks: Sequence["NetworkLabels"], precision: float) -> Document:
    """Return which labels the units of a layer prefer, network by network."""
    return {"precision": precision, "networks": [_network(one) for one in networks]}


def _unit(one: _OfUnit) -> Document:
    return {"layer": one.layer, "unit": one.channel}


def _top_image(top: unit_results.TopImage) -> Document:
    row, column = top.cell
    return {**record(top, "name", "label", "response"), "cell": {"row": row, "column": column}, **record(top, "box")}


def _segment(one: unit_results.UnitSegment, overlay: Path | None) -> Document:
    numbers = record(one, "threshold", "maximum", "sampled_cells", "area_share", "responses")
    return _unit(one) | numbers | ({"label": plain(one.label)} if one.label else {}) | _file("picture", overlay)


def _network(one: "NetworkLabels") -> Document:
    return {
        **record(one, "network", "layer", "model"),
        "unit_count": len(one.units),
        "dead_count": one.dead_count,
        "frequency_correlation": one.frequency_correlation,
        "units": [
            {"unit": unit.channel, "labels": plain(unit.labels), "images": unit.label_image_count} for unit in one.units
        ],
        "detectors": [{"label": label, "units": channels} for label, channels in one.detectors.items()],
        **(origin(one.provenance) if one.provenance else {}),
    }


def _file(key: str, file: Path | None) -> Document:
    return {key: str(file)} if file else {}
