"""Searching stored vectors of 512 values: through the server and in the index, against bare FAISS, gRPC and Milvus.

Everything compared is measured in turn, some searches at a time, each in a process of its own.
"""

import tempfile
from pathlib import Path

import numpy as np

from benchmarks.apart import Measure, apart, together
from benchmarks.bare_faiss import bare_faiss, better_of
from benchmarks.bare_grpc import bare_grpc_server
from benchmarks.clients import CLIENTS, PROCESSES, whymatch_search, whymatch_searches
from benchmarks.milvus_peer import has_milvus, milvus_search, milvus_searches, milvus_server, milvus_version
from benchmarks.networks import small_network
from benchmarks.report import Figure, measured_in_turn, spread
from benchmarks.vectors import LIMIT, Vectors, median_search, write_vectors
from whymatch.client.apps.local_server import local_server
from whymatch.embed import Features, Model, load_named_model
from whymatch.index import Galleries, NewImage
from whymatch.index.faiss_index import FaissIndex

COUNT, DIMENSIONS = 20_000, 512
LARGE = 200_000
"""Vectors up to which a gallery is searched exactly."""
ROUNDS = 20
CROWD_ROUNDS = 6
WARM_UP = 2


def run() -> list[Figure]:
    """Measure latency with one client, throughput with 16, and the index alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vectors, network = write_vectors(folder, COUNT, DIMENSIONS), small_network(folder)
        fill(folder / "data", load_named_model(network), vectors.load())
        with local_server(folder / "data", "--model", network, "--log-level", "warning") as address:
            figures = [_latency(address, vectors), _throughput(address, vectors)]
            if has_milvus():
                figures += _against_milvus(address, vectors)
        return [*figures, *(_index_against_bare(write_vectors(folder, n, DIMENSIONS), n) for n in (COUNT, LARGE))]


def fill(folder: Path, model: Model, vectors: np.ndarray) -> None:
    """Store vectors as a gallery `default` without running the network."""
    placement = model.geometry.placement(1, 1)

    def image(n: int) -> NewImage:
        features = Features(vectors[n][None, None], vectors[n], model.pooling, placement)
        return NewImage(str(n), b"%d" % n, features, label=f"label {n % 100}")

    with Galleries(folder, model) as galleries:
        gallery = galleries.create("default", omit_feature_maps=True)
        for start in range(0, len(vectors), 1000):
            gallery.add([image(n) for n in range(start, min(start + 1000, len(vectors)))])


def _latency(address: str, vectors: Vectors) -> Figure:
    with apart(whymatch_search, address, vectors) as search, bare_faiss(vectors) as bare:
        served, *both = measured_in_turn(search, *bare, rounds=ROUNDS, warm_up=WARM_UP)
    better, words = better_of(np.array(both))
    above = (served - better) * 1000
    return Figure(
        f"search of {COUNT:,} x {DIMENSIONS}, exact, above bare FAISS, median",
        float(np.median(above)),
        " ms",
        at_most=1.5,
        detail=f"{np.median(served) * 1000:.2f} ms through the server; {words}; {spread(above, ' ms')}",
    )


def _throughput(address: str, vectors: Vectors) -> Figure:
    with (
        bare_grpc_server() as bare_address,
        together(PROCESSES, whymatch_searches, address, vectors) as ours,
        together(PROCESSES, whymatch_searches, bare_address, vectors) as bare,
    ):
        served, answered = measured_in_turn(ours, bare, rounds=CROWD_ROUNDS)
    return Figure(
        f"searches a second with {CLIENTS} clients",
        float(np.median(served)),
        at_least=round(min(600.0, float(np.median(answered)) / 2)),
        detail=f"{spread(served)}; bare gRPC answers {np.median(answered):.0f} calls a second",
    )


def _against_milvus(address: str, vectors: Vectors) -> list[Figure]:
    with milvus_server(vectors) as peer:
        with apart(whymatch_search, address, vectors) as ours, apart(milvus_search, peer, vectors) as theirs:
            ours_s, theirs_s = measured_in_turn(ours, theirs, rounds=ROUNDS, warm_up=WARM_UP)
        with (
            together(PROCESSES, whymatch_searches, address, vectors) as ours,
            together(PROCESSES, milvus_searches, peer, vectors) as theirs,
        ):
            our_rate, their_rate = measured_in_turn(ours, theirs, rounds=CROWD_ROUNDS)
    faster, more = theirs_s / ours_s, our_rate / their_rate
    what = f"Milvus {milvus_version()} standalone, FLAT"
    return [
        Figure(
            f"search of {COUNT:,} x {DIMENSIONS} for {LIMIT} names and labels, times faster than {what}",
            float(np.median(faster)),
            detail=f"{np.median(ours_s) * 1000:.2f} ms against {np.median(theirs_s) * 1000:.2f} ms; {spread(faster)}",
        ),
        Figure(
            f"searches a second with {CLIENTS} clients, over those of {what}",
            float(np.median(more)),
            detail=f"{np.median(our_rate):.0f} against {np.median(their_rate):.0f}; {spread(more)}",
        ),
    ]


def _index_against_bare(vectors: Vectors, count: int) -> Figure:
    """Compare a gallery's index, without server and store, with bare FAISS: exact searches for one query."""
    with apart(index_search, vectors) as search, bare_faiss(vectors) as bare:
        ours, *both = measured_in_turn(search, *bare, rounds=ROUNDS, warm_up=WARM_UP)
    better, words = better_of(np.array(both))
    faster = better / ours
    return Figure(
        f"exact search of {count:,} x {DIMENSIONS} for one query, times faster than bare FAISS",
        float(np.median(faster)),
        at_least=1,
        detail=f"{np.median(ours) * 1000:.2f} ms; {words}; {spread(faster)}",
    )


def index_search(vectors: Vectors) -> Measure:
    """Measure exact searches in a gallery's index."""
    stored = vectors.load()
    index = FaissIndex(vectors.file.with_suffix(".faiss"), stored.shape[1], "Flat")
    index.add(np.arange(len(stored)), stored)
    return median_search(vectors, lambda query: index.search(query[None], LIMIT)[1][0].tolist())
