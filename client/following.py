"""What a long explanation has come to: both clients hand over each answer, and how the call ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from whymatch.client.errors import WhymatchError
from whymatch.client.results import PredictionDifferenceExplanation
from whymatch.client.targets import PredictionTarget
from whymatch.client.wire.failures import interrupted, unfinished


class Following:
    """What an explanation has come to so far."""

    def __init__(
        self,
        targets: Sequence[PredictionTarget],
        progress: Callable[[PredictionDifferenceExplanation], None] | None,
    ) -> None:
        self.targets = targets
        """Those of the request; empty where an explanation is resumed."""
        self._progress = progress
        self._name = ""
        self._last: PredictionDifferenceExplanation | None = None
        self._with_maps: PredictionDifferenceExplanation | None = None

    def take(self, answer: PredictionDifferenceExplanation) -> None:
        """Keep the next answer and pass it on."""
        self._last = answer
        if self._last.planned_evaluations:  # of what ends before, the server keeps nothing
            self._name = self._last.name
        if self._last.maps:
            self._with_maps = self._last
        if self._progress:
            self._progress(self._last)

    def completed(self) -> PredictionDifferenceExplanation:
        """Return the last answer; raise if there should have been more."""
        if self._last is None or not self._last.complete:
            raise self.failure(unfinished("the explanation was complete"))
        return self._last

    def failure(self, error: WhymatchError) -> WhymatchError:
        """Return `error` with what there is, and how to go on from there, if there is anything."""
        return interrupted(error, self._name, self._with_maps) if self._name else error
