"""Image bytes to upright RGB pixels, within limits that are checked before anything is decoded."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, UnidentifiedImageError

from whymatch.embed.errors import BrokenImage, ImageTooLarge, NotAnImage, TooManyPixels

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")

JPEG_SCAN = b"\xff\xda"
"""Where a scan of a JPEG begins; between markers 0xff is always followed by 0x00 or a restart."""
MAX_JPEG_SCANS = 50
"""A progressive JPEG has about ten; each is a pass over all pixels, and may take as few as 31 bytes."""
TILE_WIDTH, TILE_LENGTH = 322, 323  # TIFF tags
ORIENTATION = 0x0112  # the EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class DecodeLimits:
    """The largest image that is decoded."""

    max_bytes: int = 32 * 2**20
    """Largest file; 32 MiB holds what cameras and phones write."""
    max_pixels: int = 64_000_000
    """Largest width times height; 64 million is 192 MB of RGB. Pillow itself stops at 178 million."""


def decode_image(content: bytes, limits: DecodeLimits, *, background: str = "white") -> Image.Image:
    """Decode an image file into an upright RGB picture.

    Transparency is shown on the background, 16 bits become 8, and of an animation the first frame counts.

    Raises:
        ImageTooLarge, TooManyPixels: a limit is passed; nothing was decoded.
        NotAnImage: the bytes are of no format in `FORMATS`.
        BrokenImage: they begin like an image, but cannot be decoded to the end.
    """
    image = _open(content, limits)
    try:
        image.load()
        return _to_rgb(_upright(image), background)
    except NotAnImage:
        raise
    except Exception as err:  # Pillow raises whatever its many decoders meet in hostile bytes
        raise BrokenImage(f"the {image.format} image cannot be decoded ({err}); send a complete file") from err


def media_type(content: bytes) -> str:
    """Return the media type that the bytes themselves show, `application/octet-stream` if none."""
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return Image.MIME.get(image.format or "", "application/octet-stream")
    except Exception:  # see decode_image
        return "application/octet-stream"


def _open(content: bytes, limits: DecodeLimits) -> Image.Image:
    if not content:
        raise NotAnImage("the image is empty; send the bytes of an image file")
    if len(content) > limits.max_bytes:
        raise ImageTooLarge(f"the image has {len(content)} bytes; at most {limits.max_bytes} are accepted")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise TooManyPixels(f"the image has too many pixels; at most {limits.max_pixels} are accepted") from err
    except UnidentifiedImageError as err:
        known = ", ".join(FORMATS)
        raise NotAnImage(f"the {len(content)} bytes are not an image of a known format ({known})") from err
    except Exception as err:  # see decode_image
        raise BrokenImage(f"the image's header cannot be read ({err}); send a complete file") from err
    _refuse_traps(image, content, limits)
    if image.width * image.height > limits.max_pixels:
        raise TooManyPixels(
            f"the image has {image.width} x {image.height} pixels; at most {limits.max_pixels} are accepted"
        )
    return image


def _refuse_traps(image: Image.Image, content: bytes, limits: DecodeLimits) -> None:
    """Refuse files that cost far more than their pixels say."""
    scans = content.count(JPEG_SCAN) if image.format in ("JPEG", "MPO") else 0
    if scans > MAX_JPEG_SCANS:
        raise BrokenImage(f"the JPEG image goes over its pixels {scans} times; at most {MAX_JPEG_SCANS} are decoded")
    tags = getattr(image, "tag_v2", {})
    tile = tags.get(TILE_WIDTH, 1) * tags.get(TILE_LENGTH, 1)
    if tile > limits.max_pixels:
        raise TooManyPixels(f"the TIFF image has tiles of {tile} pixels; at most {limits.max_pixels} are accepted")
    if content[:2] in (b"P1", b"P2", b"P3"):
        raise NotAnImage("pixels written as text are not read; save the image as binary PPM or as PNG")
    if image.format == "BMP" and image.info.get("compression") in (1, 2):
        raise NotAnImage("run-length BMP is not read; save the image as PNG")


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ORIENTATION)
    except Exception:  # damaged EXIF says nothing of the pixels, so they are taken as they are
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _to_rgb(image: Image.Image, background: str) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise NotAnImage("the image has floating-point pixels; save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        return _from_16_bits(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        opaque = Image.new("RGB", rgba.size, background)
        opaque.paste(rgba, mask=rgba)
        return opaque
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    values = np.asarray(image).clip(0, 65535)
    return Image.fromarray((values // 257).astype(np.uint8))  # 257 = 65535 / 255
