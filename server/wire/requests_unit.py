"""What a request about units asks for, checked at the door."""

import math
from collections.abc import Sequence
from typing import cast, get_args

from google.protobuf.message import Message

from whymatch.embed import BadLayer, BadRequest
from whymatch.explain.units import (
    SEGMENT_QUANTILE,
    AxisSetting,
    ColorThresholds,
    DescriptionSetting,
    Fill,
    OccluderSetting,
    Segmentation,
    SegmentThreshold,
    SelectivitySetting,
)
from whymatch.server.unit_values import MinimalImageRequest, SegmentRequest
from whymatch.server.wire import requests_shapes
from whymatch.v1 import shapes_pb2
from whymatch.v1 import unit_service_pb2 as pb

MAX_TOP, MAX_LABEL_IMAGES, MAX_FIELD_IMAGES = 100, 1000, 100
MAX_CHANNELS, MAX_SEGMENTED, SEGMENTED, MAX_CLASSES = 100_000, 100, 6, 1000
MAX_PARTS, PARTS = 200, 40
MAX_OCCLUDER_PX, MAX_BATCH = 64, 1000
MAX_MIXTURES = 1000
MAX_DISTANCE = 10.0
"""No two colors are farther apart, in opponent space or by their names."""


def layer(name: str) -> str:
    """Return the name of a layer. Raises BadLayer."""
    if not name:
        raise BadLayer("`layer` is missing; give one of the names that `whymatch layers` lists")
    return name


def unit(message: shapes_pb2.Unit) -> tuple[str, int]:
    """Return layer and channel of a unit. Raises BadLayer, BadRequest."""
    if message.HasField("cell"):
        raise BadRequest("`unit` has a `cell`; leave it out, for it is where the unit responds most to each image")
    return layer(message.layer), message.channel


def channels(given: Sequence[int], most: int = MAX_CHANNELS) -> list[int]:
    """Return channels, each once. Raises BadRequest."""
    if len(given) > most:
        raise BadRequest(f"`channels` holds {len(given)}; give at most {most}")
    return list(dict.fromkeys(given))


def description(request: pb.DescribeUnitsRequest) -> DescriptionSetting:
    """Return what to say of units. Raises BadLimit, BadRequest."""
    return DescriptionSetting(
        _count_or_none(request, "top_count", MAX_TOP),
        _count_or_none(request, "label_image_count", MAX_LABEL_IMAGES),
        request.with_patches,
        _top_segments(request) if request.with_segments else None,
        selectivity(request.selectivity) if request.with_colors else None,
    )


def top_count(request: pb.DescribeLayerColorsRequest, default: int) -> int:
    """Return how many top images selectivity is of. Raises BadLimit."""
    return requests_shapes.limit(request, "top_count", MAX_TOP, default=default)


def field_images(request: pb.FindReceptiveFieldRequest) -> int | None:
    """Return how many images to occlude, None if nobody says it. Raises BadLimit."""
    return _count_or_none(request, "image_count", MAX_FIELD_IMAGES)


def selectivity(message: pb.SelectivitySetting) -> SelectivitySetting:
    """Return how to measure selectivity. Raises BadLimit, BadRequest."""
    usual = SelectivitySetting()
    return SelectivitySetting(
        leading=requests_shapes.limit(message, "leading", 20, default=usual.leading),
        categories=requests_shapes.limit(message, "categories", 100, default=usual.categories),
        merge_distance=_number(message, "merge_distance", usual.merge_distance, 0, MAX_DISTANCE),
        max_pixels=requests_shapes.limit(message, "max_pixels", 1_000_000, least=100, default=usual.max_pixels),
        gray_share=_number(message, "gray_share", usual.gray_share, 0, 1),
        seed=_seed(message),
    )


def thresholds(message: pb.ColorThresholds) -> ColorThresholds:
    """Return where classes of filters part. Raises BadRequest."""
    usual = ColorThresholds()
    shares = ("aligned_share", "black_white_share", "name_share", "gray_share")
    return ColorThresholds(
        flat_spread=_number(message, "flat_spread", usual.flat_spread, 0, MAX_DISTANCE),
        centered_distance=_number(message, "centered_distance", usual.centered_distance, 0, MAX_DISTANCE),
        **{name: _number(message, name, getattr(usual, name), 0, 1) for name in shares},
    )


