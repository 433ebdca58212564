"""Embeds a flow of images: decodes in threads beside the network and gathers images of one shape into batches."""

import os
import threading
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

from whymatch.embed.features import Features
from whymatch.embed.image import DecodeLimits
from whymatch.embed.model import Model, Prepared

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Job:
    image: Prepared
    result: "Future[Features]"
    urgent: bool
    turn: int
    """Position among all jobs, to serve the oldest in time."""


class Embedder:
    """Runs one model for many callers; thread-safe.

    One thread owns the network. It runs a batch when a shape has `batch_size` images, when nothing more is being
    decoded, or at once when somebody waits (`urgent`). No image is overtaken by more than `patience` others.
    """

    def __init__(
        self, model: Model, *, limits: DecodeLimits = DecodeLimits(), batch_size: int = 16, decoders: int | None = None
    ) -> None:
        self.model = model
        self.limits = limits
        self._batch_size = batch_size
        self._patience = 8 * batch_size
        self._decoding = 0
        self._turn = 0
        self._closed = False
        self._queues: dict[Shape, deque[_Job]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._pool = ThreadPoolExecutor(decoders or os.cpu_count(), "decoder", initializer=yield_to_the_network)
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def submit(self, content: bytes, *, urgent: bool = False) -> "Future[Features]":
        """Embed an image file; the future gives its `Features` or fails with the errors of `decode_image`.

        Cancelling the future before its batch begins drops the work.
        """
        result: Future[Features] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("the embedder is closed")
            self._decoding += 1
        self._pool.submit(self._decode, content, result, urgent)
        return result

    def close(self) -> None:
        """Finish what was submitted, then stop the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()
        self._pool.shutdown()

    def _decode(self, content: bytes, result: "Future[Features]", urgent: bool) -> None:
        prepared = None
        try:
            if not result.cancelled():
                prepared = self.model.prepare(content, self.limits)
        except Exception as err:
            _fail(result, err)
        with self._changed:
            self._decoding -= 1
            if prepared is not None:
                self._turn += 1
                self._queues[prepared.pixels.shape].append(_Job(prepared, result, urgent, self._turn))
            self._changed.notify()

    def _run(self) -> None:
        while batch := self._next_batch():
            live = [job for job in batch if job.result.set_running_or_notify_cancel()]
            if not live:
                continue
            try:
                all_features = self.model.features([job.image for job in live])
            except Exception as err:
                for job in live:
                    job.result.set_exception(err)
                continue
            for job, features in zip(live, all_features, strict=True):
                job.result.set_result(features)

    def _next_batch(self) -> list[_Job]:
        """Wait for a batch that is due; an empty one means that the embedder is closed and done."""
        with self._changed:
            while True:
                queue = self._due()
                if queue:
                    return [queue.popleft() for _ in range(min(len(queue), self._batch_size))]
                if self._closed and not self._decoding:
                    return []
                self._changed.wait()

    def _due(self) -> deque[_Job] | None:
        """Return the queue to serve now, None to wait for more images."""
        queues = [queue for queue in self._queues.values() if queue]
        if not queues:
            return None
        oldest = min(queues, key=_turn)
        if self._turn - oldest[0].turn >= self._patience:
            return oldest
        if urgent := [queue for queue in queues if any(job.urgent for job in queue)]:
            return min(urgent, key=_turn)
        fullest = max(queues, key=len)
        if len(fullest) >= self._batch_size or not self._decoding:
            return fullest
        return None


def _turn(queue: deque[_Job]) -> int:
    return queue[0].turn


def _fail(result: "Future[Features]", err: Exception) -> None:
    if result.set_running_or_notify_cancel():
        result.set_exception(err)


def yield_to_the_network() -> None:
    """Let this thread run when the network leaves a core free: a network waits for its slowest thread."""
    if hasattr(os, "setpriority") and hasattr(os, "PRIO_PROCESS"):
        with suppress(OSError):  # macOS takes processes only, a hardened service none: it is a wish
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)
