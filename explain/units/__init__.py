"""Says what the units of a network respond to."""

from whymatch.explain.units.choice import detected_labels, strongest
from whymatch.explain.units.color_axes import (
    AxisSetting,
    LayerAxes,
    LayerAxis,
    TooFewUnits,
    chromatic_angle,
    find_axes,
)
from whymatch.explain.units.color_names import COLOR_NAMES, color_memberships
from whymatch.explain.units.decoded import DecodedFilter, decode_filters
from whymatch.explain.units.description import (
    SEGMENT_QUANTILE,
    TOP_IMAGES,
    DescriptionSetting,
    UnitDescription,
    describe_units,
)
from whymatch.explain.units.empirical_field import EmpiricalField, find_empirical_field
from whymatch.explain.units.gallery_field import FIELD_IMAGES, UnitField, field_in_gallery
from whymatch.explain.units.gallery_units import UnitsOfGallery, UnitThreshold
from whymatch.explain.units.labels import LABEL_IMAGES, LabelShare, label_shares, usual_label_images
from whymatch.explain.units.layer_colors import LayerFilters, LayerSelectivity, layer_filters, layer_selectivity
from whymatch.explain.units.layer_map import find_layer_map, unit_layers
from whymatch.explain.units.minimal_image import (
    Fill,
    MinimalImageStep,
    Prediction,
    draw_without,
    fill,
    find_minimal_image,
)
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
from whymatch.explain.units.predictions import BestMatch, TopClass
from whymatch.explain.units.receptive_field import ReceptiveField, Sight, find_receptive_field
from whymatch.explain.units.responses import LayerResponses
from whymatch.explain.units.segmentation import SegmentThreshold, UnitSegment, darkened, segment
from whymatch.explain.units.segments import Segmentation, Segments, segments_of
from whymatch.explain.units.selectivity import (
    ColorSelectivity,
    SelectivityCurve,
    SelectivitySetting,
    color_label,
    color_selectivity,
    selectivity_curve,
)
from whymatch.explain.units.tops import TopImage, TopTable, UnitTops

__all__ = [
    "COLOR_NAMES",
    "FIELD_IMAGES",
    "LABEL_IMAGES",
    "SEGMENT_QUANTILE",
    "TOP_IMAGES",
    "AxisSetting",
    "BestMatch",
    "ColorAxis",
    "ColorSelectivity",
    "ColorThresholds",
    "DecodedFilter",
    "DescriptionSetting",
    "EmpiricalField",
    "Fill",
    "FilterColor",
    "LabelShare",
    "LayerAxes",
    "LayerAxis",
    "LayerFilters",
    "LayerResponses",
    "LayerSelectivity",
    "MinimalImageStep",
    "OccluderSetting",
    "Prediction",
    "ReceptiveField",
    "SegmentThreshold",
    "Segmentation",
    "Segments",
    "SelectivityCurve",
    "SelectivitySetting",
    "Sight",
    "TooFewUnits",
    "TopClass",
    "TopImage",
    "TopTable",
    "UnitDescription",
    "UnitField",
    "UnitSegment",
    "UnitThreshold",
    "UnitTops",
    "UnitsOfGallery",
    "chromatic_angle",
    "classify_filter",
    "color_axis",
    "color_label",
    "color_memberships",
    "color_selectivity",
    "darkened",
    "decode_filters",
    "describe_units",
    "detected_labels",
    "draw_without",
    "field_in_gallery",
    "fill",
    "find_axes",
    "find_empirical_field",
    "find_layer_map",
    "find_minimal_image",
    "find_receptive_field",
    "from_opponent",
    "label_shares",
    "layer_filters",
    "layer_selectivity",
    "segment",
    "segments_of",
    "selectivity_curve",
    "strongest",
    "to_opponent",
    "unit_layers",
    "usual_label_images",
]
