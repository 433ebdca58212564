"""Gathers searches that wait for the same gallery into one, without ever making a search wait for company."""

import asyncio
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np

from whymatch.embed import Array
from whymatch.index import Galleries, Match

Kind: TypeAlias = tuple[str, int, tuple[str, ...]]
"""Gallery, limit and labels: what searches must have in common to go together."""
Result: TypeAlias = "asyncio.Future[list[Match]]"


class SearchBatcher:
    """Searches galleries off the event loop: while one batch of a kind runs, the next gathers."""

    def __init__(self, galleries: Galleries) -> None:
        self._galleries = galleries
        self._waiting: dict[Kind, list[tuple[Array, Result]]] = {}
        """Has a key for each kind of which a batch is running."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def search(self, gallery: str, embedding: Array, limit: int, labels: Iterable[str]) -> list[Match]:
        """Return the best matches of an embedding, (C,) float32 of length 1. Raises the errors of `Gallery.search`."""
        kind = (gallery, limit, tuple(sorted(set(labels))))
        result: Result = asyncio.get_running_loop().create_future()
        running = kind in self._waiting
        self._waiting.setdefault(kind, []).append((embedding, result))
        if not running:
            task = asyncio.create_task(self._run(kind))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await result

    async def _run(self, kind: Kind) -> None:
        """Search for all that wait, until nobody does."""
        while waiting := self._waiting[kind]:
            self._waiting[kind] = []
            if batch := [(embedding, result) for embedding, result in waiting if not result.done()]:
                await self._search(kind, batch)
        del self._waiting[kind]

    async def _search(self, kind: Kind, batch: list[tuple[Array, Result]]) -> None:
        try:
            found = await asyncio.to_thread(self._found, kind, np.stack([embedding for embedding, _ in batch]))
        except Exception as err:
            for _, result in batch:
                if not result.done():
                    result.set_exception(err)
            return
        for (_, result), matches in zip(batch, found, strict=True):
            if not result.done():
                result.set_result(matches)

    def _found(self, kind: Kind, embeddings: Array) -> list[list[Match]]:
        gallery, limit, labels = kind
        return self._galleries.open(gallery).search(embeddings, limit, labels)
