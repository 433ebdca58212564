"""Galleries of small pictures under small networks, for tests of units."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from whymatch.embed import DecodeLimits, Model
from whymatch.index import Galleries, Gallery, NewImage


def add(gallery: Gallery, model: Model, images: dict[str, bytes], label: str = "") -> None:
    new = [
        NewImage(name, content, model.features([model.prepare(content, DecodeLimits())])[0], label)
        for name, content in images.items()
    ]
    assert all(not isinstance(added, Exception) for added in gallery.add(new))


@contextmanager
def gallery_of(folder: Path, model: Model, *, omit_feature_maps: bool = False) -> Iterator[Gallery]:
    with Galleries(folder, model) as galleries:
        yield galleries.create("default", omit_feature_maps=omit_feature_maps)
