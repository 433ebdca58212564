"""How far long work on units is."""

from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

Result = TypeVar("Result")
Counted = Literal["images", "filters", "units", "evaluations"]


@dataclass(frozen=True)
class Progress(Generic[Result]):
    """How far the work is, and at the end its result."""

    counted: Counted
    """What is counted: images of the pass over a gallery, filters or units of a layer, evaluations of the network."""
    done: int
    total: int
    """How many there are, or at most."""
    result: Result | None = None
