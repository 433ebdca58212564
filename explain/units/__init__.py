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
from whymatch.explain.units.empirical_field import EmpiricalField, FieldProgress, empirical_field
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
    "AxisSettings",
    "ColorAxis",
    "ColorSelectivity",
    "ColorThresholds",
    "DecodedFilter",
    "EmpiricalField",
    "FieldProgress",
    "FilterColor",
    "LayerAxes",
    "LayerAxis",
    "OccluderSetting",
    "ReceptiveField",
    "SelectivityCurve",
    "SelectivitySettings",
    "Sight",
    "TooFewUnits",
    "chromatic_angle",
    "classify_filter",
    "color_axis",
    "color_label",
    "color_memberships",
    "color_selectivity",
    "decode_filters",
    "empirical_field",
    "find_axes",
    "from_opponent",
    "receptive_field",
    "selectivity_curve",
    "to_opponent",
]
