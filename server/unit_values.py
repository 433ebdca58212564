"""What work on units is asked for and finds, where `whymatch.explain.units` has no class for it."""

from dataclasses import dataclass

from PIL.Image import Image

from whymatch.embed import Placement
from whymatch.explain.units import (
    AxisSetting,
    DecodedFilter,
    Fill,
    FilterColor,
    LabelShare,
    LayerFilters,
    LayerSelectivity,
    MinimalImageStep,
    Segmentation,
    Segments,
    SegmentThreshold,
    UnitSegment,
    UnitThreshold,
)
from whymatch.index import Match
from whymatch.server.sources import ImageName


@dataclass(frozen=True)
class MinimalImageRequest:
    """How to simplify an image."""

    class_name: str | None
    """The class to keep, or `top1`; None for the best match."""
    segmentation: Segmentation
    segment_count: int
    fill: Fill


@dataclass(frozen=True)
class SegmentRequest:
    """How to segment an image."""

    channels: tuple[int, ...]
    """Empty to choose units."""
    unit_limit: int
    """How many to choose at most."""
    detector_precision: float | None
    """Choose of the units that detect a label with this precision; None to choose of all."""
    threshold: SegmentThreshold
    match_limit: int
    """How many matches to find, too; 0 for none."""
    class_limit: int
    """How many classes to return, too; 0 for none."""


@dataclass(frozen=True, eq=False)
class ColoredFilter:
    """What a unit looks for, and what its colors are."""

    decoded: DecodedFilter
    color: FilterColor


@dataclass(frozen=True, eq=False)
class LayerColors:
    """How a layer is about color."""

    filters: LayerFilters | None
    """None if nobody asked for them."""
    axes: AxisSetting
    """How the axes of the filters were looked for."""
    selectivity: LayerSelectivity | None
    """None if nobody asked for it."""


@dataclass(frozen=True, eq=False)
class ImageSegment:
    """Where in an image a unit responds."""

    segment: UnitSegment
    threshold: UnitThreshold
    """Where the segment begins."""
    placement: Placement
    """Where the pixels of the network's input lie in the image."""
    picture: Image | None
    """The image, dark outside the segment; None unless asked for."""
    label: LabelShare | None
    """What the unit detects; None unless detectors were asked for."""


@dataclass(frozen=True, eq=False)
class ImageMatches:
    """The matches of an image that was segmented."""

    matches: tuple[Match, ...]
    """Best first; scores are cosine similarities."""


@dataclass(frozen=True, eq=False)
class ImageClasses:
    """The classes of an image that was segmented."""

    classes: tuple[tuple[str, float], ...]
    """Names and probabilities, likeliest first."""


@dataclass(frozen=True, eq=False)
class SimplifiedImage:
    """An image with parts removed."""

    step: MinimalImageStep
    prediction: str | ImageName
    """What still holds: the class, or the best match."""
    segments: Segments
    """(h, w), the number of the part that each pixel of the network's input belongs to."""
    placement: Placement
    """Where these pixels lie in the image."""
    picture: Image | None
    """What is left of the image; None unless asked for."""
