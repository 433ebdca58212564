"""Embeds the images of a folder: files are read and decoded beside the network, and bad ones are left out."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from pathlib import Path
from typing import TypeVar

import numpy as np

from whymatch.embed import Array, BadFolder, DecodeLimits, Embedder, Model, WhymatchError, read_image_file

T = TypeVar("T")
Advance = Callable[[int], None]
"""Called with the number of images done since the last call."""
Unreadable = dict[Path, str]
"""The reasons, by the path of the image."""

IN_FLIGHT = 128
"""Images between file and vector: enough for full batches of several shapes, few enough to hold in memory."""


def embed_images(
    model: Model, paths: Sequence[Path], advance: Advance = lambda images: None
) -> tuple[Array, Unreadable]:
    """Return the embeddings (n, D) float32 of the images that can be read, in their order, and why the others cannot.

    Raises:
        BadFolder: no image can be read.
        FloatingPointError: the network's output is not finite.
    """
    embedder = Embedder(model)
    try:
        return gather(paths, embedder.submit, lambda features: features.embedding, advance)
    finally:
        embedder.close()


def gather(
    paths: Sequence[Path],
    submit: Callable[[bytes], "Future[T]"],
    vector: Callable[[T], Array],
    advance: Advance,
) -> tuple[Array, Unreadable]:
    """Submit the files' contents, and collect the vectors of what comes back; see `embed_images`."""
    vectors: dict[Path, Array] = {}
    unreadable: Unreadable = {}
    waiting: dict[Future[T], Path] = {}

    def collect(done: "set[Future[T]]") -> None:
        for future in done:
            path = waiting.pop(future)
            try:
                vectors[path] = vector(future.result())
            except WhymatchError as err:
                unreadable[path] = str(err)
            advance(1)

    try:
        for path in paths:
            try:
                waiting[submit(read_image_file(path, DecodeLimits().max_bytes))] = path
            except (WhymatchError, OSError) as err:
                unreadable[path] = str(err)
                advance(1)
            if len(waiting) >= IN_FLIGHT:
                collect(wait(waiting, return_when=FIRST_COMPLETED).done)
        collect(wait(waiting).done)
    finally:
        for future in waiting:
            future.cancel()
    if not vectors:
        path, reason = next(iter(unreadable.items()))
        raise BadFolder(f"none of the {len(paths)} images can be read; {str(path)!r}: {reason}")
    return np.stack([vectors[path] for path in paths if path in vectors]), dict(sorted(unreadable.items()))
