"""Adds a stream of images: reads ahead, embeds what was read, stores what is embedded, all at the same time."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

from whymatch.embed import Embedder, Features, WhymatchError
from whymatch.index import Added, Gallery, MetadataValue, NewImage, check_image_name, content_digest
from whymatch.server.logs import logger

MAX_IMAGES = 128
"""Of one stream in memory at once: enough for the network to find full batches."""
MAX_BYTES = 32 * 2**20
"""Of one stream's files in memory at once; a single larger file passes alone."""
GROUP = 32
"""Most images in one transaction; more would delay the first answer."""


@dataclass(frozen=True, eq=False)
class Arrival:
    """An image as a client sends it."""

    name: str
    content: bytes
    label: str
    metadata: Mapping[str, MetadataValue]
    replace: bool = False
    """Whether it takes the place of another image of its name."""


Result = tuple[Arrival, Added | Exception]


@dataclass(frozen=True, eq=False)
class _Pending:
    arrival: Arrival
    work: "Future[Features | Added]"


class Adding:
    """One stream of images on its way into a gallery. Results come in the order of arrival."""

    def __init__(self, gallery: Gallery, embedder: Embedder) -> None:
        self._gallery = gallery
        self._embedder = embedder
        self._pending: deque[_Pending] = deque()
        self._images = self._bytes = 0
        self._all_read = False
        self._changed = asyncio.Event()
        self._room = asyncio.Event()

    async def results(self, arrivals: AsyncIterator[Arrival]) -> AsyncGenerator[list[Result]]:
        """Return what became of the images, some at a time, once they are on disk.

        Raises what `arrivals` raises, after the results of the images before, and the errors of `Gallery.add` that
        concern the gallery and not one image. Closing the iterator stops the work.
        """
        reader = asyncio.create_task(self._read(arrivals))
        try:
            while group := await self._next_group():
                yield await asyncio.to_thread(self._store, group)
                self._forget(group)
            await reader
        finally:
            reader.cancel()
            for pending in self._pending:
                pending.work.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def _read(self, arrivals: AsyncIterator[Arrival]) -> None:
        try:
            async for arrival in arrivals:
                await self._wait_for_room(len(arrival.content))
                self._pending.append(_Pending(arrival, await asyncio.to_thread(self._begin, arrival)))
                self._changed.set()
        finally:
            self._all_read = True
            self._changed.set()

    async def _wait_for_room(self, size: int) -> None:
        while self._images and (self._images >= MAX_IMAGES or self._bytes + size > MAX_BYTES):
            self._room.clear()
            await self._room.wait()
        self._images += 1
        self._bytes += size

    def _forget(self, group: list[_Pending]) -> None:
        self._images -= len(group)
        self._bytes -= sum(len(pending.arrival.content) for pending in group)
        self._room.set()

    def _begin(self, arrival: Arrival) -> "Future[Features | Added]":
        """Embed an image, unless it has a bad name or its bytes are stored already."""
        done: Future[Features | Added] = Future()
        try:
            check_image_name(arrival.name)
            known = self._known(arrival)
        except WhymatchError as err:
            done.set_exception(err)
            return done
        if known is None:
            return self._embedder.submit(arrival.content)  # type: ignore[return-value]  # a future only gives
        done.set_result(known)
        return done

    def _known(self, arrival: Arrival) -> Added | Features | None:
        """Return what need not be done: the image is stored just so already, or its bytes are."""
        added = self._gallery.unchanged(arrival.name, arrival.content, arrival.label, arrival.metadata)
        return added or self._gallery.features_by_hash(content_digest(arrival.content))

    async def _next_group(self) -> list[_Pending]:
        """Wait for the oldest image, and take those after it that are finished, too; empty at the end."""
        while not self._pending and not self._all_read:
            self._changed.clear()
            await self._changed.wait()
        if not self._pending:
            return []
        await _until_done(self._pending[0].work)
        group = [self._pending.popleft()]
        while self._pending and self._pending[0].work.done() and len(group) < GROUP:
            group.append(self._pending.popleft())
        return group

    def _store(self, group: list[_Pending]) -> list[Result]:
        embedded = [(pending.arrival, _outcome(pending)) for pending in group]
        new = [
            NewImage(arrival.name, arrival.content, outcome, arrival.label, arrival.metadata, arrival.replace)
            for arrival, outcome in embedded
            if isinstance(outcome, Features)
        ]
        stored = iter(self._gallery.add(new) if new else ())
        return [(arrival, next(stored) if isinstance(outcome, Features) else outcome) for arrival, outcome in embedded]


async def _until_done(work: "Future[Features | Added]") -> None:
    if work.done():
        return
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    work.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    await done.wait()


def _outcome(pending: _Pending) -> Features | Added | Exception:
    """Return what came of an image; a fault of our own is logged here, for the stream goes on."""
    err = pending.work.exception()
    if err is None:
        return pending.work.result()
    if not isinstance(err, Exception):
        raise err
    if not isinstance(err, WhymatchError):
        logger.error("image %r failed", pending.arrival.name, exc_info=err)
    return err
