"""Answers of UnitService."""

import io
from dataclasses import asdict
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.embed import Progress
from whymatch.explain.units import (
    COLOR_NAMES,
    AxisSetting,
    ColorSelectivity,
    ColorThresholds,
    FilterColor,
    LabelShare,
    LayerFilters,
    OccluderSetting,
    ReceptiveField,
    SelectivitySetting,
    UnitDescription,
    UnitField,
    chromatic_angle,
    color_label,
)
from whymatch.server.unit_values import (
    ColoredFilter,
    ImageClasses,
    ImageMatches,
    ImageSegment,
    LayerColors,
    SimplifiedImage,
)
from whymatch.server.wire import answers_search, answers_shapes
from whymatch.v1 import shapes_pb2
from whymatch.v1 import unit_service_pb2 as pb


def describe_response(gallery: str, one: Progress[UnitDescription]) -> pb.DescribeUnitsResponse:
    """Return how far the pass over a gallery is, or what a unit responds to."""
    if one.result is None:
        return pb.DescribeUnitsResponse(progress=answers_shapes.progress(one))
    return pb.DescribeUnitsResponse(unit=_description(gallery, one.result))


def decode_response(one: Progress[ColoredFilter], *, with_values: bool) -> pb.DecodeFiltersResponse:
    """Return how many filters are decoded, or one of them."""
    if one.result is None:
        return pb.DecodeFiltersResponse(progress=answers_shapes.progress(one))
    return pb.DecodeFiltersResponse(filter=_decoded_filter(one.result, with_values=with_values))


def layer_colors_response(layer: str, one: Progress[LayerColors]) -> pb.DescribeLayerColorsResponse:
    """Return how far a look at the colors of a layer is, or what it found."""
    if one.result is None:
        return pb.DescribeLayerColorsResponse(progress=answers_shapes.progress(one))
    return pb.DescribeLayerColorsResponse(layer=_layer_colors(layer, one.result))


def field_response(
    unit: tuple[str, int], setting: OccluderSetting, one: Progress[UnitField]
) -> pb.FindReceptiveFieldResponse:
    """Return how far the occluding is, or what a unit, given by layer and channel, really responds to."""
    if one.result is None:
        return pb.FindReceptiveFieldResponse(progress=answers_shapes.progress(one))
    return pb.FindReceptiveFieldResponse(field=_field(unit, setting, one.result))


def segment_response(
    gallery: str, layer: str, one: Progress[ImageSegment | ImageMatches | ImageClasses]
) -> pb.SegmentUnitsResponse:
    """Return how far the pass over a gallery is, where in an image a unit responds, its matches or its classes."""
    if one.result is None:
        return pb.SegmentUnitsResponse(progress=answers_shapes.progress(one))
    if isinstance(one.result, ImageSegment):
        return pb.SegmentUnitsResponse(segment=_segment(layer, one.result))
    if isinstance(one.result, ImageClasses):
        classes = [pb.LikelyClass(class_name=name, probability=value) for name, value in one.result.classes]
        return pb.SegmentUnitsResponse(classes=pb.SegmentClasses(classes=classes))
    found = one.result.matches
    scored = answers_search.matches(gallery, found, {match.image.name: match.score for match in found})
    return pb.SegmentUnitsResponse(matches=pb.SegmentMatches(matches=scored))


def minimal_image_response(one: Progress[SimplifiedImage]) -> pb.FindMinimalImageResponse:
    """Return how far the search is, or an image with parts removed."""
    if one.result is None:
        return pb.FindMinimalImageResponse(progress=answers_shapes.progress(one))
    return pb.FindMinimalImageResponse(step=_minimal_image_step(one.result, one.done))


def _unit(layer: str, channel: int) -> shapes_pb2.Unit:
    return shapes_pb2.Unit(layer=layer, channel=channel)


