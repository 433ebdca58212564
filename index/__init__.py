"""Remembers and finds: the durable store, the vector index, and the gallery on top of both."""

from whymatch.index.errors import (
    BadIndexFactory,
    BadName,
    BadRequest,
    BrokenGallery,
    GalleryExists,
    ImageExists,
    ModelMismatch,
    NewerFormat,
    ReadOnlyStorage,
    StorageFull,
    StorageInUse,
    UnknownGallery,
    UnknownImage,
    UnknownLabel,
)
from whymatch.index.galleries import Galleries
from whymatch.index.gallery import Gallery
from whymatch.index.images import (
    Added,
    GalleryFacts,
    Match,
    NewImage,
    StoredImage,
    check_gallery_name,
    check_image_name,
)
from whymatch.index.vector_index import VectorIndex

__all__ = [
    "Added",
    "BadIndexFactory",
    "BadName",
    "BadRequest",
    "BrokenGallery",
    "Galleries",
    "Gallery",
    "GalleryExists",
    "GalleryFacts",
    "ImageExists",
    "Match",
    "ModelMismatch",
    "NewImage",
    "NewerFormat",
    "ReadOnlyStorage",
    "StorageFull",
    "StorageInUse",
    "StoredImage",
    "UnknownGallery",
    "UnknownImage",
    "UnknownLabel",
    "VectorIndex",
    "check_gallery_name",
    "check_image_name",
]
