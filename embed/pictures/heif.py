"""HEIC and HEIF, as phones write them, through `pillow-heif` where it is installed; Pillow is not told."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

from whymatch.embed.pictures.errors import Unreadable
from whymatch.embed.pictures.parts import Parts

if TYPE_CHECKING:
    from PIL import Image


def open_heif(content: bytes) -> tuple[tuple[int, int], Parts, Callable[[], Image.Image]]:
    """Return the size, the metadata, and what decodes the main image, which libheif has turned upright.

    Raises:
        Unreadable: `pillow-heif` is not installed.
    """
    try:
        import pillow_heif
    except ImportError:
        raise Unreadable(
            "HEIC and HEIF images require pillow-heif, which is not installed; "
            "`pip install '.[heif]'` in a checkout where images are decoded, or save them as JPEG"
        ) from None
    file = pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True)
    return file.size, Parts(b"", profile=file.info.get("icc_profile") or b""), file.to_pillow
