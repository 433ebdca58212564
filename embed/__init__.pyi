"""Image bytes to feature map to embedding: decoding, geometry, backbones, pooling, linear head."""

from .activeness import Activeness, Aggregation, InterActive, InterActiveSetting
from .alterations import Alterations, ClassScores, End, PooledVector, Responses
from .embedder import Embedder
from .errors import (
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
from .features import Features, check_embedding
from .folders import LabeledImage, find_images, labels_of, read_image_file
from .geometry import Geometry, Placement
from .head import (
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
from .image import DecodeLimits, decode_image, decode_unconverted, media_type
from .layer_maps import LayerMaps
from .layers import Layer, Layers
from .model import Model, Prepared, load_model, load_named_model
from .moments import Moments
from .pictures.folders import LeftOut
from .pooling import Array, Pooling
from .progress import Progress
from .single_thread import in_pieces

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
    "LayerMaps",
    "Layers",
    "LeftOut",
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
    "read_image_file",
]
