"""The steps of work on units as answers: each runs in the thread of explanations, a step at a time."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from whymatch.embed import DecodeLimits, Model
from whymatch.explain import load_picture
from whymatch.explain.patches import Pixels
from whymatch.explain.units import (
    AxisSetting,
    BestMatch,
    ColorThresholds,
    DescriptionSetting,
    FieldProgress,
    LayerFilters,
    LayerSelectivity,
    OccluderSetting,
    Prediction,
    Progress,
    SegmentThreshold,
    SelectivitySetting,
    TopClass,
    UnitDescription,
    UnitField,
    UnitsOfGallery,
    UnitThreshold,
    classify_filter,
    darkened,
    decode_filters,
    describe_units,
    draw_without,
    field_in_gallery,
    fill,
    find_layer_map,
    find_minimal_image,
    layer_filters,
    layer_selectivity,
    segment,
    segments_of,
)
from whymatch.index import Gallery, GalleryVersion
from whymatch.server.wire import answers_search, answers_unit
from whymatch.server.wire.requests_unit import MinimalImageRequest
from whymatch.v1 import unit_service_pb2 as pb


def describing(
    gallery: Gallery,
    model: Model,
    layer: str,
    channels: Sequence[int],
    setting: DescriptionSetting,
    limits: DecodeLimits,
) -> Iterator[pb.DescribeUnitsResponse]:
    """Describe units."""
    for one in describe_units(gallery, model, layer, channels, setting, limits):
        if isinstance(one, UnitDescription):
            yield pb.DescribeUnitsResponse(unit=answers_unit.description(gallery.name, one))
        else:
            yield pb.DescribeUnitsResponse(progress=answers_unit.progress(one))


def decoding(
    model: Model, layer: str, channels: Sequence[int], thresholds: ColorThresholds, *, with_values: bool
) -> Iterator[pb.DecodeFiltersResponse]:
    """Decode filters."""
    side = model.geometry.size_px
    total = len(channels) or find_layer_map(model, layer, side, side).units
    for done, one in enumerate(decode_filters(model, layer, channels or None), start=1):
        color = classify_filter(one.shown(), thresholds)
        yield pb.DecodeFiltersResponse(filter=answers_unit.decoded_filter(one, color, with_values=with_values))
        yield pb.DecodeFiltersResponse(progress=answers_unit.progress(Progress("filters", done, total)))


def coloring(
    model: Model,
    layer: str,
    filters: tuple[ColorThresholds, AxisSetting] | None,
    selectivity: tuple[Gallery, SelectivitySetting, int, DecodeLimits] | None,
) -> Iterator[pb.DescribeLayerColorsResponse]:
    """Look at the colors of a layer: at its filters, at the selectivity of its units, or at both."""
    found: LayerFilters | None = None
    measured: LayerSelectivity | None = None
    if filters:
        for decoded in layer_filters(model, layer, *filters):
            found = decoded.result
            yield pb.DescribeLayerColorsResponse(progress=answers_unit.progress(decoded))
    if selectivity:
        gallery, settings, top_count, limits = selectivity
        for measuring in layer_selectivity(gallery, model, layer, settings, limits, top_count=top_count):
            measured = measuring.result
            yield pb.DescribeLayerColorsResponse(progress=answers_unit.progress(measuring))
    axes = filters[1] if filters else AxisSetting()
    yield pb.DescribeLayerColorsResponse(layer=answers_unit.layer_colors(layer, found, measured, axes))


def occluding(
    gallery: Gallery,
    model: Model,
    layer: str,
    channel: int,
    image_count: int | None,
    setting: OccluderSetting,
    limits: DecodeLimits,
) -> Iterator[pb.FindReceptiveFieldResponse]:
    """Find the receptive field of a unit."""
    for one in field_in_gallery(gallery, model, layer, channel, image_count, setting, limits):
        if isinstance(one, UnitField):
            yield pb.FindReceptiveFieldResponse(field=answers_unit.field(layer, channel, one, setting))
            continue
        if isinstance(one, FieldProgress):
            one = Progress("evaluations", one.done, one.planned)
        yield pb.FindReceptiveFieldResponse(progress=answers_unit.progress(one))


def segmenting(
    gallery: Gallery,
    version: GalleryVersion,
    model: Model,
    layer: str,
    channels: Sequence[int],
    threshold: SegmentThreshold,
    content: bytes,
    match_limit: int,
    overlay_px: int | None,
    limits: DecodeLimits,
) -> Iterator[pb.SegmentUnitsResponse]:
    """Segment an image by units, and find its matches; if the layer is the one that is pooled, in one pass."""
    found = UnitsOfGallery(gallery, model, layer, limits)
    found.check(channels)
    thresholds: list[UnitThreshold] = []
    for progress in found.thresholds(channels, threshold):
        thresholds = progress.result or thresholds
        yield pb.SegmentUnitsResponse(progress=answers_unit.progress(progress))
    prepared = model.prepare(content, limits)
    features = None
    if match_limit or found.responses.is_pooled:
        [features] = model.features([prepared])
    if features and found.responses.is_pooled:
        maps = features.feature_map
    else:
        maps = found.responses.maps(np.stack([prepared.pixels]))[0].permute(1, 2, 0).cpu().numpy()
    picture = load_picture(content, size_px=overlay_px, limits=limits) if overlay_px else None
    field = found.field_of(*prepared.pixels.shape[:2])
    for one in thresholds:
        unit = one.tops.unit
        part = segment(unit, maps[..., unit], field, math.inf if one.tops.is_dead else one.response)
        drawn = darkened(picture, part.mask, prepared.placement) if picture else None
        yield pb.SegmentUnitsResponse(segment=answers_unit.segment(layer, part, one, prepared.placement, drawn))
    if match_limit and features:
        embedding = features.through(version.head).embedding
        [matches] = version.search(np.stack([embedding]), match_limit)
        scored = answers_search.matches(gallery.name, matches, [match.score for match in matches])
        yield pb.SegmentUnitsResponse(matches=pb.SegmentMatches(matches=scored))


def simplifying(
    model: Model,
    version: GalleryVersion | None,
    content: bytes,
    wanted: MinimalImageRequest,
    overlay_px: int | None,
    limits: DecodeLimits,
) -> Iterator[pb.FindMinimalImageResponse]:
    """Simplify an image; its best match is that in a gallery."""
    prepared = model.prepare(content, limits)
    pixels = prepared.pixels
    prediction, name = _prediction(model, version, content, pixels, wanted.class_name)
    segments = segments_of(pixels, wanted.segmentation, wanted.segment_count)
    picture = load_picture(content, size_px=overlay_px, limits=limits) if overlay_px else None
    for progress in find_minimal_image(pixels, segments, fill(pixels, wanted.fill, model), prediction):
        if (step := progress.step) is None:
            counted = Progress[None]("evaluations", progress.evaluations, progress.planned)
            yield pb.FindMinimalImageResponse(progress=answers_unit.progress(counted))
            continue
        drawn = None
        if picture:
            drawn = draw_without(picture, segments, step.removed, wanted.fill, model, prepared.placement)
        yield pb.FindMinimalImageResponse(
            step=answers_unit.minimal_image_step(progress, step, name, segments, prepared.placement, drawn)
        )


def _prediction(
    model: Model, version: GalleryVersion | None, content: bytes, pixels: Pixels, class_name: str | None
) -> tuple[Prediction, str]:
    """Return what must hold, and what the API calls it."""
    if class_name is not None:
        top = TopClass(model, pixels, class_name)
        return top, top.name
    assert version
    best = BestMatch(model, version, content, pixels)
    return best, f"galleries/{version.gallery}/images/{best.name}"
