"""What explanations by prediction difference are asked for, and what they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from whymatch.embed import Array, Progress
from whymatch.explain import ColorScale, DifferenceMap, PredictionDifferenceSetting, SamplerKind
from whymatch.server.provenance import Provenance
from whymatch.server.sources import ImageName, Source


@dataclass(frozen=True)
class OfClass:
    """The probability or the score of a class."""

    name: str
    """A name, a number from 0, or `top1`, `top2` and so on for the most likely classes of the image."""
    instances: int | None
    """For the probability, how many images the classifier learned from; None for the score."""


@dataclass(frozen=True)
class OfUnit:
    """The response of a unit."""

    layer: str
    channel: int
    cell: tuple[int, int] | None
    """Row and column; None for the mean over the feature map."""


@dataclass(frozen=True)
class OfImage:
    """The similarity to an image."""

    source: Source


@dataclass(frozen=True)
class OfNeighbors:
    """The evidence for a label, or for one image, among the neighbors."""

    label: str
    """Empty for an image."""
    image: ImageName | None = None


AskedTarget: TypeAlias = OfClass | OfUnit | OfImage | OfNeighbors


@dataclass(frozen=True, eq=False)
class DifferenceRequest:
    """An explanation by prediction difference that somebody asks for."""

    gallery: str
    source: Source
    targets: tuple[AskedTarget, ...]
    sampler: SamplerKind
    setting: PredictionDifferenceSetting
    refit: bool
    """Whether the sampler is made anew, though the gallery keeps one."""
    with_sensitivity: bool
    digest: str
    """The same for all requests for the same maps of the same image of the same gallery; hexadecimal."""
    layer: str | None = None
    """The layer whose cells are taken as unknown; None for the pixels."""


@dataclass(frozen=True)
class SamplerSource:
    """What a sampler is made of."""

    image_count: int
    """Images of the gallery."""
    patch_count: int = 0
    """Patches of them that a normal distribution was fitted to; 0 where there is none."""
    channel_count: int = 0
    """The leading principal channels of a layer that it is of; 0 for pixels."""
    variance_share: float = 0.0
    """How much of the variance of the layer's cells these channels hold."""


@dataclass(frozen=True, eq=False)
class DifferenceMaps:
    """The maps of an explanation as they are at one time, and how they were made."""

    maps: tuple[DifferenceMap, ...]
    """One for each target of the request, in their order."""
    sensitivities: tuple[Array, ...]
    """(h, w) float32, one for each target; empty unless asked for."""
    source: SamplerSource
    """What the samples came from."""
    multiplied_share: float
    """Multiplications of the last batch, as a share of those that whole images would have taken."""
    computed_whole: frozenset[str]
    """The nodes of the network from which on whole images are computed."""
    is_final: bool
    """Whether all evaluations are done."""


@dataclass(frozen=True, eq=False)
class DifferenceAnswer:
    """What one call says of an explanation at one time."""

    name: str
    """The {explanation} of `explanations/{explanation}`."""
    origin: Provenance
    """Of the explanation, from when it began."""
    request: DifferenceRequest
    progress: Progress[DifferenceMaps]
    """How far it is; with maps only where the call shows them."""
    evaluations_per_second: float
    """Of this call; 0 while there is none."""
    drawings: Sequence[tuple[bytes, ColorScale]]
    """A PNG of each map and the scale of its colors; empty unless asked for."""
