"""Results from responses: together with `requests` the only place of the client that knows the fields of messages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from typing import TypeAlias

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp

from whymatch.client import errors, results, targets
from whymatch.client.inputs import Stored
from whymatch.v1 import (
    embed_service_pb2,
    errors_pb2,
    explain_service_pb2,
    gallery_service_pb2,
    search_service_pb2,
    similarity_pb2,
)

_WithColorScale: TypeAlias = (
    search_service_pb2.SearchResponse
    | search_service_pb2.RerankResponse
    | explain_service_pb2.ExplainMatchResponse
    | explain_service_pb2.ExplainLabelResponse
    | explain_service_pb2.Activeness
    | explain_service_pb2.PredictionDifference
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def short_name(path: str) -> str:
    """Return the last part of an API name."""
    return path.rpartition("/")[2]


def image(message: gallery_service_pb2.Image) -> results.Image:
    """Read what is known of one image."""
    return results.Image(
        name=short_name(message.name),
        label=message.label,
        metadata=dict(message.metadata),
        width_px=message.width_px,
        height_px=message.height_px,
        size_bytes=message.size_bytes,
        content_sha256=message.content_sha256,
        create_time=_time(message.create_time),
    )


def gallery(message: gallery_service_pb2.Gallery) -> results.Gallery:
    """Read what is known of one gallery."""
    return results.Gallery(
        name=short_name(message.name),
        model=message.model,
        index_factory=message.index_factory,
        omit_feature_maps=message.omit_feature_maps,
        image_count=message.image_count,
        create_time=_time(message.create_time),
        head=_head(message.head) if message.HasField("head") else None,
        generation=message.generation,
    )


def added(message: gallery_service_pb2.AddImagesResponse) -> results.Added:
    """Read what became of one image of a stream."""
    return results.Added(
        name=message.image_id,
        image=image(message.image) if message.HasField("image") else None,
        error=_stream_error(message.error) if message.HasField("error") else None,
        unchanged=message.unchanged,
        duplicate_of=short_name(message.duplicate_of),
    )


def search_result(
    message: search_service_pb2.SearchResponse | search_service_pb2.RerankResponse,
) -> results.SearchResult:
    """Read the matches of a search, or the candidates in their new order."""
    return results.SearchResult(
        matches=tuple(map(match, message.matches)),
        model=message.model,
        color_scale=_color_scale(message),
    )


def match(message: search_service_pb2.Match) -> results.Match:
    """Read one match."""
    return results.Match(
        image=image(message.image),
        score=message.score,
        image_score=message.image_score,
        query_map=_similarity_map(message.query_map) if message.HasField("query_map") else None,
        match_map=_similarity_map(message.match_map) if message.HasField("match_map") else None,
    )


def explanation(message: explain_service_pb2.ExplainMatchResponse) -> results.Explanation:
    """Read why two images match."""
    return results.Explanation(
        score=message.score,
        image_score=message.image_score,
        query_map=_similarity_map(message.query_map),
        match_map=_similarity_map(message.match_map),
        residual=message.residual,
        channels=tuple(_channel_share(channel, message.score) for channel in message.channels),
        correspondences=tuple(_correspondence(pair) for pair in message.correspondences),
        model=message.model,
        color_scale=_color_scale(message),
    )


def label_explanation(message: explain_service_pb2.ExplainLabelResponse) -> results.LabelExplanation:
    """Read why an image is similar to the images of a label."""
    return results.LabelExplanation(
        score=message.score,
        image_count=message.image_count,
        query_map=_similarity_map(message.query_map),
        model=message.model,
        color_scale=_color_scale(message),
    )


def component_shares(message: explain_service_pb2.ExplainComponentsResponse) -> results.ComponentShares:
    """Read how few channels carry a similarity."""
    return results.ComponentShares(
        mean=np.array(message.mean_shares, np.float32),
        low=np.array(message.low_shares, np.float32),
        high=np.array(message.high_shares, np.float32),
        pair_count=message.pair_count,
        model=message.model,
    )


def interactive_explanation(
    message: explain_service_pb2.ExplainInterActiveResponse,
) -> results.InterActiveExplanation:
    """Read how active the neurons of some layers are."""
    return results.InterActiveExplanation(
        results=tuple(_activeness(one) for one in message.results),
        input_width_px=message.input_width_px,
        input_height_px=message.input_height_px,
        model=message.model,
    )


def prediction_difference(
    message: explain_service_pb2.ExplainPredictionDifferenceResponse,
    given: Sequence[targets.PredictionTarget] = (),
) -> results.PredictionDifferenceExplanation:
    """Read how far an explanation is, and its maps.

    given: the targets of the request, which know the file of an image better than the answer does.
    """
    return results.PredictionDifferenceExplanation(
        name=short_name(message.name),
        model=message.model,
        maps=tuple(
            _difference_map(one, target) for one, target in zip(message.maps, chain(given, repeat(None)), strict=False)
        ),
        evaluations=message.evaluations,
        planned_evaluations=message.planned_evaluations,
        evaluations_per_second=message.evaluations_per_second,
        seconds_left=message.seconds_left,
        complete=message.complete,
        sampler=_patch_sampler(message.sampler) if message.HasField("sampler") else None,
        multiplied_share=message.multiplied_share,
        computed_whole=tuple(message.computed_whole),
        fitted_count=message.fitted_count,
        fit_count=message.fit_count,
    )


def embedding(message: embed_service_pb2.EmbedImageResponse) -> results.Embedding:
    """Read the embedding of an image."""
    feature_map = None
    if message.HasField("feature_map"):
        grid = message.feature_map
        feature_map = np.array(grid.values, np.float32).reshape(grid.rows, grid.columns, grid.channels)
    return results.Embedding(
        embedding=np.array(message.embedding, np.float32),
        feature_map=feature_map,
        model=message.model,
        width_px=message.width_px,
        height_px=message.height_px,
    )


def model(message: embed_service_pb2.Model) -> results.Model:
    """Read what is known of the server's model."""
    return results.Model(
        fingerprint=message.fingerprint,
        backbone=message.backbone,
        layer=message.layer,
        pooling=message.pooling,
        precision=message.precision,
        dimensions=message.dimensions,
        description=_description(message.description_json),
        layers=tuple(
            results.Layer(layer.name, tuple(layer.aliases), layer.channels, layer.has_units) for layer in message.layers
        ),
    )


