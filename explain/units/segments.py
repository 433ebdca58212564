"""Divides an image into parts."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Segmentation = Literal["slic", "felzenszwalb"]
Segments = NDArray[np.int32]


def segments_of(pixels: NDArray[np.uint8], kind: Segmentation, count: int) -> Segments:
    """Return the number of the part of each pixel, (h, w), from 0 on without gaps.

    pixels: (h, w, 3) sRGB.
    kind: `slic`, parts of about the same size (Achanta et al.); `felzenszwalb`, along edges (Felzenszwalb and
        Huttenlocher), as large as makes about as many.
    count: about how many parts; at least 2.
    """
    from skimage.segmentation import slic  # late: it takes part of a second of a server's start

    parts = slic(pixels, n_segments=count, compactness=10) if kind == "slic" else _along_edges(pixels, count)
    _, numbered = np.unique(parts, return_inverse=True)
    return numbered.reshape(parts.shape).astype(np.int32)


def _along_edges(pixels: NDArray[np.uint8], count: int) -> NDArray[np.intp]:
    """Return the parts of the scale, of powers of 2, that gives the number nearest to `count`."""
    from skimage.segmentation import felzenszwalb

    least_px = max(1, pixels.shape[0] * pixels.shape[1] // (8 * count))
    tries = [felzenszwalb(pixels, scale=2.0**power, sigma=0.8, min_size=least_px) for power in range(4, 13)]
    best: NDArray[np.intp] = min(tries, key=lambda parts: abs(int(parts.max()) + 1 - count))
    return best
