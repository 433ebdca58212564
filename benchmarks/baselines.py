"""What similarity maps are measured against: a center prior, and xaitk-saliency, installed for benchmarks only."""

import importlib.util
import sys
from collections.abc import Iterable, Iterator

import numpy as np

from whymatch.embed import Array, Features, Model, Prepared, unit

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


def sliding_window_map(model: Model, query: Prepared, match: Prepared) -> Array:
    """Return xaitk-saliency's sliding-window similarity saliency, (h, w) pixels of the query's input."""
    from xaitk_saliency.impls.gen_image_similarity_blackbox_sal.sbsm import SBSMStack

    saliency: Array = SBSMStack().generate(query.pixels, [match.pixels], _Embeddings(model))[0]
    return saliency


class _Embeddings:
    """A model as xaitk-saliency asks for it."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def generate_arrays_from_images(self, pixels: Iterable[Array]) -> Iterator[Array]:
        images = list(pixels)
        for start in range(0, len(images), BATCH):
            yield from embeddings(self._model, np.stack(images[start : start + BATCH]))


def embeddings(model: Model, pixels: Array) -> Array:
    """Return the embeddings (B, C) of pixels (B, h, w, 3)."""
    return unit(model.pooling.pool(model.feature_maps(pixels)))


def with_pooling(model: Model, features: Features) -> Features:
    """Return features pooled as a model does, without running the network again."""
    pooled = model.pooling.pool(features.feature_map)
    return Features(features.feature_map, pooled, model.pooling, features.placement)
