"""A gallery that changes: filtered searches, best per label, older generations, updates, near duplicates.

Each is measured in turn with a plain search of the same gallery.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count, cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.networks import small_network
from benchmarks.report import Figure, in_turn, seconds, spread
from benchmarks.searching import fill
from benchmarks.vectors import LIMIT, Vectors, write_vectors
from whymatch.embed import load_named_model
from whymatch.index import Galleries, Gallery, GalleryVersion, Selection, parse_filter
from whymatch.index.duplicates import near_duplicates

COUNT, DIMENSIONS = 100_000, 512
HALF = " OR ".join(f'label = "label {number}"' for number in range(0, 100, 2))
UPDATES, WRITERS = 2000, 16
"""As many threads as the server has for it."""
COMPARED, ALIKE = 20_000, 0.97


def run() -> Iterator[Figure]:
    """Measure them all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors, model = write_vectors(folder, COUNT, DIMENSIONS), load_named_model(small_network(folder))
        fill(folder / "data", model, vectors.load())
        with Galleries(folder / "data", model) as galleries:
            gallery = galleries.open("default")
            yield from _searches(gallery, vectors)
            yield _updates(gallery)
        yield _duplicates(vectors.load()[:COMPARED])


def _searches(gallery: Gallery, vectors: Vectors) -> Iterator[Figure]:
    generation, now = gallery.generation(), gallery.version
    plain = _each_query(vectors, lambda query: now.search(query[None], LIMIT))
    half = Selection(where=parse_filter(HALF).where())
    filtered = _each_query(vectors, lambda query: now.search(query[None], LIMIT, half))
    by_label = _each_query(vectors, lambda query: now.best_of_labels(query, LIMIT))
    yield _ratio("search with a filter that leaves half", plain, filtered, 1.5)
    yield _ratio("best match of each label, of 100", plain, by_label, 2)
    gallery.delete("0")
    then: GalleryVersion = gallery.at(generation).version
    past = _each_query(vectors, lambda query: then.search(query[None], LIMIT))
    yield _ratio("search at an older generation", plain, past, 3)


def _each_query(vectors: Vectors, search: Callable[[NDArray[np.float32]], object]) -> Callable[[], object]:
    queries = cycle(vectors.queries)
    return lambda: search(next(queries))


def _ratio(what: str, plain: Callable[[], object], other: Callable[[], object], at_most: float) -> Figure:
    plain_s, other_s = in_turn(plain, other, rounds=40)
    ratio = float(np.median(other_s) / np.median(plain_s))
    detail = f"{np.median(other_s) * 1000:.1f} ms against {np.median(plain_s) * 1000:.1f} ms"
    return Figure(f"{what}, of {COUNT:,} x {DIMENSIONS}, over a plain search", ratio, at_most=at_most, detail=detail)


def _updates(gallery: Gallery) -> Figure:
    """Change the label of an image over and over, each on disk when it returns."""
    numbers = count()
    rates = []
    for _ in range(4):
        with ThreadPoolExecutor(WRITERS) as pool:
            started = time.perf_counter()
            labels = [(str(1 + number), f"other {next(numbers)}") for number in range(UPDATES)]
            list(pool.map(lambda one: gallery.update(one[0], label=one[1]), labels))
            rates.append(UPDATES / (time.perf_counter() - started))
    alone = 1 / np.median([seconds(lambda: gallery.update("1", label=f"other {next(numbers)}")) for _ in range(100)])
    return Figure(
        f"updates a second, on disk, of {WRITERS} writers",
        float(np.median(rates)),
        at_least=500,
        detail=f"{spread(np.array(rates))}; one writer: {alone:.0f}",
    )


def _duplicates(vectors: NDArray[np.float32]) -> Figure:
    """Find near duplicates among vectors of which each eighth is a slightly changed copy of another."""
    random = np.random.default_rng(1)
    copies = vectors[::8] + 0.005 * random.standard_normal((len(vectors[::8]), DIMENSIONS), np.float32)
    vectors[1::8] = copies / np.linalg.norm(copies, axis=1, keepdims=True)

    def find() -> None:
        *_, last = near_duplicates(vectors, ALIKE)
        if [group.members.tolist() for group in last.result or []] != [[n, n + 1] for n in range(0, len(vectors), 8)]:
            raise RuntimeError("other groups were found than there are")

    [times] = in_turn(find, rounds=3, warm_up=1)
    return Figure(
        f"near duplicates among {len(vectors):,} x {DIMENSIONS}, all pairs",
        float(np.median(times)),
        " s",
        at_most=10,
        detail=spread(times, " s"),
    )
