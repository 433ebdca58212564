"""Records of images and galleries, as they come in and go out, and the names they may have."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from whymatch.embed import BadRequest, Features, HeadKind
from whymatch.index.errors import BadName

MAX_NAME_BYTES = 255
DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
MAX_METADATA_KEYS = 64
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
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredImage:
    """An image of a gallery."""

    name: str
    label: str
    metadata: dict[str, str]
    width_px: int
    """Of the upright image."""
    height_px: int
    """Of the upright image."""
    size_bytes: int
    content_sha256: str
    """In hexadecimal; see `content_digest`."""
    create_time: datetime
    """In UTC."""


@dataclass(frozen=True)
class Added:
    """What became of an image that was added."""

    image: StoredImage
    unchanged: bool = False
    """The gallery already held exactly this."""
    duplicate_of: str = ""
    """Name of an image with the same bytes that was stored before; empty if there is none."""


@dataclass(frozen=True)
class Match:
    """An image that a search found."""

    image: StoredImage
    score: float
    """Inner product of the query and the image's embedding: for unit vectors their cosine, -1 to 1."""


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

    @property
    def fingerprint(self) -> str:
        """Fingerprint of what makes the embeddings: the model and the head."""
        return self.head.fingerprint if self.head else self.model


def content_digest(content: bytes) -> str:
    """Return what tells a file from all others; images with the same are copies of one, whatever their names."""
    return sha256(content).hexdigest()


def check_gallery_name(name: str) -> None:
    """Raise BadName if a gallery cannot have that name."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
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


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise BadRequest if there is too much metadata."""
    size = sum(len(key.encode()) + len(value.encode()) for key, value in metadata.items())
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
