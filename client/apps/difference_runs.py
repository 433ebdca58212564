"""The calls of the command `explain prediction-difference`, their progress and their results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from whymatch.client.apps.progress import ProgressBar, progress_bar
from whymatch.client.apps.talk import note
from whymatch.client.draw.runs import DifferenceRun
from whymatch.client.errors import InvalidArgument
from whymatch.client.results import PredictionDifferenceExplanation

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True, eq=False)
class PlannedRun:
    """One call to be made."""

    image: str | None
    """As the command line names it; None for an explanation that is resumed."""
    picture: PIL.Image.Image | None
    """The image, upright; None if nothing is drawn, or if it is unknown."""
    ask: Callable[..., object]
    """Makes the call; takes its `progress`."""
    network: str = ""
    """The network of the server, if several are asked."""

    @property
    def title(self) -> str:
        """The title of the progress bar; without folders, to leave room for the bar."""
        return " ".join(filter(None, [Path(self.image).name if self.image else "resuming", self.network]))


def follow(planned: PlannedRun, runs: list[DifferenceRun], draw: Callable[[DifferenceRun], None] | None) -> None:
    """Make a call, show its progress, and append its result to `runs`, also if it fails.

    draw: called with the run whenever it has new maps.
    """
    with progress_bar(None, planned.title, "evaluations") as bar:
        watch = _Watch(planned, bar, draw)
        try:
            planned.ask(progress=watch)
        except InvalidArgument as error:
            if not planned.network or error.reason != "BAD_TARGET":
                raise
            raise InvalidArgument(
                f"{planned.network}: {error}. Networks may name the same class differently; its number, or top1, can "
                "be asked of several",
                reason=error.reason,
                request_id=error.request_id,
            ) from None
        except KeyboardInterrupt:
            if watch.name:
                note(f"stopped early; --resume {watch.name} continues from here")
            raise
        finally:
            if watch.run:
                runs.append(watch.run)


class _Watch:
    """Shows the progress of a call, and keeps its last maps."""

    def __init__(self, planned: PlannedRun, bar: ProgressBar, draw: Callable[[DifferenceRun], None] | None) -> None:
        self.run: DifferenceRun | None = None
        self.name = ""
        self._planned, self._bar, self._draw = planned, bar, draw
        self._start_s = time.monotonic()

    def __call__(self, explanation: PredictionDifferenceExplanation) -> None:
        """Take the next answer."""
        if explanation.planned_evaluations:  # the server keeps nothing of a call that ends before
            self.name = explanation.name
        self._show(explanation)
        if explanation.maps:
            plan, seconds = self._planned, time.monotonic() - self._start_s
            self.run = DifferenceRun(plan.image, plan.picture, explanation, seconds, plan.network)
            if self._draw:
                self._draw(self.run)

    def _show(self, explanation: PredictionDifferenceExplanation) -> None:
        if explanation.fitted_count < explanation.fit_count:
            self._bar.turn("fitting the sampler", "images")
            self._bar.reach(explanation.fitted_count, explanation.fit_count)
        else:
            self._bar.turn(self._planned.title, "evaluations")
            self._bar.reach(explanation.evaluations, explanation.planned_evaluations)
