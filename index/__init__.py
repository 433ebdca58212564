"""Remembers and finds: the durable store, the vector index, and the gallery on top of both."""

from whymatch.index.errors import (
    BadIndexFactory,
    BadName,
    BrokenGallery,
    GalleryExists,
    ImageExists,
    ModelMismatch,
    NewerFormat,
    OtherEmbedding,
    ReadOnlyStorage,
    StorageFailed,
    StorageFull,
    StorageInUse,
    TooManyFiles,
    UnknownGallery,
    UnknownImage,
    UnknownLabel,
)
from whymatch.index.galleries import Galleries
from whymatch.index.gallery import Fitting, Gallery
from whymatch.index.gallery_version import GalleryVersion
from whymatch.index.open_files import raise_file_limit
from whymatch.index.records import (
    Added,
    GalleryFacts,
    HeadFacts,
    Match,
    NewImage,
    StoredImage,
    check_gallery_name,
    check_image_name,
    content_digest,
)
from whymatch.index.selection import EVERYTHING, Selection
from whymatch.index.vector_index import VectorIndex

__all__ = [
    "EVERYTHING",
    "Added",
    "BadIndexFactory",
    "BadName",
    "BrokenGallery",
    "Fitting",
    "Galleries",
    "Gallery",
    "GalleryExists",
    "GalleryFacts",
    "GalleryVersion",
    "HeadFacts",
    "ImageExists",
    "Match",
    "ModelMismatch",
    "NewImage",
    "NewerFormat",
    "OtherEmbedding",
    "ReadOnlyStorage",
    "Selection",
    "StorageFailed",
    "StorageFull",
    "StorageInUse",
    "StoredImage",
    "TooManyFiles",
    "UnknownGallery",
    "UnknownImage",
    "UnknownLabel",
    "VectorIndex",
    "check_gallery_name",
    "check_image_name",
    "content_digest",
    "raise_file_limit",
]
