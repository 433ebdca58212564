"""An explanation by prediction difference on its way: calls take turns to work on it until its maps are final."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, replace

from whymatch.embed import Array, DecodeLimits, LayerMaps, Model, Prepared, Progress
from whymatch.explain import ColorScale, PredictionDifference, Target
from whymatch.index import Gallery
from whymatch.server.difference_targets import find_targets
from whymatch.server.difference_values import DifferenceAnswer, DifferenceMaps, DifferenceRequest, SamplerSource
from whymatch.server.patch_samplers import make_sampler
from whymatch.server.provenance import Provenance
from whymatch.server.sources import Images
from whymatch.server.streams import SIGN_OF_LIFE_S, steps

PARTIAL_S = 2.0
"""How long it takes at least from one partial map to the next."""


class RunningDifference:
    """What was done of an explanation; a call takes its turn, prepares it if nobody has, and works on it.

    Belongs to one event loop, which alone changes it: the thread that computes hands over what it has made.
    """

    def __init__(self, name: str, origin: Provenance, request: DifferenceRequest, content: bytes) -> None:
        """Begin with nothing done.

        name: the {explanation} of `explanations/{explanation}`.
        origin: where it comes from.
        content: the file of the image to explain.
        """
        self.name = name
        self.origin = origin
        self.request = request
        self.content = content
        self.progress: Progress[DifferenceMaps] = Progress("images", 0, 0)
        """How far it is, with the maps as they last were: images read for the sampler, then evaluations."""
        self._begun: _Begun | None = None
        self._working = asyncio.Lock()

    @property
    def is_prepared(self) -> bool:
        """Whether it can be worked on; before that there is nothing to keep."""
        return self._begun is not None

    @property
    def is_finished(self) -> bool:
        """Whether its maps are final."""
        return self.progress.result is not None and self.progress.result.is_final

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[AsyncGenerator[Progress[DifferenceMaps]]]:
        """Let one call at a time work, within the block.

        The turn has come when what the block is given ends; until then that yields how far the other call is, every
        second at least.
        """
        async with AsyncExitStack() as held:

            async def waiting() -> AsyncGenerator[Progress[DifferenceMaps]]:
                while not await self._has_turn_soon():
                    yield replace(self.progress, result=None)
                held.callback(self._working.release)

            yield await held.enter_async_context(aclosing(waiting()))

    async def prepare(
        self, images: Images, model: Model, explainer: Executor
    ) -> AsyncGenerator[Progress[DifferenceMaps]]:
        """Make the targets and the sampler, and run the unchanged image; yields how many images the sampler has read.

        Raises:
            BadWindow, BadTarget, BadLayer, NoClassScores, TooFewImages, and the errors of galleries and images.
        """
        gallery = await images.gallery(self.request.gallery)
        image = await asyncio.to_thread(model.prepare, self.content, images.limits)
        if not self.request.layer:
            self.request.setting.check(*image.pixels.shape[:2])
        targets = await find_targets(images, model, explainer, self.request, self.content, image)
        preparing = _prepare(self.request, self.content, image, targets, gallery, model, images.limits)
        async with aclosing(steps(preparing, explainer)) as stages:
            async for stage in stages:
                if stage and stage.result:
                    self._begun = stage.result
                    self._reach(stage.result.progress(with_maps=False))
                else:
                    yield self._reach(Progress(stage.counted, stage.done, stage.total) if stage else None)

    async def work(self, explainer: Executor) -> AsyncGenerator[Progress[DifferenceMaps]]:
        """Go on, a batch at a time, until the maps are final; yields how far it is, and now and then new maps."""
        assert self._begun
        async with aclosing(steps(_work(self._begun), explainer)) as batches:
            async for batch in batches:
                yield self._reach(batch)

    def answer(
        self,
        progress: Progress[DifferenceMaps],
        *,
        evaluations_per_second: float = 0.0,
        drawings: Sequence[tuple[bytes, ColorScale]] = (),
    ) -> DifferenceAnswer:
        """Return what a call says of it."""
        return DifferenceAnswer(self.name, self.origin, self.request, progress, evaluations_per_second, drawings)

    async def _has_turn_soon(self) -> bool:
        try:
            async with asyncio.timeout(SIGN_OF_LIFE_S):
                return await self._working.acquire()
        except TimeoutError:
            return False

    def _reach(self, made: Progress[DifferenceMaps] | None) -> Progress[DifferenceMaps]:
        """Take what the thread has made, None for nothing new; return how far it is, with maps only if they are new."""
        was_finished = self.is_finished
        new = made or replace(self.progress, result=None)
        self.progress = replace(new, result=new.result or self.progress.result)
        if self._begun and self.is_finished and not was_finished:
            self._begun.difference.release()
        return new


@dataclass(frozen=True, eq=False)
class _Begun:
    """What is worked on."""

    difference: PredictionDifference
    sensitivities: tuple[Array, ...]
    source: SamplerSource

    def progress(self, *, with_maps: bool) -> Progress[DifferenceMaps]:
        """Return how far it is."""
        difference, maps = self.difference, None
        if with_maps:
            maps = DifferenceMaps(
                maps=tuple(difference.maps()),
                sensitivities=self.sensitivities,
                source=self.source,
                multiplied_share=difference.multiplied_share,
                computed_whole=frozenset(difference.computed_whole),
                is_final=difference.is_complete,
            )
        return Progress("evaluations", difference.done, difference.planned, maps)


def _prepare(
    request: DifferenceRequest,
    content: bytes,
    image: Prepared,
    targets: Sequence[Target],
    gallery: Gallery,
    model: Model,
    limits: DecodeLimits,
) -> Iterator[Progress[_Begun]]:
    """Make the sampler, and run the unchanged image."""
    height, width, _ = image.pixels.shape
    if request.layer:
        maps = LayerMaps(model, request.layer)
        maps.check_leads_to([target.end for target in targets])
        rows, columns, _ = maps(image.pixels).shape
        request.setting.check(rows, columns, request.layer)
    for making in make_sampler(gallery, model, limits, request, content, (width, height)):
        if (made := making.result) is None:
            yield Progress(making.counted, making.done, making.total)
            continue
        difference = PredictionDifference(model, image, targets, made.sampler, request.setting, layer=request.layer)
        sensitivities = tuple(difference.sensitivities()) if request.with_sensitivity else ()
        begun = _Begun(difference, sensitivities, made.source)
        yield Progress(making.counted, making.done, making.total, begun)


def _work(begun: _Begun) -> Iterator[Progress[DifferenceMaps]]:
    """Go on, a batch at a time; yields how far it is, with partial maps now and then, and last with the final ones."""
    difference, drawn = begun.difference, -math.inf
    for _ in difference.steps():
        now = time.monotonic()
        is_due = now - drawn >= PARTIAL_S and not difference.is_complete
        drawn = now if is_due else drawn
        yield begun.progress(with_maps=is_due)
    yield begun.progress(with_maps=True)
