"""ExplainPredictionDifference: one long stream of progress and maps, which another call can go on with."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256

import numpy as np

from whymatch.embed import Array, Features, Model, Prepared
from whymatch.explain import (
    EVIDENCE_NEIGHBORS,
    BadTarget,
    ColorScale,
    DifferenceMap,
    PredictionDifference,
    Sampler,
    Target,
    evidence_target,
    load_picture,
    render_overlay,
    signed_scale,
    similarity_target,
)
from whymatch.index import Gallery, GalleryVersion
from whymatch.server.errors import DeadlineExceeded, ShuttingDown, UnknownExplanation
from whymatch.server.explanations import Explanation, Explanations
from whymatch.server.interceptor import Context
from whymatch.server.patch_samplers import make_sampler
from whymatch.server.sources import ImageName, Images, Source
from whymatch.server.streams import SIGN_OF_LIFE_S, steps
from whymatch.server.wire import answers_difference, requests_shapes
from whymatch.server.wire.requests_difference import (
    DifferenceRequest,
    OfClasses,
    OfImage,
    OfUnits,
    Wanted,
    check_only_named,
    difference_request,
    digest,
    explanation_name,
)
from whymatch.v1 import explain_service_pb2 as pb

PARTIAL_S = 2.0
"""How long it takes at least from one partial map to the next."""
LAST_WORDS_S = SIGN_OF_LIFE_S + 0.5
"""How long before its deadline a call ends itself at most, so that the partial maps still arrive."""

Answer = pb.ExplainPredictionDifferenceResponse


class Differences:
    """Explains by prediction difference."""

    def __init__(self, images: Images, model: Model, explainer: Executor, stopping: asyncio.Event) -> None:
        """Serve. `explainer` has the one thread that all of this runs in, a batch of each explanation at a time."""
        self._images = images
        self._model = model
        self._explainer = explainer
        self._stopping = stopping
        self._explanations = Explanations()

    async def answers(self, request: pb.ExplainPredictionDifferenceRequest, context: Context) -> AsyncGenerator[Answer]:
        """Yield how far an explanation is, its partial maps, and last its final maps."""
        overlay_px = requests_shapes.overlay_px(request)
        wanted: DifferenceRequest | None = None
        if request.name:
            check_only_named(request)
            explanation = self._explanations.find(explanation_name(request.name))
        else:
            wanted = difference_request(request)
            explanation = await self._begun(request, wanted)
        async with self._explanations.using(explanation):
            async for answer in self._taking_turns(explanation):
                yield answer
            try:
                if explanation.difference is None:
                    if wanted is None:  # the call that had begun it has failed meanwhile
                        raise UnknownExplanation(explanation.name)
                    async with aclosing(self._prepared(explanation, wanted)) as answers:
                        async for answer in answers:
                            yield answer
                async with aclosing(self._worked(explanation, context, overlay_px)) as answers:
                    async for answer in answers:
                        yield answer
            finally:
                explanation.working.release()

    async def _begun(self, request: pb.ExplainPredictionDifferenceRequest, wanted: DifferenceRequest) -> Explanation:
        """Return the explanation that a request is for: a new one, or what was done for the same request before."""
        gallery = await self._images.gallery(wanted.gallery)
        content = await self._images.content(wanted.source)
        fingerprint = gallery.version.fingerprint
        stored = [one.source for one in wanted.wanted if isinstance(one, OfImage) and isinstance(one.source, ImageName)]
        others = [(await self._images.found(name.gallery, [name.image]))[0].content_sha256 for name in stored]
        name = await asyncio.to_thread(_digest, request, gallery, fingerprint, content, others)
        return self._explanations.keep(
            Explanation(name, fingerprint, content, tuple(request.targets), wanted.sampler, wanted.setting.seed)
        )

    async def _taking_turns(self, explanation: Explanation) -> AsyncGenerator[Answer]:
        """Wait until no other call works on the explanation, and say that we are alive."""
        while True:
            try:
                async with asyncio.timeout(SIGN_OF_LIFE_S):
                    await explanation.working.acquire()
                return
            except TimeoutError:
                yield _waiting(explanation)

    async def _prepared(self, explanation: Explanation, wanted: DifferenceRequest) -> AsyncGenerator[Answer]:
        """Make the targets and the sampler, and run the unchanged image."""
        gallery = await self._images.gallery(wanted.gallery)
        limits = self._images.limits
        image = await asyncio.to_thread(self._model.prepare, explanation.content, limits)
        height, width, _ = image.pixels.shape
        wanted.setting.check(height, width)
        targets = await self._targets(explanation, wanted, gallery.version, image)
        making = make_sampler(gallery, self._model, limits, wanted, explanation.content, (width, height))
        async with aclosing(steps(making, self._explainer)) as stages:
            async for stage in stages:
                explanation.making = stage or explanation.making
                if stage is None or not stage.sampler:
                    yield answers_difference.making_response(explanation, explanation.making)
                if self._stopping.is_set():
                    raise ShuttingDown
        assert explanation.making
        assert explanation.making.sampler
        beginning = _begin(self._model, image, targets, explanation.making.sampler, wanted)
        async with aclosing(steps(beginning, self._explainer)) as begun:
            async for one in begun:
                if one is None:
                    yield answers_difference.making_response(explanation, explanation.making)
                else:
                    explanation.difference, explanation.sensitivities = one

    async def _worked(
        self, explanation: Explanation, context: Context, overlay_px: int | None
    ) -> AsyncGenerator[Answer]:
        """Go on with the explanation until it is finished, the deadline is near, or the server stops."""
        difference = explanation.difference
        assert difference
        before, started = difference.done, time.monotonic()
        reserve_s = min(LAST_WORDS_S, (context.time_remaining() or 0) / 2)

        def progress() -> Answer:
            return answers_difference.progress_response(
                explanation, difference.done - before, time.monotonic() - started
            )

        async with aclosing(steps(_work(explanation), self._explainer)) as stages:
            async for has_maps in stages:
                answer, ends_early = progress(), self._ends_early(context, reserve_s)
                if explanation.maps and (has_maps or ends_early):
                    await self._add_maps(answer, explanation, overlay_px)
                # A sign of life may come of a finished one, too: from a call that asks for its maps again, and waits.
                answer.complete = bool(has_maps) and explanation.is_finished
                yield answer
                if answer.complete:
                    return
                if ends_early and self._stopping.is_set():
                    raise ShuttingDown
                if ends_early:
                    raise DeadlineExceeded(
                        f"the deadline came after {difference.done} of {difference.planned} evaluations, and the maps "
                        f"that were sent are partial; 'explanations/{explanation.name}' is kept for a while"
                    )

    def _ends_early(self, context: Context, reserve_s: float) -> bool:
        remaining = context.time_remaining()
        return self._stopping.is_set() or (remaining is not None and remaining < reserve_s)

    async def _add_maps(self, answer: Answer, explanation: Explanation, overlay_px: int | None) -> None:
        drawings = []
        if overlay_px is not None and explanation.maps:
            drawings = await asyncio.to_thread(self._drawn, explanation.content, explanation.maps, overlay_px)
        await asyncio.to_thread(answers_difference.add_maps, answer, explanation, drawings)

    def _drawn(self, content: bytes, maps: list[DifferenceMap], size_px: int) -> list[tuple[bytes, ColorScale]]:
        picture = load_picture(content, size_px=size_px, limits=self._images.limits)
        scales = {
            measure: signed_scale([one for one in maps if one.target.measure == measure])
            for measure in {one.target.measure for one in maps}
        }
        return [
            (render_overlay(picture, one, scales[one.target.measure], clear=True), scales[one.target.measure])
            for one in maps
        ]

    async def _targets(
        self, explanation: Explanation, wanted: DifferenceRequest, version: GalleryVersion, image: Prepared
    ) -> list[Target]:
        scores = np.zeros((1, 0), np.float32)
        if any(isinstance(one, OfClasses) for one in wanted.wanted):
            scores = await asyncio.get_running_loop().run_in_executor(
                self._explainer, self._model.class_scores, np.stack([image.pixels])
            )
        return [await self._target(one, explanation, wanted, version, scores[0]) for one in wanted.wanted]

    async def _target(
        self, one: Wanted, explanation: Explanation, wanted: DifferenceRequest, version: GalleryVersion, scores: Array
    ) -> Target:
        if isinstance(one, OfUnits):
            return one.target
        if isinstance(one, OfClasses):
            return one.make(self._model, scores)
        if isinstance(one, OfImage):
            features = await self._images.features(one.source, version.head)
            return similarity_target(_name_of(one.source), features.embedding, version.head)
        features = await self._images.features(wanted.source, version.head)
        if one.image and one.image.gallery == wanted.gallery:  # raises UnknownImage
            await self._images.found(one.image.gallery, [one.image.image])
        return await asyncio.to_thread(_evidence, one.label, one.image, explanation.content, version, features)


def _digest(
    request: pb.ExplainPredictionDifferenceRequest,
    gallery: Gallery,
    fingerprint: str,
    content: bytes,
    others: Sequence[str],
) -> str:
    # A gallery that was deleted and made again may have the same number of changes behind it.
    facts = (fingerprint, gallery.facts().create_time, gallery.generation(), sha256(content).hexdigest(), *others)
    return digest(request, *facts)


def _waiting(explanation: Explanation) -> Answer:
    """Return how far the call is that works on an explanation."""
    if explanation.difference is None:
        return answers_difference.making_response(explanation, explanation.making)
    return answers_difference.progress_response(explanation, 0, 0)


def _begin(
    model: Model, image: Prepared, targets: list[Target], sampler: Sampler, wanted: DifferenceRequest
) -> Iterator[tuple[PredictionDifference, list[Array]]]:
    """Run the unchanged image, and make sensitivity maps if they are wanted; yields once."""
    difference = PredictionDifference(model, image, targets, sampler, wanted.setting)
    yield difference, difference.sensitivities() if wanted.with_sensitivity else []


def _work(explanation: Explanation) -> Iterator[bool]:
    """Go on with an explanation; after each batch yield whether there are new maps."""
    difference = explanation.difference
    assert difference
    assert explanation.making
    drawn = -PARTIAL_S
    for _ in difference.steps():
        now = time.monotonic()
        is_due = now - drawn >= PARTIAL_S and not difference.is_complete
        if is_due:
            explanation.maps, drawn = difference.maps(), now
        yield is_due
    if not explanation.is_finished:
        explanation.maps = difference.maps()
        explanation.is_finished = True
        explanation.making = replace(explanation.making, sampler=None)
        difference.release()
    yield True


def _evidence(
    label: str, image: ImageName | None, content: bytes, version: GalleryVersion, features: Features
) -> Target:
    """Return the evidence for a label, or for one image, among the leading neighbors other than the image itself."""
    if image and image.gallery != version.gallery:
        raise BadTarget(f"image {image.image!r} is of gallery {image.gallery!r}; take one of {version.gallery!r}")
    own = sha256(content).hexdigest()
    [matches] = version.search(features.embedding[None], EVIDENCE_NEIGHBORS + 1)
    found = [match.image for match in matches if match.image.content_sha256 != own][:EVIDENCE_NEIGHBORS]
    embeddings = version.embeddings([one.name for one in found])
    if image:
        belongs, groups = np.array([one.name == image.image for one in found], bool), len(found)
    else:
        belongs, groups = np.array([one.label == label for one in found], bool), len({one.label for one in found})
    return evidence_target(image.image if image else label, embeddings, belongs, groups, version.count(), version.head)


def _name_of(source: Source) -> str:
    return source.image if isinstance(source, ImageName) else "the given image"
