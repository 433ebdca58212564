"""What the command `explain prediction-difference` asked for in one call, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whymatch.client.results import DifferenceMap, PredictionDifferenceExplanation

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class DifferenceSetting:
    """How parts of the image were taken as unknown; None where an explanation was resumed, which does not tell."""

    window_px: int | None = None
    context_px: int | None = None
    sample_count: int | None = None
    stride_px: int | None = None


@dataclass(frozen=True, eq=False)
class DifferenceRun:
    """One call."""

    image: str | None
    """As the command line names it; None for an explanation that was resumed."""
    picture: PIL.Image.Image | None
    """The image, upright; None if nothing is drawn, or it is not known."""
    setting: DifferenceSetting
    explanation: PredictionDifferenceExplanation
    seconds: float
    """How long the call has taken."""

    @property
    def title(self) -> str:
        """The image, else the name of the explanation."""
        return self.image or self.explanation.name

    def __str__(self) -> str:
        """Say how it was made, in the paper's letters."""
        setting, sampler = self.setting, self.explanation.sampler
        numbers = (
            ("k", setting.window_px),
            ("l", setting.context_px),
            ("S", setting.sample_count),
            ("stride", setting.stride_px),
            ("seed", sampler.seed if sampler else None),
        )
        return ", ".join([*([sampler.kind] if sampler else []), *(f"{k} = {v}" for k, v in numbers if v is not None)])


def each_map(runs: Iterable[DifferenceRun]) -> list[tuple[DifferenceRun, DifferenceMap]]:
    """Return all maps in order, each with the run that it is of."""
    return [(run, one) for run in runs for one in run.explanation.maps]
