"""Image files to upright RGB pixels, the same for server and client: formats, depths, profiles, metadata."""

from whymatch.embed.pictures.errors import Unreadable
from whymatch.embed.pictures.kinds import MEDIA_TYPES, READ, kind_of
from whymatch.embed.pictures.opening import Opened, flat, open_picture
from whymatch.embed.pictures.parts import count_scans
from whymatch.embed.pictures.profiles import to_srgb

__all__ = ["MEDIA_TYPES", "READ", "Opened", "Unreadable", "count_scans", "flat", "kind_of", "open_picture", "to_srgb"]
