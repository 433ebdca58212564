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
        Model,
        PatchSampler,
        PredictionDifferenceExplanation,
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

__all__ = [
    "Activeness",
    "Added",
    "AlreadyExists",
    "AsyncClient",
    "Box",
    "Cancelled",
    "ChannelShare",
    "ClassProbability",
    "ClassScore",
    "Client",
    "ColorScale",
    "ComponentShares",
    "Correspondence",
    "DataLoss",
    "DeadlineExceeded",
    "DifferenceMap",
    "Embedding",
    "Evidence",
    "Explanation",
    "FailedPrecondition",
    "Gallery",
    "Head",
    "Image",
    "ImageEvidence",
    "InterActiveExplanation",
    "InterActiveSetting",
    "Internal",
    "InvalidArgument",
    "LabelExplanation",
    "Layer",
    "Mask",
    "Match",
    "MessageTooLarge",
    "Model",
    "NewImage",
    "NotFound",
    "PatchSampler",
    "PermissionDenied",
    "Point",
    "Polygon",
    "PredictionDifferenceExplanation",
    "Region",
    "ResourceExhausted",
    "SearchResult",
    "Similarity",
    "SimilarityMap",
    "Stored",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unit",
    "WeightMap",
    "WhymatchError",
    "read_target",
]

_MODULES = ("errors", "inputs", "results", "targets", "client", "aio")


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
