"""Image files opened without being decoded, and decoded into upright RGB."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from whymatch.embed.pictures.adobe_rgb import adobe_rgb
from whymatch.embed.pictures.depths import scaled
from whymatch.embed.pictures.errors import Unreadable
from whymatch.embed.pictures.heif import open_heif
from whymatch.embed.pictures.kinds import READ, advice, kind_of
from whymatch.embed.pictures.netpbm import decode_netpbm, read_netpbm
from whymatch.embed.pictures.parts import Parts, complete_jpeg, take_apart
from whymatch.embed.pictures.profiles import to_srgb
from whymatch.embed.pictures.tiff import ORIENTATION, PROFILE, decode_deep, read_tiff

READERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
"""Pillow's own; `Image.open` would refuse more than 178 million pixels, whatever the limit here is."""
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_raising = threading.Lock()


@dataclass(frozen=True)
class Opened:
    """An image file whose header was read."""

    kind: str
    """Its format, one of `READ`."""
    size: tuple[int, int]
    """Width and height as stored, before it is turned upright."""
    parts: Parts
    load: Callable[[], Image.Image]
    """Decode the pixels as they are stored, to 8 bits."""
    tile_pixels: int = 1
    """The largest piece that is decoded at once, in pixels."""
    raw_bytes: int = 0
    """What the pixels take before they are scaled to 8 bits, if they are."""
    run_lengths: bool = False
    """Whether a few bytes can stand for many pixels in a way that takes long."""

    def rgb(self, background: str = "white") -> Image.Image:
        """Decode to upright sRGB; transparency shows the background."""
        return to_srgb(*self.unconverted(background))

    def unconverted(self, background: str = "white") -> tuple[Image.Image, bytes]:
        """Decode to upright RGB, whose colors still have the profile that is returned; empty means sRGB."""
        stored = self.load()
        turned = self.parts.orientation
        upright = stored.transpose(UPRIGHT[turned]) if turned in UPRIGHT else stored
        if upright.mode == "RGB" and not upright.has_transparency_data:
            return upright, self.parts.profile
        return flat(upright, self.parts.profile, background), b""


def open_picture(content: bytes, *, max_pixels: int) -> Opened:
    """Open an image file; nothing is decoded.

    max_pixels: above Pillow's own limit, raises that while this file is opened.

    Raises:
        Unreadable: the bytes are of a known kind that is not read.
        SyntaxError: they are no image.
        Exception: whatever Pillow meets in a damaged file.
    """
    kind = kind_of(content)
    if not kind:
        raise SyntaxError("no known format")
    if kind not in READ:
        raise Unreadable(f"the file is of the kind {kind}, which is not read; {advice(kind)}")
    if kind == "HEIF":
        size, parts, load = open_heif(content)
        return Opened(kind, size, parts, load)
    if kind == "TIFF":
        return _open_tiff(content)
    if content[:2] in (b"P5", b"P6"):
        header = read_netpbm(content)
        return Opened(kind, header.size, Parts(b""), lambda: decode_netpbm(header))
    with _bomb_limit(max_pixels):
        return _open(kind, take_apart(content))


def flat(image: Image.Image, profile: bytes, background: str) -> Image.Image:
    """Return an 8-bit image of any mode in sRGB, on the background where it is transparent."""
    if image.mode in ("RGBa", "La"):
        image = image.convert(image.mode.upper())
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        gray = image.mode == "LA"
        colors = to_srgb(image.convert("L") if gray else rgba.convert("RGB"), profile)
        opaque = Image.new("RGB", rgba.size, background)
        opaque.paste(colors, mask=rgba.getchannel("A"))
        return opaque
    if image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return to_srgb(image, profile)


