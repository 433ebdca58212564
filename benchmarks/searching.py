"""Searching stored vectors of 512 values, through the server and in the index, against bare FAISS and bare gRPC."""

import asyncio
import functools
import multiprocessing
import tempfile
import time
from concurrent import futures
from pathlib import Path

import faiss
import grpc
import numpy as np

from benchmarks.networks import small_network
from benchmarks.report import Figure, in_turn
from whymatch.client import AsyncClient, Client
from whymatch.client.apps.local_server import local_server
from whymatch.embed import Features, Model, load_named_model, normalized
from whymatch.index import Galleries, NewImage
from whymatch.index.faiss_index import FaissIndex
from whymatch.v1 import search_service_pb2, search_service_pb2_grpc

COUNT, DIMENSIONS = 20_000, 512
LARGE = 200_000
"""Vectors up to which a gallery is searched exactly."""
QUERIES = 400
CLIENTS, PROCESSES = 16, 2
SECONDS = 5.0


def run() -> list[Figure]:
    """Measure latency with one client and throughput with 16."""
    vectors = normalized(np.random.default_rng(0).standard_normal((COUNT, DIMENSIONS)).astype(np.float32))
    with tempfile.TemporaryDirectory() as folder:
        network = small_network(Path(folder))
        fill(Path(folder) / "data", load_named_model(network), vectors)
        with local_server(Path(folder) / "data", "--model", network, "--log-level", "warning") as address:
            latency, bare = _latency(address, vectors)
            throughput = _throughput(address, vectors)
    bare_throughput = _bare_grpc_throughput(vectors)
    goal = min(600.0, bare_throughput / 2)
    return [
        Figure(
            "search of 20,000 x 512, exact, above bare FAISS, median",
            (latency - bare) * 1000,
            " ms",
            at_most=1.5,
            detail=f"{latency * 1000:.2f} ms through the server, {bare * 1000:.2f} ms bare",
        ),
        Figure(
            f"searches a second with {CLIENTS} clients",
            throughput,
            at_least=round(goal),
            detail=f"bare gRPC answers {bare_throughput:.0f} calls a second",
        ),
        *(_index_against_bare(count) for count in (COUNT, LARGE)),
    ]


def fill(folder: Path, model: Model, vectors: np.ndarray) -> None:
    """Store vectors as a gallery `default` without running the network."""
    placement = model.geometry.placement(1, 1)
    with Galleries(folder, model) as galleries:
        gallery = galleries.create("default", omit_feature_maps=True)
        for start in range(0, len(vectors), 1000):
            gallery.add(
                [
                    NewImage(str(n), b"%d" % n, Features(vectors[n][None, None], vectors[n], model.pooling, placement))
                    for n in range(start, min(start + 1000, len(vectors)))
                ]
            )


def _latency(address: str, vectors: np.ndarray) -> tuple[float, float]:
    """Return the median seconds of a search through the server and of bare FAISS, one after the other in turn."""
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    served, bare = [], []
    with Client(address) as client:
        for query in vectors[:QUERIES]:
            started = time.perf_counter()
            found = client.search(query, limit=10)
            served.append(time.perf_counter() - started)
            started = time.perf_counter()
            _, ids = index.search(query[None], 10)
            bare.append(time.perf_counter() - started)
            assert found[0].name == str(ids[0, 0])
    return float(np.median(served[20:])), float(np.median(bare[20:]))


def _index_against_bare(count: int) -> Figure:
    """Compare a gallery's index, without server and store, with bare FAISS: exact searches for one query."""
    random = np.random.default_rng(1).standard_normal((count + 10, DIMENSIONS), np.float32)
    *queries, vectors = np.split(normalized(random), range(1, 11))
    bare = faiss.IndexFlatIP(DIMENSIONS)
    bare.add(vectors)
    with tempfile.TemporaryDirectory() as folder:
        index = FaissIndex(Path(folder) / "index.faiss", DIMENSIONS, "Flat")
        index.add(np.arange(count), vectors)
        searches = [functools.partial(one.search, query, 10) for one in (bare, index) for query in queries]
        times = in_turn(*searches, rounds=5, warm_up=1).min(1)
    for query in queries:
        assert (index.search(query, 10)[1] == bare.search(query, 10)[1]).all()
    slow, fast = times[: len(queries)].mean(), times[len(queries) :].mean()
    return Figure(
        f"exact search of {count:,} x {DIMENSIONS} for one query, times faster than bare FAISS",
        slow / fast,
        at_least=1,
        detail=f"{fast * 1000:.2f} ms against {slow * 1000:.2f} ms",
    )


def _throughput(address: str, vectors: np.ndarray) -> float:
    """Return the searches a second of all clients together."""
    spawn = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(PROCESSES, spawn) as pool:
        counts = pool.map(_search_for_a_while, [address] * PROCESSES, [vectors[:1000]] * PROCESSES)
        return sum(counts) / SECONDS


def _search_for_a_while(address: str, queries: np.ndarray) -> int:
    return asyncio.run(_clients(address, queries))


async def _clients(address: str, queries: np.ndarray) -> int:
    async with AsyncClient(address) as client:
        await client.search(queries[0])
        end = time.perf_counter() + SECONDS

        async def one(offset: int) -> int:
            count = 0
            while time.perf_counter() < end:
                await client.search(queries[(offset * 61 + count) % len(queries)], limit=10)
                count += 1
            return count

        return sum(await asyncio.gather(*map(one, range(CLIENTS // PROCESSES))))


def _bare_grpc_throughput(vectors: np.ndarray) -> float:
    """Return the calls a second of a server that answers each search with the same ready response."""
    spawn = multiprocessing.get_context("spawn")
    port = spawn.Queue()
    server = spawn.Process(target=_serve_bare, args=(port,), daemon=True)
    server.start()
    try:
        return _throughput(f"127.0.0.1:{port.get()}", vectors)
    finally:
        server.terminate()
        server.join()


def _serve_bare(port: "multiprocessing.Queue[int]") -> None:
    asyncio.run(_bare_server(port))


async def _bare_server(port: "multiprocessing.Queue[int]") -> None:
    match = search_service_pb2.Match(score=0.5)
    match.image.name = "galleries/default/images/12345"
    match.image.content_sha256 = "0" * 64
    response = search_service_pb2.SearchResponse(model="0" * 32, matches=[match] * 10)

    class Bare(search_service_pb2_grpc.SearchServiceServicer):
        async def Search(self, request: object, context: object) -> object:
            return response

    server = grpc.aio.server()
    search_service_pb2_grpc.add_SearchServiceServicer_to_server(Bare(), server)
    port.put(server.add_insecure_port("127.0.0.1:0"))
    await server.start()
    await server.wait_for_termination()
