"""Feature maps at half precision: half the bytes, and maps that still add up."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed import Array, in_pieces


@dataclass(frozen=True, eq=False)
class HalfMap:
    """A feature map, (rows, columns, C): the values times 2 to the power of `exponent`."""

    rows: int
    columns: int
    exponent: int
    """It brings the largest value near 1, so that activations of any size keep their 11 bits."""
    alpha: bytes
    """float16, the channel running fastest."""


def compress(feature_map: Array, *, keep_peaks: bool) -> HalfMap:
    """Round a feature map (H, W, C) float32 to half precision.

    keep_peaks: leave every cell that is below the maximum of its channel below it; max pooling shares the maximum among
    equals, and rounding must not make new ones.
    """
    _, exponent = np.frexp(np.abs(feature_map).max())
    scale = 2.0 ** -int(exponent)
    half: NDArray[np.float16] = in_pieces(
        lambda piece: piece * scale, torch.from_numpy(feature_map), torch.float16
    ).numpy()
    if keep_peaks:
        peak = half.max(axis=(0, 1))
        rounded_up = (half == peak) & (feature_map < feature_map.max(axis=(0, 1)))
        half = np.where(rounded_up, np.nextafter(peak, np.float16(-np.inf)), half)
    rows, columns, _ = feature_map.shape
    return HalfMap(rows, columns, int(exponent), half.tobytes())


def expand(stored: HalfMap) -> Array:
    """Return the feature map (H, W, C) float32."""
    half = torch.frombuffer(bytearray(stored.alpha), dtype=torch.float16)
    scale = 2.0**stored.exponent
    wide: Array = in_pieces(lambda piece: piece.float() * scale, half, torch.float32).numpy()
    return wide.reshape(stored.rows, stored.columns, -1)
