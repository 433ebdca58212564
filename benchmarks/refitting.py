"""Refitting the head of a gallery of 20,000 images, while it serves, from what is stored alone."""

import tempfile
import threading
from pathlib import Path

import faiss
import numpy as np

from benchmarks.networks import small_network
from benchmarks.report import Figure, in_turn, measured_in_turn, seconds, spread
from benchmarks.searching import fill
from whymatch.embed import Array, fit_whitening, load_named_model, normalized
from whymatch.index import Galleries, Gallery

COUNT = 20_000
DIMENSIONS = 128
ROUNDS = 10
SEARCHES = 200


def run() -> list[Figure]:
    """Measure a whitening head against the same done with numpy and FAISS, from vectors in memory."""
    with tempfile.TemporaryDirectory() as folder:
        model, data = load_named_model(small_network(Path(folder))), Path(folder) / "data"
        vectors = np.random.default_rng(0).gamma(0.5, size=(COUNT, model.dimensions)).astype(np.float32)
        fill(data, model, vectors)
        for content in (data / "galleries/default/contents").glob("*/*"):
            content.unlink()  # what reads an image now fails
        with Galleries(data, model) as galleries:
            return _refit(galleries.open("default"), vectors)


def _refit(gallery: Gallery, vectors: Array) -> list[Figure]:
    ours, plain = in_turn(lambda: _set_head(gallery), lambda: _plainly(vectors), rounds=ROUNDS, warm_up=1)
    idle, busy = measured_in_turn(lambda: _idle_search(gallery), lambda: _busy_search(gallery), rounds=ROUNDS)
    times, slower = ours / plain, busy / idle
    return [
        Figure(
            f"refit of a whitening head on {COUNT:,} x {vectors.shape[1]}, no image files, over numpy and FAISS",
            float(np.median(times)),
            " times",
            detail=f"{np.median(ours):.2f} s, the new version searchable and on disk, against {np.median(plain):.2f} s"
            f"; {spread(times)}",
        ),
        Figure(
            "median search of the old version while the head is refitted, over idle",
            float(np.median(slower)),
            " times",
            detail=f"{np.median(busy) * 1000:.2f} ms against {np.median(idle) * 1000:.2f} ms; {spread(slower)}",
        ),
    ]


def _set_head(gallery: Gallery) -> None:
    for _ in gallery.set_head(lambda batches, channels: fit_whitening(batches, channels, DIMENSIONS)):
        pass


def _plainly(vectors: Array) -> None:
    """Do the same with vectors that are in memory, and keep nothing."""
    centered = vectors - vectors.mean(axis=0)
    variances, directions = np.linalg.eigh((centered.T @ centered / len(vectors)).astype(float))
    matrix = directions[:, -DIMENSIONS:] / np.sqrt(variances[-DIMENSIONS:])
    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(normalized(centered @ matrix.astype(np.float32)))


def _idle_search(gallery: Gallery) -> float:
    """Return the median seconds of a search while nothing else runs."""
    version, query = gallery.version, gallery.version.embeddings(["0"])
    return float(np.median([seconds(lambda: version.search(query, 10)) for _ in range(SEARCHES)]))


def _busy_search(gallery: Gallery) -> float:
    """Return the median seconds of a search in the version that is being replaced."""
    version, query, times = gallery.version, gallery.version.embeddings(["0"]), []
    refit = threading.Thread(target=_set_head, args=[gallery])
    refit.start()
    while refit.is_alive():
        times.append(seconds(lambda: version.search(query, 10)))
    return float(np.median(times))