def _open(kind: str, parts: Parts) -> Opened:
    try:
        image = READERS[kind](io.BytesIO(parts.pixels))
    except Exception as err:
        if kind == "JPEG" and "layer" in str(err):
            raise Unreadable(f"the JPEG image is of a rare kind ({err}); save it with 8 bits a channel") from err
        if kind != "AVIF":
            raise
        image = READERS[kind](io.BytesIO(_without_exif(parts.pixels)))
    said = image.info
    parts = replace(parts, exif=parts.exif or said.get("exif", b""), xmp=parts.xmp or said.get("xmp", b""))
    profile = parts.profile or said.get("icc_profile") or (adobe_rgb() if parts.is_adobe_rgb else b"")
    parts = replace(parts, profile=profile)
    load = (lambda: _load_jpeg(image, parts)) if kind == "JPEG" else (lambda: _load(image, parts))
    return Opened(kind, image.size, parts, load, run_lengths=kind == "BMP" and said.get("compression") in (1, 2))


def _open_tiff(content: bytes) -> Opened:
    tiff = read_tiff(content)
    profile = tiff.tags.get(PROFILE)
    parts = Parts(b"", profile=profile if isinstance(profile, bytes) else b"")
    if tiff.is_deep:
        turned = tiff.tags.get(ORIENTATION, 1)
        parts = replace(parts, xmp=b"tiff:Orientation>%d" % turned if isinstance(turned, int) else b"")
        return Opened("TIFF", tiff.size, parts, lambda: decode_deep(tiff), tiff.tile_pixels, tiff.raw_bytes)
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(content))  # which turns its pixels upright itself
    return Opened("TIFF", image.size, parts, lambda: _load(image, parts), tiff.tile_pixels)


def _load(image: Image.Image, parts: Parts) -> Image.Image:
    image.load()
    if image.mode == "F":
        raise Unreadable("the image has floating-point pixels; save it with 8 or 16 bits a channel")
    deep = image.mode.startswith("I")
    key = parts.color_key
    if not key or image.mode not in ("1", "L", "RGB", "I;16"):
        return _from_16_bits(image) if deep else image
    values = np.asarray(image.convert("L") if image.mode == "1" else image)
    depth = parts.pixels[24]  # of a PNG, in its header
    if depth == 16 and not deep:
        key = tuple(one >> 8 for one in key)  # Pillow keeps the upper bytes
    elif depth < 8:
        key = tuple(one * 255 // (2**depth - 1) for one in key)
    key = key[: values.shape[2] if values.ndim == 3 else 1]
    same = (values == key).all(axis=2) if values.ndim == 3 else values == key[0]
    shown = (_from_16_bits(image) if deep else image).convert("RGB")
    shown.putalpha(Image.fromarray(np.where(same, 0, 255).astype(np.uint8)))
    return shown


def _from_16_bits(image: Image.Image) -> Image.Image:
    return Image.fromarray(scaled(np.asarray(image).clip(0, 65535).astype(np.uint16), 65535))


def _load_jpeg(image: Image.Image, parts: Parts) -> Image.Image:
    """Decode a JPEG; one whose end marker is missing only if no bit of its pixels is."""
    try:
        image.load()
    except OSError:
        copies = complete_jpeg(parts.pixels)
        if copies is None:
            raise
        image, other = (JpegImagePlugin.JpegImageFile(io.BytesIO(copy)) for copy in copies)
        if image.tobytes() != other.tobytes():
            raise
    return image


def _without_exif(content: bytes) -> bytes:
    """Rename the EXIF of an AVIF, over which Pillow stumbles if it is damaged; its turns are in boxes of their own."""
    place = content.find(b"infe")
    while place >= 0:
        if content[place + 12 : place + 16] == b"Exif":
            return content[: place + 12] + b"skip" + content[place + 16 :]
        place = content.find(b"infe", place + 4)
    return content


@contextlib.contextmanager
def _bomb_limit(max_pixels: int) -> Iterator[None]:
    """Raise Pillow's limit, which some of its readers ask, while a file is opened that may have more pixels."""
    pillows = Image.MAX_IMAGE_PIXELS
    if pillows is None or max_pixels <= pillows:
        yield
        return
    with _raising:
        pillows, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = pillows
