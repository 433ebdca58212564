"""Image files to upright RGB pixels, the same for server and client: formats, depths, profiles, metadata."""

from .errors import Unreadable
from .kinds import MEDIA_TYPES, READ, kind_of
from .opening import Opened, flat, open_picture
from .parts import count_scans
from .profiles import to_srgb

__all__ = ["MEDIA_TYPES", "READ", "Opened", "Unreadable", "count_scans", "flat", "kind_of", "open_picture", "to_srgb"]
