"""What similarity maps are measured against: a center prior, and xaitk-saliency, installed for benchmarks only."""

import importlib.util
import sys
from collections.abc import Iterable, Iterator

import numpy as np

from whymatch.embed import Array, Features, Head, Model, Pooling, Prepared

BATCH = 16


def center_prior(rows: int, columns: int) -> Array:
    """Return a Gaussian around the middle, (rows, columns); its standard deviation is a quarter of each side."""
    down, across = ((np.arange(count) + 0.5) / count - 0.5 for count in (rows, columns))
    return np.exp(-8 * (down[:, None] ** 2 + across**2)).astype(np.float32)


def has_sliding_window(benchmark: str) -> bool:
    """Whether xaitk-saliency is installed; a line says so where it is not."""
    if importlib.util.find_spec("xaitk_saliency"):
        return True
    print(f"{benchmark}: not compared with xaitk-saliency (pip install xaitk-saliency)", file=sys.stderr)
    return False


def sliding_window_map(model: Model, head: Head, query: Prepared, match: Prepared) -> Array:
    """Return xaitk-saliency's sliding-window similarity saliency, (h, w) pixels of the query's input.

    Its window and stride are for inputs of about 224 px; they grow with larger ones.
    """
    from xaitk_saliency.impls.gen_image_similarity_blackbox_sal.sbsm import SBSMStack

    factor = model.geometry.size_px / 224
    window, stride = round(50 * factor), round(20 * factor)
    windows = SBSMStack(window_size=(window, window), stride=(stride, stride))
    saliency: Array = windows.generate(query.pixels, [match.pixels], _Embeddings(model, head))[0]
    return saliency


class _Embeddings:
    """A model and a head as xaitk-saliency asks for them."""

    def __init__(self, model: Model, head: Head) -> None:
        self._model = model
        self._head = head

    def generate_arrays_from_images(self, pixels: Iterable[Array]) -> Iterator[Array]:
        images = list(pixels)
        for start in range(0, len(images), BATCH):
            yield from embeddings(self._model, self._head, np.stack(images[start : start + BATCH]))


def embeddings(model: Model, head: Head, pixels: Array) -> Array:
    """Return the embeddings (B, D) of pixels (B, h, w, 3)."""
    return head.embed(model.pooling.pool(model.feature_maps(pixels)))


def with_pooling(pooling: Pooling, features: Features) -> Features:
    """Return features pooled in another way, without running the network again."""
    return Features(features.feature_map, pooling.pool(features.feature_map), pooling, features.placement)
