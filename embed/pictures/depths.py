"""Integers of any depth, packed as files pack them, scaled to 8 bits."""

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.unsignedinteger]
ROWS = 256
"""Rows unpacked at once: single bits take eight times the memory."""


def from_bits(rows: NDArray[np.uint8], count: int, bits: int, little: bool) -> Values:
    """Unpack rows (n, bytes) into numbers (n, count) of 1 to 32 bits. Whole bytes are in the order of the file."""
    if bits == 8:
        return rows[:, :count]
    if bits in (16, 32):
        order = "<" if little else ">"
        words: Values = np.ascontiguousarray(rows[:, : count * bits // 8]).view(f"{order}u{bits // 8}")
        return words
    if bits == 24 and little:
        rows = np.ascontiguousarray(rows[:, : count * 3].reshape(len(rows), count, 3)[..., ::-1]).reshape(len(rows), -1)
    parts = [_unpacked(rows[start : start + ROWS], count, bits) for start in range(0, len(rows), ROWS)]
    return np.concatenate(parts)


def to_bytes(values: Values, bits: int) -> NDArray[np.uint8]:
    """Scale 0 to 2^bits - 1 to 0 to 255."""
    if bits == 8:
        return values.astype(np.uint8)
    if bits > 16:
        return (values >> (bits - 8)).astype(np.uint8)
    return scaled(values, 2**bits - 1)


def scaled(values: Values, white: int) -> NDArray[np.uint8]:
    """Scale 0 to `white`, at most 65535, to 0 to 255; what is above is white."""
    numbers = np.arange(65536 if values.itemsize > 1 else 256, dtype=np.uint32).clip(max=white)
    table = ((numbers * 255 + white // 2) // white).astype(np.uint8)
    looked_up: NDArray[np.uint8] = table[values]
    return looked_up


def undo_differences(values: Values, channels: int) -> Values:
    """Add up what predictor 2 of TIFF writes: each number's difference from the same channel one pixel before."""
    pixels = values.reshape(len(values), -1, channels)
    dtype = values.dtype.newbyteorder("=")
    summed: Values = pixels.cumsum(axis=1, dtype=dtype).reshape(values.shape)
    return summed


def _unpacked(rows: NDArray[np.uint8], count: int, bits: int) -> Values:
    wide = 16 if bits <= 16 else 32
    single = np.unpackbits(rows, axis=1, count=count * bits).reshape(len(rows), count, bits)
    padded = np.zeros((len(rows), count, wide), np.uint8)
    padded[..., wide - bits :] = single
    words: Values = np.packbits(padded, axis=2).view(f">u{wide // 8}")[..., 0]
    return words
