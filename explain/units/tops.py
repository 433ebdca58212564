"""The images that units respond to most, picked out of the peaks of ever more images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array
from whymatch.explain.units.peaks import Cells
from whymatch.index import StoredImage

LAST = 2**32 - 1


@dataclass(frozen=True)
class TopImage:
    """An image that a unit responds to."""

    image: StoredImage
    """Of images with the same content the one that was added first."""
    response: float
    """The largest response of the unit, above 0."""
    cell: tuple[int, int]
    """Row and column of that response in the layer's map."""


@dataclass(frozen=True)
class UnitTops:
    """The images of a gallery that one unit responds to most."""

    unit: int
    images: tuple[TopImage, ...]
    """Strongest first, of equals the one that was added first; empty for a dead unit."""
    image_count: int
    """Images of different content that were looked at."""

    @property
    def maximum(self) -> float:
        """The largest response over the gallery; 0 for a dead unit."""
        return self.images[0].response if self.images else 0.0

    @property
    def is_dead(self) -> bool:
        """Whether no image of the gallery makes the unit respond, that is above 0."""
        return not self.images


class TopTable:
    """The top images of some units.

    Each is kept as one number, by which they are ordered: the bits of the response, which for positive numbers grow as
    it does, and below them the place of the image, counted down.
    """

    def __init__(self, units: Sequence[int], images: Sequence[StoredImage], count: int) -> None:
        """Begin without any; keep `count` for each unit."""
        self.units = units
        self.images = images
        self._count = count
        self._keys: NDArray[np.int64] = np.zeros((len(units), 0), np.int64)
        self._cells: Cells = np.zeros((len(units), 0, 2), np.uint16)

    def add(self, first: int, responses: Array, cells: Cells) -> None:
        """Take in the peaks (n, units) of the images from place `first` on, and their cells (n, units, 2)."""
        bits = np.ascontiguousarray(responses.T).view(np.int32).astype(np.int64)  # (units, n)
        places = LAST - np.arange(first, first + len(responses))
        keys = np.hstack([self._keys, np.where(responses.T > 0, bits << 32 | places, 0)])
        cells = np.hstack([self._cells, cells.swapaxes(0, 1)])
        if keys.shape[1] > self._count:
            best = np.argpartition(keys, -self._count, axis=1)[:, -self._count :]
            keys, cells = np.take_along_axis(keys, best, axis=1), np.take_along_axis(cells, best[..., None], axis=1)
        self._keys, self._cells = keys, cells

    def of(self, row: int) -> UnitTops:
        """Return the top images of the unit in a row."""
        order = np.argsort(-self._keys[row])
        keys, cells = self._keys[row, order], self._cells[row, order]
        keys, cells = keys[keys > 0], cells[keys > 0]
        responses = (keys >> 32).astype(np.int32).view(np.float32)
        places = LAST - (keys & LAST)
        found = zip(places.tolist(), responses.tolist(), cells.tolist(), strict=True)
        tops = tuple(TopImage(self.images[place], value, (row, column)) for place, value, (row, column) in found)
        return UnitTops(self.units[row], tops, len(self.images))

    def all(self) -> list[UnitTops]:
        """Return the top images of each unit."""
        return [self.of(row) for row in range(len(self.units))]
