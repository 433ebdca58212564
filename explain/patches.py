"""Patches of images, and the normal distribution fitted to them (Zintgraf, Cohen, Welling).

Pixels are (h, w, 3) with values of 0 to 255; the values of a patch lie in the order row, column, channel.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from whymatch.embed import ONE_BLAS_THREAD, Moments, Progress, TooFewImages

Pixels = NDArray[np.uint8]
Wide = NDArray[np.float64]

PATCHES = 25_000
"""About how many patches a normal is fitted to, as in the paper."""
BATCH = 512
"""Patches whose products are summed at once."""


@dataclass(frozen=True, eq=False)
class PatchNormal:
    """The normal distribution over patches of l x l pixels, all channels together."""

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


def load_patch_normal(path: Path) -> PatchNormal:
    """Read what `PatchNormal.save` wrote.

    Raises:
        OSError: there is no such file.
        ValueError, EOFError, zipfile.BadZipFile: the file is another one, or damaged.
    """
    with path.open("rb") as opened, np.load(opened) as file:
        if set(file) != {field.name for field in fields(PatchNormal)}:
            raise ValueError(f"{str(path)!r} holds no normal distribution of patches")
        counts = {name: int(file[name]) for name in ("context_px", "patch_count", "image_count")}
        normal = PatchNormal(mean=file["mean"], covariance=file["covariance"], **counts)
    size = normal.context_px**2 * 3
    if normal.mean.shape != (size,) or normal.covariance.shape != (size, size):
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
            patches = _random_patches(pixels, context_px, per_image, np.random.default_rng([seed, done]))
            waiting = np.concatenate([waiting, patches])
            apart += (pixels.shape[0] // context_px) * (pixels.shape[1] // context_px)
            used += 1
        if len(waiting) >= BATCH:
            _add(moments, waiting)
            waiting = waiting[:0]
        yield Progress("images", done, image_count)
    _check_enough(apart, context_px)
    _add(moments, waiting)
    normal = PatchNormal(context_px, moments.mean, moments.covariance, moments.count, used)
    yield Progress("images", done, image_count, normal)


def _random_patches(pixels: Pixels, side: int, count: int, random: np.random.Generator) -> Pixels:
    """Return (count, side side 3)."""
    every = np.lib.stride_tricks.sliding_window_view(pixels, (side, side, 3))[:, :, 0]
    places = (random.integers(places, size=count) for places in every.shape[:2])
    return every[tuple(places)].reshape(count, -1)


def _add(moments: Moments, patches: Pixels) -> None:
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
