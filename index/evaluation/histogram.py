"""The baseline that any network should beat: histograms of color, which know nothing of shapes."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from whymatch.embed import Array, DecodeLimits, decode_image, normalized
from whymatch.index.evaluation.embedding import Advance, Unreadable, gather

NAME = "color-histogram"
HUES, SATURATIONS, VALUES = 16, 4, 4
DIMENSIONS = HUES * SATURATIONS * VALUES
SIDE_PX = 128
"""Images are shrunk to this; a histogram needs no more pixels."""


def embed_by_color(paths: Sequence[Path], advance: Advance = lambda images: None) -> tuple[Array, Unreadable]:
    """Return the color histograms (n, 256) of the images that can be read, as `embed_images` does embeddings."""
    with ThreadPoolExecutor() as pool:
        return gather(paths, lambda content: pool.submit(color_histogram, content), lambda vector: vector, advance)


def color_histogram(content: bytes) -> Array:
    """Return the square roots of how often each of 16 x 4 x 4 bins of hue, saturation and value occurs, of length 1.

    The inner product of two such vectors is the overlap (Bhattacharyya coefficient) of the histograms, 0 to 1.

    Raises the errors of `decode_image`.
    """
    image = decode_image(content, DecodeLimits())
    image.thumbnail((SIDE_PX, SIDE_PX))
    bins = np.asarray(image.convert("HSV")) // np.array([256 // HUES, 256 // SATURATIONS, 256 // VALUES])
    flat = np.ravel_multi_index(tuple(bins.reshape(-1, 3).T), (HUES, SATURATIONS, VALUES))
    return normalized(np.sqrt(np.bincount(flat, minlength=DIMENSIONS)).astype(np.float32))
