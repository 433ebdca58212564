"""Image files made byte by byte, of kinds that Pillow does not write."""

import struct
import zlib

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 60, 40
COLORS = [(200, 40, 40), (40, 180, 40), (40, 40, 200), (220, 200, 60)]
GRAYS = [(88,) * 3, (122,) * 3, (58,) * 3, (190,) * 3]
SWAPPED = ((0.3851, 0.7169, 0.0971), (0.4361, 0.2225, 0.0139), (0.1431, 0.0606, 0.7141))
"""XYZ of the primaries of sRGB, red and green swapped."""
P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))


def quarters() -> Image.Image:
    """Four flat quarters in `COLORS`."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:20, :30], pixels[:20, 30:], pixels[20:, :30], pixels[20:, 30:] = COLORS
    return Image.fromarray(pixels)


def gray_values() -> np.ndarray:
    return np.asarray(quarters().convert("L")).astype(np.int64)


def middles(image: Image.Image) -> list[tuple[int, ...]]:
    """The color in the middle of each quarter."""
    return [image.getpixel((x, y)) for y in (10, 30) for x in (15, 45)]


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(values: np.ndarray, bits: int, color: int, before: bytes = b"", end: bytes | None = None) -> bytes:
    """A PNG of whole numbers (h, w, channels); `before` comes before the pixels."""
    height, width, channels = values.shape
    rows = packed(values.reshape(height, width * channels), bits)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    size = len(rows) // height
    pixels = zlib.compress(b"".join(b"\0" + rows[start : start + size] for start in range(0, len(rows), size)))
    end = chunk(b"IEND", b"") if end is None else end
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", pixels) + end


def color_png(before: bytes = b"", end: bytes | None = None) -> bytes:
    return png_of(np.asarray(quarters()), 8, 2, before, end)


def packed(rows: np.ndarray, bits: int, order: str = ">") -> bytes:
    """Rows of whole numbers as bits, each row filled up to whole bytes."""
    if bits in (8, 16, 32):
        return rows.astype(f"{order}u{bits // 8}").tobytes()
    single = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(single.reshape(len(rows), -1).astype(np.uint8), axis=1).tobytes()


def tiff_of(
    values: np.ndarray,
    bits: int,
    photometric: int = 1,
    *,
    order: str = "<",
    deflate: bool = False,
    more: dict[int, list[int]] | None = None,
) -> bytes:
    """A TIFF of one strip. values: (h, w, channels); photometric: 0 white is zero, 1 black is zero, 2 RGB."""
    height, width, channels = values.shape
    pixels = packed(values.reshape(height, width * channels), bits, order)
    pixels = zlib.compress(pixels) if deflate else pixels
    tags = {256: [width], 257: [height], 258: [bits] * channels, 259: [8 if deflate else 1], 262: [photometric]}
    tags |= {273: [8], 277: [channels], 278: [height], 279: [len(pixels)], **(more or {})}
    start = 8 + len(pixels)
    place, entries, rest = start + 2 + 12 * len(tags) + 4, b"", b""
    for tag, numbers in sorted(tags.items()):
        raw = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(raw) > 4:
            raw, rest = struct.pack(order + "I", place + len(rest)), rest + raw
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + raw
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return head + pixels + struct.pack(order + "H", len(tags)) + entries + bytes(4) + rest


def profile_of(primaries: tuple[tuple[float, ...], ...] = SWAPPED, gamma: float = 2.2) -> bytes:
    """An ICC profile: XYZ of red, green and blue, and one curve."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, ...]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    white = (0.9642, 1.0, 0.8249)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    names = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=True))
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    return _profile(
        b"RGB ", {b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz(white), **names, **curves}
    )


def gray_profile_of(gamma: float) -> bytes:
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(79)
    return _profile(b"GRAY", {b"desc": text, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": white, b"kTRC": curve})


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    start, table, data = 128 + 4 + 12 * len(tags), b"", b""
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(">I", start + len(data)) + bytes(4) + b"\x02\x10\0\0mntr" + space + b"XYZ " + bytes(12)
    header += b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
