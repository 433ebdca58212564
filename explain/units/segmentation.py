"""Segments an image by the response of a unit (Zhou et al., "Object detectors emerge in deep scene CNNs")."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.embed import Array, Placement
from whymatch.explain.patches import Pixels
from whymatch.explain.units.receptive_field import ReceptiveField, Sight

Bits = NDArray[np.bool_]


@dataclass(frozen=True)
class SegmentThreshold:
    """Where the segment of a unit begins."""

    kind: Literal["share", "quantile"] = "share"
    """`share` of the unit's largest response over the gallery; or the response that this share of the cells of all its
    images does not exceed."""
    value: float = 0.5
    """Above 0 and up to 1, for a quantile below 1."""


@dataclass(frozen=True, eq=False)
class UnitSegment:
    """Where in an image a unit responds."""

    unit: int
    responses: Array
    """(H, W) float32, of its cells."""
    mask: Bits
    """(h, w), of the network's input."""


def segment(unit: int, responses: Array, field: ReceptiveField, threshold: float) -> UnitSegment:
    """Return where the responses of a unit (H, W), upsampled to the input, reach a threshold and are above 0."""
    upsampled = upsample(responses, field)
    return UnitSegment(unit, responses, (upsampled >= threshold) & (upsampled > 0))


def upsample(responses: Array, field: ReceptiveField) -> Array:
    """Return responses (H, W) at every pixel of the input, (h, w) float32.

    Each response is that of the pixel in the center of what its cell sees, of two the lower one; between the centers it
    is interpolated linearly, beyond the outermost ones it stays.
    """
    rows, columns = (
        _centers(sight, count, size)
        for sight, count, size in zip((field.rows, field.columns), responses.shape, field.input_px, strict=True)
    )
    down = _interpolation(rows, field.input_px[0])
    across = _interpolation(columns, field.input_px[1])
    upsampled: Array = (down @ responses @ across.T).astype(np.float32)
    return upsampled


def darkened(picture: Image.Image, mask: Bits, placement: Placement) -> Image.Image:
    """Return a picture of the whole upright image with what lies outside a mask (h, w) of the input nearly black."""
    inside = placement.scaled(*picture.size).on_original(mask)
    return Image.fromarray(dimmed(np.asarray(picture.convert("RGB")), inside))


def dimmed(pixels: Pixels, mask: Bits) -> Pixels:
    """Return pixels (h, w, 3) with what lies outside a mask (h, w) nearly black."""
    return np.where(mask[..., None], pixels, pixels // 5)


def _centers(sight: Sight, count: int, size: int) -> NDArray[np.float64]:
    """Return the middle pixels of what the cells along one axis see; evenly spread where all see everything."""
    if sight.stride_px == 0:
        return np.ceil((np.arange(count) + 0.5) * size / count) - 0.5
    return np.ceil(sight.center_px + np.arange(count, dtype=float) * sight.stride_px) - 0.5


def _interpolation(centers: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return weights (size, cells): the share of each cell in each pixel, whose own center is half a pixel in."""
    pixels = np.arange(size) + 0.5
    return np.stack([np.interp(pixels, centers, row) for row in np.eye(len(centers))], axis=1)
