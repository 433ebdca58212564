"""Describes units: the images of a gallery that they respond to most, what they see of them, its colors and labels."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from whymatch.embed import DecodeLimits, Model, Progress
from whymatch.explain.patches import Pixels
from whymatch.explain.regions import Box
from whymatch.explain.units.gallery_units import UnitsOfGallery, UnitThreshold
from whymatch.explain.units.labels import LABEL_IMAGES, LabelShare, label_shares, usual_label_images
from whymatch.explain.units.receptive_field import ReceptiveField
from whymatch.explain.units.segmentation import Bits, SegmentThreshold, dimmed
from whymatch.explain.units.selectivity import ColorSelectivity, SelectivitySetting, color_selectivity
from whymatch.explain.units.tops import TopTable, UnitTops
from whymatch.index import Gallery

TOP_IMAGES = 9
"""t, as in the paper on colors."""
SEGMENT_QUANTILE = 0.995
"""Where the segments of top images begin, as of the responses of a unit to all cells of the gallery."""
AT_ONCE = 64
"""Units whose top images are segmented together; bounds memory."""


@dataclass(frozen=True)
class DescriptionSetting:
    """What a description of units includes."""

    top_count: int | None = None
    """How many top images; None for `TOP_IMAGES`, or as many as the gallery has."""
    label_image_count: int | None = None
    """Of how many top images to count labels; None for `LABEL_IMAGES`, or as many as the most frequent label has."""
    with_patches: bool = False
    segments: SegmentThreshold | None = None
    """Where the segments of the top images begin; None for no segments."""
    selectivity: SelectivitySetting | None = None
    """How to measure the selectivity for colors; None not to."""


@dataclass(frozen=True, eq=False)
class UnitDescription:
    """What a unit responds to."""

    layer: str
    tops: UnitTops
    """Its top images; fewer than asked for where it responds to fewer."""
    boxes: tuple[Box, ...]
    """What the unit sees of each of them, in pixels of the original; a box without area where it sees padding alone."""
    field: ReceptiveField
    """For a square input; the sizes and strides are the same for all."""
    labels: tuple[LabelShare, ...]
    label_image_count: int
    patches: tuple[Pixels | None, ...] = ()
    """(h, w, 3) pixels of the network's input in each of the boxes, only if asked for; None for a box without area, and
    for an image that was deleted meanwhile."""
    segments: tuple[Pixels | None, ...] = ()
    """(h, w, 3) the top images as the network gets them, nearly black where the unit does not respond, only if asked
    for; None for an image that was deleted meanwhile."""
    color: ColorSelectivity | None = None
    """Of the patches; only if asked for, and not of a dead unit."""
    layer_units: int = 0
    """How many units the layer has."""


def describe_units(
    gallery: Gallery,
    model: Model,
    layer: str,
    units: Sequence[int],
    setting: DescriptionSetting,
    limits: DecodeLimits,
) -> Iterator[Progress[UnitDescription]]:
    """Describe units one after the other; yields how far the pass over the gallery is, then each unit.

    layer: by any name that `Alterations` takes.
    units: empty for all.

    Raises:
        BadLayer: no layer has that name, or it has no rows and columns.
        BadTarget: the layer has no such unit.
        TooFewImages: the gallery is empty, or has fewer different images than were asked for.
        StorageFull, ReadOnlyStorage: the peaks cannot be kept.
    """
    found = UnitsOfGallery(gallery, model, layer, limits)
    units = units or range(found.responses.channels)
    found.check(units)
    asked = [count for count in (setting.top_count, setting.label_image_count) if count]
    count = max(setting.top_count or TOP_IMAGES, setting.label_image_count or LABEL_IMAGES)
    table: TopTable | None = None
    for progress in found.tops(units, count, at_least=max(asked, default=1)):
        table = progress.result
        yield Progress(progress.counted, progress.done, progress.total)
    assert table
    labels_of = setting.label_image_count or usual_label_images(table.images)
    for start in range(0, len(units), AT_ONCE):
        tops = [table.of(row) for row in range(start, min(start + AT_ONCE, len(units)))]
        masks: list[list[Bits]] = []
        if setting.segments:
            for masks in _masks(found, tops, setting):  # noqa: B007 - the last ones count
                yield Progress("units", start, len(units))
        for row, one in enumerate(tops):
            described = _described(found, one, labels_of, masks[row] if masks else [], setting)
            yield Progress("units", start + row + 1, len(units), described)


def _masks(found: UnitsOfGallery, tops: Sequence[UnitTops], setting: DescriptionSetting) -> Iterator[list[list[Bits]]]:
    """Segment the top images of units; yields nothing on the way, and last the masks."""
    assert setting.segments
    thresholds: list[UnitThreshold] = []
    for step in found.thresholds([one.unit for one in tops], setting.segments):
        thresholds = step.result or thresholds
        yield []
    yield from found.segments([_shown(one, setting) for one in tops], thresholds)


def _shown(tops: UnitTops, setting: DescriptionSetting) -> UnitTops:
    return replace(tops, images=tops.images[: setting.top_count or TOP_IMAGES])


def _described(
    found: UnitsOfGallery, tops: UnitTops, labels_of: int, masks: Sequence[Bits], setting: DescriptionSetting
) -> UnitDescription:
    labels_of = min(labels_of, len(tops.images))
    shown = _shown(tops, setting)
    wants_patches = setting.with_patches or setting.selectivity
    patches = tuple(map(found.patch, shown.images)) if wants_patches else ()
    seen = [patch for patch in patches if patch is not None]
    pictures = [found.pixels(top) for top in shown.images] if masks else []
    segments = [
        None if pixels is None or not mask.size else dimmed(pixels, mask)
        for pixels, mask in zip(pictures, masks, strict=True)
    ]
    return UnitDescription(
        found.layer,
        shown,
        tuple(map(found.box, shown.images)),
        found.field,
        label_shares(tops, labels_of),
        labels_of,
        patches if setting.with_patches else (),
        tuple(segments),
        color_selectivity(seen, setting.selectivity) if setting.selectivity and seen else None,
        found.responses.channels,
    )
