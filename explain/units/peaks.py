"""The peaks of a layer's units: for each image how strongly each unit responds at most, and where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed import Array

SAMPLE = 8
"""Cells of each image whose responses are kept, too, drawn at random: what quantiles of a unit are estimated from."""

Cells: TypeAlias = NDArray[np.uint16]


@dataclass(frozen=True, eq=False)
class Peaks:
    """The peaks of all units of a layer for one image."""

    values: Array
    """(C,) float32, the largest response of each unit."""
    cells: Cells
    """(C, 2), its row and column; the first one of equals."""
    sample: Array
    """(SAMPLE, C) float32, the responses at cells drawn at random."""


@torch.inference_mode()
def peaks_of(maps: torch.Tensor, seeds: Sequence[int]) -> list[Peaks]:
    """Return the peaks of each of some images.

    maps: (B, C, H, W) float32.
    seeds: for each image, what makes its sample repeatable.

    Raises:
        FloatingPointError: a response is not finite.
    """
    count, channels, rows, columns = maps.shape
    listed = maps.permute(0, 2, 3, 1).reshape(count, rows * columns, channels)  # as the network leaves it in memory
    values, places = listed.max(dim=1)
    if not values.isfinite().all():
        raise FloatingPointError("the network's responses are not finite; are its weights damaged?")
    drawn = np.stack([np.random.default_rng(seed).integers(0, rows * columns, SAMPLE) for seed in seeds])
    sample = listed[torch.arange(count)[:, None], torch.from_numpy(drawn)]
    where = np.stack(np.divmod(places.cpu().numpy(), columns), axis=-1).astype(np.uint16)
    return [Peaks(*one) for one in zip(values.cpu().numpy(), where, sample.cpu().numpy(), strict=True)]