def _head(message: gallery_service_pb2.Head) -> results.Head:
    return results.Head(
        kind=message.kind,
        dimensions=message.dimensions,
        version=message.version,
        image_count=message.image_count,
        model=message.model,
        create_time=_time(message.create_time),
    )


def _similarity_map(message: similarity_pb2.SimilarityMap) -> results.SimilarityMap:
    return results.SimilarityMap(
        values=np.array(message.values, np.float32).reshape(message.rows, message.columns),
        total=message.total,
        width_px=message.width_px,
        height_px=message.height_px,
        area=box(message.area),
        best_box=box(message.best_box) if message.HasField("best_box") else None,
        overlay_png=message.overlay_png,
    )


def _activeness(message: explain_service_pb2.Activeness) -> results.Activeness:
    setting = results.InterActiveSetting(message.setting.layer, message.setting.supervision, message.setting.norm)
    grid = message.map
    weight_map = results.WeightMap(
        values=np.array(grid.values, np.float32).reshape(grid.rows, grid.columns),
        width_px=grid.width_px,
        height_px=grid.height_px,
        overlay_png=grid.overlay_png,
    )
    descriptor = np.array(message.descriptor, np.float32) if message.descriptor else None
    return results.Activeness(setting, weight_map, descriptor, _color_scale(message))


def _difference_map(
    message: explain_service_pb2.PredictionDifference, given: targets.PredictionTarget | None
) -> results.DifferenceMap:
    shape = (message.rows, message.columns)
    errors, sensitivities = (
        np.array(values, np.float32).reshape(shape) if values else None
        for values in (message.standard_errors, message.sensitivities)
    )
    return results.DifferenceMap(
        target=str(given if isinstance(given, targets.Similarity) else _target(message.target)),
        value=message.value,
        unit=message.unit,
        values=np.array(message.values, np.float32).reshape(shape),
        standard_errors=errors,
        sensitivities=sensitivities,
        width_px=message.width_px,
        height_px=message.height_px,
        area=box(message.area),
        overlay_png=message.overlay_png,
        color_scale=_color_scale(message),
    )


def _target(message: explain_service_pb2.PredictionTarget) -> targets.PredictionTarget:
    unit = message.unit
    match message.WhichOneof("target"):
        case "class_probability":
            return targets.ClassProbability(message.class_probability)
        case "class_score":
            return targets.ClassScore(message.class_score)
        case "unit":
            cell = (unit.cell.row, unit.cell.column) if unit.HasField("cell") else None
            return targets.Unit(unit.layer, unit.channel, cell)
        case "label_evidence":
            return targets.Evidence(message.label_evidence)
        case "image_evidence":
            return targets.ImageEvidence(short_name(message.image_evidence))
    name = short_name(message.similarity.image)
    return targets.Similarity(Stored(name) if name else message.similarity.content)


def _patch_sampler(message: explain_service_pb2.PatchSampler) -> results.PatchSampler:
    return results.PatchSampler(message.kind, message.image_count, message.patch_count, message.seed)


def _channel_share(message: explain_service_pb2.ChannelShare, score: float) -> results.ChannelShare:
    share = message.score / score if score > 0 else 0.0
    unit = (message.unit.layer, message.unit.channel) if message.HasField("unit") else None
    return results.ChannelShare(message.channel, message.score, share, unit)


def _correspondence(message: explain_service_pb2.Correspondence) -> results.Correspondence:
    return results.Correspondence(box(message.query_box), box(message.match_box), message.score)


def box(message: similarity_pb2.PixelBox) -> results.Box:
    """Read a rectangle of pixels."""
    return results.Box(message.left_px, message.top_px, message.right_px, message.bottom_px)


def _color_scale(message: _WithColorScale) -> results.ColorScale | None:
    """Read the scale of the pictures, if there are any."""
    scale = message.color_scale
    return results.ColorScale(scale.low, scale.high, scale.color_map) if message.HasField("color_scale") else None


def _stream_error(message: errors_pb2.Error) -> errors.WhymatchError:
    from google.rpc import code_pb2

    known = code_pb2.Code.values()
    code = code_pb2.Code.Name(message.code) if message.code in known else "UNKNOWN"
    # An enum value that a newer server sends has no name here.
    names = errors_pb2.ErrorReason.DESCRIPTOR.values_by_number
    reason = names[message.reason].name.removeprefix("ERROR_REASON_") if message.reason in names else ""
    return errors.ERRORS.get(code, errors.WhymatchError)(message.message, reason=reason)


def _description(text: str) -> Mapping[str, object]:
    value: Mapping[str, object] = json.loads(text or "{}")
    return value


def _time(message: Timestamp) -> datetime:
    return EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)  # ToDatetime takes 5 us
