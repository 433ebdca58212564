"""Adding a stream of images: they are embedded while those before them are stored, and answered in order."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass

from whymatch.embed import Features, WhymatchError
from whymatch.index import Added, Gallery, NewImage
from whymatch.server.backend import Backend

MAX_IMAGES = 64
"""Images of one stream between its reading and its answer: enough to fill batches of several shapes."""
MAX_BYTES = 64 * 2**20
"""Their bytes; one larger image travels alone."""
MAX_STORED_TOGETHER = 32


@dataclass(frozen=True, eq=False)
class Upload:
    """One image of the stream."""

    name: str
    content: bytes
    label: str
    metadata: dict[str, str]


Outcome = Added | WhymatchError
Pending = tuple[Upload, "Future[Features] | Outcome"]


async def add_images(
    backend: Backend, gallery: Gallery, uploads: AsyncIterator[Upload]
) -> AsyncIterator[tuple[str, Outcome]]:
    """Add images and yield for each its name and what became of it, in order, once it is on disk.

    Closing the iterator drops what is not embedded yet.
    """
    window = _Window()
    queue: asyncio.Queue[Pending | BaseException | None] = asyncio.Queue()
    reader = asyncio.create_task(_read(backend, gallery, uploads, window, queue))
    unfinished: list[Pending] = []
    try:
        while batch := await _next_batch(queue, unfinished):
            for (upload, _), outcome in zip(batch, await backend.run(_store, gallery, batch), strict=True):
                window.leave(len(upload.content))
                yield upload.name, outcome
    finally:
        reader.cancel()
        while not queue.empty():
            if isinstance(left := queue.get_nowait(), tuple):
                unfinished.append(left)
        for _, result in unfinished:
            if isinstance(result, Future):
                result.cancel()


async def _read(
    backend: Backend,
    gallery: Gallery,
    uploads: AsyncIterator[Upload],
    window: "_Window",
    queue: "asyncio.Queue[Pending | BaseException | None]",
) -> None:
    try:
        async for upload in uploads:
            await window.enter(len(upload.content))
            queue.put_nowait((upload, await backend.run(_begin, backend, gallery, upload)))
        queue.put_nowait(None)
    except Exception as err:
        queue.put_nowait(err)


def _begin(backend: Backend, gallery: Gallery, upload: Upload) -> "Future[Features] | Outcome":
    """Start embedding an image, unless it need not be or cannot be."""
    try:
        unchanged = gallery.unchanged(upload.name, upload.content, upload.label, upload.metadata)
    except WhymatchError as err:
        return err
    return unchanged or backend.embedder.submit(upload.content)


async def _next_batch(
    queue: "asyncio.Queue[Pending | BaseException | None]", unfinished: list[Pending]
) -> list[Pending]:
    """Wait for the next image to be embedded; return it with those after it that are, too. Empty at the end."""
    batch: list[Pending] = []
    while len(batch) < MAX_STORED_TOGETHER and not (batch and queue.empty() and not unfinished):
        if not unfinished:
            item = await queue.get()
            if item is None:
                queue.put_nowait(None)
                break
            if isinstance(item, BaseException):
                queue.put_nowait(item)
                if batch:
                    break
                raise item
            unfinished.append(item)
        _, result = unfinished[0]
        if isinstance(result, Future) and not result.done():
            if batch:
                break
            await asyncio.wait([asyncio.wrap_future(result)])
        batch.append(unfinished.pop())
    return batch


def _store(gallery: Gallery, batch: list[Pending]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    new: dict[int, NewImage] = {}
    for position, (upload, result) in enumerate(batch):
        features = _settled(result)
        if isinstance(features, Features):
            new[position] = NewImage(upload.name, upload.content, features, upload.label, upload.metadata)
        else:
            outcomes[position] = features
    try:
        added: list[Outcome] = list(gallery.add(list(new.values())))
    except WhymatchError as err:
        added = [err] * len(new)
    outcomes.update(zip(new, added, strict=True))
    return [outcomes[position] for position in range(len(batch))]


def _settled(result: "Future[Features] | Outcome") -> Features | Outcome:
    if not isinstance(result, Future):
        return result
    try:
        return result.result()
    except WhymatchError as err:
        return err


class _Window:
    """Holds back a stream while too much of it is under way."""

    def __init__(self) -> None:
        self._images = 0
        self._bytes = 0
        self._left = asyncio.Event()

    async def enter(self, size: int) -> None:
        while self._images and (self._images >= MAX_IMAGES or self._bytes + size > MAX_BYTES):
            self._left.clear()
            await self._left.wait()
        self._images += 1
        self._bytes += size

    def leave(self, size: int) -> None:
        self._images -= 1
        self._bytes -= size
        self._left.set()
