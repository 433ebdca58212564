"""Describes units: the images of a gallery that they respond to most, what they see of them, its colors and labels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from whymatch.embed import DecodeLimits, Model, Progress, TooFewImages
from whymatch.explain.errors import BadTarget
from whymatch.explain.patches import Pixels
from whymatch.explain.regions import Box
from whymatch.explain.units.gallery_peaks import GalleryPeaks, LayerPeaks
from whymatch.explain.units.labels import LABEL_IMAGES, LabelShare, label_shares
from whymatch.explain.units.receptive_field import ReceptiveField, find_receptive_field
from whymatch.explain.units.responses import LayerResponses
from whymatch.explain.units.segmentation import SegmentThreshold
from whymatch.explain.units.selectivity import ColorSelectivity, SelectivitySetting, color_selectivity
from whymatch.explain.units.tops import TopImage, TopTable, UnitTops
from whymatch.index import Gallery

TOP_IMAGES = 9
"""t, as in the paper on colors."""
KEPT_BYTES = 64 * 2**20
"""Of images that stay decoded for the next unit."""


@dataclass(frozen=True)
class DescriptionSetting:
    """What a description of units includes."""

    top_count: int | None = None
    """How many top images; None for `TOP_IMAGES`, or as many as the gallery has."""
    label_image_count: int | None = None
    """Of how many top images to count labels; None for `LABEL_IMAGES`, or as many as the gallery has."""
    with_patches: bool = False
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
    color: ColorSelectivity | None = None
    """Of the patches; only if asked for, and not of a dead unit."""


@dataclass(frozen=True)
class UnitThreshold:
    """Where the segment of a unit begins."""

    tops: UnitTops
    """Its largest response over the gallery."""
    response: float
    """The response at which it begins; of no meaning for a dead unit."""
    cell_count: int = 0
    """For a quantile, from how many draws of cells of the gallery's images it was estimated."""


class UnitsOfGallery:
    """The units of one layer, seen through the images of one gallery."""

    def __init__(self, gallery: Gallery, model: Model, layer: str, limits: DecodeLimits) -> None:
        """Find the layer.

        layer: by any name that `Alterations` takes.

        Raises:
            BadLayer: no layer has that name, or it has no rows and columns.
        """
        self.layer = layer
        self.responses = LayerResponses(model, layer)
        self._gallery = gallery
        self._geometry = model.geometry
        self._peaks = GalleryPeaks(gallery, model, self.responses, limits)
        side = model.geometry.size_px
        self.field_of: Callable[[int, int], ReceptiveField] = lru_cache(
            lambda height, width: find_receptive_field(model, layer, height, width)
        )
        """What the units see of an input of a height and a width."""
        self.field = self.field_of(side, side)

        @lru_cache(max(16, KEPT_BYTES // (3 * side * side)))
        def pixels(digest: str) -> Pixels | None:
            content = gallery.content_by_hash(digest)
            return None if content is None else model.prepare(content, limits).pixels

        self._pixels: Callable[[str], Pixels | None] = pixels

    def check(self, units: Sequence[int]) -> None:
        """Raise BadTarget for a unit that the layer does not have."""
        for unit in units:
            if not 0 <= unit < self.responses.channels:
                raise BadTarget(f"layer {self.layer!r} has no channel {unit}; take 0 to {self.responses.channels - 1}")

    def tops(self, units: Sequence[int], count: int, *, at_least: int = 1) -> Iterator[Progress[TopTable]]:
        """Find the top images of units; yields how far the pass over the gallery is, and last the tops.

        at_least: how many different images the gallery must have.

        Raises:
            TooFewImages: it has fewer.
        """

        def read(peaks: LayerPeaks) -> Iterator[TopTable | None]:
            if (there := len(peaks.images)) < at_least:
                hint = "ask for fewer, or add some" if there else "add some"
                raise TooFewImages(
                    f"gallery {self._gallery.name!r} has {there} different images, and {at_least} are needed; {hint}"
                )
            return peaks.tops(units, count)

        return self._peaks.read(read)

    def thresholds(self, units: Sequence[int], threshold: SegmentThreshold) -> Iterator[Progress[list[UnitThreshold]]]:
        """Find where the segments of units begin; yields how far the pass over the gallery is, and last where.

        Raises:
            TooFewImages: the gallery is empty.
        """
        tops: list[UnitTops] = []
        for progress in self.tops(units, 1):
            tops = progress.result.all() if progress.result else []
            found = [UnitThreshold(one, threshold.value * one.maximum) for one in tops]
            last = threshold.kind == "share" and progress.result
            yield Progress("images", progress.done, progress.total, found if last else None)
        if threshold.kind == "quantile":
            for quantiles in self._peaks.read(lambda peaks: iter([peaks.quantiles(units, threshold.value)])):
                if quantiles.result:
                    responses, count = quantiles.result
                    both = zip(tops, responses.tolist(), strict=True)
                    found = [UnitThreshold(one, response, count) for one, response in both]
                    yield Progress("images", quantiles.done, quantiles.total, found)

    def box(self, top: TopImage) -> Box:
        """Return what the unit sees of a top image, in pixels of the original."""
        placement = self._geometry.placement(top.image.width_px, top.image.height_px)
        return self._field_on(top).box_in_original(*top.cell, placement)

    def pixels(self, top: TopImage) -> Pixels | None:
        """Return a top image as the network gets it, (h, w, 3); None if it was deleted meanwhile."""
        return self._pixels(top.image.content_sha256)

    def patch(self, top: TopImage) -> Pixels | None:
        """Return what the unit sees of a top image as the network gets it; None if it is gone, or that is padding."""
        pixels, box = self.pixels(top), self._field_on(top).box(*top.cell)
        left, top_px, right, bottom = (round(edge) for edge in (box.left_px, box.top_px, box.right_px, box.bottom_px))
        patch = None if pixels is None else pixels[top_px:bottom, left:right]
        return patch if patch is not None and patch.size else None

    def _field_on(self, top: TopImage) -> ReceptiveField:
        width, height = self._geometry.input_size(top.image.width_px, top.image.height_px)
        return self.field_of(height, width)


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
    for row in range(len(units)):
        yield Progress("units", row + 1, len(units), _described(found, table.of(row), setting))


def _described(found: UnitsOfGallery, tops: UnitTops, setting: DescriptionSetting) -> UnitDescription:
    labels_of = min(setting.label_image_count or LABEL_IMAGES, len(tops.images))
    shown = replace(tops, images=tops.images[: setting.top_count or TOP_IMAGES])
    wants_patches = setting.with_patches or setting.selectivity
    patches = tuple(map(found.patch, shown.images)) if wants_patches else ()
    seen = [patch for patch in patches if patch is not None]
    return UnitDescription(
        found.layer,
        shown,
        tuple(map(found.box, shown.images)),
        found.field,
        label_shares(tops, labels_of),
        labels_of,
        patches if setting.with_patches else (),
        color_selectivity(seen, setting.selectivity) if setting.selectivity and seen else None,
    )
