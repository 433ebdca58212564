"""Image files to upright RGB pixels, the same for server and client: formats, depths, profiles, metadata."""

from whymatch.pictures.errors import Unreadable
from whymatch.pictures.kinds import MEDIA_TYPES, READ, kind_of
from whymatch.pictures.opening import Opened, flat, open_picture
from whymatch.pictures.parts import count_scans
from whymatch.pictures.profiles import to_srgb

__all__ = ["MEDIA_TYPES", "READ", "Opened", "Unreadable", "count_scans", "flat", "kind_of", "open_picture", "to_srgb"]
