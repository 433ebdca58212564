"""Answers of ExplainService; those of prediction difference have a file of their own."""

from collections.abc import Sequence
from typing import TypeAlias

from whymatch.embed import Aggregation, Array
from whymatch.explain import (
    CellShare,
    ChannelShare,
    ColorScale,
    Correspondence,
    InterActiveExplanation,
    MatchExplanation,
    WeightMap,
)
from whymatch.index import LabelScore, Standing
from whymatch.server.match_maps import MatchMaps, ShownMap
from whymatch.server.provenance import Provenance
from whymatch.server.rankings import Neighborhood, Ranked, Ranking
from whymatch.server.wire import answers_shapes
from whymatch.v1 import explain_service_pb2, shapes_pb2

Leading: TypeAlias = tuple[ChannelShare, tuple[str, int] | None]
"""A channel, with layer and channel of the unit that it is, if it is one."""


def explain_response(
    origin: Provenance,
    explanation: MatchExplanation,
    match_maps: MatchMaps,
    scale: ColorScale | None,
    channels: Sequence[Leading],
    pairs: Sequence[Correspondence],
) -> explain_service_pb2.ExplainMatchResponse:
    """Return why two images match."""
    return explain_service_pb2.ExplainMatchResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        score=explanation.score,
        query_map=answers_shapes.similarity_map(match_maps.query) if match_maps.query else None,
        match_map=answers_shapes.similarity_map(match_maps.match),
        residual=explanation.residual,
        color_scale=answers_shapes.color_scale(scale),
        image_score=explanation.image_score,
        channels=_channels(channels),
        correspondences=[
            explain_service_pb2.Correspondence(
                query_box=answers_shapes.box(one.query_cell),
                match_box=answers_shapes.box(one.match_cell),
                score=one.score,
            )
            for one in pairs
        ],
    )


def label_response(
    origin: Provenance, score: float, count: int, query_map: ShownMap, scale: ColorScale | None
) -> explain_service_pb2.ExplainLabelResponse:
    """Return why an image is similar to the images of a label."""
    return explain_service_pb2.ExplainLabelResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        score=score,
        image_count=count,
        query_map=answers_shapes.similarity_map(query_map),
        color_scale=answers_shapes.color_scale(scale),
    )


def ranking_response(
    origin: Provenance, ranking: Ranking, channels: Sequence[Leading], cells: Sequence[CellShare]
) -> explain_service_pb2.ExplainRankingResponse:
    """Return why a query is more similar to one thing than to another."""
    return explain_service_pb2.ExplainRankingResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        gap=ranking.explanation.gap,
        first=_ranked(ranking.first, ranking.explanation.first_score),
        second=_ranked(ranking.second, ranking.explanation.second_score),
        difference_map=answers_shapes.similarity_map(ranking.difference),
        channels=_channels(channels),
        cells=[explain_service_pb2.CellShare(box=answers_shapes.box(one.cell), score=one.score) for one in cells],
        residual=ranking.explanation.residual,
        color_scale=answers_shapes.color_scale(ranking.scale),
        match_color_scale=answers_shapes.color_scale(ranking.match_scale),
    )


def rank_response(origin: Provenance, gallery: str, standing: Standing) -> explain_service_pb2.ExplainRankResponse:
    """Return where an image stands."""
    return explain_service_pb2.ExplainRankResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        score=standing.score,
        rank=standing.rank,
        image_count=standing.image_count,
        needed_score=standing.rival_score,
        rival=answers_shapes.image_name(gallery, standing.rival.name),
        rival_rank=standing.rival_rank,
    )


def neighbors_response(
    origin: Provenance, found: Neighborhood, label_limit: int
) -> explain_service_pb2.ExplainNeighborsResponse:
    """Return the labels around a query, the best and the worst `label_limit` of all labels among them."""
    best, rest = found.labels[:label_limit], found.labels[label_limit:]
    return explain_service_pb2.ExplainNeighborsResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        neighbor_count=found.neighbor_count,
        neighbors=[
            explain_service_pb2.NeighborLabel(
                label=one.label, neighbor_count=one.neighbor_count, share=one.share, score_share=one.score_share
            )
            for one in found.neighbors
        ],
        label_count=len(found.labels),
        best_labels=[_label_score(one) for one in best],
        worst_labels=[_label_score(one) for one in rest[::-1][:label_limit]],
    )


def components_response(
    origin: Provenance, pair_count: int, mean: Array, low: Array, high: Array
) -> explain_service_pb2.ExplainComponentsResponse:
    """Return how few channels carry a similarity: for K from 1 to all the share in the K leading ones, (C,) each."""
    return explain_service_pb2.ExplainComponentsResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        pair_count=pair_count,
        mean_shares=mean,
        low_shares=low,
        high_shares=high,
    )


def interactive_response(
    origin: Provenance,
    explanation: InterActiveExplanation,
    descriptor: Aggregation | None,
    drawings: Sequence[tuple[bytes, ColorScale]],
) -> explain_service_pb2.ExplainInterActiveResponse:
    """Return how active the neurons of some layers are; `drawings` are empty or one for each map."""
    width, height = explanation.input_size
    response = explain_service_pb2.ExplainInterActiveResponse(
        model=origin.model,
        provenance=answers_shapes.provenance(origin),
        input_width_px=width,
        input_height_px=height,
    )
    parts = zip(explanation.settings, explanation.results, explanation.maps, strict=True)
    for number, (setting, result, weight_map) in enumerate(parts):
        picture, scale = drawings[number] if drawings else (b"", None)
        response.results.add(
            setting=explain_service_pb2.InterActiveSetting(
                layer=setting.layer, supervision=setting.supervision, norm=setting.norm
            ),
            map=_weight_map(weight_map, picture),
            descriptor=result.descriptor(descriptor).tolist() if descriptor else (),
            color_scale=answers_shapes.color_scale(scale),
        )
    return response


def _channels(channels: Sequence[Leading]) -> list[explain_service_pb2.ChannelShare]:
    return [
        explain_service_pb2.ChannelShare(channel=one.channel, score=one.score, unit=_unit(unit))
        for one, unit in channels
    ]


def _ranked(one: Ranked, score: float) -> explain_service_pb2.RankedScore:
    return explain_service_pb2.RankedScore(
        score=score,
        image_count=one.image_count,
        match_map=answers_shapes.similarity_map(one.match_map) if one.match_map else None,
        content_sha256=one.content_sha256,
    )


def _label_score(one: LabelScore) -> explain_service_pb2.LabelScore:
    return explain_service_pb2.LabelScore(label=one.label, image_count=one.image_count, score=one.score)


def _weight_map(weight_map: WeightMap, picture: bytes) -> explain_service_pb2.WeightMap:
    rows, columns = weight_map.values.shape
    return explain_service_pb2.WeightMap(
        rows=rows,
        columns=columns,
        values=weight_map.values.ravel().tolist(),
        width_px=weight_map.placement.width_px,
        height_px=weight_map.placement.height_px,
        overlay_png=picture,
    )


def _unit(unit: tuple[str, int] | None) -> shapes_pb2.Unit | None:
    return shapes_pb2.Unit(layer=unit[0], channel=unit[1]) if unit else None
