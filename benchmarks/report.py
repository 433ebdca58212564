"""What a benchmark found, and the ways to measure it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Figure:
    """One thing measured."""

    what: str
    measured: float
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    detail: str = ""

    @property
    def reached(self) -> bool:
        """Whether it is what it must be."""
        return (self.at_least is None or self.measured >= self.at_least) and (
            self.at_most is None or self.measured <= self.at_most
        )

    @property
    def goal(self) -> str:
        """What it must be, in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:.4g}{self.unit}"
        return "" if self.at_most is None else f"at most {self.at_most:.4g}{self.unit}"

    def __str__(self) -> str:
        verdict = "" if not self.goal else f"  ({self.goal}: {'reached' if self.reached else 'MISSED'})"
        return f"{self.what}: {self.measured:.3g}{self.unit}{verdict}  {self.detail}".rstrip()


def table(figures: list[Figure]) -> str:
    """Return figures as a Markdown table."""
    rows = [f"| {one.what} | {one.measured:.3g}{one.unit} | {one.goal} | {one.detail} |" for one in figures]
    return "\n".join(["| what | measured | goal | detail |", "|---|---|---|---|", *rows, ""])


def seconds(action: Callable[[], object]) -> float:
    """Return how long an action takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def in_turn(*actions: Callable[[], object], rounds: int = 20, warm_up: int = 5) -> Times:
    """Return the seconds of actions, (actions, rounds), each after the other, so that a slow spell hits all of them."""
    return measured_in_turn(
        *(lambda action=action: seconds(action) for action in actions), rounds=rounds, warm_up=warm_up
    )


def measured_in_turn(*measures: Callable[[], float], rounds: int, warm_up: int = 1) -> Times:
    """Return what measures return, (measures, rounds), each after the other; for those that time themselves."""
    found = [[measure() for measure in measures] for _ in range(warm_up + rounds)]
    return np.array(found[warm_up:]).T


def spread(rounds: Times, unit: str = "") -> str:
    """Return the smallest and the largest value of the rounds whose median is reported."""
    return f"{rounds.min():.3g} to {rounds.max():.3g}{unit} in {len(rounds)} rounds"
