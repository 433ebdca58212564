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
        channels=tuple(_channel_share(one, _share(one.score, max(message.score, 0.0))) for one in message.channels),
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


def ranking(message: explain_service_pb2.ExplainRankingResponse) -> results.RankingExplanation:
    """Read why a query is more similar to one thing than to another."""
    of_matches = answers_shapes.scale(message.match_color_scale) if message.HasField("match_color_scale") else None
    return results.RankingExplanation(
        gap=message.gap,
        first=_ranked(message.first),
        second=_ranked(message.second),
        difference_map=answers_shapes.similarity_map(message.difference_map),
        channels=tuple(_channel_share(one, _share(one.score, message.gap)) for one in message.channels),
        cells=tuple(
            results.CellShare(answers_shapes.box(one.box), one.score, _share(one.score, message.gap))
            for one in message.cells
        ),
        residual=message.residual,
        model=message.model,
        color_scale=answers_shapes.color_scale(message),
        match_color_scale=of_matches,
        provenance=answers_shapes.provenance(message),
    )


def standing(message: explain_service_pb2.ExplainRankResponse) -> results.Standing:
    """Read where an image stands."""
    return results.Standing(
        score=message.score,
        rank=message.rank,
        image_count=message.image_count,
        needed_score=message.needed_score,
        rival=answers_shapes.short_name(message.rival),
        rival_rank=message.rival_rank,
        model=message.model,
        provenance=answers_shapes.provenance(message),
    )


def neighborhood(message: explain_service_pb2.ExplainNeighborsResponse) -> results.Neighborhood:
    """Read the labels around a query."""
    return results.Neighborhood(
        neighbor_count=message.neighbor_count,
        neighbors=tuple(
            results.NeighborLabel(one.label, one.neighbor_count, one.share, one.score_share)
            for one in message.neighbors
        ),
        label_count=message.label_count,
        best_labels=tuple(map(_label_score, message.best_labels)),
        worst_labels=tuple(map(_label_score, message.worst_labels)),
        model=message.model,
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


def _ranked(message: explain_service_pb2.RankedScore) -> results.RankedScore:
    return results.RankedScore(
        score=message.score,
        image_count=message.image_count,
        match_map=answers_shapes.similarity_map(message.match_map) if message.HasField("match_map") else None,
        content_sha256=message.content_sha256,
    )


def _label_score(message: explain_service_pb2.LabelScore) -> results.LabelScore:
    return results.LabelScore(message.label, message.image_count, message.score)


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _channel_share(message: explain_service_pb2.ChannelShare, share: float) -> results.ChannelShare:
    unit = (message.unit.layer, message.unit.channel) if message.HasField("unit") else None
    return results.ChannelShare(message.channel, message.score, share, unit)


def _correspondence(message: explain_service_pb2.Correspondence) -> results.Correspondence:
    return results.Correspondence(
        answers_shapes.box(message.query_box), answers_shapes.box(message.match_box), message.score
    )
