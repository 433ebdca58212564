"""A flow of images on their way to a network: decoded in threads ahead of it, in batches of one input size."""

import os
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias, TypeVar

from whymatch.embed.embedder import yield_to_the_network
from whymatch.embed.errors import WhymatchError
from whymatch.embed.image import DecodeLimits
from whymatch.embed.model import Model, Prepared

Key = TypeVar("Key")
Batch: TypeAlias = list[tuple[Key, Prepared]]

AHEAD = 64
"""Images that are decoded before the network asks for them."""
WAITING = 256


def prepared_batches(
    model: Model,
    images: Iterable[tuple[Key, bytes]],
    limits: DecodeLimits,
    *,
    batch_size: int = 16,
    waiting: int = WAITING,
) -> Iterator[tuple[Batch[Key], dict[Key, WhymatchError]]]:
    """Yield images, ready for the network, in batches of one size, and why others since then cannot be read.

    images: files by a key, in no order that would be kept; read as fast as they are wanted.
    waiting: images of unusual sizes that wait for others of theirs at most; then the most common size goes as it is.
    """
    sizes: defaultdict[tuple[int, ...], Batch[Key]] = defaultdict(list)
    broken: dict[Key, WhymatchError] = {}
    for key, prepared in _decoded(model, images, limits):
        if isinstance(prepared, WhymatchError):
            broken[key] = prepared
            continue
        alike = sizes[prepared.pixels.shape]
        alike.append((key, prepared))
        if len(alike) < batch_size and sum(map(len, sizes.values())) >= waiting:
            alike = max(sizes.values(), key=len)
        elif len(alike) < batch_size:
            continue
        yield sizes.pop(alike[0][1].pixels.shape), broken
        broken = {}
    for alike in sizes.values():
        yield alike, broken
        broken = {}
    if broken:
        yield [], broken


def _decoded(
    model: Model, images: Iterable[tuple[Key, bytes]], limits: DecodeLimits
) -> Iterator[tuple[Key, Prepared | WhymatchError]]:
    """Yield images in their order, decoded ahead; an image that cannot be read is its error."""
    ahead: deque[tuple[Key, Future[Prepared]]] = deque()
    with ThreadPoolExecutor(os.cpu_count(), "flow", initializer=yield_to_the_network) as pool:
        try:
            for key, content in images:
                ahead.append((key, pool.submit(model.prepare, content, limits)))
                if len(ahead) >= AHEAD:
                    yield _result(*ahead.popleft())
            while ahead:
                yield _result(*ahead.popleft())
        finally:
            for _, future in ahead:
                future.cancel()


def _result(key: Key, future: "Future[Prepared]") -> tuple[Key, Prepared | WhymatchError]:
    try:
        return key, future.result()
    except WhymatchError as err:
        return key, err
