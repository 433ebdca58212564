"""Minimal images: what remains of an image without all that its prediction does not need (Zhou et al.).

The image is divided into parts. Of the parts without which the prediction still holds, each step removes the one that
lowers its value least; when there is no such part, the image is minimal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from whymatch.embed import Array, Model, Placement, Progress
from whymatch.explain.errors import BadTarget
from whymatch.explain.patches import Pixels
from whymatch.explain.units.segments import Segments

Fill = Literal["gray", "blur"]
BATCH = 16
BLURRED = 8
"""A blurred image loses what is smaller than its longer side divided by this, about."""


class Prediction(Protocol):
    """A prediction of a model for images."""

    @property
    def name(self) -> str:
        """What is predicted."""

    def __call__(self, pixels: Pixels) -> tuple[Array, NDArray[np.bool_]]:
        """Return the value of the prediction for images (B, h, w, 3), (B,), and whether it holds."""


@dataclass(frozen=True, eq=False)
class MinimalImageStep:
    """An image with some parts removed."""

    removed: tuple[int, ...]
    """The parts that are gone, in the order in which they went; none at first."""
    value: float
    """The value of the prediction for what is left."""
    pixels: Pixels
    """(h, w, 3), what is left."""
    is_minimal: bool
    """True if removing any further part breaks the prediction."""


def find_minimal_image(
    pixels: Pixels, segments: Segments, filled: Pixels, prediction: Prediction
) -> Iterator[Progress[MinimalImageStep]]:
    """Remove parts of an image one by one, as long as the prediction holds; one part at least is left.

    Yields after each batch of evaluations how many images were predicted and will be at most, and each step with it:
    first the whole image, and last the minimal one once again.

    pixels: (h, w, 3), as `Model.prepare` makes them.
    segments: (h, w), the number of the part of each pixel, from 0 on without gaps.
    filled: (h, w, 3), what removed parts look like.

    Raises:
        BadTarget: the prediction does not hold for the whole image.
    """
    left = list(range(int(segments.max()) + 1))
    planned = _most(len(left)) + 1
    values, holds = prediction(np.stack([pixels]))
    if not holds[0]:
        raise BadTarget(f"{prediction.name!r} is not what the model predicts of this image; take what it does")
    done, removed, value = 1, list[int](), float(values[0])
    is_one_part = len(left) == 1
    yield Progress("evaluations", done, planned, MinimalImageStep((), value, pixels, is_minimal=is_one_part))
    while len(left) > 1:
        found: list[tuple[float, int]] = []
        for start in range(0, len(left), BATCH):
            some = left[start : start + BATCH]
            values, holds = prediction(np.stack([_without(pixels, segments, filled, [*removed, one]) for one in some]))
            found += [(float(v), -one) for v, one, is_held in zip(values, some, holds, strict=True) if is_held]
            done += len(some)
            yield Progress("evaluations", done, planned)
        if not found:
            break
        value, least = max(found)  # of equals the first part
        removed.append(-least)
        left.remove(-least)
        planned = done + _most(len(left))
        rest = _without(pixels, segments, filled, removed)
        step = MinimalImageStep(tuple(removed), value, rest, is_minimal=False)
        yield Progress("evaluations", done, planned, step)
    if not is_one_part:
        rest = _without(pixels, segments, filled, removed)
        step = MinimalImageStep(tuple(removed), value, rest, is_minimal=True)
        yield Progress("evaluations", done, done, step)


def fill(pixels: Pixels, kind: Fill, model: Model) -> Pixels:
    """Return what removed parts of an image (h, w, 3) look like.

    `gray` is the mean color of the network's training images, to which its input is 0; `blur` the image out of focus.
    """
    if kind == "gray":
        color = np.array(model.mean) * 255
        return np.broadcast_to(color.round().astype(np.uint8), pixels.shape)
    radius = max(pixels.shape) / BLURRED / 2
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


def draw_without(
    picture: Image.Image, segments: Segments, removed: Sequence[int], filled: Fill, model: Model, placement: Placement
) -> Image.Image:
    """Return a picture of the whole upright image without some of its parts; what was cropped away is gone, too."""
    kept = placement.scaled(*picture.size).on_original(~np.isin(segments, removed))
    pixels = np.asarray(picture.convert("RGB"))
    return Image.fromarray(np.where(kept[..., None], pixels, fill(pixels, filled, model)))


def _most(parts: int) -> int:
    """Return how many evaluations it takes at most to go from that many parts to one."""
    return parts * (parts + 1) // 2 - 1


def _without(pixels: Pixels, segments: Segments, filled: Pixels, removed: list[int]) -> Pixels:
    return np.where(np.isin(segments, removed)[..., None], filled, pixels)
