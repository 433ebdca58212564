"""Where occluders lie on an image, and how what they change is laid out around the cell of a unit."""

import functools
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from whymatch.explain.errors import BadWindow
from whymatch.explain.units.receptive_field import ReceptiveField

Wide: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class OccluderSetting:
    """How to occlude images, and what of the map to take for the receptive field."""

    side_px: int = 11
    """Rows and columns of an occluder, which has random values, as in the paper."""
    stride_px: int = 3
    """Pixels from one occluder to the next, as in the paper: some 5,000 occluders on 227 x 227 pixels."""
    threshold: float = 0.5
    """The field is where the map is above this share of its maximum. The paper names none; above half a field larger
    than the occluder has about its own size, though the occluder blurs it, and a smaller one about the occluder's."""
    seed: int = 0
    """The same seed draws the same values."""
    batch_size: int = 100
    """Occluded images at once; bounds memory, and changes nothing else."""

    def check(self) -> None:
        """Raise BadWindow if this cannot be done to any image."""
        side, stride = self.side_px, self.stride_px
        for value, name in ((side, "occluder"), (stride, "stride"), (self.batch_size, "batch size")):
            if value < 1:
                raise BadWindow(f"the {name} is {value}; take 1 or more")
        if stride > side:
            raise BadWindow(f"a stride of {stride} px leaves pixels between occluders of {side} px; at most {side}")
        if not 0 <= self.threshold < 1:
            raise BadWindow(f"the threshold {self.threshold} is no share of the maximum; take one from 0 to below 1")


AS_PAPER = OccluderSetting()


@dataclass(frozen=True)
class Axis:
    """The rows, or the columns, of one image, of the occluders on it, and of the map around a cell."""

    size: int
    """Rows of the image."""
    first: int
    """Row of the image with which the map begins; may be outside the image."""
    stop: int
    """Row behind the map."""
    side: int
    """Rows of an occluder."""
    stride: int

    @functools.cached_property
    def all(self) -> NDArray[np.intp]:
        """The first row of each occluder; the last one ends with the image, wherever the stride would put it."""
        last = self.size - self.side
        return np.array(sorted({*range(0, last, self.stride), last}), np.intp)

    @functools.cached_property
    def seen(self) -> NDArray[np.intp]:
        """The first row of each occluder that lies on the map."""
        return self.all[(self.all < self.stop) & (self.all + self.side > self.first)]

    @functools.cached_property
    def is_inside(self) -> NDArray[np.bool_]:
        """Which rows of the map the image has, (rows,)."""
        inside: NDArray[np.bool_] = (self._rows >= 0) & (self._rows < self.size)
        return inside

    @functools.cached_property
    def spread(self) -> Wide:
        """The share that each seen occluder has in the mean over all those on a row of the map, (rows, seen)."""
        rows = self._rows[:, None]
        covered, any_covered = ((firsts <= rows) & (rows < firsts + self.side) for firsts in (self.seen, self.all))
        shares: Wide = covered / np.maximum(any_covered.sum(1, keepdims=True), 1)
        return shares

    @property
    def _rows(self) -> NDArray[np.intp]:
        return np.arange(self.first, self.stop)


def axes_around(
    field: ReceptiveField, cell: tuple[int, int], largest_px: tuple[int, int], setting: OccluderSetting
) -> tuple[Axis, Axis]:
    """Return the rows and the columns of a map that has the center of a cell in its middle.

    The map is what the unit can see, and if that is everything, twice as high and wide as the largest image.

    Raises:
        BadLayer: there is no such cell.
        BadWindow: an occluder is larger than the image.
    """
    if min(field.input_px) < setting.side_px:
        raise BadWindow(
            f"an occluder of {setting.side_px} px does not fit into an input of {field.input_px[1]} x "
            f"{field.input_px[0]}; take a smaller one"
        )
    rows, columns = (
        Axis(size, *span, setting.side_px, setting.stride_px)
        for size, span in zip(field.input_px, _spans(field, cell, largest_px), strict=True)
    )
    return rows, columns


def _spans(field: ReceptiveField, cell: tuple[int, int], largest_px: tuple[int, int]) -> list[tuple[int, int]]:
    box = field.box(*cell, clipped=False)
    if field.whole_from is None:
        return [(round(box.top_px), round(box.bottom_px)), (round(box.left_px), round(box.right_px))]
    centers = [
        round((place + 0.5) * size / count)
        for place, size, count in zip(cell, field.input_px, field.map_size, strict=True)
    ]
    return [(center - reach, center + reach) for center, reach in zip(centers, largest_px, strict=True)]
