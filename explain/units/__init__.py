"""Says what the units of a network respond to."""

from whymatch.explain.units.color_axes import (
    AxisSettings,
    LayerAxes,
    LayerAxis,
    TooFewUnits,
    chromatic_angle,
    find_axes,
)
from whymatch.explain.units.color_names import COLOR_NAMES, color_memberships
from whymatch.explain.units.decoded import DecodedFilter, decode_filters
from whymatch.explain.units.description import (
    TOP_IMAGES,
    DescriptionSetting,
    Quantiles,
    UnitDescription,
    UnitsOfGallery,
    describe_units,
)
from whymatch.explain.units.empirical_field import EmpiricalField, FieldProgress, empirical_field
from whymatch.explain.units.gallery_peaks import Passing, TopImage, UnitTops
from whymatch.explain.units.labels import LABEL_IMAGES, LabelShare, label_shares
from whymatch.explain.units.layer_colors import LayerFilters, LayerSelectivity, layer_filters, layer_selectivity
from whymatch.explain.units.occluders import OccluderSetting
from whymatch.explain.units.opponent import (
    ColorAxis,
    ColorThresholds,
    FilterColor,
    classify_filter,
    color_axis,
    from_opponent,
    to_opponent,
)
from whymatch.explain.units.receptive_field import ReceptiveField, Sight, receptive_field
from whymatch.explain.units.responses import LayerResponses
from whymatch.explain.units.segmentation import SegmentThreshold, UnitSegment, on_original, segment
from whymatch.explain.units.selectivity import (
    ColorSelectivity,
    SelectivityCurve,
    SelectivitySettings,
    color_label,
    color_selectivity,
    selectivity_curve,
)

__all__ = [
    "COLOR_NAMES",
    "LABEL_IMAGES",
    "TOP_IMAGES",
    "AxisSettings",
    "ColorAxis",
    "ColorSelectivity",
    "ColorThresholds",
    "DecodedFilter",
    "DescriptionSetting",
    "EmpiricalField",
    "FieldProgress",
    "FilterColor",
    "LabelShare",
    "LayerAxes",
    "LayerAxis",
    "LayerFilters",
    "LayerResponses",
    "LayerSelectivity",
    "OccluderSetting",
    "Passing",
    "Quantiles",
    "ReceptiveField",
    "SegmentThreshold",
    "SelectivityCurve",
    "SelectivitySettings",
    "Sight",
    "TooFewUnits",
    "TopImage",
    "UnitDescription",
    "UnitSegment",
    "UnitTops",
    "UnitsOfGallery",
    "chromatic_angle",
    "classify_filter",
    "color_axis",
    "color_label",
    "color_memberships",
    "color_selectivity",
    "decode_filters",
    "describe_units",
    "empirical_field",
    "find_axes",
    "from_opponent",
    "label_shares",
    "layer_filters",
    "layer_selectivity",
    "on_original",
    "receptive_field",
    "segment",
    "selectivity_curve",
    "to_opponent",
]
