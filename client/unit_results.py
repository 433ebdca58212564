"""What the client returns of units: plain values with NumPy arrays, and how each was measured."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from whymatch.client.results import Box, Match, Progress, Provenance
from whymatch.client.value import Value

if TYPE_CHECKING:
    import PIL.Image


UnitProgress = Progress
"""The name that `Progress` had."""


# Settings: None lets the server choose; what an answer was made with has every field set.


@dataclass(frozen=True)
class SelectivitySetting(Value):
    """How to measure the selectivity for colors."""

    leading: int | None = None
    """p: how many of the largest categories are summed."""
    categories: int | None = None
    """k of k-means."""
    merge_distance: float | None = None
    """Categories whose memberships of color names differ by less are one; 0, as in the paper: none."""
    gray_share: float | None = None
    """Patches with no larger share of pixels that are not black, gray or white have no color."""
    max_pixels: int | None = None
    """Pixels that are looked at, drawn at random of more."""
    seed: int | None = None


@dataclass(frozen=True)
class ColorThresholds(Value):
    """Where the classes of filters part."""

    flat_spread: float | None = None
    """Colors whose standard deviation in opponent space is no larger are one color."""
    aligned_share: float | None = None
    """Least share of the variance along the axis of an aligned filter."""
    centered_distance: float | None = None
    """Largest distance of a centered axis from middle gray, in standard deviations along it."""
    black_white_share: float | None = None
    """Least share of the variance in intensity of a black-white filter."""
    name_share: float | None = None
    """Least share of the pixels that are not gray, for a color name to count."""
    gray_share: float | None = None
    """From this share of gray pixels on, gray is the one color."""


@dataclass(frozen=True)
class AxisSetting(Value):
    """How to look for the color axes of a layer."""

    min_components: int | None = None
    """Fewest Gaussians of a mixture, as `max_components` is the most."""
    max_components: int | None = None
    bin_deg: int | None = None
    """Degrees of a bin of the histogram, and from one cut of the circle to the next; a divisor of 180."""
    min_spread_deg: float | None = None
    """Degrees that are added to the spread of each Gaussian, squared."""
    seed: int | None = None
    units_per_component: int | None = None
    """Fewest units for each Gaussian of a mixture."""


@dataclass(frozen=True)
class OccluderSetting(Value):
    """How to occlude images."""

    side_px: int | None = None
    """Rows and columns of an occluder, in pixels of the network's input."""
    stride_px: int | None = None
    """Pixels from one occluder to the next."""
    threshold: float | None = None
    """The field is where the map is above this share of its maximum."""
    seed: int | None = None
    batch_size: int | None = None
    """Occluded images at once; bounds memory."""


# Answers.


@dataclass(frozen=True)
class LabelShare(Value):
    """How many of the images that a unit responds to most have a label."""

    label: str
    image_count: int
    precision: float
    """Their share of the images that were counted."""


@dataclass(frozen=True)
class TheoreticalField(Value):
    """What the units of a layer can see at most, in pixels of the network's input."""

    width_px: int
    height_px: int
    stride_x_px: int
    """From what one unit sees to what the next one in its row sees, as `stride_y_px` in its column; 0 if all see the
    same."""
    stride_y_px: int
    whole_from: str
    """The node of the network from which on units see the whole input; empty if there is none."""


@dataclass(frozen=True)
class ColorShare(Value):
    """The share of a color name."""

    name: str
    share: float


@dataclass(frozen=True)
class ColorCategory(Value):
    """A category of colors."""

    share: float
    """Of the pixels."""
    names: Sequence[ColorShare]
    """What share of it each color name has, leading first."""


@dataclass(frozen=True)
class ColorSelectivity(Value):
    """How selective a unit is for colors, by the patches of its top images."""

    selectivity: float
    """S_p, 0 to 1: the share of the pixels in the p largest categories of color."""
    quotient: float
    """S_p / p."""
    gray: bool
    """Whether the patches have no color, so that S_p distinguishes black, gray and white alone."""
    label: Sequence[str]
    """The leading color names."""
    names: Sequence[ColorShare]
    """What share of the pixels each color name has, leading first."""
    categories: Sequence[ColorCategory]
    """Largest first."""
    pixel_count: int
    setting: SelectivitySetting


