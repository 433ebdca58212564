"""What answers of several services hold: names, maps, boxes and the scale of their colors."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC
from typing import TypeAlias

import numpy as np

from whymatch.client import results
from whymatch.v1 import embed_service_pb2, explain_service_pb2, search_service_pb2, shapes_pb2, unit_service_pb2

_WithColorScale: TypeAlias = (
    search_service_pb2.SearchResponse
    | search_service_pb2.RerankResponse
    | explain_service_pb2.ExplainMatchResponse
    | explain_service_pb2.ExplainLabelResponse
    | explain_service_pb2.ExplainRankingResponse
    | explain_service_pb2.Activeness
    | explain_service_pb2.PredictionDifference
)

_WithProvenance: TypeAlias = (
    embed_service_pb2.EmbedImageResponse
    | search_service_pb2.SearchResponse
    | search_service_pb2.RerankResponse
    | search_service_pb2.FindDuplicatesResponse
    | explain_service_pb2.ExplainMatchResponse
    | explain_service_pb2.ExplainLabelResponse
    | explain_service_pb2.ExplainRankingResponse
    | explain_service_pb2.ExplainRankResponse
    | explain_service_pb2.ExplainNeighborsResponse
    | explain_service_pb2.ExplainComponentsResponse
    | explain_service_pb2.ExplainInterActiveResponse
    | explain_service_pb2.ExplainPredictionDifferenceResponse
    | unit_service_pb2.DescribeUnitsResponse
    | unit_service_pb2.DecodeFiltersResponse
    | unit_service_pb2.DescribeLayerColorsResponse
    | unit_service_pb2.FindReceptiveFieldResponse
    | unit_service_pb2.SegmentUnitsResponse
    | unit_service_pb2.FindMinimalImageResponse
)


def short_name(path: str) -> str:
    """Return the last part of an API name."""
    return path.rpartition("/")[2]


def provenance(message: _WithProvenance) -> results.Provenance | None:
    """Read where an answer comes from; None from a server that does not say."""
    if not message.HasField("provenance"):
        return None
    one = message.provenance
    facts = {field.name: getattr(one, field.name) for field in fields(results.Provenance)}
    created = one.gallery_create_time.ToDatetime(UTC) if one.HasField("gallery_create_time") else None
    plain = {"gallery": short_name(one.gallery), "gallery_create_time": created}
    return results.Provenance(**facts | plain | {"example_sha256": tuple(one.example_sha256)})


def progress(message: shapes_pb2.Progress) -> results.Progress:
    """Read how far a call is."""
    return results.Progress(message.counted, message.done, message.total)


def similarity_map(message: shapes_pb2.SimilarityMap) -> results.SimilarityMap:
    """Read a map."""
    return results.SimilarityMap(
        values=np.array(message.values, np.float32).reshape(message.rows, message.columns),
        total=message.total,
        width_px=message.width_px,
        height_px=message.height_px,
        area=box(message.area),
        best_box=box(message.best_box) if message.HasField("best_box") else None,
        overlay_png=message.overlay_png,
    )


def box(message: shapes_pb2.PixelBox) -> results.Box:
    """Read a rectangle of pixels."""
    return results.Box(message.left_px, message.top_px, message.right_px, message.bottom_px)


def color_scale(message: _WithColorScale) -> results.ColorScale | None:
    """Read the scale of the pictures, if there are any."""
    return scale(message.color_scale) if message.HasField("color_scale") else None


def scale(message: shapes_pb2.ColorScale) -> results.ColorScale:
    """Read a scale."""
    return results.ColorScale(message.low, message.high, message.color_map)
