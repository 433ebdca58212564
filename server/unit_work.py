"""Work on units, a step at a time in the thread of explanations; yields how far it is, and what it finds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from whymatch.embed import Array, DecodeLimits, Features, Model, Prepared, Progress
from whymatch.explain import load_picture
from whymatch.explain.patches import Pixels
from whymatch.explain.units import (
    LABEL_IMAGES,
    AxisSetting,
    BestMatch,
    ColorThresholds,
    DescriptionSetting,
    LabelShare,
    LayerFilters,
    LayerSelectivity,
    OccluderSetting,
    Prediction,
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
    detected_labels,
    draw_without,
    field_in_gallery,
    fill,
    find_layer_map,
    find_minimal_image,
    layer_filters,
    layer_selectivity,
    segment,
    segments_of,
    strongest,
    usual_label_images,
)
from whymatch.index import Gallery, GalleryVersion
from whymatch.server.sources import ImageName
from whymatch.server.unit_values import (
    ColoredFilter,
    ImageClasses,
    ImageMatches,
    ImageSegment,
    LayerColors,
    MinimalImageRequest,
    SegmentRequest,
    SimplifiedImage,
)


@dataclass(frozen=True, eq=False)
class Work:
    """What a look at a layer through the images of a gallery takes."""

    gallery: Gallery
    model: Model
    layer: str
    limits: DecodeLimits


def describing(work: Work, channels: Sequence[int], setting: DescriptionSetting) -> Iterator[Progress[UnitDescription]]:
    """Describe units."""
    return describe_units(work.gallery, work.model, work.layer, channels, setting, work.limits)


def decoding(
    model: Model, layer: str, channels: Sequence[int], thresholds: ColorThresholds
) -> Iterator[Progress[ColoredFilter]]:
    """Decode filters; yields each, and then how many are done."""
    side = model.geometry.size_px
    total = len(channels) or find_layer_map(model, layer, side, side).units
    for done, one in enumerate(decode_filters(model, layer, channels or None), start=1):
        progress = Progress[ColoredFilter]("filters", done, total)
        yield replace(progress, result=ColoredFilter(one, classify_filter(one.shown(), thresholds)))
        yield progress


def coloring(
    model: Model,
    layer: str,
    filters: tuple[ColorThresholds, AxisSetting] | None,
    selectivity: tuple[Work, SelectivitySetting, int] | None,
    channels: Sequence[int] = (),
) -> Iterator[Progress[LayerColors]]:
    """Look at the colors of a layer: at its filters, at the selectivity of its units, or at both.

    selectivity: the work, how to measure it, and of how many top images.
    channels: empty for all.
    """
    found: LayerFilters | None = None
    measured: LayerSelectivity | None = None
    progress = Progress[LayerColors]("units", 0, 0)
    if filters:
        for decoded in layer_filters(model, layer, *filters, channels):
            found, progress = decoded.result, Progress(decoded.counted, decoded.done, decoded.total)
            yield progress
    if selectivity:
        work, setting, top_count = selectivity
        steps = layer_selectivity(work.gallery, model, layer, setting, work.limits, top_count=top_count, units=channels)
        for step in steps:
            measured, progress = step.result, Progress(step.counted, step.done, step.total)
            yield progress
    axes = filters[1] if filters else AxisSetting()
    yield replace(progress, result=LayerColors(found, axes, measured))


def occluding(
    work: Work, channel: int, image_count: int | None, setting: OccluderSetting
) -> Iterator[Progress[UnitField]]:
    """Find the receptive field of a unit."""
    return field_in_gallery(work.gallery, work.model, work.layer, channel, image_count, setting, work.limits)


def segmenting(
    work: Work, version: GalleryVersion, content: bytes, wanted: SegmentRequest, overlay_px: int | None
) -> Iterator[Progress[ImageSegment | ImageMatches | ImageClasses]]:
    """Segment an image by units, and find its matches; if the layer is the one that is pooled, in one pass."""
    found = UnitsOfGallery(work.gallery, work.model, work.layer, work.limits)
    found.check(wanted.channels)
    prepared = work.model.prepare(content, work.limits)
    maps, features = _responses(found, work.model, prepared, with_features=wanted.match_limit > 0)
    channels, labels = wanted.channels, dict[int, LabelShare]()
    if not channels:
        for choice in _chosen(found, maps, wanted):
            channels, labels = choice.result or (channels, labels)
            yield Progress(choice.counted, choice.done, choice.total)
    thresholds: list[UnitThreshold] = []
    for step in found.thresholds(channels, wanted.threshold):
        thresholds = step.result or thresholds
        yield Progress(step.counted, step.done, step.total)
    picture = load_picture(content, size_px=overlay_px, limits=work.limits) if overlay_px else None
    field = found.field_of(*prepared.pixels.shape[:2])
    for done, one in enumerate(thresholds, start=1):
        unit = one.tops.unit
        part = segment(unit, maps[..., unit], field, math.inf if one.tops.is_dead else one.response)
        if unit in labels and not part.mask.any():  # a detector that detects nothing
            continue
        drawn = darkened(picture, part.mask, prepared.placement) if picture else None
        result = ImageSegment(part, one, prepared.placement, drawn, labels.get(unit))
        yield Progress("units", done, len(thresholds), result)
    if wanted.match_limit and features:
        embedding = features.through(version.head).embedding
        [matches] = version.search(np.stack([embedding]), wanted.match_limit)
        yield Progress("units", len(thresholds), len(thresholds), ImageMatches(tuple(matches)))
    if wanted.class_limit:
        classes = _classes(work.model, prepared, wanted.class_limit)
        yield Progress("units", len(thresholds), len(thresholds), classes)


def _chosen(
    found: UnitsOfGallery, maps: Array, wanted: SegmentRequest
) -> Iterator[Progress[tuple[tuple[int, ...], dict[int, LabelShare]]]]:
    """Choose units by their responses to an image, (h, w, units), and say what detectors among them detect."""
    precision = wanted.detector_precision
    for step in found.tops(range(found.responses.channels), 1 if precision is None else LABEL_IMAGES):
        if (table := step.result) is None:
            yield Progress(step.counted, step.done, step.total)
            continue
        tops, labels = table.all(), dict[int, LabelShare]()
        if precision is not None:
            labels = detected_labels(tops, usual_label_images(table.images), precision)
            tops = [one for one in tops if one.unit in labels]
        units = strongest(tops, maps.max(axis=(0, 1)), wanted.unit_limit)
        yield Progress(step.counted, step.done, step.total, (tuple(units), labels))


def _classes(model: Model, prepared: Prepared, count: int) -> ImageClasses:
    """Return the likeliest classes of an image; none if the network has no class scores."""
    if not model.classes:
        return ImageClasses(())
    [scores] = model.class_scores(np.stack([prepared.pixels]))
    likely = np.exp(scores - scores.max(), dtype=np.float64)
    probabilities = likely / likely.sum()
    leading = np.argsort(-probabilities)[:count]
    return ImageClasses(tuple((model.classes[place], float(probabilities[place])) for place in leading))


def _responses(
    found: UnitsOfGallery, model: Model, prepared: Prepared, *, with_features: bool
) -> tuple[Array, Features | None]:
    """Return the responses of a layer, (h, w, units), and the features of the image if they are known or wanted."""
    features = None
    if with_features or found.responses.is_pooled:
        [features] = model.features([prepared])
    if features and found.responses.is_pooled:
        return features.feature_map, features
    return found.responses.maps(np.stack([prepared.pixels]))[0].permute(1, 2, 0).cpu().numpy(), features


def simplifying(
    model: Model,
    version: GalleryVersion | None,
    content: bytes,
    wanted: MinimalImageRequest,
    overlay_px: int | None,
    limits: DecodeLimits,
) -> Iterator[Progress[SimplifiedImage]]:
    """Simplify an image; its best match is that in a gallery."""
    prepared = model.prepare(content, limits)
    pixels, placement = prepared.pixels, prepared.placement
    prediction, name = _prediction(model, version, content, pixels, wanted.class_name)
    segments = segments_of(pixels, wanted.segmentation, wanted.segment_count)
    picture = load_picture(content, size_px=overlay_px, limits=limits) if overlay_px else None
    for progress in find_minimal_image(pixels, segments, fill(pixels, wanted.fill, model), prediction):
        simplified = None
        if (step := progress.result) is not None:
            drawn = draw_without(picture, segments, step.removed, wanted.fill, model, placement) if picture else None
            simplified = SimplifiedImage(step, name, segments, placement, drawn)
        yield Progress(progress.counted, progress.done, progress.total, simplified)


def _prediction(
    model: Model, version: GalleryVersion | None, content: bytes, pixels: Pixels, class_name: str | None
) -> tuple[Prediction, str | ImageName]:
    """Return what must hold, and the class or the stored image that it is."""
    if class_name is not None:
        top = TopClass(model, pixels, class_name)
        return top, top.name
    assert version
    best = BestMatch(model, version, content, pixels)
    return best, ImageName(version.gallery, best.name)
