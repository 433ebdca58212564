from collections.abc import Callable

import numpy as np
import pytest

from whymatch.embed import Features, Pooling
from whymatch.index import Galleries, NewImage


@pytest.fixture
def galleries(tmp_path, model):
    with Galleries(tmp_path / "data", model) as opened:
        yield opened


@pytest.fixture
def gallery(galleries):
    return galleries.create("default")


@pytest.fixture(scope="session")
def new_image(model) -> Callable[..., NewImage]:
    """Make an image with random features, so that no network need run."""

    def make(seed: int, name: str = "", label: str = "", **metadata: str) -> NewImage:
        feature_map = np.random.default_rng(seed).random((3, 4, model.dimensions), dtype=np.float32)
        placement = model.geometry.placement(40, 30)
        features = Features(feature_map, Pooling().pool(feature_map), model.pooling, placement)
        return NewImage(name or f"{seed}.jpg", f"bytes {seed}".encode(), features, label, metadata)

    return make
