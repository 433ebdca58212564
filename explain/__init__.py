"""Says where and why images match: similarity maps, regions, InterActive, prediction difference, and pictures."""

from whymatch.explain.errors import BadRegion, BadTarget, BadWindow, EmptyRegion, NoLabeledPairs
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
from whymatch.explain.patches import PatchNormal, fit_patches, load_patch_normal
from whymatch.explain.prediction_difference import DifferenceMap, PredictionDifference, PredictionDifferenceSetting
from whymatch.explain.regions import Box, Mask, Point, Polygon, Region, cell_weights, check_count, read_mask
from whymatch.explain.rendering import ColorScale, load_picture, render_overlay, shared_scale, signed_scale
from whymatch.explain.samplers import ConditionalSampler, MarginalSampler, MeanSampler, Sampler, SamplerKind
from whymatch.explain.similarity import MatchExplanation, SimilarityMap, explain_match, region_vector, similarity_map
from whymatch.explain.targets import (
    NEIGHBORS,
    Target,
    class_probability,
    class_score,
    evidence,
    similarity,
    unit,
)

__all__ = [
    "MAX_SIZE_PX",
    "MIN_SIZE_PX",
    "NEIGHBORS",
    "SIZE_PX",
    "BadRegion",
    "BadTarget",
    "BadWindow",
    "Bounds",
    "Box",
    "ChannelShare",
    "ColorScale",
    "ConditionalSampler",
    "Correspondence",
    "DifferenceMap",
    "EmptyRegion",
    "InterActiveExplanation",
    "MarginalSampler",
    "Mask",
    "MatchExplanation",
    "MeanSampler",
    "NoLabeledPairs",
    "PatchNormal",
    "Point",
    "Polygon",
    "PredictionDifference",
    "PredictionDifferenceSetting",
    "Region",
    "Sampler",
    "SamplerKind",
    "SimilarityMap",
    "Target",
    "WeightMap",
    "best_box",
    "cell_weights",
    "check_count",
    "class_probability",
    "class_score",
    "component_shares",
    "correspondences",
    "evidence",
    "explain_interactive",
    "explain_match",
    "fit_patches",
    "leading_channels",
    "load_patch_normal",
    "load_picture",
    "read_mask",
    "region_vector",
    "render_overlay",
    "reweighted_scores",
    "shared_scale",
    "signed_scale",
    "similarity",
    "similarity_map",
    "unit",
]
