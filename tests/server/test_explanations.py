"""Explanations that are kept for a while."""

import asyncio
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import pytest

from whymatch.server import explanations
from whymatch.server.errors import UnknownExplanation
from whymatch.server.explanations import Explanations


class Clock:
    """Says what time it is, as the tests want it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(explanations, "time", clock)
    return clock


@dataclass(eq=False)
class Explanation:
    """What is known from outside of one."""

    name: str
    is_prepared: bool = True
    is_finished: bool = False


def new(name: str, *, worth_keeping: bool = True) -> Explanation:
    return Explanation(name, worth_keeping)


async def used(kept: Explanations, one: Explanation) -> Explanation:
    """Keep an explanation, and use it for a moment."""
    one = kept.keep(one)
    async with kept.using(one):
        pass
    return one


def known(kept: Explanations, *names: str) -> list[str]:
    found = []
    for name in names:
        with suppress(UnknownExplanation):
            found.append(kept.find(name).name)
    return found


def test_an_explanation_is_found_by_name_and_no_other_is():
    kept = Explanations()
    one = asyncio.run(used(kept, new("a")))
    assert kept.find("a") is one
    with pytest.raises(UnknownExplanation, match="explanation 'b' does not exist or has expired") as caught:
        kept.find("b")
    assert (caught.value.name, caught.value.reason) == ("b", "UNKNOWN_EXPLANATION")


def test_the_same_name_is_the_same_explanation():
    kept = Explanations()
    one = asyncio.run(used(kept, new("a")))
    assert kept.keep(new("a")) is one


def test_an_explanation_is_forgotten_a_while_after_its_last_use(clock):
    kept = Explanations()
    asyncio.run(used(kept, new("a")))
    clock.now += explanations.KEPT_S
    asyncio.run(used(kept, kept.find("a")))
    clock.now += explanations.KEPT_S
    assert known(kept, "a") == ["a"]
    clock.now += 0.1
    assert known(kept, "a") == []
    assert kept.keep(one := new("a")) is one


def test_an_explanation_that_is_used_is_not_forgotten(clock):
    async def scenario() -> None:
        kept = Explanations()
        one = kept.keep(new("a"))
        async with kept.using(one):
            async with kept.using(one):
                clock.now += 10 * explanations.KEPT_S
            clock.now += 10 * explanations.KEPT_S
            assert kept.find("a") is one
        clock.now += explanations.KEPT_S - 1  # from now on
        assert kept.find("a") is one

    asyncio.run(scenario())


def test_of_many_explanations_those_that_were_used_last_are_kept(clock, monkeypatch):
    monkeypatch.setattr(explanations, "KEPT_UNFINISHED", 3)
    kept = Explanations()

    async def use(name: str) -> None:
        clock.now += 1
        await used(kept, new(name))

    for name in "abcab":  # a and b come again
        asyncio.run(use(name))
    for name in "de":
        asyncio.run(use(name))
    assert known(kept, *"abcde") == ["b", "d", "e"]


def test_finished_ones_are_counted_apart(clock, monkeypatch):
    monkeypatch.setattr(explanations, "KEPT_UNFINISHED", 1)
    kept = Explanations()

    async def use(name: str) -> None:
        clock.now += 1
        one = new(name)
        one.is_finished = name in "ab"
        await used(kept, one)

    for name in "abcd":
        asyncio.run(use(name))
    assert known(kept, *"abcd") == ["a", "b", "d"]


def test_an_explanation_is_forgotten_without_another_call(monkeypatch):
    monkeypatch.setattr(explanations, "KEPT_S", -1)  # the clock looks a second later

    async def scenario() -> None:
        kept = Explanations()
        await used(kept, new("a"))
        await asyncio.sleep(0.05)
        assert not kept._kept

    asyncio.run(scenario())


def test_explanations_that_are_used_take_no_place_of_others(clock, monkeypatch):
    monkeypatch.setattr(explanations, "KEPT_UNFINISHED", 2)

    async def scenario() -> None:
        kept = Explanations()
        async with AsyncExitStack() as using:
            for name in "abc":
                await using.enter_async_context(kept.using(kept.keep(new(name))))
            for name in "xyz":
                clock.now += 1
                await used(kept, new(name))
            assert known(kept, *"abcxyz") == ["a", "b", "c", "y", "z"]
        assert len(known(kept, *"abcyz")) == 2

    asyncio.run(scenario())


def test_what_nothing_came_of_is_forgotten_with_its_last_use():
    async def scenario() -> None:
        kept = Explanations()
        one = kept.keep(new("a", worth_keeping=False))
        async with kept.using(one):
            with pytest.raises(ValueError, match="bad"):
                async with kept.using(one):
                    raise ValueError("bad")
            assert kept.find("a") is one  # the other call may still make something of it
        assert known(kept, "a") == []

    asyncio.run(scenario())


def test_what_fails_later_is_kept():
    async def scenario() -> None:
        kept = Explanations()
        one = kept.keep(new("a"))
        with pytest.raises(ValueError, match="bad"):
            async with kept.using(one):
                raise ValueError("bad")
        assert kept.find("a") is one
        assert kept._kept["a"].users == 0
        assert time.monotonic() - kept._kept["a"].used < 5

    asyncio.run(scenario())
