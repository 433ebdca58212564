"""Requests of UnitService."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from whymatch.client.inputs import ImageInput, Stored
from whymatch.client.unit_results import AxisSetting, ColorThresholds, OccluderSetting, SelectivitySetting
from whymatch.client.wire import requests_shapes
from whymatch.v1 import shapes_pb2
from whymatch.v1 import unit_service_pb2 as pb

SettingMessage = TypeVar(
    "SettingMessage", pb.SelectivitySetting, pb.ColorThresholds, pb.AxisSetting, pb.OccluderSetting
)


def describe(
    layer: str,
    channels: Sequence[int],
    gallery: str,
    *,
    top_count: int | None,
    label_image_count: int | None,
    with_patches: bool,
    with_segments: bool,
    segment_quantile: float | None,
    with_colors: bool,
    selectivity: SelectivitySetting | None,
) -> pb.DescribeUnitsRequest:
    """Ask for descriptions of units."""
    return pb.DescribeUnitsRequest(
        parent=requests_shapes.gallery_path(gallery),
        layer=layer,
        channels=_channels(channels),
        top_count=top_count,
        label_image_count=label_image_count,
        with_patches=with_patches,
        with_segments=with_segments,
        segment_quantile=segment_quantile,
        with_colors=with_colors,
        selectivity=_setting(pb.SelectivitySetting, selectivity),
    )


def filters(
    layer: str, channels: Sequence[int], *, with_values: bool, thresholds: ColorThresholds | None
) -> pb.DecodeFiltersRequest:
    """Ask for decoded filters."""
    return pb.DecodeFiltersRequest(
        layer=layer,
        channels=_channels(channels),
        with_values=with_values,
        thresholds=_setting(pb.ColorThresholds, thresholds),
    )


def layer_colors(
    layer: str,
    channels: Sequence[int],
    gallery: str,
    *,
    with_axes: bool,
    with_selectivity: bool,
    top_count: int | None,
    thresholds: ColorThresholds | None,
    axes: AxisSetting | None,
    selectivity: SelectivitySetting | None,
) -> pb.DescribeLayerColorsRequest:
    """Ask for the colors of a layer."""
    return pb.DescribeLayerColorsRequest(
        parent=requests_shapes.gallery_path(gallery),
        layer=layer,
        channels=_channels(channels),
        with_axes=with_axes,
        with_selectivity=with_selectivity,
        top_count=top_count,
        thresholds=_setting(pb.ColorThresholds, thresholds),
        axis_setting=_setting(pb.AxisSetting, axes),
        selectivity=_setting(pb.SelectivitySetting, selectivity),
    )


def receptive_field(
    layer: str, channel: int, gallery: str, *, image_count: int | None, occluder: OccluderSetting | None
) -> pb.FindReceptiveFieldRequest:
    """Ask for the receptive field of a unit."""
    return pb.FindReceptiveFieldRequest(
        parent=requests_shapes.gallery_path(gallery),
        unit=shapes_pb2.Unit(layer=layer, channel=channel),
        image_count=image_count,
        occluder=_setting(pb.OccluderSetting, occluder),
    )


def segment(
    image: ImageInput | Stored,
    layer: str,
    channels: Sequence[int],
    gallery: str,
    *,
    unit_limit: int | None,
    detector_precision: float | None,
    share: float | None,
    quantile: float | None,
    match_limit: int,
    class_limit: int,
    overlays: bool | int,
) -> pb.SegmentUnitsRequest:
    """Ask where in an image units respond."""
    if share is not None and quantile is not None:
        raise ValueError("share and quantile exclude each other; a segment begins at one of them")
    request = pb.SegmentUnitsRequest(
        parent=requests_shapes.gallery_path(gallery),
        image=requests_shapes.image_source(image, gallery),
        layer=layer,
        channels=_channels(channels),
        unit_limit=unit_limit,
        detector_precision=detector_precision,
        match_limit=match_limit,
        class_limit=class_limit,
        overlays=requests_shapes.overlay_options(overlays),
    )
    if share is not None:
        request.share = share
    if quantile is not None:
        request.quantile = quantile
    return request


def minimal_image(
    image: ImageInput | Stored,
    gallery: str,
    *,
    class_name: str | None,
    segmentation: str,
    segment_count: int | None,
    fill: str,
    overlays: bool | int,
) -> pb.FindMinimalImageRequest:
    """Ask to simplify an image."""
    request = pb.FindMinimalImageRequest(
        parent=requests_shapes.gallery_path(gallery),
        image=requests_shapes.image_source(image, gallery),
        segmentation=segmentation,
        segment_count=segment_count,
        fill=fill,
        overlays=requests_shapes.overlay_options(overlays),
    )
    if class_name is not None:
        request.class_name = class_name
    return request


def _channels(channels: Sequence[int]) -> Sequence[int]:
    if isinstance(channels, int):
        raise TypeError(f"channels is a sequence of channels, not one; write [{channels}]")
    return channels


def _setting(kind: type[SettingMessage], setting: Any) -> SettingMessage:
    """Carry a setting; what is None is left to the server."""
    return kind(**{name: value for name, value in asdict(setting).items() if value is not None} if setting else {})
