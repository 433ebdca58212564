"""Patches of images, or of a layer's maps, and normal distributions fitted to them (Zintgraf, Cohen, Welling).

Pixels are (h, w, 3) with values of 0 to 255; the values of a patch lie in the order row, column, channel.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from whymatch.embed import ONE_BLAS_THREAD, Array, Moments, Progress, TooFewImages

Pixels = NDArray[np.uint8]
Cells = NDArray[np.uint8] | NDArray[np.float32]
"""Pixels (h, w, 3), or the responses of a layer (H, W, C)."""
Wide = NDArray[np.float64]

PATCHES = 25_000
"""About how many patches a normal is fitted to, as in the paper."""
BATCH = 512
"""Patches whose products are summed at once."""
ROUNDING = 1 / 12
"""The variance of rounding to whole levels."""


@dataclass(frozen=True, eq=False)
class PatchNormal:
    """The normal distribution over patches of l x l pixels, all channels together."""

    least_variance: ClassVar[float] = ROUNDING
    """What a value is taken to vary by at least, even in flat images."""
    context_px: int
    """l, the side of a patch."""
    mean: Wide
    """(l l 3,), of 0 to 255."""
    covariance: Wide
    """(l l 3, l l 3), as the patches have it: without the ridge."""
    patch_count: int
    """Patches that it was fitted to."""
    image_count: int
    """Images that these were taken from."""

    @property
    def channels(self) -> int:
        """How many values it has for each pixel of a patch."""
        return len(self.mean) // self.context_px**2

    def values(self, patch: Cells) -> Wide:
        """Return the values (l l channels,) of a patch (l, l, 3)."""
        return patch.reshape(-1).astype(float)

    def contents(self, values: Wide, side: int) -> Array:
        """Return values (count, side side channels) as windows (count, side, side, 3), clipped to what they can be."""
        return values.clip(0, 255).astype(np.float32).reshape(-1, side, side, 3)

    def save(self, path: Path) -> None:
        """Write an .npz file in one step; in full precision, so that a loaded normal draws the very same samples.

        Raises:
            OSError: no space, no such folder.
        """
        unfinished = path.with_name(path.name + ".unfinished")
        try:
            with unfinished.open("wb") as file:
                np.savez(file, **vars(self))
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            OSError: there is no such file.
            ValueError, EOFError, zipfile.BadZipFile: the file is another one, or damaged.
        """
        with path.open("rb") as opened, np.load(opened) as file:
            if set(file) != {field.name for field in fields(cls)}:
                raise ValueError(f"{str(path)!r} holds no normal distribution of patches")
            stored: dict[str, Any] = {name: each if (each := file[name]).ndim else each.item() for name in file}
        normal = cls(**stored)
        size = normal.context_px**2 * normal.channels
        if not normal.channels or normal.mean.shape != (size,) or normal.covariance.shape != (size, size):
            raise ValueError(f"the normal distribution in {str(path)!r} is not of patches of {normal.context_px} px")
        return normal


def fit_patches(
    images: Iterable[Pixels], image_count: int, context_px: int, *, seed: int = 0
) -> Iterator[Progress[PatchNormal]]:
    """Fit a normal to about 25,000 patches: equally many of each image, at random places.

    Yields how many images have been seen, and last the normal.

    images: (h, w, 3) each, of any sizes; those with a side shorter than a patch are skipped.
    image_count: how many images come.

    Raises:
        TooFewImages: fewer patches fit into the images side by side than a covariance of full rank needs, l l 3 + 1.
    """
    per_image = -(-PATCHES // max(1, image_count))
    moments, apart, used = Moments(products=True), 0, 0
    waiting = np.zeros((0, context_px**2 * 3), np.uint8)
    for done, pixels in enumerate(images, 1):
        if min(pixels.shape[:2]) >= context_px:
            patches = random_patches(pixels, context_px, per_image, np.random.default_rng([seed, done]))
            waiting = np.concatenate([waiting, patches])
            apart += side_by_side(pixels, context_px)
            used += 1
        if len(waiting) >= BATCH:
            add_batches(moments, waiting)
            waiting = waiting[:0]
        yield Progress("images", done, image_count)
    _check_enough(apart, context_px)
    add_batches(moments, waiting)
    normal = PatchNormal(context_px, moments.mean, moments.covariance, moments.count, used)
    yield Progress("images", done, image_count, normal)


def random_patches(cells: NDArray[Any], side: int, count: int, random: np.random.Generator) -> NDArray[Any]:
    """Return patches (count, side side C) at random places."""
    every = np.lib.stride_tricks.sliding_window_view(cells, (side, side, cells.shape[2]))[:, :, 0]
    places = (random.integers(places, size=count) for places in every.shape[:2])
    return every[tuple(places)].reshape(count, -1)


def side_by_side(cells: Cells, side: int) -> int:
    """Return how many patches fit into an image without overlapping."""
    return int(cells.shape[0] // side) * int(cells.shape[1] // side)


def add_batches(moments: Moments, patches: Cells) -> None:
    """Let moments take in patches (n, values), a batch at a time."""
    with ONE_BLAS_THREAD, threadpool_limits(1, user_api="blas"):
        for start in range(0, len(patches), BATCH):
            moments.add(patches[start : start + BATCH].astype(np.float32))


def _check_enough(apart: int, side: int) -> None:
    needed = side**2 * 3 + 1
    if apart < needed:
        raise TooFewImages(
            f"{apart} patches of {side} x {side} pixels fit into the images side by side, and their covariance needs "
            f"{needed}; add images, or take a smaller context or the marginal sampler"
        )
