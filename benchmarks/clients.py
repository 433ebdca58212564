"""Clients of a whymatch server, to run in processes of their own: one that waits, and many at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.apart import Measure
from benchmarks.vectors import LIMIT, Vectors, median_search
from whymatch.client import AsyncClient, Client

CLIENTS, PROCESSES = 16, 2
SECONDS = 2.0


def whymatch_search(address: str, vectors: Vectors) -> Measure:
    """Measure the median seconds of a search by one client."""
    client = Client(address)

    def search(query: NDArray[np.float32]) -> list[int]:
        found = client.search(query, limit=LIMIT)
        return [int(match.name) for match in found if match.label]

    return median_search(vectors, search)


def whymatch_searches(address: str, vectors: Vectors) -> float:
    """Return the searches a second of this process's share of the clients."""

    async def measure() -> float:
        async with AsyncClient(address) as client:
            return await searches_a_second(lambda query: client.search(query, limit=LIMIT), vectors)

    return asyncio.run(measure())


async def searches_a_second(
    search: Callable[[NDArray[np.float32]], Awaitable[object]], vectors: Vectors, seconds: float = SECONDS
) -> float:
    """Return the searches a second of `CLIENTS // PROCESSES` that each wait for an answer before they ask again."""
    await search(vectors.queries[0])
    end = time.perf_counter() + seconds

    async def one(offset: int) -> int:
        count = 0
        while time.perf_counter() < end:
            await search(vectors.queries[(offset + count) % len(vectors.queries)])
            count += 1
        return count

    return sum(await asyncio.gather(*map(one, range(CLIENTS // PROCESSES)))) / seconds
