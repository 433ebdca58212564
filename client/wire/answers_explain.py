"""Answers of ExplainService; those of prediction difference have a file of their own."""

from __future__ import annotations

import numpy as np

from whymatch.client import results
from whymatch.client.wire import answers_shapes
from whymatch.v1 import explain_service_pb2


def explanation(message: explain_service_pb2.ExplainMatchResponse) -> results.MatchExplanation:
    """Read why two images match."""
    return results.MatchExplanation(
        score=message.score,
        image_score=message.image_score,
        query_map=answers_shapes.similarity_map(message.query_map),
        match_map=answers_shapes.similarity_map(message.match_map),
        residual=message.residual,
        channels=tuple(_channel_share(channel, message.score) for channel in message.channels),
        correspondences=tuple(_correspondence(pair) for pair in message.correspondences),
        model=message.model,
        color_scale=answers_shapes.color_scale(message),
        provenance=answers_shapes.provenance(message),
    )


def label_explanation(message: explain_service_pb2.ExplainLabelResponse) -> results.LabelExplanation:
    """Read why an image is similar to the images of a label."""
    return results.LabelExplanation(
        score=message.score,
        image_count=message.image_count,
        query_map=answers_shapes.similarity_map(message.query_map),
        model=message.model,
        color_scale=answers_shapes.color_scale(message),
        provenance=answers_shapes.provenance(message),
    )


def component_shares(message: explain_service_pb2.ExplainComponentsResponse) -> results.ComponentShares:
    """Read how few channels carry a similarity."""
    return results.ComponentShares(
        mean=np.array(message.mean_shares, np.float32),
        low=np.array(message.low_shares, np.float32),
        high=np.array(message.high_shares, np.float32),
        pair_count=message.pair_count,
        model=message.model,
        provenance=answers_shapes.provenance(message),
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
        provenance=answers_shapes.provenance(message),
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
    return results.Activeness(setting, weight_map, descriptor, answers_shapes.color_scale(message))


def _channel_share(message: explain_service_pb2.ChannelShare, score: float) -> results.ChannelShare:
    share = message.score / score if score > 0 else 0.0
    unit = (message.unit.layer, message.unit.channel) if message.HasField("unit") else None
    return results.ChannelShare(message.channel, message.score, share, unit)


def _correspondence(message: explain_service_pb2.Correspondence) -> results.Correspondence:
    return results.Correspondence(
        answers_shapes.box(message.query_box), answers_shapes.box(message.match_box), message.score
    )
