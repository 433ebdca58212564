"""Image bytes to upright RGB pixels, within limits that are checked before anything is decoded."""

from dataclasses import dataclass

from PIL import Image

from whymatch.embed.errors import BrokenImage, ImageTooLarge, NotAnImage, TooManyPixels
from whymatch.embed.pictures import MEDIA_TYPES, READ, Opened, Unreadable, count_scans, kind_of, open_picture, to_srgb

MAX_JPEG_SCANS = 50
"""A progressive JPEG has about ten; each is a pass over all pixels, and may take as few as 31 bytes."""
MAX_RAW_BYTES_PER_PIXEL = 8
"""Four channels of 16 bits."""


@dataclass(frozen=True)
class DecodeLimits:
    """The largest image that is decoded."""

    max_bytes: int = 32 * 2**20
    """Largest file; 32 MiB holds what cameras and phones write."""
    max_pixels: int = 64_000_000
    """Largest width times height; 64 million is 192 MB of RGB."""


def decode_image(content: bytes, limits: DecodeLimits, *, background: str = "white") -> Image.Image:
    """Decode an image file into an upright picture in sRGB.

    Transparency is shown on the background, integers of any depth become 8 bits, color profiles are applied, and of
    files with several images the first counts.

    Raises:
        ImageTooLarge, TooManyPixels: a limit is passed; nothing was decoded.
        NotAnImage: the bytes are of no format that is read.
        BrokenImage: they begin like an image, but cannot be decoded to the end.
    """
    return to_srgb(*decode_unconverted(content, limits, background=background))


def decode_unconverted(content: bytes, limits: DecodeLimits, *, background: str = "white") -> tuple[Image.Image, bytes]:
    """Do the same, but return colors in the profile that is returned beside them, for `to_srgb`.

    Converting all pixels of a photograph takes longer than decoding them; those of a smaller copy take nothing.
    """
    opened = _open(content, limits)
    try:
        return opened.unconverted(background)
    except Unreadable as err:
        raise NotAnImage(str(err)) from err
    except Exception as err:  # Pillow raises whatever its many decoders meet in hostile bytes
        raise BrokenImage(f"the {opened.kind} image cannot be decoded ({err}); send a complete file") from err


def media_type(content: bytes) -> str:
    """Return the media type that the bytes themselves show, `application/octet-stream` if none."""
    return MEDIA_TYPES.get(kind_of(content), "application/octet-stream")


def _open(content: bytes, limits: DecodeLimits) -> Opened:
    if not content:
        raise NotAnImage("the image is empty; send the bytes of an image file")
    if len(content) > limits.max_bytes:
        raise ImageTooLarge(f"the image has {len(content)} bytes; at most {limits.max_bytes} are accepted")
    if content[:2] in (b"P1", b"P2", b"P3"):
        raise NotAnImage("pixels written as text are not read; save the image as binary PPM or as PNG")
    try:
        opened = open_picture(content, max_pixels=limits.max_pixels)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise TooManyPixels(f"the image has too many pixels; at most {limits.max_pixels} are accepted") from err
    except Unreadable as err:
        raise NotAnImage(str(err)) from err
    except SyntaxError as err:
        known = ", ".join(READ)
        raise NotAnImage(f"the {len(content)} bytes are not an image of a known format ({known})") from err
    except Exception as err:  # see decode_image
        raise BrokenImage(f"the image's header cannot be read ({err}); send a complete file") from err
    _refuse_traps(opened, limits)
    return opened


def _refuse_traps(opened: Opened, limits: DecodeLimits) -> None:
    """Refuse files that cost far more than their bytes, or their pixels, say."""
    width, height = opened.size
    if width * height > limits.max_pixels:
        raise TooManyPixels(f"the image has {width} x {height} pixels; at most {limits.max_pixels} are accepted")
    if opened.tile_pixels > limits.max_pixels:
        raise TooManyPixels(
            f"the TIFF image has tiles of {opened.tile_pixels} pixels; at most {limits.max_pixels} are accepted"
        )
    if opened.raw_bytes > MAX_RAW_BYTES_PER_PIXEL * limits.max_pixels:
        raise TooManyPixels(f"the TIFF image unpacks to {opened.raw_bytes} bytes; save it with 8 bits a channel")
    if opened.run_lengths:
        raise NotAnImage("run-length BMP is not read; save the image as PNG")
    scans = count_scans(opened.parts.pixels, MAX_JPEG_SCANS) if opened.kind == "JPEG" else 0
    if scans > MAX_JPEG_SCANS:
        raise BrokenImage(f"the JPEG image goes over its pixels {scans} times; at most {MAX_JPEG_SCANS} are decoded")
