"""Says where and why images match: similarity maps that add up to the score, regions, InterActive, and pictures."""

from whymatch.explain.errors import BadRegion, EmptyRegion, NoLabeledPairs
from whymatch.explain.interactive import (
    MAX_SIZE_PX,
    MIN_SIZE_PX,
    SIZE_PX,
    InterActiveExplanation,
    WeightMap,
    explain_interactive,
    reweighted_scores,
)
from whymatch.explain.leading import (
    Bounds,
    ChannelShare,
    Correspondence,
    best_box,
    component_shares,
    correspondences,
    leading_channels,
)
from whymatch.explain.regions import Box, Mask, Point, Polygon, Region, cell_weights, check_count, read_mask
from whymatch.explain.rendering import ColorScale, load_picture, render_overlay, shared_scale
from whymatch.explain.similarity import MatchExplanation, SimilarityMap, explain_match, region_vector, similarity_map

__all__ = [
    "MAX_SIZE_PX",
    "MIN_SIZE_PX",
    "SIZE_PX",
    "BadRegion",
    "Bounds",
    "Box",
    "ChannelShare",
    "ColorScale",
    "Correspondence",
    "EmptyRegion",
    "InterActiveExplanation",
    "Mask",
    "MatchExplanation",
    "NoLabeledPairs",
    "Point",
    "Polygon",
    "Region",
    "SimilarityMap",
    "WeightMap",
    "best_box",
    "cell_weights",
    "check_count",
    "component_shares",
    "correspondences",
    "explain_interactive",
    "explain_match",
    "leading_channels",
    "load_picture",
    "read_mask",
    "region_vector",
    "render_overlay",
    "reweighted_scores",
    "shared_scale",
    "similarity_map",
]
