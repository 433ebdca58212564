"""How far long work is."""

from dataclasses import dataclass
from typing import Generic, TypeVar

Result = TypeVar("Result", covariant=True)


@dataclass(frozen=True)
class Progress(Generic[Result]):
    """How far it is, and what came of it."""

    counted: str
    """What is counted: `images`, `vectors`, `steps`, `evaluations` of the network, `filters` or `units` of a layer.
    Empty where nothing is known yet but that the work goes on."""
    done: int
    """How many are done."""
    total: int
    """How many there are, or at most; the same as `done` where nobody knows how many will come."""
    result: Result | None = None
    """What came of it; None while there is nothing yet. Most work has its result in its last progress alone."""
