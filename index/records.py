"""Records of images and galleries, as they come in and go out, and the names they may have."""

import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TypeAlias

from whymatch.embed import BadRequest, Features, HeadKind
from whymatch.index.errors import BadName

NAME = r"[a-z0-9][a-z0-9_-]{0,62}"
MAX_NAME_BYTES = 255
MetadataValue: TypeAlias = str | int | float | bool
DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_METADATA_KEYS = 64
LARGEST_INTEGER = 2**53
"""Up to here a double holds every whole number, as other languages read them."""
MAX_METADATA_BYTES = 16 * 1024


@dataclass(frozen=True, eq=False)
class NewImage:
    """An image to add."""

    name: str
    content: bytes
    """The bytes of the image file."""
    features: Features
    """What the gallery's model made of them."""
    label: str = ""
    metadata: Mapping[str, MetadataValue] = field(default_factory=dict)
    replace: bool = False
    """Whether it takes the place of another image of its name."""


@dataclass(frozen=True)
class StoredImage:
    """An image of a gallery."""

    name: str
    label: str
    metadata: dict[str, MetadataValue]
    width_px: int
    """Of the upright image."""
    height_px: int
    """Of the upright image."""
    size_bytes: int
    content_sha256: str
    """In hexadecimal; see `content_digest`."""
    create_time: datetime
    """In UTC."""
    update_time: datetime
    """When its label, metadata or bytes last changed, in UTC."""

    def differing(self, label: str, metadata: Mapping[str, MetadataValue], content_sha256: str) -> list[str]:
        """Return which of `content`, `label` and `metadata` are not these."""
        same = {
            "content": self.content_sha256 == content_sha256,
            "label": self.label == label,
            "metadata": metadata_text(self.metadata) == metadata_text(metadata),  # as text: True is no 1
        }
        return [what for what, is_same in same.items() if not is_same]


@dataclass(frozen=True)
class Added:
    """What became of an image that was added."""

    image: StoredImage
    unchanged: bool = False
    """The gallery already held exactly this."""
    duplicate_of: str = ""
    """Name of an image with the same bytes that was stored before; empty if there is none."""
    replaced: bool = False
    """The gallery held another image under this name, or this one with another label or metadata."""


@dataclass(frozen=True)
class LabelCount:
    """A label and how many images have it."""

    label: str
    count: int


@dataclass(frozen=True)
class Generation:
    """A state of a gallery, and what made it."""

    number: int
    change: str
    """`create`, `add`, `update`, `delete`, `erase`, `head` or `migrate`."""
    create_time: datetime
    """In UTC."""
    tags: tuple[str, ...]
    """The names it was given."""


@dataclass(frozen=True)
class Match:
    """An image that a search found."""

    image: StoredImage
    score: float
    """Inner product of the query and the image's embedding: for unit vectors their cosine, -1 to 1."""
    folded: "tuple[Match, ...]" = ()
    """Matches so similar to this one that it stands for them."""


@dataclass(frozen=True)
class Duplicates:
    """Images that are near duplicates of each other, directly or by way of others."""

    images: list[StoredImage]
    """In the order of adding."""
    least: float
    """The lowest similarity of two of them."""
    largest: float
    """The highest similarity of two of them."""


@dataclass(frozen=True)
class HeadFacts:
    """What the head of a gallery is."""

    kind: HeadKind
    dimensions: int
    """Length of an embedding."""
    fingerprint: str
    """Of what makes the embeddings: the model and the head."""
    version: int
    """Counts the heads that the gallery has had, from 1."""
    image_count: int
    """How many images it was fitted to; 0 for a given one."""
    create_time: datetime
    """In UTC."""


@dataclass(frozen=True)
class GalleryFacts:
    """What a gallery is, without opening it."""

    name: str
    model: str
    """Fingerprint of the model that embedded it."""
    index_factory: str
    omit_feature_maps: bool
    image_count: int
    create_time: datetime
    """In UTC."""
    head: HeadFacts | None = None
    generation: int = 0
    """Grows with every change of its images or its head."""
    oldest_generation: int = 0
    """The first one that can still be asked for."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what makes the embeddings: the model and the head."""
        return self.head.fingerprint if self.head else self.model


def content_digest(content: bytes) -> str:
    """Return what tells a file from all others; images with the same are copies of one, whatever their names."""
    return sha256(content).hexdigest()


def check_gallery_name(name: str) -> None:
    """Raise BadName if a gallery cannot have that name."""
    if not re.fullmatch(NAME, name):
        raise BadName(
            f"{_shown(name)} cannot name a gallery; take 1 to 63 lower-case letters, digits, `-` and `_`, "
            "beginning with a letter or digit"
        )


def check_image_name(name: str) -> None:
    """Raise BadName if an image cannot have that name."""
    if not name or name in (".", "..") or not _is_printable(name) or "/" in name or "\\" in name or _too_long(name):
        raise BadName(
            f"{_shown(name)} cannot name an image; take 1 to {MAX_NAME_BYTES} bytes of printable text without `/` "
            "and `\\`, other than `.` and `..`"
        )


def check_label(label: str) -> None:
    """Raise BadRequest if a label is too long or not printable."""
    if not _is_printable(label) or _too_long(label):
        raise BadRequest(f"the label {_shown(label)} must be printable text of at most {MAX_NAME_BYTES} bytes")


def metadata_text(metadata: Mapping[str, MetadataValue]) -> str:
    """Return metadata as JSON, the same text for the same metadata."""
    return json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False)


def check_tag(name: str) -> None:
    """Raise BadName if a generation cannot have that name."""
    if not re.fullmatch(NAME, name) or name.isdecimal():
        raise BadName(
            f"{_shown(name)} cannot name a generation; take 1 to 63 lower-case letters, digits, `-` and `_`, beginning "
            "with a letter or digit, not only digits"
        )


def check_metadata(metadata: Mapping[str, MetadataValue]) -> None:
    """Raise BadRequest if there is too much metadata, or a value that is not text, a finite number or a boolean."""
    for key, value in metadata.items():
        if not isinstance(value, str | int | float | bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise BadRequest(f"metadata {_shown(key)} is {value!r}; a value is text, a finite number, true or false")
        if isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise BadRequest(f"metadata {_shown(key)} is {value}; whole numbers are kept up to 2^53: make it text")
    size = sum(len(key.encode()) + len(str(value).encode()) for key, value in metadata.items())
    if len(metadata) > MAX_METADATA_KEYS or size > MAX_METADATA_BYTES:
        raise BadRequest(
            f"the metadata has {len(metadata)} keys and {size} bytes; at most {MAX_METADATA_KEYS} keys and "
            f"{MAX_METADATA_BYTES} bytes are kept"
        )


def _is_printable(text: str) -> bool:
    """Whether a text shows as it is: no control characters, line breaks or overrides of the reading direction."""
    return not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") or letter in DIRECTIONS for letter in text)


def _too_long(text: str) -> bool:
    return len(text.encode()) > MAX_NAME_BYTES


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:60]!r}... ({len(text)} characters)"
