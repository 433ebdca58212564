"""The JSON documents of the command line, and how they are printed. Their names are promises to other programs."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whymatch.client import results

if TYPE_CHECKING:
    from whymatch.client.draw.runs import DifferenceRun


def print_document(document: dict[str, object] | list[dict[str, object]]) -> None:
    """Print one JSON document on stdout."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False)
    print(text.encode(errors="backslashreplace").decode())  # what is not UTF-8 in a path becomes an escape of JSON


def print_facts(document: dict[str, object], json: bool) -> None:
    """Print what is known of one thing, as JSON or a line for each fact."""
    if json:
        print_document(document)
        return
    for key, value in document.items():
        print(f"{key:18} {value}")


def image(image: results.Image) -> dict[str, object]:
    """Return all that is known of an image."""
    return {
        "name": image.name,
        "label": image.label,
        "metadata": dict(image.metadata),
        "width_px": image.width_px,
        "height_px": image.height_px,
        "size_bytes": image.size_bytes,
        "content_sha256": image.content_sha256,
        "create_time": image.create_time.isoformat(),
    }


def gallery(gallery: results.Gallery) -> dict[str, object]:
    """Return all that is known of a gallery."""
    return {
        "name": gallery.name,
        "model": gallery.model,
        "index_factory": gallery.index_factory,
        "omit_feature_maps": gallery.omit_feature_maps,
        "image_count": gallery.image_count,
        "create_time": gallery.create_time.isoformat(),
        "head": _head(gallery.head) if gallery.head else None,
    }


def search(
    query: str, result: results.SearchResult, overlays: dict[str, Path], *, by_region: bool
) -> dict[str, object]:
    """Return the matches of a search, with their maps if they have them."""
    return {
        "query": query,
        "model": result.model,
        "matches": [_match(rank, match, overlays, by_region) for rank, match in enumerate(result, start=1)],
    }


def explanation(
    query: str,
    match: str,
    explanation: results.MatchExplanation,
    overlays: dict[str, Path],
    cards: Mapping[int, Path],
) -> dict[str, object]:
    """Return why two images match; `cards` are pictures of units, by their channels."""
    return {
        "query": query,
        "match": match,
        "model": explanation.model,
        "score": explanation.score,
        "image_score": explanation.image_score,
        "residual": explanation.residual,
        "query_map": _similarity_map(explanation.query_map, overlays.get("query")),
        "match_map": _similarity_map(explanation.match_map, overlays.get("match")),
        "channels": [_channel(channel, cards.get(channel.channel)) for channel in explanation.channels],
        "correspondences": [asdict(pair) for pair in explanation.correspondences],
    }


def label_explanation(
    query: str, label: str, explanation: results.LabelExplanation, overlays: dict[str, Path]
) -> dict[str, object]:
    """Return why an image is similar to the images of a label."""
    return {
        "query": query,
        "label": label,
        "model": explanation.model,
        "score": explanation.score,
        "image_count": explanation.image_count,
        "query_map": _similarity_map(explanation.query_map, overlays.get("query")),
    }


def component_shares(shares: results.ComponentShares) -> dict[str, object]:
    """Return how few channels carry a similarity; entry K - 1 is the share of the score in the K leading channels."""
    return {
        "model": shares.model,
        "pair_count": shares.pair_count,
        "mean_shares": shares.mean.tolist(),
        "low_shares": shares.low.tolist(),
        "high_shares": shares.high.tolist(),
    }


def interactive(image: str, explanation: results.InterActiveExplanation, overlays: Sequence[Path]) -> dict[str, object]:
    """Return how active the neurons of some layers are: of one setting as it is, of several as `results`."""
    documents = [_activeness(one, explanation, overlay) for one, overlay in zip_longest(explanation.results, overlays)]
    whole: dict[str, object] = {"image": image, "model": explanation.model}
    return whole | documents[0] if len(documents) == 1 else whole | {"results": documents}


