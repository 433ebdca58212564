"""Pillow pictures as files that decode to what the picture's own file does."""

import io
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps

from whymatch.embed.pictures.depths import scaled
from whymatch.embed.pictures.errors import Unreadable
from whymatch.embed.pictures.kinds import READ
from whymatch.embed.pictures.opening import flat
from whymatch.embed.pictures.tiff import BITS, PHOTOMETRIC

AS_PNG = ("1", "L", "LA", "P", "RGB", "RGBA")


def file_of(picture: Image.Image) -> bytes:
    """Return the file of a picture that was opened and not looked at yet, or else its pixels as PNG, upright.

    Raises:
        Unreadable: its pixels have no white: they are floating-point, signed or 32-bit numbers.
    """
    if own := _own_file(picture):
        return own
    profile = picture.info.get("icc_profile") or b""
    upright = picture
    with suppress(Exception):  # damaged EXIF says nothing of the pixels
        upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith(("I", "F")):
        upright = _from_deep(picture, upright)
    elif upright.mode == "PA":
        upright = upright.convert("RGBA")
    elif upright.mode in ("RGBa", "La"):
        upright = upright.convert(upright.mode.upper())
    elif upright.mode not in AS_PNG:
        upright, profile = flat(upright, profile, "white"), b""
    file = io.BytesIO()
    bare = upright.copy()
    bare.info = {key: upright.info[key] for key in ("transparency",) if key in upright.info}
    bare.save(file, "PNG", compress_level=1, icc_profile=profile or None)
    return file.getvalue()


def _own_file(picture: Image.Image) -> bytes:
    """Return the bytes of the file that a picture stands for, as long as nothing can have changed its pixels."""
    if not isinstance(picture, ImageFile.ImageFile) or not picture.tile or picture.tell() or picture.decoderconfig:
        return b""
    file = picture.fp
    if picture.format not in (*READ, "MPO") or file is None or not hasattr(file, "seek"):
        return b""
    place = file.tell()
    try:
        file.seek(0)
        return file.read()
    finally:
        file.seek(place)


def _from_deep(picture: Image.Image, upright: Image.Image) -> Image.Image:
    values = np.asarray(upright)
    if upright.mode == "F":
        raise Unreadable("the picture has floating-point pixels; scale them, and convert it to mode 'L' or 'RGB'")
    if values.size and (values.min() < 0 or values.max() > 65535):
        raise Unreadable(
            f"the picture has numbers from {values.min()} to {values.max()}, of which none is white; "
            "scale them to 0 to 65535, or to 0 to 255 and convert it to mode 'L'"
        )
    values = values.astype(np.uint16)
    tags = getattr(picture, "tag_v2", {})  # of a TIFF, whose numbers Pillow leaves as they are
    bits = tags.get(BITS, (16,))[0]
    if bits < 16:
        values = (values.astype(np.uint32) * 65535 // (2**bits - 1)).astype(np.uint16)
    if tags.get(PHOTOMETRIC) == 0:
        values = 65535 - values
    return _with_key(values, upright.info)


def _with_key(values: np.ndarray, info: Mapping[Any, object]) -> Image.Image:
    """Make a 16-bit picture; one color of it may be transparent."""
    key = info.get("transparency")
    if not isinstance(key, int):
        return Image.fromarray(values)
    gray = Image.fromarray(scaled(values, 65535))
    gray.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return gray
