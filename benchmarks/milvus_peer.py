"""Milvus standalone, the server that users would take instead: exact, the same vectors, with a name and a label each.

The package `milvus` brings the server, `pymilvus` the client (the extra `bench`); both talk over the loopback only.
"""

import asyncio
import importlib.metadata
import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.apart import Measure
from benchmarks.clients import searches_a_second
from benchmarks.vectors import LIMIT, Vectors, median_search

COLLECTION = "images"
FIELDS = ["name", "label"]
AT_ONCE = 1000
PARTS = ("rootCoord", "proxy", "queryCoord", "queryNode", "indexNode", "dataCoord", "dataNode")
INDEX_LIMIT_S = 120.0


def has_milvus() -> bool:
    """Whether Milvus is installed; a line says how to install it where it is not."""
    if importlib.util.find_spec("milvus") and importlib.util.find_spec("pymilvus"):
        return True
    hint = ".venv/bin/pip install --constraint constraints.txt --editable '.[bench]'"
    print(f"searching: not compared with Milvus, which is not installed: {hint}", file=sys.stderr)
    return False


@contextmanager
def milvus_server(vectors: Vectors) -> Iterator[str]:
    """Start a server that holds the vectors, yield its address, stop it at the end."""
    from milvus import MilvusServer, MilvusServerConfig

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = MilvusServer(MilvusServerConfig(data_dir=folder))
        for part in PARTS:
            server.config.set(f"{part}.ip", "127.0.0.1")  # else they talk over the network's interface
        try:
            server.start()
            address = f"http://127.0.0.1:{server.listen_port}"
            _fill(address, vectors.load())
            yield address
        finally:
            server.stop()


def _fill(address: str, vectors: NDArray[np.float32]) -> None:
    """Store the vectors, and load them once they are indexed: beside a growing segment a search takes twice as long."""
    from pymilvus import DataType, MilvusClient

    client = MilvusClient(address)
    schema = client.create_schema(auto_id=False)
    schema.add_field("name", DataType.VARCHAR, is_primary=True, max_length=64)
    schema.add_field("label", DataType.VARCHAR, max_length=64)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=vectors.shape[1])
    client.create_collection(COLLECTION, schema=schema)
    for start in range(0, len(vectors), AT_ONCE):
        some = enumerate(vectors[start : start + AT_ONCE], start)
        client.insert(COLLECTION, [{"name": str(n), "label": f"label {n % 100}", "vector": one} for n, one in some])
    client.flush(COLLECTION)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="FLAT", metric_type="IP")
    client.create_index(COLLECTION, index)
    _await_index(client, len(vectors))
    client.load_collection(COLLECTION)
    client.close()


def _await_index(client: Any, count: int) -> None:
    end = time.monotonic() + INDEX_LIMIT_S
    while client.describe_index(COLLECTION, "vector")["indexed_rows"] < count:
        if time.monotonic() > end:
            raise RuntimeError(f"Milvus has not indexed {count} vectors in {INDEX_LIMIT_S:.0f} s")
        time.sleep(0.5)


def milvus_search(address: str, vectors: Vectors) -> Measure:
    """Measure the median seconds of a search by one client."""
    from pymilvus import MilvusClient

    client = MilvusClient(address)

    def search(query: NDArray[np.float32]) -> list[int]:
        [found] = client.search(COLLECTION, [query], limit=LIMIT, output_fields=FIELDS)
        return [int(match["entity"]["name"]) for match in found if match["entity"]["label"]]

    return median_search(vectors, search)


def milvus_searches(address: str, vectors: Vectors) -> float:
    """Return the searches a second of this process's share of the clients."""
    from pymilvus import AsyncMilvusClient

    async def measure() -> float:
        client = AsyncMilvusClient(address)
        try:
            return await searches_a_second(
                lambda query: client.search(COLLECTION, [query], limit=LIMIT, output_fields=FIELDS), vectors
            )
        finally:
            await client.close()

    return asyncio.run(measure())


def milvus_version() -> str:
    """Return the version of the server."""
    return importlib.metadata.version("milvus")
