"""Gathers searches that wait for the same gallery into one, without ever making a search wait for company."""

import asyncio
import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import numpy as np

from whymatch.embed import Array
from whymatch.index import GalleryVersion, Match, Selection

Kind: TypeAlias = tuple[GalleryVersion, int, Selection]
"""Version of a gallery, limit and selection: what searches must have in common to go together."""
Waiting: TypeAlias = tuple[Array, "Future[list[Match]]"]


class SearchBatcher:
    """Searches galleries off the event loop: while one batch of a kind runs, the next gathers.

    The thread that is done with a batch starts the next one itself: the loop is busiest just when many searches wait.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max(4, os.cpu_count() or 1), "search")
        self._lock = threading.Lock()
        self._waiting: dict[Kind, list[Waiting]] = {}
        """Has a key for each kind of which a batch is running."""

    def close(self) -> None:
        """Finish the searches that wait."""
        self._threads.shutdown()

    async def search(self, version: GalleryVersion, embedding: Array, limit: int, selection: Selection) -> list[Match]:
        """Return the best matches of a vector, (D,) float32. Raises the errors of `GalleryVersion.search`."""
        kind = (version, limit, selection)
        result: Future[list[Match]] = Future()
        with self._lock:
            running = kind in self._waiting
            self._waiting.setdefault(kind, []).append((embedding, result))
        if not running:
            self._threads.submit(self._run, kind)
        return await asyncio.wrap_future(result)

    def _run(self, kind: Kind) -> None:
        """Search for all that wait now; whoever has come meanwhile is next, after what waits for a thread already."""
        with self._lock:
            waiting, self._waiting[kind] = self._waiting[kind], []
        if batch := [(embedding, result) for embedding, result in waiting if result.set_running_or_notify_cancel()]:
            self._search(kind, batch)
        with self._lock:
            if not self._waiting[kind]:
                del self._waiting[kind]
                return
        try:
            self._threads.submit(self._run, kind)
        except RuntimeError:  # closed meanwhile; those that wait get their answer all the same
            self._run(kind)

    def _search(self, kind: Kind, batch: list[Waiting]) -> None:
        version, limit, selection = kind
        try:
            embeddings = np.stack([embedding for embedding, _ in batch])
            found = version.search(embeddings, limit, selection)
        except Exception as err:
            for _, result in batch:
                result.set_exception(err)
            return
        for (_, result), matches in zip(batch, found, strict=True):
            result.set_result(matches)