def prediction_difference(run: "DifferenceRun", one: results.DifferenceMap, overlay: Path | None) -> dict[str, object]:
    """Return what each pixel of an image is worth for a target, and how that was found."""
    explanation = run.explanation
    sampler = explanation.sampler
    document: dict[str, object] = {
        "image": run.image,
        "target": one.target,
        "value": one.value,
        "unit": one.measure,
        "map": grid(one.values),
        "standard_error": None if one.standard_errors is None else grid(one.standard_errors),
    }
    if one.sensitivities is not None:
        document["sensitivity"] = grid(one.sensitivities)
    document |= {
        "evaluations": explanation.evaluations,
        "planned_evaluations": explanation.planned_evaluations,
        "seed": sampler.seed if sampler else None,
        "sampler": asdict(sampler) if sampler else None,
        **asdict(run.setting),
        "name": explanation.name,
        "model": explanation.model,
        "complete": explanation.complete,
        "multiplied_share": explanation.multiplied_share,
        "computed_whole": list(explanation.computed_whole),
    }
    if run.network:
        document["network"] = run.network
    return document | {"overlay": str(overlay)} if overlay else document


def layers(model: results.Model) -> dict[str, object]:
    """Return the layers of a model by name."""
    return {"model": model.fingerprint, "backbone": model.backbone, "layers": [asdict(one) for one in model.layers]}


def embedding(query: str, embedding: results.Embedding) -> dict[str, object]:
    """Return an embedding and, if it came, its feature map as values[row][column][channel]."""
    document: dict[str, object] = {
        "query": query,
        "model": embedding.model,
        "width_px": embedding.width_px,
        "height_px": embedding.height_px,
        "embedding": embedding.embedding.tolist(),
    }
    if embedding.feature_map is not None:
        rows, columns, channels = embedding.feature_map.shape
        document["feature_map"] = {
            "rows": rows,
            "columns": columns,
            "channels": channels,
            "values": embedding.feature_map.tolist(),
        }
    return document


def _head(head: results.Head) -> dict[str, object]:
    return {
        "kind": head.kind,
        "dimensions": head.dimensions,
        "version": head.version,
        "image_count": head.image_count,
        "model": head.model,
        "create_time": head.create_time.isoformat(),
    }


def _match(rank: int, match: results.Match, overlays: dict[str, Path], by_region: bool) -> dict[str, object]:
    document: dict[str, object] = {
        "name": match.name,
        "label": match.label,
        "score": match.score,
        "image_score": match.image_score,
        "metadata": dict(match.image.metadata),
    }
    if by_region:
        document["region_share"] = match.region_share
    if match.query_map:
        document["query_map"] = _similarity_map(match.query_map, overlays.get(f"{rank:02}-query"))
    if match.match_map:
        document["match_map"] = _similarity_map(match.match_map, overlays.get(f"{rank:02}-match"))
    return document


def _activeness(
    one: results.Activeness, explanation: results.InterActiveExplanation, overlay: Path | None
) -> dict[str, object]:
    document: dict[str, object] = {
        "layer": one.setting.layer,
        "supervision": one.setting.supervision,
        "norm": one.setting.norm if math.isfinite(one.setting.norm) else "inf",
        "input": {"width": explanation.input_width_px, "height": explanation.input_height_px},
        "map": grid(one.map.values),
    }
    if one.descriptor is not None:
        document["descriptor"] = one.descriptor.tolist()
    return document | {"overlay": str(overlay)} if overlay else document


def grid(values: NDArray[np.float32] | NDArray[np.int32]) -> dict[str, object]:
    """Return values[row][column]."""
    rows, columns = values.shape
    return {"rows": rows, "columns": columns, "values": values.tolist()}


def _channel(channel: results.ChannelShare, card: Path | None) -> dict[str, object]:
    """Return a channel and, if it is one, the unit that it is."""
    document: dict[str, object] = {"channel": channel.channel, "score": channel.score, "share": channel.share}
    if channel.unit:
        document["unit"] = {"layer": channel.unit[0], "unit": channel.unit[1]}
    return document | {"card": str(card)} if card else document


def _similarity_map(similarity_map: results.SimilarityMap, overlay: Path | None) -> dict[str, object]:
    """Return a map as values[row][column], and the file of its picture if one was written."""
    rows, columns = similarity_map.values.shape
    document: dict[str, object] = {
        "rows": rows,
        "columns": columns,
        "values": similarity_map.values.tolist(),
        "total": similarity_map.total,
        "best_box": asdict(similarity_map.best_box) if similarity_map.best_box else None,
    }
    return document | {"overlay": str(overlay)} if overlay else document