def axes(message: pb.AxisSetting) -> AxisSetting:
    """Return how to look for axes. Raises BadLimit, BadRequest."""
    usual = AxisSetting()
    found = AxisSetting(
        min_components=requests_shapes.limit(message, "min_components", 20, default=usual.min_components),
        max_components=requests_shapes.limit(message, "max_components", 20, default=usual.max_components),
        bin_deg=requests_shapes.limit(message, "bin_deg", 180, default=usual.bin_deg),
        min_spread_deg=_number(message, "min_spread_deg", usual.min_spread_deg, 0.01, 180),
        units_per_component=requests_shapes.limit(
            message, "units_per_component", 1000, least=3, default=usual.units_per_component
        ),
        seed=_seed(message),
    )
    try:
        found.check()
    except ValueError as err:
        raise BadRequest(f"`axis_setting`: {err}") from err
    tries = 180 // found.bin_deg * (found.max_components - found.min_components + 1)
    if tries > MAX_MIXTURES:
        raise BadRequest(
            f"`axis_setting` asks for {tries} mixtures, but at most {MAX_MIXTURES} are tried; take a larger `bin_deg`, "
            "or fewer components"
        )
    return found


def occluder(message: pb.OccluderSetting) -> OccluderSetting:
    """Return how to occlude images. Raises BadLimit, BadRequest; BadWindow is left to the library."""
    usual = OccluderSetting()
    return OccluderSetting(
        side_px=requests_shapes.limit(message, "side_px", MAX_OCCLUDER_PX, default=usual.side_px),
        stride_px=requests_shapes.limit(message, "stride_px", MAX_OCCLUDER_PX, default=usual.stride_px),
        threshold=_number(message, "threshold", usual.threshold, 0, 1),
        seed=_seed(message),
        batch_size=requests_shapes.limit(message, "batch_size", MAX_BATCH, default=usual.batch_size),
    )


def segments(request: pb.SegmentUnitsRequest, max_limit: int) -> SegmentRequest:
    """Return how to segment an image, with at most `max_limit` matches. Raises BadLimit, BadRequest."""
    for field, most in (("match_limit", max_limit), ("class_limit", MAX_CLASSES)):
        if not 0 <= getattr(request, field) <= most:
            raise BadRequest(f"`{field}` is {getattr(request, field)}; take 0 to {most}")
    if request.channels and (request.HasField("unit_limit") or request.HasField("detector_precision")):
        raise BadRequest(
            "`unit_limit` and `detector_precision` choose units, but `channels` names some; leave them out"
        )
    return SegmentRequest(
        tuple(channels(request.channels, MAX_SEGMENTED)),
        requests_shapes.limit(request, "unit_limit", MAX_SEGMENTED, default=SEGMENTED),
        _number(request, "detector_precision", 1, 1e-6, 1) if request.HasField("detector_precision") else None,
        _segment_threshold(request),
        request.match_limit,
        request.class_limit,
    )


def minimal_image(request: pb.FindMinimalImageRequest) -> MinimalImageRequest:
    """Return how to simplify an image. Raises BadLimit, BadRequest."""
    class_name = None
    if request.WhichOneof("prediction") == "class_name":
        class_name = request.class_name or "top1"
    return MinimalImageRequest(
        class_name,
        cast(Segmentation, _one_of(request, "segmentation", get_args(Segmentation))),
        requests_shapes.limit(request, "segment_count", MAX_PARTS, least=2, default=PARTS),
        cast(Fill, _one_of(request, "fill", get_args(Fill))),
    )


def _top_segments(request: pb.DescribeUnitsRequest) -> SegmentThreshold:
    quantile = _number(request, "segment_quantile", SEGMENT_QUANTILE, 0, math.nextafter(1, 0))
    return SegmentThreshold("quantile", quantile)


def _segment_threshold(request: pb.SegmentUnitsRequest) -> SegmentThreshold:
    match request.WhichOneof("threshold"):
        case "share":
            return SegmentThreshold("share", _number(request, "share", 0, 1e-6, 1))
        case "quantile":
            return SegmentThreshold("quantile", _number(request, "quantile", 0, 0, math.nextafter(1, 0)))
    return SegmentThreshold()


def _one_of(message: Message, field: str, words: Sequence[str]) -> str:
    value: str = getattr(message, field)
    if value and value not in words:
        raise BadRequest(f"`{field}` is {value[:80]!r}; take {' or '.join(words)}, or leave it empty")
    return value or words[0]


def _count_or_none(message: Message, field: str, maximum: int) -> int | None:
    return requests_shapes.limit(message, field, maximum) if message.HasField(field) else None


def _number(message: Message, field: str, default: float, low: float, high: float) -> float:
    value: float = getattr(message, field) if message.HasField(field) else default
    if not (math.isfinite(value) and low <= value <= high):
        raise BadRequest(f"`{field}` is {value}; take {low:g} to {high:g}, or leave it out")
    return value


def _seed(message: pb.SelectivitySetting | pb.AxisSetting | pb.OccluderSetting) -> int:
    seed = requests_shapes.seed(message.seed)
    if seed >= 2**32:
        raise BadRequest(f"`seed` is {seed}; take one below {2**32}")
    return seed
