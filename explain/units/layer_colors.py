"""The colors of a whole layer: classes of its decoded filters, the axes that follow, the selectivity of its units."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from whymatch.embed import DecodeLimits, Model, Progress
from whymatch.explain.patches import Wide
from whymatch.explain.units.color_axes import (
    AxisSetting,
    LayerAxes,
    TooFewUnits,
    angle_histogram,
    chromatic_angle,
    search_axes,
)
from whymatch.explain.units.decoded import decode_filters
from whymatch.explain.units.description import TOP_IMAGES
from whymatch.explain.units.gallery_units import UnitsOfGallery
from whymatch.explain.units.layer_map import find_layer_map
from whymatch.explain.units.opponent import ColorThresholds, FilterColor, classify_filter
from whymatch.explain.units.selectivity import (
    ColorSelectivity,
    SelectivityCurve,
    SelectivitySetting,
    color_selectivity,
    selectivity_curve,
)
from whymatch.explain.units.tops import TopTable
from whymatch.index import Gallery


@dataclass(frozen=True, eq=False)
class LayerFilters:
    """The classes of the decoded filters of a layer, and its color axes."""

    layer: str
    units: Sequence[int]
    filters: tuple[FilterColor, ...]
    """Of each of the units."""
    axes: LayerAxes | None
    no_axes: str
    """Why there are no axes; empty if there are."""
    histogram: Wide
    """(180 / bin_deg,), units in each bin of the chromatic angle, of those that have one."""


@dataclass(frozen=True, eq=False)
class LayerSelectivity:
    """How selective the units of a layer are for colors."""

    layer: str
    units: Sequence[int]
    selectivities: tuple[ColorSelectivity, ...]
    """Of each of the units; that of a dead one is None within."""
    curve: SelectivityCurve


def layer_filters(
    model: Model, layer: str, thresholds: ColorThresholds, axes: AxisSetting, units: Sequence[int] = ()
) -> Iterator[Progress[LayerFilters]]:
    """Decode the filters of a layer and classify them by their colors; yields how many are done, and last the layer.

    units: empty for all.

    Raises:
        BadLayer, BadTarget: as `decode_filters` does.
    """
    side = model.geometry.size_px
    units = units or range(find_layer_map(model, layer, side, side).units)
    count = len(units)
    filters: list[FilterColor] = []
    for decoded in decode_filters(model, layer, units):
        filters.append(classify_filter(decoded.shown(), thresholds))
        yield Progress("filters", len(filters), count)
    angles = [angle for one in filters if (angle := chromatic_angle(one)) is not None]
    found: LayerAxes | None = None
    none = ""
    try:
        for found in search_axes(angles, axes):  # noqa: B007 - the last one counts
            yield Progress("filters", count, count)
    except TooFewUnits as err:
        none = str(err)
    result = LayerFilters(layer, units, tuple(filters), found, none, angle_histogram(angles, axes))
    yield Progress("filters", count, count, result)


def layer_selectivity(
    gallery: Gallery,
    model: Model,
    layer: str,
    settings: SelectivitySetting,
    limits: DecodeLimits,
    *,
    top_count: int = TOP_IMAGES,
    units: Sequence[int] = (),
) -> Iterator[Progress[LayerSelectivity]]:
    """Measure how selective the units of a layer are; yields how far it is, and last the layer.

    units: empty for all.
    top_count: t, of how many top images the selectivity of a unit is; fewer where it responds to fewer.

    Raises:
        BadLayer: no layer has that name, or it has no rows and columns.
        BadTarget: the layer has no such unit.
        TooFewImages: the gallery is empty.
        StorageFull, ReadOnlyStorage: the peaks cannot be kept.
    """
    found = UnitsOfGallery(gallery, model, layer, limits)
    units = units or range(found.responses.channels)
    found.check(units)
    table: TopTable | None = None
    for progress in found.tops(units, top_count):
        table = progress.result
        yield Progress("images", progress.done, progress.total)
    assert table
    measured: list[ColorSelectivity] = []
    for row in range(len(units)):
        patches = map(found.patch, table.of(row).images)
        measured.append(color_selectivity([patch for patch in patches if patch is not None], settings))
        yield Progress("units", len(measured), len(units))
    result = LayerSelectivity(layer, units, tuple(measured), selectivity_curve(measured))
    yield Progress("units", len(units), len(units), result)
