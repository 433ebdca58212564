"""Describes units: the images of a gallery that they respond to most, what they see of them, its colors and labels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import DecodeLimits, Model, Prepared, TooFewImages
from whymatch.explain.errors import BadTarget
from whymatch.explain.regions import Box
from whymatch.explain.units.gallery_peaks import GalleryPeaks, LayerPeaks, Passing, TopImage, UnitTops
from whymatch.explain.units.labels import LABEL_IMAGES, LabelShare, label_shares
from whymatch.explain.units.receptive_field import ReceptiveField, receptive_field
from whymatch.explain.units.responses import LayerResponses
from whymatch.explain.units.segmentation import SegmentThreshold
from whymatch.explain.units.selectivity import ColorSelectivity, SelectivitySettings, color_selectivity
from whymatch.index import Gallery

TOP_IMAGES = 9
"""t, as in the paper on colors."""
KEPT_IMAGES = 256
"""Images that stay decoded for the next unit, 0.1 MB each."""

Pixels = NDArray[np.uint8]
Read = TypeVar("Read")


@dataclass(frozen=True)
class DescriptionSetting:
    """What to say of units."""

    top_count: int | None = None
    """How many top images; None for `TOP_IMAGES`, or as many as the gallery has."""
    label_image_count: int | None = None
    """Of how many top images to count labels; None for `LABEL_IMAGES`, or as many as the gallery has."""
    with_patches: bool = False
    selectivity: SelectivitySettings | None = None
    """How to measure the selectivity for colors; None not to."""


@dataclass(frozen=True, eq=False)
class UnitDescription:
    """What a unit responds to."""

    layer: str
    tops: UnitTops
    """The top images that were asked for, as far as the unit responds to so many."""
    boxes: tuple[Box, ...]
    """What the unit sees of each of them, in pixels of the original."""
    field: ReceptiveField
    """For a square input; the sizes and strides are the same for all."""
    labels: tuple[LabelShare, ...]
    label_image_count: int
    patches: tuple[Pixels, ...] = ()
    """(h, w, 3) pixels of the network's input in each of the boxes; only if asked for."""
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
    """For a quantile, from how many cells of the gallery's images, drawn at random, it was estimated."""


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
        self._peaks = GalleryPeaks(gallery, model, self.responses, limits)
        self._field: Callable[[int, int], ReceptiveField] = lru_cache(
            lambda height, width: receptive_field(model, layer, height, width)
        )
        self.field = self._field(model.geometry.size_px, model.geometry.size_px)
        """What the units see of a square input; the sizes and strides are the same for all inputs."""
        self.prepared: Callable[[str], Prepared] = lru_cache(KEPT_IMAGES)(
            lambda name: model.prepare(gallery.content(name), limits)
        )
        """A stored image as the network gets it."""

    def check(self, units: Sequence[int]) -> None:
        """Raise BadTarget for a unit that the layer does not have."""
        for unit in units:
            if not 0 <= unit < self.responses.channels:
                raise BadTarget(f"layer {self.layer!r} has no channel {unit}; take 0 to {self.responses.channels - 1}")

    def tops(self, units: Sequence[int], count: int, *, at_least: int = 1) -> Iterator[Passing[list[UnitTops]]]:
        """Find the top images of units; yields how far the pass over the gallery is, and last the tops.

        at_least: how many different images the gallery must have.

        Raises:
            TooFewImages: it has fewer.
        """
        return self._read(lambda peaks: peaks.tops(units, count), at_least)

    def thresholds(self, units: Sequence[int], threshold: SegmentThreshold) -> Iterator[Passing[list[UnitThreshold]]]:
        """Find where the segments of units begin; yields how far the pass over the gallery is, and last where."""

        def read(peaks: LayerPeaks) -> list[UnitThreshold]:
            tops = peaks.tops(units, 1)
            if threshold.kind == "share":
                return [UnitThreshold(one, threshold.value * one.maximum) for one in tops]
            quantiles, cell_count = peaks.quantiles(units, threshold.value)
            return [UnitThreshold(*both, cell_count) for both in zip(tops, quantiles.tolist(), strict=True)]

        return self._read(read, 1)

    def _read(self, read: Callable[[LayerPeaks], Read], at_least: int) -> Iterator[Passing[Read]]:
        def read_enough(peaks: LayerPeaks) -> Read:
            if (there := len(peaks.images)) < at_least:
                hint = "ask for fewer, or add some" if there else "add some"
                raise TooFewImages(
                    f"gallery {self._gallery.name!r} has {there} different images, and {at_least} are needed; {hint}"
                )
            return read(peaks)

        return self._peaks.read(read_enough)

    def field_of(self, pixels: Pixels) -> ReceptiveField:
        """Return what the units see of an input (h, w, 3)."""
        return self._field(*pixels.shape[:2])

    def patches(self, images: Sequence[TopImage]) -> list[tuple[Pixels, Box]]:
        """Return what the unit sees of its top images, as pixels of the input, and as a box of the original."""
        return [self._patch(self.prepared(one.image.name), one.cell) for one in images]

    def _patch(self, prepared: Prepared, cell: tuple[int, int]) -> tuple[Pixels, Box]:
        field = self.field_of(prepared.pixels)
        box = field.box(*cell)
        left, top, right, bottom = (round(edge) for edge in (box.left_px, box.top_px, box.right_px, box.bottom_px))
        return prepared.pixels[top:bottom, left:right], field.box_in_original(*cell, prepared.placement)


def describe_units(
    gallery: Gallery,
    model: Model,
    layer: str,
    units: Sequence[int],
    setting: DescriptionSetting,
    limits: DecodeLimits,
) -> Iterator[Passing[list[UnitTops]] | UnitDescription]:
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
    tops: list[UnitTops] = []
    for passing in found.tops(units, count, at_least=max(asked, default=1)):
        tops = passing.result or tops
        yield passing
    for one in tops:
        yield _described(found, one, setting)


def _described(found: UnitsOfGallery, tops: UnitTops, setting: DescriptionSetting) -> UnitDescription:
    labels_of = min(setting.label_image_count or LABEL_IMAGES, len(tops.images))
    shown = replace(tops, images=tops.images[: setting.top_count or TOP_IMAGES])
    seen = found.patches(shown.images)
    patches = tuple(pixels for pixels, _ in seen)
    return UnitDescription(
        found.layer,
        shown,
        tuple(box for _, box in seen),
        found.field,
        label_shares(tops, labels_of),
        labels_of,
        patches if setting.with_patches else (),
        color_selectivity(patches, setting.selectivity) if setting.selectivity and patches else None,
    )
