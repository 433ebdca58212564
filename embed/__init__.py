"""Image bytes to feature map to embedding: decoding, geometry, backbones, pooling."""

from whymatch.embed.embedder import Embedder
from whymatch.embed.errors import (
    BadModel,
    BadVector,
    BrokenImage,
    ImageTooLarge,
    NotAnImage,
    TooManyPixels,
    WhymatchError,
)
from whymatch.embed.features import Features, check_embedding, unit
from whymatch.embed.geometry import Geometry, Placement
from whymatch.embed.image import DecodeLimits, decode_image, media_type
from whymatch.embed.model import Model, Prepared, load_model
from whymatch.embed.pieces import in_pieces
from whymatch.embed.pooling import Array, Pooling

__all__ = [
    "Array",
    "BadModel",
    "BadVector",
    "BrokenImage",
    "DecodeLimits",
    "Embedder",
    "Features",
    "Geometry",
    "ImageTooLarge",
    "Model",
    "NotAnImage",
    "Placement",
    "Pooling",
    "Prepared",
    "TooManyPixels",
    "WhymatchError",
    "check_embedding",
    "decode_image",
    "in_pieces",
    "load_model",
    "media_type",
    "unit",
]
