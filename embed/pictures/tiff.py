"""TIFF files with integers of any depth, of either polarity, with and without alpha, which Pillow reads in part.

Pillow and libtiff unpack the bytes of such a file as if each were a gray pixel; what the bytes mean is told here, by
the file's own tags.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from whymatch.embed.pictures.depths import from_bits, to_bytes, undo_differences
from whymatch.embed.pictures.errors import Unreadable

WIDTH, LENGTH, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANES, PREDICTOR = 273, 277, 278, 279, 284, 317
TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES, EXTRA_SAMPLES, SAMPLE_FORMAT = 322, 323, 324, 325, 338, 339
SUBFILE, MAKE, SUB_FILES, DNG_VERSION = 254, 271, 330, 50706
ORIENTATION, PROFILE = 274, 34675
PLAIN = {1, 5, 8, 32773, 32946, 34925, 50000}
"""Compressions of bytes, whatever the bytes mean: none, LZW, deflate, PackBits, LZMA, Zstandard."""
FORMATS = {2: "signed integers", 3: "floating-point numbers", 5: "complex integers", 6: "complex numbers"}


@dataclass(frozen=True)
class Tiff:
    """The first page of a TIFF file."""

    content: bytes
    tags: dict[int, Any]
    little: bool
    """Whether the low byte of a number comes first."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height."""
        return int(self.tags[WIDTH]), int(self.tags[LENGTH])

    @property
    def tile_pixels(self) -> int:
        """What one tile takes in memory, in pixels."""
        return int(self.tags.get(TILE_WIDTH, 1)) * int(self.tags.get(TILE_LENGTH, 1))

    @property
    def bits(self) -> tuple[int, ...]:
        """Bits of each channel."""
        found = self.tags.get(BITS, (1,))
        return tuple(found) if isinstance(found, tuple) else (found,)

    @property
    def channels(self) -> int:
        """Numbers of a pixel."""
        return int(self.tags.get(SAMPLES, 1))

    @property
    def raw_bytes(self) -> int:
        """Bytes of all numbers, unpacked."""
        return self.size[0] * self.size[1] * self.channels * max(self.bits) // 8

    @property
    def pieces(self) -> int:
        """Strips or tiles of one plane; a file may list more."""
        if TILE_OFFSETS in self.tags:
            width, length = int(self.tags[TILE_WIDTH]), int(self.tags[TILE_LENGTH])
            return -(-self.size[0] // width) * -(-self.size[1] // length)
        return -(-self.size[1] // int(self.tags.get(ROWS_PER_STRIP, self.size[1])))

    @property
    def is_deep(self) -> bool:
        """Whether it is read here, for Pillow would scale it wrongly or not at all."""
        photometric, bits = self.tags.get(PHOTOMETRIC), set(self.bits)
        if photometric not in (0, 1, 2) or self.tags.get(COMPRESSION, 1) not in PLAIN:
            return False
        if photometric == 0:
            return self.channels > 1 or not bits <= {1, 2, 4, 8}
        return not bits <= ({1, 2, 4, 8} if self.channels == 1 else {8})


def read_tiff(content: bytes) -> Tiff:
    """Read the tags of the first page.

    Raises:
        Unreadable: its pixels are no unsigned integers, or are not in it, as in a camera's raw file.
        Exception: whatever Pillow meets in a damaged file.
    """
    head = content[: 16 if content[2] == 43 or content[3] == 43 else 8]
    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    file = io.BytesIO(content)
    file.seek(directory.next)
    directory.load(file)
    wanted = [value for name, value in globals().items() if name.isupper() and isinstance(value, int)]
    tiff = Tiff(content, {tag: directory[tag] for tag in wanted if tag in directory}, content[:2] == b"II")
    _refuse(tiff)
    return tiff


def decode_deep(tiff: Tiff) -> Image.Image:
    """Decode a page that `is_deep` to mode L, LA, RGB or RGBA."""
    [bits] = set(tiff.bits)
    if tiff.tags.get(PLANES, 1) == 2:
        offsets = TILE_OFFSETS if TILE_OFFSETS in tiff.tags else STRIP_OFFSETS
        count = len(_numbers(tiff, offsets)) // tiff.channels
        planes = [_values(tiff, bits, 1, slice(one * count, (one + 1) * count)) for one in range(tiff.channels)]
        pixels = np.concatenate(planes, axis=2)
    else:
        pixels = _values(tiff, bits, tiff.channels, slice(None))
    colors = 3 if tiff.tags[PHOTOMETRIC] == 2 else 1
    if tiff.tags[PHOTOMETRIC] == 0:
        pixels[..., :1] = 255 - pixels[..., :1]
    return _image(pixels, colors, _alpha(tiff, colors))


def _refuse(tiff: Tiff) -> None:
    if tiff.tags.get(PHOTOMETRIC) in (32803, 34892) or (
        (DNG_VERSION in tiff.tags or MAKE in tiff.tags) and tiff.tags.get(SUBFILE) == 1 and SUB_FILES in tiff.tags
    ):
        kind = "DNG" if DNG_VERSION in tiff.tags else f"{str(tiff.tags.get(MAKE, 'camera')).split()[0]} raw"
        raise Unreadable(f"{kind} files are not read; develop it, and save it as JPEG, or as TIFF of 16 bits")
    formats = tiff.tags.get(SAMPLE_FORMAT, (1,))
    for one in formats if isinstance(formats, tuple) else (formats,):
        if one in FORMATS:
            what = FORMATS[one]
            raise Unreadable(f"the TIFF image has {what}, of which none is white; save it with 8 or 16 bits a channel")
    if tiff.is_deep and (len(set(tiff.bits)) != 1 or not 1 <= tiff.bits[0] <= 32):
        raise Unreadable(f"the TIFF image has channels of {tiff.bits} bits; save it with 8 or 16 bits a channel")


def _alpha(tiff: Tiff, colors: int) -> int:
    """Return what the first extra channel is: 0 nothing, 1 alpha that was multiplied in, 2 plain alpha."""
    extra = tiff.tags.get(EXTRA_SAMPLES, (2,) if colors == 3 else (0,))
    kind = (extra if isinstance(extra, tuple) else (extra,))[0]
    return kind if tiff.channels > colors and kind in (1, 2) else 0


def _image(pixels: NDArray[np.uint8], colors: int, alpha: int) -> Image.Image:
    mode = {(1, 0): "L", (1, 1): "La", (1, 2): "LA", (3, 0): "RGB", (3, 1): "RGBa", (3, 2): "RGBA"}[colors, alpha]
    used = np.ascontiguousarray(pixels[..., : colors + bool(alpha)])
    image = Image.frombytes(mode, (pixels.shape[1], pixels.shape[0]), used.tobytes())
    return image.convert(mode.upper()) if alpha == 1 else image


def _values(tiff: Tiff, bits: int, channels: int, part: slice) -> NDArray[np.uint8]:
    """Return numbers (h, w, channels), 0 to 255, of strips or tiles of the file."""
    width, _ = tiff.size
    block = int(tiff.tags[TILE_WIDTH]) if TILE_OFFSETS in tiff.tags else width
    row = (block * channels * bits + 7) // 8
    across = -(-width // block)
    raw = _raw(tiff, row * across, row, part).reshape(-1, row)
    values = from_bits(raw, block * channels, bits, tiff.little)
    if tiff.tags.get(PREDICTOR, 1) == 2:
        values = undo_differences(values, channels)
    elif tiff.tags.get(PREDICTOR, 1) != 1:
        raise Unreadable("the TIFF image predicts floating-point numbers; save it with 8 or 16 bits a channel")
    return to_bytes(values, bits).reshape(-1, across * block, channels)[:, :width]


def _raw(tiff: Tiff, width: int, block: int, part: slice) -> NDArray[np.uint8]:
    """Unpack the bytes (h, width) through a directory that calls each of them a gray pixel."""
    tags = {WIDTH: [width], LENGTH: [tiff.size[1]], BITS: [8], PHOTOMETRIC: [1], SAMPLES: [1], SAMPLE_FORMAT: [1]}
    tags |= {tag: [int(tiff.tags.get(tag, 1))] for tag in (COMPRESSION, FILL_ORDER)}
    if TILE_OFFSETS in tiff.tags:
        tags |= {TILE_WIDTH: [block], TILE_LENGTH: [int(tiff.tags[TILE_LENGTH])]}
        places = (TILE_OFFSETS, TILE_BYTES)
    else:
        tags |= {ROWS_PER_STRIP: [min(int(tiff.tags.get(ROWS_PER_STRIP, tiff.size[1])), tiff.size[1])]}
        places = (STRIP_OFFSETS, STRIP_BYTES)
    tags |= {tag: _numbers(tiff, tag)[part][: tiff.pieces] for tag in places if tag in tiff.tags}
    image = TiffImagePlugin.TiffImageFile(io.BytesIO(_with_directory(tiff, tags)))
    image.load()
    return np.asarray(image)


def _numbers(tiff: Tiff, tag: int) -> list[int]:
    found = tiff.tags[tag]
    return [int(one) for one in found] if isinstance(found, tuple) else [int(found)]


def _with_directory(tiff: Tiff, tags: dict[int, list[int]]) -> bytes:
    """Return the file with another directory of 32-bit numbers, at its end."""
    order = "<" if tiff.little else ">"
    start = len(tiff.content) + len(tiff.content) % 2
    more, entries = start + 2 + 12 * len(tags) + 4, b""
    rest = b""
    for tag, values in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(values)}I", *values)
        if len(raw) > 4:
            place, rest = more + len(rest), rest + raw
            raw = struct.pack(order + "I", place)
        entries += struct.pack(order + "HHI", tag, 4, len(values)) + raw
    head = (b"II*\0" if tiff.little else b"MM\0*") + struct.pack(order + "I", start)
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4) + rest
    return b"".join([head, tiff.content[8:], bytes(len(tiff.content) % 2), directory])
