"""The steps of work on units as answers: each runs in the thread of explanations, a step at a time."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.embed import Array, DecodeLimits, Model, Prepared
from whymatch.explain import load_picture
from whymatch.explain.units import (
    AxisSettings,
    BestMatch,
    ColorThresholds,
    DescriptionSetting,
    FieldProgress,
    LayerFilters,
    LayerResponses,
    LayerSelectivity,
    OccluderSetting,
    Passing,
    Prediction,
    SegmentThreshold,
    SelectivitySettings,
    TopClass,
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
    layer_filters,
    layer_selectivity,
    minimal_image,
    segment,
    segments_of,
)
from whymatch.index import Gallery, GalleryVersion
from whymatch.server import unit_convert as convert
from whymatch.server.unit_request import MinimalImageRequest
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
        if isinstance(one, Passing):
            yield pb.DescribeUnitsResponse(progress=_progress("images", one.done, one.total))
        else:
            yield pb.DescribeUnitsResponse(unit=convert.description(gallery.name, one))


def decoding(
    model: Model, layer: str, channels: Sequence[int], thresholds: ColorThresholds, *, with_values: bool
) -> Iterator[pb.DecodeFiltersResponse]:
    """Decode filters."""
    total = len(channels) or LayerResponses(model, layer).channels
    for done, one in enumerate(decode_filters(model, layer, channels or None), start=1):
        color = classify_filter(one.shown(), thresholds)
        yield pb.DecodeFiltersResponse(filter=convert.decoded_filter(one, color, with_values=with_values))
        yield pb.DecodeFiltersResponse(progress=_progress("filters", done, total))


def coloring(
    model: Model,
    layer: str,
    filters: tuple[ColorThresholds, AxisSettings] | None,
    selectivity: tuple[Gallery, SelectivitySettings, int, DecodeLimits] | None,
) -> Iterator[pb.DescribeLayerColorsResponse]:
    """Look at the colors of a layer: at its filters, at the selectivity of its units, or at both."""
    found: LayerFilters | None = None
    measured: LayerSelectivity | None = None
    if filters:
        for decoded in layer_filters(model, layer, *filters):
            found = decoded.result
            yield pb.DescribeLayerColorsResponse(progress=_progress("filters", decoded.done, decoded.total))
    if selectivity:
        gallery, settings, top_count, limits = selectivity
        for counted, passing in layer_selectivity(gallery, model, layer, settings, limits, top_count=top_count):
            measured = passing.result
            yield pb.DescribeLayerColorsResponse(progress=_progress(counted, passing.done, passing.total))
    axes = filters[1] if filters else AxisSettings()
    yield pb.DescribeLayerColorsResponse(layer=convert.layer_colors(layer, found, measured, axes))


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
            yield pb.FindReceptiveFieldResponse(field=convert.field(layer, channel, one, setting))
        else:
            counted, total = ("evaluations", one.planned) if isinstance(one, FieldProgress) else ("images", one.total)
            yield pb.FindReceptiveFieldResponse(progress=_progress(counted, one.done, total))


def segmenting(
    found: UnitsOfGallery,
    channels: Sequence[int],
    threshold: SegmentThreshold,
    prepared: Prepared,
    maps: Array | None,
    picture: Image.Image | None,
) -> Iterator[pb.SegmentUnitsResponse]:
    """Segment an image by units.

    maps: the responses of the layer to the image, (H, W, C), if they are known.
    picture: the whole image, if it is to be drawn.
    """
    found.check(channels)
    thresholds: list[UnitThreshold] = []
    for passing in found.thresholds(channels, threshold):
        thresholds = passing.result or thresholds
        yield pb.SegmentUnitsResponse(progress=_progress("images", passing.done, passing.total))
    if maps is None:
        maps = found.responses.maps(np.stack([prepared.pixels]))[0].permute(1, 2, 0).cpu().numpy()
    field = found.field_of(prepared.pixels)
    for one in thresholds:
        unit = one.tops.unit
        found_segment = segment(unit, maps[..., unit], field, math.inf if one.tops.is_dead else one.response)
        drawn = darkened(picture, found_segment.mask, prepared.placement) if picture else None
        yield pb.SegmentUnitsResponse(
            segment=convert.segment(found.layer, found_segment, one, prepared.placement, drawn)
        )


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
    for progress in minimal_image(pixels, segments, fill(pixels, wanted.fill, model), prediction):
        if (step := progress.step) is None:
            yield pb.FindMinimalImageResponse(progress=_progress("evaluations", progress.evaluations, progress.planned))
            continue
        drawn = None
        if picture:
            drawn = draw_without(picture, segments, step.removed, wanted.fill, model, prepared.placement)
        yield pb.FindMinimalImageResponse(
            step=convert.minimal_image_step(progress, step, name, segments, prepared.placement, drawn)
        )


def _prediction(
    model: Model, version: GalleryVersion | None, content: bytes, pixels: NDArray[np.uint8], class_name: str | None
) -> tuple[Prediction, str]:
    """Return what must hold, and what the API calls it."""
    if class_name is not None:
        top = TopClass(model, pixels, class_name)
        return top, top.name
    assert version
    best = BestMatch(model, version, content, pixels)
    return best, f"galleries/{version.gallery}/images/{best.name}"


def _progress(counted: str, done: int, total: int) -> pb.UnitProgress:
    return pb.UnitProgress(counted=counted, done=done, total=total)
