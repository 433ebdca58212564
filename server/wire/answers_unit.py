"""From what is known of units to answers."""

import io
from dataclasses import asdict
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.embed import Placement
from whymatch.explain.units import (
    COLOR_NAMES,
    AxisSetting,
    ColorSelectivity,
    ColorThresholds,
    DecodedFilter,
    FilterColor,
    LayerFilters,
    LayerSelectivity,
    MinimalImageProgress,
    MinimalImageStep,
    OccluderSetting,
    Progress,
    ReceptiveField,
    Segments,
    SelectivitySetting,
    UnitDescription,
    UnitField,
    UnitSegment,
    UnitThreshold,
    chromatic_angle,
    color_label,
)
from whymatch.server.wire import answers_shapes
from whymatch.v1 import shapes_pb2
from whymatch.v1 import unit_service_pb2 as pb


def progress(one: Progress[Any]) -> pb.UnitProgress:
    """Return how far a call is."""
    return pb.UnitProgress(counted=one.counted, done=one.done, total=one.total)


def unit(layer: str, channel: int) -> shapes_pb2.Unit:
    """Return a unit by its layer and channel."""
    return shapes_pb2.Unit(layer=layer, channel=channel)


def description(gallery: str, one: UnitDescription) -> pb.UnitDescription:
    """Return what a unit responds to."""
    return pb.UnitDescription(
        unit=unit(one.layer, one.tops.unit),
        image_count=one.tops.image_count,
        maximum=one.tops.maximum,
        top_images=[
            pb.TopImage(
                name=f"galleries/{gallery}/images/{top.image.name}",
                label=top.image.label,
                response=top.response,
                cell=shapes_pb2.Cell(row=top.cell[0], column=top.cell[1]),
                box=answers_shapes.box((box.left_px, box.top_px, box.right_px, box.bottom_px)),
                patch_png=b"" if patch is None else _png(patch),
            )
            for top, box, patch in zip_longest(one.tops.images, one.boxes, one.patches)
        ],
        labels=[
            pb.LabelShare(label=each.label, image_count=each.image_count, precision=each.precision)
            for each in one.labels
        ],
        label_image_count=one.label_image_count,
        receptive_field=_theoretical(one.field),
        color=_selectivity(one.color) if one.color else None,
    )


def decoded_filter(one: DecodedFilter, color: FilterColor, *, with_values: bool) -> pb.DecodedFilter:
    """Return what a unit looks for."""
    rows, columns, _ = one.values.shape
    return pb.DecodedFilter(
        unit=unit(one.layer, one.unit),
        rows=rows,
        columns=columns,
        values=one.values.ravel().tolist() if with_values else (),
        scale=one.scale,
        picture_png=_png((one.shown() * 255).round().astype(np.uint8)),
        color=_filter_color(color),
    )


def layer_colors(
    layer: str, filters: LayerFilters | None, selectivity: LayerSelectivity | None, axes: AxisSetting
) -> pb.LayerColors:
    """Return how a layer is about color; what was not asked for is None."""
    message = pb.LayerColors(layer=layer)
    count = len(filters.filters) if filters else len(selectivity.units) if selectivity else 0
    for channel in range(count):
        colors = message.units.add(channel=channel)
        if filters:
            colors.filter.CopyFrom(_filter_color(filters.filters[channel]))
        if selectivity and selectivity.units[channel].value is not None:
            colors.selectivity.CopyFrom(_selectivity(selectivity.units[channel]))
    if filters:
        _add_axes(message, filters, axes)
    if selectivity:
        curve = selectivity.curve
        points = zip(curve.thresholds, curve.shares or (), strict=curve.shares is not None)
        message.curve.extend(pb.SelectivityPoint(threshold=threshold, share=share) for threshold, share in points)
        message.dead_count, message.gray = curve.dead_count, curve.is_gray
    return message


def field(layer: str, channel: int, found: UnitField, setting: OccluderSetting) -> pb.EmpiricalField:
    """Return what a unit really responds to."""
    message = pb.EmpiricalField(
        unit=unit(layer, channel), theoretical=_theoretical(found.theoretical), occluder=_occluder(setting)
    )
    if (empirical := found.empirical) is None:
        return message
    box = empirical.box
    message.width_px, message.height_px = empirical.width_px, empirical.height_px
    message.rows, message.columns = empirical.values.shape
    message.values.extend(empirical.values.ravel().tolist())
    message.box.CopyFrom(answers_shapes.box((box.left_px, box.top_px, box.right_px, box.bottom_px)))
    message.image_count, message.evaluations = empirical.images, empirical.evaluations
    message.positions, message.multiplied_share = empirical.positions, empirical.multiplied_share
    return message


