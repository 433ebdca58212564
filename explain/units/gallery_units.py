"""The units of one layer, seen through the images of one gallery."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from whymatch.embed import DecodeLimits, Model, Progress, TooFewImages
from whymatch.explain.errors import BadTarget
from whymatch.explain.patches import Pixels
from whymatch.explain.regions import Box
from whymatch.explain.units.gallery_peaks import GalleryPeaks, LayerPeaks
from whymatch.explain.units.receptive_field import ReceptiveField, find_receptive_field
from whymatch.explain.units.responses import LayerResponses
from whymatch.explain.units.segmentation import Bits, SegmentThreshold, segment
from whymatch.explain.units.tops import TopImage, TopTable, UnitTops
from whymatch.index import Gallery

KEPT_BYTES = 64 * 2**20
"""Of images that stay decoded for the next unit."""


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

    def segments(self, tops: Sequence[UnitTops], thresholds: Sequence[UnitThreshold]) -> Iterator[list[list[Bits]]]:
        """Segment the top images of units, each image in one pass; yields nothing on the way, and last the masks.

        Masks are (h, w) of the network's input, one for each top image of each unit; an image that is gone has (0, 0).
        """
        wanted: dict[str, list[tuple[int, int]]] = {}
        for row, unit in enumerate(tops):
            for place, top in enumerate(unit.images):
                wanted.setdefault(top.image.content_sha256, []).append((row, place))
        masks = [[np.zeros((0, 0), bool)] * len(unit.images) for unit in tops]
        for digest, places in wanted.items():
            if (pixels := self._pixels(digest)) is not None:
                maps = self.responses.maps(pixels[None])[0].cpu().numpy()
                field = self.field_of(*pixels.shape[:2])
                for row, place in places:
                    channel = tops[row].unit
                    masks[row][place] = segment(channel, maps[channel], field, thresholds[row].response).mask
            yield []
        yield masks

    def _field_on(self, top: TopImage) -> ReceptiveField:
        width, height = self._geometry.input_size(top.image.width_px, top.image.height_px)
        return self.field_of(height, width)
