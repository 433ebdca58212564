"""ExplainPredictionDifference: one long stream of progress and maps, which another call can go on with."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from hashlib import sha256

from whymatch.embed import DecodeLimits, Model
from whymatch.explain import ColorScale, DifferenceMap, load_picture, render_overlay, signed_scale
from whymatch.server.difference_values import DifferenceAnswer, DifferenceMaps, DifferenceRequest, OfImage
from whymatch.server.errors import DeadlineExceeded, ShuttingDown, UnknownExplanation
from whymatch.server.explanations import Explanations
from whymatch.server.provenance import Provenance
from whymatch.server.running_difference import RunningDifference
from whymatch.server.sources import ImageName, Images
from whymatch.server.streams import SIGN_OF_LIFE_S

LAST_WORDS_S = SIGN_OF_LIFE_S + 0.5
"""How long before its deadline a call ends itself at most, so that the partial maps still arrive."""

Remaining = Callable[[], float | None]
"""Returns the seconds until the deadline of a call, None if it has none."""


class Differences:
    """Explains by prediction difference."""

    def __init__(self, images: Images, model: Model, explainer: Executor, stopping: asyncio.Event) -> None:
        """Serve. `explainer` has the one thread that all of this runs in, a batch of each explanation at a time."""
        self._images = images
        self._model = model
        self._explainer = explainer
        self._stopping = stopping
        self._explanations = Explanations()

    async def answers(
        self, asked: DifferenceRequest | str, overlay_px: int | None, remaining: Remaining
    ) -> AsyncGenerator[DifferenceAnswer]:
        """Yield how far an explanation is, its partial maps, and last its final maps.

        asked: what to explain, or the name of an explanation to go on with.
        overlay_px: the longer side of the maps' pictures, None for no pictures.
        """
        running = self._explanations.find(asked) if isinstance(asked, str) else await self._begun(asked)
        async with self._explanations.using(running), running.turn() as waiting:
            async for progress in waiting:
                yield running.answer(progress)
            if not running.is_prepared:
                if isinstance(asked, str):  # the call that had begun it has failed meanwhile
                    raise UnknownExplanation(running.name)
                async with aclosing(running.prepare(self._images, self._model, self._explainer)) as preparing:
                    async for progress in preparing:
                        yield running.answer(progress)
                        if self._stopping.is_set():
                            raise ShuttingDown
            async with aclosing(self._worked(running, overlay_px, remaining)) as answers:
                async for answer in answers:
                    yield answer

    async def _begun(self, request: DifferenceRequest) -> RunningDifference:
        """Return the explanation that a request is for: a new one, or what was done for the same request before."""
        gallery = await self._images.gallery(request.gallery)
        content = await self._images.content(request.source)
        origin = await self._images.provenance(gallery.version, request.source)
        sources = [one.source for one in request.targets if isinstance(one, OfImage)]
        stored = [one for one in sources if isinstance(one, ImageName)]
        others = [await self._images.digest(name) for name in stored]
        return self._explanations.keep(RunningDifference(_name(request, origin, others), origin, request, content))

    async def _worked(
        self, running: RunningDifference, overlay_px: int | None, remaining: Remaining
    ) -> AsyncGenerator[DifferenceAnswer]:
        """Go on with the explanation until it is finished, the deadline is near, or the server stops."""
        before, started = running.progress.done, time.monotonic()
        reserve_s = min(LAST_WORDS_S, (remaining() or 0) / 2)
        async with aclosing(running.work(self._explainer)) as batches:
            async for progress in batches:
                rate = (progress.done - before) / max(time.monotonic() - started, 1e-9)
                ends_early = self._ends_early(remaining(), reserve_s)
                shown = running.progress if ends_early else progress
                drawings = await self._drawings(running, shown.result, overlay_px)
                yield running.answer(shown, evaluations_per_second=rate, drawings=drawings)
                if shown.result and shown.result.is_final:
                    return
                if ends_early:
                    raise self._reason_to_end(running)

    def _ends_early(self, remaining_s: float | None, reserve_s: float) -> bool:
        return self._stopping.is_set() or (remaining_s is not None and remaining_s < reserve_s)

    def _reason_to_end(self, running: RunningDifference) -> ShuttingDown | DeadlineExceeded:
        if self._stopping.is_set():
            return ShuttingDown()
        return DeadlineExceeded(
            f"the deadline came after {running.progress.done} of {running.progress.total} evaluations, and the maps "
            f"that were sent are partial; 'explanations/{running.name}' is kept for a while"
        )

    async def _drawings(
        self, running: RunningDifference, found: DifferenceMaps | None, overlay_px: int | None
    ) -> list[tuple[bytes, ColorScale]]:
        if overlay_px is None or found is None:
            return []
        return await asyncio.to_thread(_drawn, running.content, found.maps, overlay_px, self._images.limits)


def _name(request: DifferenceRequest, origin: Provenance, others: Sequence[str]) -> str:
    """Return 32 hexadecimal digits that are the same for the same request for the same images."""
    # A gallery that was deleted and made again may have the same number of changes behind it.
    made = origin.gallery_create_time, origin.generation
    facts = (request.digest, origin.model, made, origin.query_sha256, *others)
    return sha256(repr(facts).encode()).hexdigest()[:32]


def _drawn(
    content: bytes, maps: Sequence[DifferenceMap], size_px: int, limits: DecodeLimits
) -> list[tuple[bytes, ColorScale]]:
    picture = load_picture(content, size_px=size_px, limits=limits)
    scales = {
        measure: signed_scale([one for one in maps if one.target.measure == measure])
        for measure in {one.target.measure for one in maps}
    }
    return [
        (render_overlay(picture, one, scales[one.target.measure], clear=True), scales[one.target.measure])
        for one in maps
    ]
