"""The result of a prediction difference on the command line, with the words on its pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whymatch.client.results import DifferenceMap, PredictionDifferenceExplanation

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True)
class DifferenceSetting:
    """How parts of the image were replaced; None for a resumed explanation, whose setting only the server knows."""

    window_px: int | None = None
    context_px: int | None = None
    sample_count: int | None = None
    stride_px: int | None = None


@dataclass(frozen=True, eq=False)
class DifferenceRun:
    """One call and its result; the fields are those of the plan."""

    image: str | None
    picture: PIL.Image.Image | None
    setting: DifferenceSetting
    explanation: PredictionDifferenceExplanation
    """The last one with maps."""
    seconds: float
    """How long the call has taken."""
    network: str = ""

    @property
    def title(self) -> str:
        """The image, else the name of the explanation; and the network if there are several."""
        return " ".join(filter(None, [self.image or self.explanation.name, self.network]))

    @property
    def progress(self) -> str:
        """The progress in words."""
        explanation = self.explanation
        counts = f"{explanation.evaluations} of {explanation.planned_evaluations} evaluations"
        return counts if explanation.complete else f"partial, {counts}"

    def __str__(self) -> str:
        """Return the setting in the paper's letters."""
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
