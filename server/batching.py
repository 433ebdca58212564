"""Gathers searches that arrive together into one: a matrix product for many queries costs little more than for one."""

import asyncio
from collections.abc import Hashable

import numpy as np

from whymatch.embed import Array
from whymatch.index import Gallery, Match
from whymatch.server.backend import Backend

Waiting = list[tuple[Array, "asyncio.Future[list[Match]]"]]


class SearchBatcher:
    """While one batch is searched the next one gathers; nobody waits for a batch to fill."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting: dict[Hashable, Waiting] = {}
        self._running: dict[Hashable, asyncio.Task[None]] = {}

    async def search(self, gallery: Gallery, embedding: Array, limit: int, labels: tuple[str, ...]) -> list[Match]:
        """Return what `gallery.search` does for one embedding (C,)."""
        key = (gallery, limit, labels)
        result: asyncio.Future[list[Match]] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, []).append((embedding, result))
        if key not in self._running:
            self._running[key] = asyncio.create_task(self._search_waiting(key, gallery, limit, labels))
        return await result

    async def _search_waiting(self, key: Hashable, gallery: Gallery, limit: int, labels: tuple[str, ...]) -> None:
        while waiting := self._waiting.pop(key, None):
            live = [(embedding, result) for embedding, result in waiting if not result.cancelled()]
            try:
                embeddings = np.stack([embedding for embedding, _ in live]) if live else np.empty((0, 0), np.float32)
                found = await self._backend.run(gallery.search, embeddings, limit, labels) if live else []
            except Exception as err:
                _settle(live, [err] * len(live))
            else:
                _settle(live, found)
        del self._running[key]


def _settle(live: Waiting, outcomes: list[list[Match]] | list[Exception]) -> None:
    for (_, result), outcome in zip(live, outcomes, strict=True):
        if result.cancelled():
            continue
        if isinstance(outcome, Exception):
            result.set_exception(outcome)
        else:
            result.set_result(outcome)
