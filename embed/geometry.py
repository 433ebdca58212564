"""How an image is laid onto the network's input, and the way back from cells of the map to pixels of the original."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

GeometryMode = Literal["keep", "warp", "center-crop"]
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


@dataclass(frozen=True)
class Placement:
    """Where the pixels of one upright original image went. The first pixel spans 0 to 1."""

    width_px: int
    """Width of the original."""
    height_px: int
    """Height of the original."""
    area: tuple[float, float, float, float]
    """Left, top, right and bottom of the part of the original that the network sees."""

    def cell_box(self, row: int, column: int, rows: int, columns: int) -> tuple[float, float, float, float]:
        """Return left, top, right and bottom, in pixels of the original, of one cell of a rows x columns grid."""
        left, top, right, bottom = self.area
        width, height = (right - left) / columns, (bottom - top) / rows
        return left + column * width, top + row * height, left + (column + 1) * width, top + (row + 1) * height

    @property
    def seen_share(self) -> float:
        """The share of the original that the network sees."""
        left, top, right, bottom = self.area
        return (right - left) * (bottom - top) / (self.width_px * self.height_px)

    def scaled(self, width_px: int, height_px: int) -> "Placement":
        """Return the same for a picture of the whole original in another size."""
        x, y = width_px / self.width_px, height_px / self.height_px
        left, top, right, bottom = self.area
        return Placement(width_px, height_px, (left * x, top * y, right * x, bottom * y))

    def on_original(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a mask (h, w) of the network's input as one of the original; what was cropped away is False."""
        left, top, right, bottom = self.area
        rows = np.floor((np.arange(self.height_px) + 0.5 - top) / (bottom - top) * mask.shape[0]).astype(int)
        columns = np.floor((np.arange(self.width_px) + 0.5 - left) / (right - left) * mask.shape[1]).astype(int)
        seen = ((rows >= 0) & (rows < mask.shape[0]))[:, None] & ((columns >= 0) & (columns < mask.shape[1]))
        whole: NDArray[np.bool_] = mask[np.ix_(rows.clip(0, len(mask) - 1), columns.clip(0, mask.shape[1] - 1))] & seen
        return whole


@dataclass(frozen=True)
class Geometry:
    """How images of any shape become inputs of a network."""

    mode: GeometryMode = "keep"
    """`keep`: the whole image, aspect kept; `warp`: the whole image as a square; `center-crop`: its central square."""
    size_px: int = 224
    """S: a square input is S x S; with `keep` an input has about S^2 pixels."""
    stride: int = 32
    """With `keep` both sides are multiples of it: input pixels per cell of the map."""
    min_side_px: int = 32
    """With `keep` no side is shorter: below it the network has no cell."""
    crop: float = 1.0
    """With `center-crop` the side of what is seen, as a share of the image's shorter side."""

    def placement(self, width: int, height: int) -> Placement:
        """Return where a width x height image goes."""
        if self.mode != "center-crop":
            return Placement(width, height, (0.0, 0.0, float(width), float(height)))
        side = min(width, height) * self.crop
        left, top = (width - side) / 2, (height - side) / 2
        return Placement(width, height, (left, top, left + side, top + side))

    def input_size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height of the input for a width x height image.

        With `keep` the aspect is the image's to within one stride, except for ribbons: where one side would fall below
        `min_side_px`, it gets that and the other side what is left of S^2 pixels.
        """
        if self.mode != "keep":
            return self.size_px, self.size_px
        scale = self.size_px / (width * height) ** 0.5
        longest = self.size_px**2 // self.min_side_px
        return self._side(width * scale, longest), self._side(height * scale, longest)

    def _side(self, length: float, longest: int) -> int:
        strides = round(min(length, longest) / self.stride)
        return max(strides * self.stride, self.min_side_px)
