"""Image files as pictures, decoded as the server decodes them."""

import io
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps


def decode(content: bytes, *, background: str = "white") -> Image.Image:
    """Return an image file upright and in RGB; transparency shows the background, of 16 bits the upper 8 count.

    Raises OSError or Image.DecompressionBombError where Pillow cannot read it.
    """
    whole: Image.Image = Image.open(io.BytesIO(content))
    with suppress(Exception):  # damaged EXIF says nothing of the pixels
        whole = ImageOps.exif_transpose(whole)
    if whole.mode.startswith("I"):
        return Image.fromarray((np.asarray(whole).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if whole.has_transparency_data:
        rgba = whole.convert("RGBA")
        opaque = Image.new("RGB", rgba.size, background)
        opaque.paste(rgba, mask=rgba)
        return opaque
    return whole.convert("RGB")
