"""The profile of Adobe RGB (1998), which cameras name in EXIF and leave out."""

import functools
import struct

GAMMA = 2 + 51 / 256
WHITE = (0.9642, 1.0, 0.8249)
"""D50 in XYZ, to which profiles refer."""
PRIMARIES = {
    b"rXYZ": (0.60974, 0.31111, 0.01947),
    b"gXYZ": (0.20528, 0.62567, 0.06087),
    b"bXYZ": (0.14919, 0.06322, 0.74457),
}
"""Adapted to that white."""


@functools.lru_cache(maxsize=1)
def adobe_rgb() -> bytes:
    """Return the ICC profile."""
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(GAMMA * 256), 0)
    tags = {name: _xyz(color) for name, color in (PRIMARIES | {b"wtpt": WHITE}).items()}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, data, start = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content
    head = struct.pack(">II", start + len(data), 0) + b"\x02\x40\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28)
    return (head + _xyz(WHITE)[8:]).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def _xyz(color: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(value * 65536) for value in color))
