"""The Python client: search, explanations and galleries over gRPC, without torch or faiss."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from whymatch.client.aio import AsyncClient
    from whymatch.client.client import Client
    from whymatch.client.errors import (
        AlreadyExists,
        Cancelled,
        DataLoss,
        DeadlineExceeded,
        FailedPrecondition,
        Internal,
        InvalidArgument,
        MessageTooLarge,
        NotFound,
        PermissionDenied,
        ResourceExhausted,
        Unauthenticated,
        Unavailable,
        Unimplemented,
        WhymatchError,
    )
    from whymatch.client.inputs import Mask, NewImage, Point, Polygon, Region, Stored
    from whymatch.client.results import (
        Activeness,
        Added,
        Box,
        ChannelShare,
        ColorScale,
        ComponentShares,
        Correspondence,
        DifferenceMap,
        Embedding,
        Explanation,
        Gallery,
        Head,
        Image,
        InterActiveExplanation,
        InterActiveSetting,
        LabelExplanation,
        Layer,
        Match,
        MatchExplanation,
        Model,
        PatchSampler,
        PredictionDifferenceExplanation,
        Progress,
        SearchResult,
        SimilarityMap,
        WeightMap,
    )
    from whymatch.client.targets import (
        ClassProbability,
        ClassScore,
        Evidence,
        ImageEvidence,
        Similarity,
        Unit,
        read_target,
    )
    from whymatch.client.unit_results import (
        AxisSetting,
        ColorAxis,
        ColorCategory,
        ColorSelectivity,
        ColorShare,
        ColorThresholds,
        DecodedFilter,
        EmpiricalField,
        FilterColor,
        LabelShare,
        LayerColors,
        MinimalImageStep,
        OccluderSetting,
        Segmentation,
        SelectivitySetting,
        TheoreticalField,
        TopImage,
        UnitColors,
        UnitDescription,
        UnitProgress,
        UnitSegment,
    )

__all__ = [
    "Activeness",
    "Added",
    "AlreadyExists",
    "AsyncClient",
    "AxisSetting",
    "Box",
    "Cancelled",
    "ChannelShare",
    "ClassProbability",
    "ClassScore",
    "Client",
    "ColorAxis",
    "ColorCategory",
    "ColorScale",
    "ColorSelectivity",
    "ColorShare",
    "ColorThresholds",
    "ComponentShares",
    "Correspondence",
    "DataLoss",
    "DeadlineExceeded",
    "DecodedFilter",
    "DifferenceMap",
    "Embedding",
    "EmpiricalField",
    "Evidence",
    "Explanation",
    "FailedPrecondition",
    "FilterColor",
    "Gallery",
    "Head",
    "Image",
    "ImageEvidence",
    "InterActiveExplanation",
    "InterActiveSetting",
    "Internal",
    "InvalidArgument",
    "LabelExplanation",
    "LabelShare",
    "Layer",
    "LayerColors",
    "Mask",
    "Match",
    "MatchExplanation",
    "MessageTooLarge",
    "MinimalImageStep",
    "Model",
    "NewImage",
    "NotFound",
    "OccluderSetting",
    "PatchSampler",
    "PermissionDenied",
    "Point",
    "Polygon",
    "PredictionDifferenceExplanation",
    "Progress",
    "Region",
    "ResourceExhausted",
    "SearchResult",
    "Segmentation",
    "SelectivitySetting",
    "Similarity",
    "SimilarityMap",
    "Stored",
    "TheoreticalField",
    "TopImage",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unit",
    "UnitColors",
    "UnitDescription",
    "UnitProgress",
    "UnitSegment",
    "WeightMap",
    "WhymatchError",
    "read_target",
]

_MODULES = ("errors", "inputs", "results", "targets", "unit_results", "client", "aio")


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that `whymatch --help` need not wait for NumPy and gRPC."""
    if name in __all__:
        for module in _MODULES:
            found = getattr(import_module(f"whymatch.client.{module}"), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module 'whymatch.client' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
