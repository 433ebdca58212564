"""The result of a prediction difference on the command line, with the words on its pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whymatch.client.results import DifferenceMap, PredictionDifferenceExplanation

if TYPE_CHECKING:
    import PIL.Image


@dataclass(frozen=True, eq=False)
class DifferenceRun:
    """One call and its result."""

    image: str | None
    """As the command line names it; None for an explanation that is resumed."""
    picture: PIL.Image.Image | None
    """The image, upright; None if nothing is drawn, or it is unknown."""
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
    def layer(self) -> str:
        """Whose cells are taken as unknown; empty for the pixels."""
        return self.explanation.setting.layer if self.explanation.setting else ""

    @property
    def progress(self) -> str:
        """The progress in words."""
        explanation = self.explanation
        counts = f"{explanation.evaluations} of {explanation.planned_evaluations} evaluations"
        return counts if explanation.complete else f"partial, {counts}"

    def __str__(self) -> str:
        """Return the setting in the paper's letters."""
        setting, sampler = self.explanation.setting, self.explanation.sampler
        if setting is None or sampler is None:
            return ""
        sizes = f"k = {setting.window_px}, l = {setting.context_px}, S = {setting.sample_count}"
        cells = f"cells of {setting.layer}, " if setting.layer else ""
        if sampler.channel_count:
            cells += f"{sampler.channel_count} principal channels ({sampler.variance_share:.0%} of the variance), "
        return f"{cells}{sampler.kind}, {sizes}, stride = {setting.stride_px}, seed = {sampler.seed}"


def each_map(runs: Iterable[DifferenceRun], *, by_target: bool = False) -> list[tuple[DifferenceRun, DifferenceMap]]:
    """Return all maps, each with the run that it is of, a run after the other, or a target after the other."""
    numbered = [(number, run, one) for run in runs for number, one in enumerate(run.explanation.maps)]
    ordered = sorted(numbered, key=lambda each: each[0]) if by_target else numbered
    return [(run, one) for _, run, one in ordered]