def segment(
    layer: str, one: UnitSegment, threshold: UnitThreshold, placement: Placement, overlay: Image.Image | None
) -> pb.UnitSegment:
    """Return where in an image a unit responds."""
    rows, columns = one.responses.shape
    return pb.UnitSegment(
        unit=unit(layer, one.unit),
        rows=rows,
        columns=columns,
        responses=one.responses.ravel().tolist(),
        threshold=None if threshold.tops.is_dead else threshold.response,
        maximum=threshold.tops.maximum,
        sampled_cells=threshold.cell_count,
        mask_png=_png(one.mask.astype(np.uint8) * 255),
        area_share=float(one.mask.mean()) * placement.seen_share,
        overlay_png=_png(np.asarray(overlay)) if overlay else b"",
        area=answers_shapes.box(placement.area),
        width_px=placement.width_px,
        height_px=placement.height_px,
    )


def minimal_image_step(
    progress: MinimalImageProgress,
    step: MinimalImageStep,
    prediction: str,
    segments: Segments,
    placement: Placement,
    picture: Image.Image | None,
) -> pb.MinimalImageStep:
    """Return an image with parts removed; the first one comes with the numbers of its parts."""
    left = float(1 - np.isin(segments, step.removed).mean())
    message = pb.MinimalImageStep(
        segments_left=int(segments.max()) + 1 - len(step.removed),
        area_share=left * placement.seen_share,
        value=step.value,
        prediction=prediction,
        picture_png=_png(np.asarray(picture)) if picture else b"",
        minimal=step.is_minimal,
        evaluations=progress.evaluations,
    )
    if step.removed:
        message.segment = step.removed[-1]
    else:
        message.rows, message.columns = segments.shape
        message.segments.extend(segments.ravel().tolist())
        message.area.CopyFrom(answers_shapes.box(placement.area))
    return message


def _add_axes(message: pb.LayerColors, filters: LayerFilters, setting: AxisSetting) -> None:
    message.histogram.extend(filters.histogram.astype(int).tolist())
    message.no_axes = filters.no_axes
    message.axis_setting.CopyFrom(pb.AxisSetting(**asdict(setting)))
    if (found := filters.axes) is None:
        return
    message.axes.extend(
        pb.ColorAxis(angle_deg=axis.angle_deg, spread_deg=axis.spread_deg, weight=axis.weight) for axis in found.axes
    )
    message.density.extend((found.density(np.arange(181.0)) * found.unit_count).tolist())
    message.aic, message.cut_deg = found.aic, found.shift_deg


def _theoretical(one: ReceptiveField) -> pb.TheoreticalField:
    return pb.TheoreticalField(
        width_px=one.columns.size_px,
        height_px=one.rows.size_px,
        stride_x_px=one.columns.stride_px,
        stride_y_px=one.rows.stride_px,
        whole_from=one.whole_from or "",
    )


def _selectivity(one: ColorSelectivity) -> pb.ColorSelectivity:
    return pb.ColorSelectivity(
        selectivity=one.value or 0.0,
        quotient=one.quotient or 0.0,
        gray=one.is_gray,
        categories=[
            pb.ColorCategory(share=share, names=_shares(center))
            for share, center in zip(one.histogram, one.centers, strict=True)
        ],
        names=_shares(one.name_shares),
        label=[name for name, _ in color_label(one.name_shares)],
        pixel_count=one.pixel_count,
        setting=_selectivity_setting(one.settings),
    )


def _shares(shares: NDArray[np.float64]) -> list[pb.ColorShare]:
    named = color_label(shares, limit=len(COLOR_NAMES), least=0.005)
    return [pb.ColorShare(name=name, share=share) for name, share in named]


def _selectivity_setting(settings: SelectivitySetting) -> pb.SelectivitySetting:
    return pb.SelectivitySetting(**asdict(settings))


def _occluder(setting: OccluderSetting) -> pb.OccluderSetting:
    return pb.OccluderSetting(
        side_px=setting.side_px,
        stride_px=setting.stride_px,
        threshold=setting.threshold,
        seed=setting.seed,
        batch_size=setting.batch_size,
    )


def _filter_color(one: FilterColor) -> pb.FilterColor:
    return pb.FilterColor(
        content=one.content,
        alignment=one.alignment or "",
        axis_share=one.axis_share or 0.0,
        position=one.position or "",
        axis_distance=one.axis.distance if one.content == "varied" else 0.0,
        tone=one.tone or "",
        intensity_share=one.intensity_share or 0.0,
        colors=one.colors,
        names=one.names,
        angle_deg=chromatic_angle(one),
        thresholds=_thresholds(one.thresholds),
    )


def _thresholds(thresholds: ColorThresholds) -> pb.ColorThresholds:
    return pb.ColorThresholds(**asdict(thresholds))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