@dataclass(frozen=True, eq=False)
class TopImage(Value):
    """An image that a unit responds to."""

    name: str
    label: str
    response: float
    """The unit's largest response to it."""
    cell: tuple[int, int]
    """Row and column of that response."""
    box: Box
    """What the unit sees there."""
    patch_png: bytes = field(default=b"", repr=False)
    """The same in pixels of the network's input; empty unless asked for."""
    segment_png: bytes = field(default=b"", repr=False)
    """The image with what lies outside the unit's segment darkened; empty unless asked for."""

    def patch(self) -> PIL.Image.Image:
        """Return what the unit sees there."""
        return _opened(self.patch_png, "a patch", "with_patches=True")

    def segment(self) -> PIL.Image.Image:
        """Return the image as the network gets it, with what lies outside the unit's segment darkened."""
        return _opened(self.segment_png, "a segment", "with_segments=True")


@dataclass(frozen=True, eq=False)
class UnitDescription(Value):
    """What a unit responds to."""

    model: str
    """The fingerprint of the model."""
    layer: str
    channel: int
    image_count: int
    """Images of different content that were looked at."""
    maximum: float
    """The largest response to any of them; 0 for a dead unit."""
    top_images: Sequence[TopImage]
    """Strongest first; empty for a dead unit."""
    labels: Sequence[LabelShare]
    """Most frequent first."""
    label_image_count: int
    """How many leading images the labels are of."""
    receptive_field: TheoreticalField
    color: ColorSelectivity | None
    """Only if asked for, and not of a dead unit."""
    layer_unit_count: int = 0
    """How many units the layer has."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""

    @property
    def is_dead(self) -> bool:
        """Whether no image of the gallery makes the unit respond."""
        return not self.top_images


@dataclass(frozen=True)
class FilterColor(Value):
    """The class of a decoded filter by its colors."""

    content: str
    """`varied`, `constant` or `dead`; what follows up to `tone` is empty or 0 unless it is varied."""
    alignment: str
    """`aligned` or `dispersed`."""
    axis_share: float
    """Of the variance along the axis."""
    position: str
    """`centered` or `shifted`."""
    axis_distance: float
    """How far the axis passes from middle gray, in standard deviations of the colors along it."""
    tone: str
    """`black-white` or `chromatic`."""
    intensity_share: float
    """Of the variance in intensity."""
    colors: str
    """`single`, `double` or `multiple`: how many color names count."""
    names: Sequence[str]
    """The names that count, leading first."""
    angle_deg: float | None
    """Of its axis in the chromatic plane, only of aligned, centered and chromatic filters of two colors."""
    thresholds: ColorThresholds


@dataclass(frozen=True, eq=False)
class DecodedFilter(Value):
    """What a unit looks for, in image space."""

    model: str
    """The fingerprint of the model."""
    layer: str
    channel: int
    width_px: int
    """Of the theoretical receptive field, as is `height_px`."""
    height_px: int
    values: NDArray[np.float32] | None
    """(height, width, 3), signed, as the network's first layer gets colors; only if asked for."""
    scale: float
    """The value that the picture shows as 255; 0 is middle gray."""
    picture_png: bytes = field(repr=False)
    color: FilterColor
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""

    def picture(self) -> PIL.Image.Image:
        """Return it as a picture."""
        return _opened(self.picture_png, "a filter", "decode")


@dataclass(frozen=True)
class UnitColors(Value):
    """The colors of one unit of a layer."""

    channel: int
    filter: FilterColor | None
    """Only if axes were asked for."""
    selectivity: ColorSelectivity | None
    """Only if it was asked for, and not of a dead unit."""


@dataclass(frozen=True)
class ColorAxis(Value):
    """A color axis of a layer: a Gaussian of a mixture."""

    angle_deg: float
    """0 is red against green, 90 yellow against blue."""
    spread_deg: float
    weight: float


