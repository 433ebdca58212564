"""Maps from stored feature maps: of ten matches, against embedding the images again, and why one ranks before another.

The latter is the whole answer but its pictures: three images' maps, the difference, leading channels and cells.
"""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.networks import write_untrained
from benchmarks.pictures import write_jpegs
from benchmarks.report import Figure, measured_in_turn, seconds, spread
from whymatch.embed import Embedder, Model, load_model
from whymatch.explain import best_box, explain_ranking, leading_cells, leading_channels, similarity_map
from whymatch.index import Galleries, Gallery, NewImage

MATCHES = 10
TIMES = 10
"""That maps are made in a turn, for it takes so little."""


def run() -> list[Figure]:
    """Measure the bundled model and resnet50."""
    with tempfile.TemporaryDirectory() as folder:
        weights = write_untrained("resnet50", Path(folder))
        models = {"bundled": load_model(), "resnet50": load_model("resnet50", weights=weights)}
        return [figure for name, model in models.items() for figure in _measure(name, model, Path(folder))]


def _measure(name: str, model: Model, folder: Path) -> list[Figure]:
    contents = [path.read_bytes() for path in write_jpegs(folder / "jpegs", MATCHES + 1)]
    embedder = Embedder(model)
    query, *_ = features = [future.result() for future in [embedder.submit(content) for content in contents]]
    with Galleries(folder / name, model) as galleries:
        gallery = galleries.create("default")
        names = [f"{number}.jpg" for number in range(MATCHES)]
        new = zip(names, contents[1:], features[1:], strict=True)
        gallery.add([NewImage(*image) for image in new])

        def stored() -> None:
            for _ in range(TIMES):
                _maps(gallery, names, query.embedding)

        def again() -> None:
            for future in [embedder.submit(content) for content in contents[1:]]:
                similarity_map(future.result(), query.embedding)

        def ranking() -> None:
            for _ in range(TIMES):
                _ranking(gallery, names[:3])

        slow, fast = measured_in_turn(lambda: seconds(again), lambda: seconds(stored) / TIMES, rounds=20, warm_up=5)
        [why] = measured_in_turn(lambda: seconds(ranking) / TIMES, rounds=20, warm_up=5)
    embedder.close()
    faster = slow / fast
    of_matches = Figure(
        f"maps of {MATCHES} matches from stored feature maps, times faster than embedding them again, {name}",
        float(np.median(faster)),
        at_least=50,
        detail=f"{np.median(fast) * 1000:.2f} ms against {np.median(slow) * 1000:.0f} ms, float32; {spread(faster)}",
    )
    of_ranking = Figure(
        f"why A ranks before B, from stored feature maps, {name}",
        float(np.median(why)) * 1000,
        " ms",
        at_most=10,
        detail=f"difference and both matches' maps, ten channels and cells; {spread(why * 1000)}",
    )
    return [of_matches, of_ranking]


def _maps(gallery: Gallery, names: list[str], embedding: np.ndarray) -> None:
    for features in gallery.features(names):
        assert features is not None
        similarity_map(features, embedding)


def _ranking(gallery: Gallery, names: list[str]) -> None:
    query, first, second = filter(None, gallery.features(names))
    why = explain_ranking(query, first.embedding, second.embedding)
    leading_channels(why.query_vector, why.difference, 10, either_sign=True)
    leading_cells(why.difference_map, 10)
    for one in (why.difference_map, *(similarity_map(match, why.query_vector) for match in (first, second))):
        best_box(one)
