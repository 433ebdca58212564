"""Similarity maps of ten matches from stored feature maps, against embedding the ten images again."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.networks import write_untrained
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure
from whymatch.embed import Embedder, Model, load_model
from whymatch.explain import similarity_map
from whymatch.index import Galleries, Gallery, NewImage

MATCHES = 10


def run() -> list[Figure]:
    """Measure the bundled model and resnet50."""
    with tempfile.TemporaryDirectory() as folder:
        weights = write_untrained("resnet50", Path(folder))
        models = {"bundled": load_model(), "resnet50": load_model("resnet50", weights=weights)}
        return [_measure(name, model, Path(folder)) for name, model in models.items()]


def _measure(name: str, model: Model, folder: Path) -> Figure:
    contents = [path.read_bytes() for path in write_jpegs(folder / "jpegs", MATCHES + 1)]
    embedder = Embedder(model)
    query, *_ = features = [future.result() for future in [embedder.submit(content) for content in contents]]
    with Galleries(folder / name, model) as galleries:
        gallery = galleries.create("default")
        names = [f"{number}.jpg" for number in range(MATCHES)]
        new = zip(names, contents[1:], features[1:], strict=True)
        gallery.add([NewImage(*image) for image in new])

        def stored() -> None:
            _maps(gallery, names, query.embedding)

        def again() -> None:
            for future in [embedder.submit(content) for content in contents[1:]]:
                similarity_map(future.result(), query.embedding)

        ratio, fast, slow = _ratio(again, stored)
    embedder.close()
    return Figure(
        f"maps of {MATCHES} matches from stored feature maps, times faster than embedding them again, {name}",
        ratio,
        at_least=50,
        detail=f"{fast * 1000:.2f} ms against {slow * 1000:.0f} ms, float32",
    )


def _maps(gallery: Gallery, names: list[str], embedding: np.ndarray) -> None:
    for features in gallery.features(names):
        assert features is not None
        similarity_map(features, embedding)


def _ratio(slow: Callable[[], None], fast: Callable[[], None]) -> tuple[float, float, float]:
    """Return the median ratio, and both medians in seconds, of the two measured in turn."""
    times = [(_seconds(fast), _seconds(slow)) for _ in range(25)][5:]
    fasts, slows = np.array(times).T
    return float(np.median(slows / fasts)), float(np.median(fasts)), float(np.median(slows))


def _seconds(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
