"""The colors of a whole layer: classes of its decoded filters, the axes that follow, the selectivity of its units."""

from collections.abc import Iterator
from dataclasses import dataclass

from whymatch.embed import DecodeLimits, Model
from whymatch.explain.units.color_axes import AxisSettings, LayerAxes, TooFewUnits, chromatic_angle, find_axes
from whymatch.explain.units.decoded import decode_filters
from whymatch.explain.units.description import TOP_IMAGES, UnitsOfGallery
from whymatch.explain.units.gallery_peaks import Passing, UnitTops
from whymatch.explain.units.layer_map import layer_map
from whymatch.explain.units.opponent import ColorThresholds, FilterColor, classify_filter
from whymatch.explain.units.selectivity import (
    ColorSelectivity,
    SelectivityCurve,
    SelectivitySettings,
    color_selectivity,
    selectivity_curve,
)
from whymatch.index import Gallery


@dataclass(frozen=True, eq=False)
class LayerFilters:
    """The classes of the decoded filters of a layer, and its color axes."""

    layer: str
    filters: tuple[FilterColor, ...]
    """Of each unit."""
    axes: LayerAxes | None
    no_axes: str
    """Why there are no axes; empty if there are."""


@dataclass(frozen=True, eq=False)
class LayerSelectivity:
    """How selective the units of a layer are for colors."""

    layer: str
    units: tuple[ColorSelectivity, ...]
    """Of each unit; that of a dead one is None within."""
    curve: SelectivityCurve


def layer_filters(
    model: Model, layer: str, thresholds: ColorThresholds, axes: AxisSettings
) -> Iterator[Passing[LayerFilters]]:
    """Decode all filters of a layer and classify them by their colors; yields how many are done, and last the layer.

    Raises:
        BadLayer: as `decode_filters` does.
    """
    side = model.geometry.size_px
    count = layer_map(model, layer, side, side).units
    filters: list[FilterColor] = []
    for decoded in decode_filters(model, layer):
        filters.append(classify_filter(decoded.shown(), thresholds))
        yield Passing(len(filters), count)
    angles = [angle for one in filters if (angle := chromatic_angle(one)) is not None]
    try:
        found, none = find_axes(angles, axes), ""
    except TooFewUnits as err:
        found, none = None, str(err)
    yield Passing(count, count, LayerFilters(layer, tuple(filters), found, none))


def layer_selectivity(
    gallery: Gallery,
    model: Model,
    layer: str,
    settings: SelectivitySettings,
    limits: DecodeLimits,
    *,
    top_count: int = TOP_IMAGES,
) -> Iterator[tuple[str, Passing[LayerSelectivity]]]:
    """Measure how selective all units of a layer are; yields what is counted and how far it is, and last the layer.

    top_count: t, of how many top images the selectivity of a unit is; fewer where it responds to fewer.

    Raises:
        BadLayer: no layer has that name, or it has no rows and columns.
        TooFewImages: the gallery is empty.
        StorageFull, ReadOnlyStorage: the peaks cannot be kept.
    """
    found = UnitsOfGallery(gallery, model, layer, limits)
    units = range(found.responses.channels)
    tops: list[UnitTops] = []
    for passing in found.tops(units, top_count):
        tops = passing.result or tops
        yield "images", Passing(passing.done, passing.total)
    measured: list[ColorSelectivity] = []
    for one in tops:
        patches = [pixels for pixels, _ in found.patches(one.images)]
        measured.append(color_selectivity(patches, settings))
        yield "units", Passing(len(measured), len(units))
    result = LayerSelectivity(layer, tuple(measured), selectivity_curve(measured))
    yield "units", Passing(len(units), len(units), result)
