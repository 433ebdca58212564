"""Samplers of prediction difference from the images of a gallery."""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import DecodeLimits, Model, Progress, TooFewImages
from whymatch.explain import (
    ConditionalSampler,
    MarginalSampler,
    MeanSampler,
    PatchNormal,
    Sampler,
    fit_patches,
    load_patch_normal,
)
from whymatch.index import Gallery, UnknownImage, content_digest
from whymatch.server.difference_values import DifferenceRequest
from whymatch.server.logs import logger

FIT_IMAGES = 1000
"""Images that a normal distribution of patches is fitted to, drawn at random from a larger gallery."""
MARGINAL_IMAGES = 256
"""Images whose patches `marginal` draws from, kept in memory as long as the explanation."""


@dataclass(frozen=True, eq=False)
class MadeSampler:
    """A sampler, and what it is made of."""

    sampler: Sampler
    image_count: int
    """Images of the gallery."""
    patch_count: int = 0
    """Patches of them that a normal distribution was fitted to; 0 where there is none."""


def make_sampler(
    gallery: Gallery,
    model: Model,
    limits: DecodeLimits,
    wanted: DifferenceRequest,
    content: bytes,
    size: tuple[int, int],
) -> Iterator[Progress[MadeSampler]]:
    """Make the sampler that a request asks for; yields how many images have been read, and last the sampler.

    content: the image to explain, which is none of the others.
    size: width and height of the network's input.

    Raises:
        TooFewImages: the gallery is too small for it.
    """
    setting = wanted.setting
    if wanted.sampler == "marginal":
        yield from _marginal(gallery, model, limits, wanted, content, size)
        return
    for fit in _normal(gallery, model, limits, setting.context_px, refit=wanted.refit):
        yield Progress("images", fit.done, fit.total, _of(fit.result, wanted) if fit.result else None)


def _of(normal: PatchNormal, wanted: DifferenceRequest) -> MadeSampler:
    k, seed = wanted.setting.window_px, wanted.setting.seed
    sampler: Sampler = MeanSampler(normal, k) if wanted.sampler == "mean" else ConditionalSampler(normal, k, seed)
    return MadeSampler(sampler, normal.image_count, normal.patch_count)


def _normal(
    gallery: Gallery, model: Model, limits: DecodeLimits, context_px: int, *, refit: bool
) -> Iterator[Progress[PatchNormal]]:
    """Yield the gallery's normal distribution of patches: the one that it keeps, or a new one, fitted and kept."""
    path = gallery.derived_file(f"patches-{context_px}.npz")
    kept = None if refit else _kept(path)
    if kept is not None:
        yield Progress("images", kept.image_count, kept.image_count, kept)
        return
    names = gallery.sample_names(FIT_IMAGES, seed=0)
    images = (image for name in names if (image := _pixels(gallery, model, limits, name)) is not None)
    for fit in fit_patches(images, len(names), context_px):
        if fit.result:
            _save(fit.result, path, gallery.name)
        yield fit


def _save(normal: PatchNormal, path: Path, gallery: str) -> None:
    try:
        normal.save(path)
    except OSError as err:  # the explanation does not need the file
        logger.warning("the patches of gallery %r cannot be kept and will be fitted again: %s", gallery, err)


def _kept(path: Path) -> PatchNormal | None:
    try:
        return load_patch_normal(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as err:
        logger.warning("%s is broken and is made again: %s", path.name, err)
        return None


def _marginal(
    gallery: Gallery,
    model: Model,
    limits: DecodeLimits,
    wanted: DifferenceRequest,
    content: bytes,
    size: tuple[int, int],
) -> Iterator[Progress[MadeSampler]]:
    names = gallery.sample_names(MARGINAL_IMAGES + 1, seed=0)
    own = content_digest(content)
    others: list[NDArray[np.uint8]] = []
    for done, name in enumerate(names, 1):
        pixels = _pixels(gallery, model, limits, name, size=size, without=own)
        if pixels is not None and len(others) < MARGINAL_IMAGES:
            others.append(pixels)
        yield Progress("images", done, len(names))
    if not others:
        raise TooFewImages(f"the marginal sampler needs other images, and gallery {gallery.name!r} has none; add some")
    sampler = MarginalSampler(np.stack(others), wanted.setting.window_px, wanted.setting.seed)
    yield Progress("images", len(names), len(names), MadeSampler(sampler, len(others)))


def _pixels(
    gallery: Gallery,
    model: Model,
    limits: DecodeLimits,
    name: str,
    *,
    size: tuple[int, int] | None = None,
    without: str = "",
) -> NDArray[np.uint8] | None:
    """Return an image as the network gets it; None if it was deleted meanwhile, or is the one to leave out."""
    try:
        content = gallery.content(name)
    except UnknownImage:
        return None
    return None if content_digest(content) == without else model.prepare(content, limits, size=size).pixels
