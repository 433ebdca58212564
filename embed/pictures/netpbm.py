"""Binary PGM and PPM, whose header says which number is white."""

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from whymatch.embed.pictures.depths import Values, scaled

SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
HEADER = re.compile(rb"P([56])" + SPACE + rb"(\d{1,9})" + SPACE + rb"(\d{1,9})" + SPACE + rb"(\d{1,5})\s")


@dataclass(frozen=True)
class Netpbm:
    """The first image of a file."""

    content: bytes
    start: int
    """Where its pixels begin."""
    size: tuple[int, int]
    channels: int
    white: int
    """The largest number, 1 to 65535."""


def read_netpbm(content: bytes) -> Netpbm:
    """Read the header of a binary PGM or PPM. Raises ValueError."""
    found = HEADER.match(content[:64_000])
    if not found:
        raise ValueError("its header is damaged")
    width, height, white = (int(number) for number in found.groups()[1:])
    if not (width and height and 0 < white < 65536):
        raise ValueError(f"its header says {width} x {height} pixels of 0 to {white}")
    return Netpbm(content, found.end(), (width, height), 3 if found[1] == b"6" else 1, white)


def decode_netpbm(image: Netpbm) -> Image.Image:
    """Scale all pixels to 8 bits. Raises ValueError if some are missing."""
    kind = np.dtype(np.uint8 if image.white < 256 else ">u2")
    width, height = image.size
    count = width * height * image.channels
    values: Values = np.frombuffer(image.content, kind, count, offset=image.start)
    pixels = values if image.white == 255 else scaled(values, image.white)
    return Image.frombytes("L" if image.channels == 1 else "RGB", image.size, pixels.tobytes())
