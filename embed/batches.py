"""Batches of images of one input size, decoded in threads ahead of the network."""

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

AHEAD_BYTES = 16 * 2**20
"""Size of the images decoded ahead of the network."""
WAITING_BYTES = 64 * 2**20
"""Size of the images that wait for others of their input size; beyond it the largest group goes as it is."""


def prepared_batches(
    model: Model,
    images: Iterable[tuple[Key, bytes]],
    limits: DecodeLimits,
    *,
    batch_size: int = 16,
    waiting_bytes: int = WAITING_BYTES,
) -> Iterator[tuple[Batch[Key], dict[Key, WhymatchError]]]:
    """Yield batches of prepared images of one size, each with the errors of images that were unreadable meanwhile.

    images: files by a key, read on demand; batches do not keep their order.
    waiting_bytes: size of the images that wait for others of their input size; beyond it the largest group goes as
        it is.
    """
    waiting = max(batch_size, waiting_bytes // _input_bytes(model))
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
    """Yield images in their order, decoded ahead; for an unreadable image its error."""
    ahead: deque[tuple[Key, Future[Prepared]]] = deque()
    most = max(2, AHEAD_BYTES // _input_bytes(model))
    with ThreadPoolExecutor(os.cpu_count(), "flow", initializer=yield_to_the_network) as pool:
        try:
            for key, content in images:
                ahead.append((key, pool.submit(model.prepare, content, limits)))
                if len(ahead) >= most:
                    yield _result(*ahead.popleft())
            while ahead:
                yield _result(*ahead.popleft())
        finally:
            for _, future in ahead:
                future.cancel()


def _input_bytes(model: Model) -> int:
    return 3 * model.geometry.size_px**2


def _result(key: Key, future: "Future[Prepared]") -> tuple[Key, Prepared | WhymatchError]:
    try:
        return key, future.result()
    except WhymatchError as err:
        return key, err
