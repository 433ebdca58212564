"""Answers of UnitService."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import TypeAlias, TypeVar

import numpy as np
from google.protobuf.message import Message

from whymatch.client import results, unit_results
from whymatch.client.wire import answers_search, answers_shapes
from whymatch.v1 import unit_service_pb2 as pb

Setting = TypeVar(
    "Setting",
    unit_results.SelectivitySetting,
    unit_results.ColorThresholds,
    unit_results.AxisSetting,
    unit_results.OccluderSetting,
)
Answer: TypeAlias = (
    pb.DescribeUnitsResponse
    | pb.DecodeFiltersResponse
    | pb.DescribeLayerColorsResponse
    | pb.FindReceptiveFieldResponse
    | pb.SegmentUnitsResponse
    | pb.FindMinimalImageResponse
)


def progress(answer: Answer) -> results.Progress | None:
    """Read how far a call is; None for an answer with a result."""
    return answers_shapes.progress(answer.progress) if answer.HasField("progress") else None


def description(answer: pb.DescribeUnitsResponse) -> unit_results.UnitDescription:
    """Read what a unit responds to."""
    message = answer.unit
    return unit_results.UnitDescription(
        model=answer.model,
        layer=message.unit.layer,
        channel=message.unit.channel,
        image_count=message.image_count,
        maximum=message.maximum,
        top_images=tuple(
            unit_results.TopImage(
                name=answers_shapes.short_name(top.name),
                label=top.label,
                response=top.response,
                cell=(top.cell.row, top.cell.column),
                box=answers_shapes.box(top.box),
                patch_png=top.patch_png,
                segment_png=top.segment_png,
            )
            for top in message.top_images
        ),
        labels=tuple(map(_label_share, message.labels)),
        label_image_count=message.label_image_count,
        receptive_field=_theoretical(message.receptive_field),
        color=_selectivity(message.color) if message.HasField("color") else None,
        layer_unit_count=message.layer_unit_count,
        provenance=answers_shapes.provenance(answer),
    )


def decoded_filter(answer: pb.DecodeFiltersResponse) -> unit_results.DecodedFilter:
    """Read what a unit looks for."""
    message = answer.filter
    values = np.array(message.values, np.float32).reshape(message.rows, message.columns, 3) if message.values else None
    return unit_results.DecodedFilter(
        model=answer.model,
        layer=message.unit.layer,
        channel=message.unit.channel,
        width_px=message.columns,
        height_px=message.rows,
        values=values,
        scale=message.scale,
        picture_png=message.picture_png,
        color=_filter_color(message.color),
        provenance=answers_shapes.provenance(answer),
    )


def layer_colors(answer: pb.DescribeLayerColorsResponse) -> unit_results.LayerColors:
    """Read how a layer is about color."""
    message = answer.layer
    return unit_results.LayerColors(
        layer=message.layer,
        model=answer.model,
        units=tuple(
            unit_results.UnitColors(
                one.channel,
                _filter_color(one.filter) if one.HasField("filter") else None,
                _selectivity(one.selectivity) if one.HasField("selectivity") else None,
            )
            for one in message.units
        ),
        axes=tuple(unit_results.ColorAxis(axis.angle_deg, axis.spread_deg, axis.weight) for axis in message.axes),
        no_axes=message.no_axes,
        histogram=tuple(message.histogram),
        density=np.array(message.density, np.float32),
        aic=message.aic,
        cut_deg=message.cut_deg,
        axis_setting=_setting(unit_results.AxisSetting, message.axis_setting)
        if message.HasField("axis_setting")
        else None,
        curve=tuple((point.threshold, point.share) for point in message.curve),
        dead_count=message.dead_count,
        gray=message.gray,
        provenance=answers_shapes.provenance(answer),
    )


def field(answer: pb.FindReceptiveFieldResponse) -> unit_results.EmpiricalField:
    """Read what a unit really responds to."""
    message = answer.field
    return unit_results.EmpiricalField(
        model=answer.model,
        layer=message.unit.layer,
        channel=message.unit.channel,
        width_px=message.width_px,
        height_px=message.height_px,
        theoretical=_theoretical(message.theoretical),
        values=np.array(message.values, np.float32).reshape(message.rows, message.columns),
        box=answers_shapes.box(message.box) if message.HasField("box") else None,
        image_count=message.image_count,
        evaluations=message.evaluations,
        positions=message.positions,
        multiplied_share=message.multiplied_share,
        occluder=_setting(unit_results.OccluderSetting, message.occluder),
        provenance=answers_shapes.provenance(answer),
    )


def segmentation(answers: Sequence[pb.SegmentUnitsResponse]) -> unit_results.Segmentation:
    """Read where in an image units respond, and the matches of the image."""
    return unit_results.Segmentation(
        model=answers[-1].model if answers else "",
        segments=tuple(_segment(answer.segment) for answer in answers if answer.HasField("segment")),
        matches=tuple(answers_search.match(match) for answer in answers for match in answer.matches.matches),
        classes=tuple(
            unit_results.LikelyClass(one.class_name, one.probability)
            for answer in answers
            for one in answer.classes.classes
        ),
        provenance=answers_shapes.provenance(answers[-1]) if answers else None,
    )


def _segment(message: pb.UnitSegment) -> unit_results.UnitSegment:
    return unit_results.UnitSegment(
        layer=message.unit.layer,
        channel=message.unit.channel,
        responses=np.array(message.responses, np.float32).reshape(message.rows, message.columns),
        threshold=message.threshold if message.HasField("threshold") else None,
        maximum=message.maximum,
        sampled_cells=message.sampled_cells,
        area_share=message.area_share,
        area=answers_shapes.box(message.area),
        width_px=message.width_px,
        height_px=message.height_px,
        mask_png=message.mask_png,
        overlay_png=message.overlay_png,
        label=_label_share(message.label) if message.HasField("label") else None,
    )


def minimal_image_step(answer: pb.FindMinimalImageResponse) -> unit_results.MinimalImageStep:
    """Read an image with parts removed."""
    message = answer.step
    has_parts = bool(message.segments)
    return unit_results.MinimalImageStep(
        model=answer.model,
        segment=message.segment if message.HasField("segment") else None,
        segments_left=message.segments_left,
        area_share=message.area_share,
        value=message.value,
        prediction=_without_gallery(message.prediction),
        minimal=message.minimal,
        evaluations=message.evaluations,
        segments=np.array(message.segments, np.int32).reshape(message.rows, message.columns) if has_parts else None,
        area=answers_shapes.box(message.area) if has_parts else None,
        picture_png=message.picture_png,
        provenance=answers_shapes.provenance(answer),
    )


def _label_share(message: pb.LabelShare) -> unit_results.LabelShare:
    return unit_results.LabelShare(message.label, message.image_count, message.precision)


def _without_gallery(prediction: str) -> str:
    """Return the name of a match, or a class as it is."""
    return answers_shapes.short_name(prediction) if prediction.startswith("galleries/") else prediction


def _setting(kind: type[Setting], message: Message) -> Setting:
    return kind(**{one.name: getattr(message, one.name) for one in fields(kind)})


def _theoretical(message: pb.TheoreticalField) -> unit_results.TheoreticalField:
    return unit_results.TheoreticalField(
        message.width_px, message.height_px, message.stride_x_px, message.stride_y_px, message.whole_from
    )


def _selectivity(message: pb.ColorSelectivity) -> unit_results.ColorSelectivity:
    return unit_results.ColorSelectivity(
        selectivity=message.selectivity,
        quotient=message.quotient,
        gray=message.gray,
        label=tuple(message.label),
        names=_shares(message.names),
        categories=tuple(unit_results.ColorCategory(one.share, _shares(one.names)) for one in message.categories),
        pixel_count=message.pixel_count,
        setting=_setting(unit_results.SelectivitySetting, message.setting),
    )


def _shares(shares: Iterable[pb.ColorShare]) -> Sequence[unit_results.ColorShare]:
    return tuple(unit_results.ColorShare(one.name, one.share) for one in shares)


def _filter_color(message: pb.FilterColor) -> unit_results.FilterColor:
    return unit_results.FilterColor(
        content=message.content,
        alignment=message.alignment,
        axis_share=message.axis_share,
        position=message.position,
        axis_distance=message.axis_distance,
        tone=message.tone,
        intensity_share=message.intensity_share,
        colors=message.colors,
        names=tuple(message.names),
        angle_deg=message.angle_deg if message.HasField("angle_deg") else None,
        thresholds=_setting(unit_results.ColorThresholds, message.thresholds),
    )
