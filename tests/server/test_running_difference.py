"""A running prediction difference: turns, preparing, working and answers, without a server."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

import pytest
from sample_pictures import png
from small_networks import small

from whymatch.embed import Embedder, Geometry, Progress
from whymatch.explain import BadTarget, PredictionDifferenceSetting
from whymatch.index import Galleries, NewImage
from whymatch.server import running_difference
from whymatch.server.difference_values import DifferenceMaps, DifferenceRequest, OfUnit, SamplerSource
from whymatch.server.provenance import Provenance
from whymatch.server.running_difference import RunningDifference
from whymatch.server.sources import Images

ORIGIN = Provenance("model", "model", "small")

WINDOWS = 6 * 10
"""Places of a window of 4 px, every 4 px, along 24 and along 40 px."""
SETTING = PredictionDifferenceSetting(window_px=4, context_px=6, sample_count=2, stride_px=4, batch_size=40)
FINAL = DifferenceMaps((), (), SamplerSource(0), 1.0, frozenset(), is_final=True)


class House:
    """A gallery of three pictures, and what an explanation runs with."""

    def __init__(self, galleries: Galleries, embedder: Embedder, explainer: ThreadPoolExecutor) -> None:
        self.images, self.model, self.explainer = Images(galleries, embedder), embedder.model, explainer

    def running(self, channel: int = 0) -> RunningDifference:
        targets = (OfUnit("conv2", channel, None),)
        request = DifferenceRequest("g", png(50), targets, "marginal", SETTING, False, False, "digest")
        return RunningDifference("abc", ORIGIN, request, png(50))

    async def prepared(self, running: RunningDifference) -> list[Progress[DifferenceMaps]]:
        return [one async for one in running.prepare(self.images, self.model, self.explainer)]


@pytest.fixture
def house(tmp_path):
    model = dataclasses.replace(small(), geometry=Geometry("keep", 32, 8, 16))
    with Galleries(tmp_path, model) as galleries, ThreadPoolExecutor(1) as explainer:
        embedder = Embedder(model)
        prepared = [model.prepare(png(n), embedder.limits) for n in range(3)]
        features = model.features(prepared)
        galleries.create("g").add([NewImage(f"{n}", png(n), one) for n, one in enumerate(features)])
        yield House(galleries, embedder, explainer)
        embedder.close()


async def waits(turn: AsyncIterator[Progress[DifferenceMaps]]) -> int:
    """Wait for a turn, and count how often that said how far the other call is."""
    return len([one async for one in turn])


def bare() -> RunningDifference:
    request = DifferenceRequest("g", b"", (), "marginal", SETTING, False, False, "digest")
    return RunningDifference("abc", ORIGIN, request, b"")


def counts(progress: list[Progress[DifferenceMaps]]) -> list[tuple[str, int, int]]:
    return [(one.counted, one.done, one.total) for one in progress]


# Turns


def test_a_turn_comes_at_once_where_nobody_else_works():
    async def scenario() -> None:
        running = bare()
        for _ in range(2):
            async with running.turn() as waiting:
                assert await waits(waiting) == 0

    asyncio.run(scenario())


def test_another_call_hears_how_far_it_is_until_its_turn_comes(monkeypatch):
    monkeypatch.setattr(running_difference, "SIGN_OF_LIFE_S", 0.001)

    async def scenario() -> None:
        running = bare()
        async with running.turn() as first:
            await waits(first)
            async with running.turn() as second:
                running.progress = Progress("evaluations", 7, 9, FINAL)
                heard = await anext(second)
                assert (heard.done, heard.total, heard.result) == (7, 9, None)
        async with running.turn() as third:
            assert await waits(third) == 0

    asyncio.run(scenario())


def test_who_leaves_before_the_turn_has_come_takes_it_from_nobody(monkeypatch):
    monkeypatch.setattr(running_difference, "SIGN_OF_LIFE_S", 0.001)

    async def scenario() -> None:
        running = bare()
        async with running.turn() as first:
            await waits(first)
            async with running.turn() as second:
                await anext(second)
            async with running.turn() as third:
                await anext(third)  # the first one still has it

    asyncio.run(scenario())


# Steps


def test_preparing_counts_images_and_working_evaluations_until_the_maps_are_final(house):
    async def scenario() -> None:
        running = house.running()
        assert not running.is_prepared
        assert counts(await house.prepared(running)) == [("images", n, 3) for n in (1, 2, 3)]
        assert running.is_prepared
        assert counts([running.progress]) == [("evaluations", 0, 2 * WINDOWS)]
        steps = [one async for one in running.work(house.explainer)]
        assert counts(steps) == [("evaluations", n, 120) for n in (40, 80, 120, 120)]
        assert [one.result and one.result.is_final for one in steps] == [False, None, None, True]
        assert running.is_finished
        assert running.progress == steps[-1]
        assert (steps[-1].result.source.image_count, steps[-1].result.maps[0].values.shape) == (3, (24, 40))

    asyncio.run(scenario())


def test_work_that_is_left_goes_on_where_it_was(house):
    async def scenario() -> None:
        running = house.running()
        await house.prepared(running)
        async with aclosing(running.work(house.explainer)) as first:
            assert counts([await anext(first)]) == [("evaluations", 40, 120)]
        assert [one.done async for one in running.work(house.explainer)] == [80, 120, 120]

    asyncio.run(scenario())


def test_finished_maps_come_again(house):
    async def scenario() -> None:
        running = house.running()
        await house.prepared(running)
        *_, last = [one async for one in running.work(house.explainer)]
        [again] = [one async for one in running.work(house.explainer)]
        assert (again.result.maps[0].values == last.result.maps[0].values).all()

    asyncio.run(scenario())


def test_nothing_is_prepared_where_a_target_is_not_there(house):
    async def scenario() -> None:
        running = house.running(channel=6)
        with pytest.raises(BadTarget, match="no channel 6"):
            await house.prepared(running)
        assert not running.is_prepared

    asyncio.run(scenario())


# Answers


def test_an_answer_says_whose_it_is_and_has_the_maps_that_are_given():
    running = bare()
    answer = running.answer(Progress("evaluations", 3, 4, FINAL), evaluations_per_second=2.0)
    assert (answer.name, answer.origin, answer.request) == ("abc", ORIGIN, running.request)
    assert (answer.progress.result, answer.evaluations_per_second, answer.drawings) == (FINAL, 2.0, ())
    assert running.answer(running.progress).progress.result is None
