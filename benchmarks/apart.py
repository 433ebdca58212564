"""Runs what is measured in processes of its own, where no thread that another has left spinning slows it."""

import functools
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

Measure = Callable[[], float]

_measure: Measure | None = None
"""What the process measures that has imported this file."""


@contextmanager
def apart(make: Callable[..., Measure], *arguments: Any) -> Iterator[Measure]:
    """Make a measure in a process of its own, and yield a function that takes it there; it waits between the calls.

    make: a function of a module, whose arguments can be pickled.
    """
    spawn = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(1, spawn, initializer=_set_up, initargs=(make, arguments)) as process:
        yield lambda: process.submit(_taken).result()


@contextmanager
def together(count: int, measure: Callable[..., float], *arguments: Any) -> Iterator[Measure]:
    """Yield a function that sums a measure over `count` processes that take it at the same time."""
    spawn = multiprocessing.get_context("spawn")
    with futures.ProcessPoolExecutor(count, spawn) as processes:
        call = functools.partial(measure, *arguments)
        yield lambda: sum(one.result() for one in [processes.submit(call) for _ in range(count)])


def _set_up(make: Callable[..., Measure], arguments: tuple[Any, ...]) -> None:
    global _measure
    _measure = make(*arguments)


def _taken() -> float:
    assert _measure
    return _measure()