def _description(gallery: str, one: UnitDescription) -> pb.UnitDescription:
    return pb.UnitDescription(
        unit=_unit(one.layer, one.tops.unit),
        image_count=one.tops.image_count,
        maximum=one.tops.maximum,
        top_images=[
            pb.TopImage(
                name=answers_shapes.image_name(gallery, top.image.name),
                label=top.image.label,
                response=top.response,
                cell=shapes_pb2.Cell(row=top.cell[0], column=top.cell[1]),
                box=answers_shapes.box((box.left_px, box.top_px, box.right_px, box.bottom_px)),
                patch_png=b"" if patch is None else _png(patch),
                segment_png=b"" if segment is None else _png(segment),
            )
            for top, box, patch, segment in zip_longest(one.tops.images, one.boxes, one.patches, one.segments)
        ],
        labels=[_label_share(each) for each in one.labels],
        label_image_count=one.label_image_count,
        receptive_field=_theoretical(one.field),
        color=_selectivity(one.color) if one.color else None,
        layer_unit_count=one.layer_units,
    )


def _label_share(one: LabelShare) -> pb.LabelShare:
    return pb.LabelShare(label=one.label, image_count=one.image_count, precision=one.precision)


def _decoded_filter(one: ColoredFilter, *, with_values: bool) -> pb.DecodedFilter:
    decoded = one.decoded
    rows, columns, _ = decoded.values.shape
    return pb.DecodedFilter(
        unit=_unit(decoded.layer, decoded.unit),
        rows=rows,
        columns=columns,
        values=decoded.values.ravel().tolist() if with_values else (),
        scale=decoded.scale,
        picture_png=_png((decoded.shown() * 255).round().astype(np.uint8)),
        color=_filter_color(one.color),
    )


def _layer_colors(layer: str, found: LayerColors) -> pb.LayerColors:
    filters, selectivity = found.filters, found.selectivity
    message = pb.LayerColors(layer=layer)
    for place, channel in enumerate(filters.units if filters else selectivity.units if selectivity else ()):
        colors = message.units.add(channel=channel)
        if filters:
            colors.filter.CopyFrom(_filter_color(filters.filters[place]))
        if selectivity and selectivity.selectivities[place].value is not None:
            colors.selectivity.CopyFrom(_selectivity(selectivity.selectivities[place]))
    if filters:
        _add_axes(message, filters, found.axes)
    if selectivity:
        curve = selectivity.curve
        points = zip(curve.thresholds, curve.shares or (), strict=curve.shares is not None)
        message.curve.extend(pb.SelectivityPoint(threshold=threshold, share=share) for threshold, share in points)
        message.dead_count, message.gray = curve.dead_count, curve.is_gray
    return message


def _field(unit: tuple[str, int], setting: OccluderSetting, found: UnitField) -> pb.EmpiricalField:
    message = pb.EmpiricalField(
        unit=_unit(*unit), theoretical=_theoretical(found.theoretical), occluder=_occluder(setting)
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


def _segment(layer: str, found: ImageSegment) -> pb.UnitSegment:
    one, threshold, placement = found.segment, found.threshold, found.placement
    rows, columns = one.responses.shape
    return pb.UnitSegment(
        unit=_unit(layer, one.unit),
        rows=rows,
        columns=columns,
        responses=one.responses.ravel().tolist(),
        threshold=None if threshold.tops.is_dead else threshold.response,
        maximum=threshold.tops.maximum,
        sampled_cells=threshold.cell_count,
        mask_png=_png(one.mask.astype(np.uint8) * 255),
        area_share=float(one.mask.mean()) * placement.seen_share,
        overlay_png=_png(np.asarray(found.picture)) if found.picture else b"",
        area=answers_shapes.box(placement.area),
        width_px=placement.width_px,
        height_px=placement.height_px,
        label=_label_share(found.label) if found.label else None,
    )


def _minimal_image_step(one: SimplifiedImage, evaluations: int) -> pb.MinimalImageStep:
    """Return an image with parts removed; the first one comes with the numbers of its parts."""
    step, held, segments, placement = one.step, one.prediction, one.segments, one.placement
    left = float(1 - np.isin(segments, step.removed).mean())
    message = pb.MinimalImageStep(
        segments_left=int(segments.max()) + 1 - len(step.removed),
        area_share=left * placement.seen_share,
        value=step.value,
        prediction=held if isinstance(held, str) else answers_shapes.image_name(held.gallery, held.image),
        picture_png=_png(np.asarray(one.picture)) if one.picture else b"",
        minimal=step.is_minimal,
        evaluations=evaluations,
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
        axis_distance=one.axis_distance or 0.0,
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
