"""Remembers and finds: the durable store, the vector index, and the gallery on top of both."""

from whymatch.index.diversity import Variety
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
    TagExists,
    TaggedGeneration,
    TooManyFiles,
    UnknownGallery,
    UnknownGeneration,
    UnknownImage,
    UnknownLabel,
    UnknownTag,
)
from whymatch.index.filters import BadFilter, parse_filter
from whymatch.index.galleries import Galleries
from whymatch.index.gallery import Fitting, Gallery
from whymatch.index.gallery_version import GalleryVersion
from whymatch.index.open_files import raise_file_limit
from whymatch.index.records import (
    Added,
    Duplicates,
    GalleryFacts,
    Generation,
    HeadFacts,
    LabelCount,
    Match,
    MetadataValue,
    NewImage,
    StoredImage,
    check_gallery_name,
    check_image_name,
    content_digest,
)
from whymatch.index.selection import EVERYTHING, Selection
from whymatch.index.snapshot import Snapshot
from whymatch.index.standings import LabelScore, Standing
from whymatch.index.stored_images import ALL_IMAGES, Where
from whymatch.index.vector_index import VectorIndex

__all__ = [
    "ALL_IMAGES",
    "EVERYTHING",
    "Added",
    "BadFilter",
    "BadIndexFactory",
    "BadName",
    "BrokenGallery",
    "Duplicates",
    "Fitting",
    "Galleries",
    "Gallery",
    "GalleryExists",
    "GalleryFacts",
    "GalleryVersion",
    "Generation",
    "HeadFacts",
    "ImageExists",
    "LabelCount",
    "LabelScore",
    "Match",
    "MetadataValue",
    "ModelMismatch",
    "NewImage",
    "NewerFormat",
    "OtherEmbedding",
    "ReadOnlyStorage",
    "Selection",
    "Snapshot",
    "Standing",
    "StorageFailed",
    "StorageFull",
    "StorageInUse",
    "StoredImage",
    "TagExists",
    "TaggedGeneration",
    "TooManyFiles",
    "UnknownGallery",
    "UnknownGeneration",
    "UnknownImage",
    "UnknownLabel",
    "UnknownTag",
    "Variety",
    "VectorIndex",
    "Where",
    "check_gallery_name",
    "check_image_name",
    "content_digest",
    "parse_filter",
    "raise_file_limit",
]
