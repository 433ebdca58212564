"""Feature maps at half precision: half the bytes, and maps that still add up."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from whymatch.embed import Array, in_pieces


@dataclass(frozen=True, eq=False)
class HalfMap:
    """A feature map, (rows, columns, C): the values times 2 to the power of `exponent`."""

    rows: int
    columns: int
    exponent: int
    """0, unless the activations are so small or large that their 11 bits would not fit."""
    alpha: bytes
    """float16, the channel running fastest."""


def compress(feature_map: Array, *, keep_peaks: bool) -> HalfMap:
    """Round a feature map (H, W, C) float32 to half precision.

    keep_peaks: leave every cell that is below the maximum of its channel below it; max pooling shares the maximum among
    equals, and rounding must not make new ones.
    """
    exponent = _exponent(max(float(feature_map.max()), -float(feature_map.min())))
    half = in_pieces(_scaled(-exponent), torch.from_numpy(feature_map), np.float16)
    if keep_peaks:
        peak = half.max(axis=(0, 1))
        rounded_up = (half == peak) & (feature_map < feature_map.max(axis=(0, 1)))
        half = np.where(rounded_up, np.nextafter(peak, np.float16(-np.inf)), half)
    rows, columns, _ = feature_map.shape
    return HalfMap(rows, columns, exponent, half.tobytes())


def expand(stored: HalfMap) -> Array:
    """Return the feature map (H, W, C) float32.

    Exact for all that is finite, and on this thread alone: the bits of a half are moved to where those of a float are,
    which leaves the value 2^112 times too small, for the exponents of the two count from 15 and from 127.
    """
    bits = np.frombuffer(stored.alpha, np.int16).astype(np.int32)
    bits <<= 13
    bits &= ~(0b111 << 28)  # the sign has filled these, too
    wide = bits.view(np.float32)
    wide *= np.float32(2.0**112)
    if stored.exponent:
        np.ldexp(wide, stored.exponent, out=wide)
    return wide.reshape(stored.rows, stored.columns, -1)


def _exponent(largest: float) -> int:
    """Return 0 for the sizes that networks usually give, else what brings the largest value near 1."""
    return 0 if 2**-4 <= largest < 2**15 else int(np.frexp(largest)[1])


def _scaled(exponent: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that multiplies by 2 to the power of `exponent`."""
    if exponent == 0:
        return lambda piece: piece
    return lambda piece: piece.float() * 2.0**exponent
