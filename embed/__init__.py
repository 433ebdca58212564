"""Image bytes to feature map to embedding: decoding, geometry, backbones, pooling, linear head."""

from whymatch.embed.activeness import Activeness, Aggregation, InterActive, InterActiveSetting
from whymatch.embed.alterations import Alterations, ClassScores, End, PooledVector, Responses
from whymatch.embed.embedder import Embedder
from whymatch.embed.errors import (
    BadFolder,
    BadHead,
    BadLayer,
    BadModel,
    BadRequest,
    BadVector,
    BrokenImage,
    ImageTooLarge,
    NoClassScores,
    NoReluLayers,
    NotAnImage,
    TooFewImages,
    TooManyPixels,
    TrainingFailed,
    WhymatchError,
)
from whymatch.embed.features import Features, check_embedding
from whymatch.embed.folders import LabeledImage, find_images, labels_of
from whymatch.embed.geometry import Geometry, Placement
from whymatch.embed.head import (
    MAX_DIMENSIONS,
    NO_HEAD,
    ONE_BLAS_THREAD,
    Head,
    HeadKind,
    fit_centering,
    fit_whitening,
    linear_head,
    normalized,
)
from whymatch.embed.image import DecodeLimits, decode_image, decode_unconverted, media_type
from whymatch.embed.layers import Layer, Layers
from whymatch.embed.model import Model, Prepared, load_model, load_named_model
from whymatch.embed.moments import Moments
from whymatch.embed.pooling import Array, Pooling
from whymatch.embed.progress import Progress
from whymatch.embed.single_thread import in_pieces

__all__ = [
    "MAX_DIMENSIONS",
    "NO_HEAD",
    "ONE_BLAS_THREAD",
    "Activeness",
    "Aggregation",
    "Alterations",
    "Array",
    "BadFolder",
    "BadHead",
    "BadLayer",
    "BadModel",
    "BadRequest",
    "BadVector",
    "BrokenImage",
    "ClassScores",
    "DecodeLimits",
    "Embedder",
    "End",
    "Features",
    "Geometry",
    "Head",
    "HeadKind",
    "ImageTooLarge",
    "InterActive",
    "InterActiveSetting",
    "LabeledImage",
    "Layer",
    "Layers",
    "Model",
    "Moments",
    "NoClassScores",
    "NoReluLayers",
    "NotAnImage",
    "Placement",
    "PooledVector",
    "Pooling",
    "Prepared",
    "Progress",
    "Responses",
    "TooFewImages",
    "TooManyPixels",
    "TrainingFailed",
    "WhymatchError",
    "check_embedding",
    "decode_image",
    "decode_unconverted",
    "find_images",
    "fit_centering",
    "fit_whitening",
    "in_pieces",
    "labels_of",
    "linear_head",
    "load_model",
    "load_named_model",
    "media_type",
    "normalized",
]