@dataclass(frozen=True, eq=False)
class LayerColors(Value):
    """How a layer is about color."""

    model: str
    """The fingerprint of the model."""
    layer: str
    units: Sequence[UnitColors]
    axes: Sequence[ColorAxis]
    """By angle; empty if there are none, or none were asked for."""
    no_axes: str
    """Why there are none."""
    histogram: Sequence[int]
    """Units in each bin of the chromatic angle, the first from 0 degrees; empty if axes were not asked for."""
    density: NDArray[np.float32]
    """(181,), for every whole degree the units per degree that the mixture expects; empty without axes."""
    aic: float
    cut_deg: float
    """Where the circle was cut open for the mixture."""
    axis_setting: AxisSetting | None
    curve: Sequence[tuple[float, float]]
    """Thresholds of S_p and the share of the units above each; empty if not asked for, or if all units are dead."""
    dead_count: int
    gray: bool
    """Whether no unit's patches have color, so that the curve says nothing of colors."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True, eq=False)
class EmpiricalField(Value):
    """What a unit really responds to."""

    model: str
    """The fingerprint of the model."""
    layer: str
    channel: int
    width_px: int
    """Of what lies above the threshold, as is `height_px`, in pixels of the network's input; 0 for a dead unit."""
    height_px: int
    theoretical: TheoreticalField
    values: NDArray[np.float32]
    """(rows, columns), by how much the response changed where it was occluded; the unit's center is in the middle."""
    box: Box | None
    """Around all values above the threshold, in pixels of the map; None for a dead unit."""
    image_count: int
    """How many top images were occluded; 0 for a dead unit."""
    evaluations: int
    positions: int
    multiplied_share: float
    """The network's multiplications, as a share of those that whole images would have taken."""
    occluder: OccluderSetting
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True)
class LikelyClass:
    """How likely a class is."""

    class_name: str
    probability: float


@dataclass(frozen=True, eq=False)
class UnitSegment(Value):
    """Where in an image a unit responds."""

    layer: str
    channel: int
    responses: NDArray[np.float32]
    """(rows, columns) of the layer's map."""
    threshold: float | None
    """The response at which the segment begins; None for a dead unit, which has no segment."""
    maximum: float
    """The unit's largest response over the gallery."""
    sampled_cells: int
    """For a quantile, from how many draws of cells it was estimated."""
    area_share: float
    """The share of the image inside."""
    area: Box
    """The part of the image that the network sees."""
    width_px: int
    """Of the upright image, as is `height_px`."""
    height_px: int
    mask_png: bytes = field(repr=False)
    """Of the size of the network's input."""
    overlay_png: bytes = field(default=b"", repr=False)
    label: LabelShare | None = None
    """The label that the unit detects; only if detectors were asked for."""

    def mask(self) -> PIL.Image.Image:
        """Return the segment, of the size of the upright image: white inside, black outside."""
        import PIL.Image

        seen = _opened(self.mask_png, "a mask", "segment")
        left, top, right, bottom = (
            round(edge) for edge in (self.area.left_px, self.area.top_px, self.area.right_px, self.area.bottom_px)
        )
        whole = PIL.Image.new("L", (self.width_px, self.height_px))
        whole.paste(seen.resize((right - left, bottom - top), PIL.Image.Resampling.NEAREST), (left, top))
        return whole

    def overlay(self) -> PIL.Image.Image:
        """Return the image with what lies outside darkened."""
        return _opened(self.overlay_png, "this segment's picture", "overlays=True")


@dataclass(frozen=True, eq=False)
class Segmentation(Value):
    """An image segmented by units."""

    model: str
    """The fingerprint of the model and the gallery's head."""
    segments: Sequence[UnitSegment]
    """One for each unit, in the order of the request; of units that were chosen, the strongest response first."""
    matches: Sequence[Match]
    """Best first, if any were asked for."""
    classes: Sequence[LikelyClass] = ()
    """Likeliest first, if any were asked for and the network has them."""
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""


@dataclass(frozen=True, eq=False)
class MinimalImageStep(Value):
    """An image with parts removed."""

    model: str
    """The fingerprint of the model and, for a match, of the gallery's head."""
    segment: int | None
    """The part that was removed last; None for the whole image."""
    segments_left: int
    area_share: float
    """The share of the image that is left."""
    value: float
    """The probability of the class, or the cosine similarity to the match."""
    prediction: str
    """The class, or the name of the match."""
    minimal: bool
    """True for the last one: without any other part the prediction would not hold."""
    evaluations: int
    """Images that went through the network so far."""
    segments: NDArray[np.int32] | None
    """(height, width) of the network's input, the number of the part of each pixel; comes with the first step."""
    area: Box | None
    """The part of the upright image that the network sees; comes with the first step."""
    picture_png: bytes = field(default=b"", repr=False)
    provenance: Provenance | None = None
    """Where the answer comes from; None if the server does not say."""

    def picture(self) -> PIL.Image.Image:
        """Return the image as it is now."""
        return _opened(self.picture_png, "this step's picture", "overlays=True")


def _opened(png: bytes, what: str, remedy: str) -> PIL.Image.Image:
    import PIL.Image

    if not png:
        raise ValueError(f"{what} did not come; ask for it with {remedy}")
    return PIL.Image.open(io.BytesIO(png))
