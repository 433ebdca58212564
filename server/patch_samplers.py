"""Samplers of prediction difference from the images of a gallery."""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import DecodeLimits, LayerMaps, Model, Progress, TooFewImages
from whymatch.explain import (
    CellNormal,
    ConditionalSampler,
    MarginalSampler,
    MeanSampler,
    PatchNormal,
    Sampler,
    fit_cells,
    fit_patches,
)
from whymatch.index import Gallery, UnknownImage, content_digest
from whymatch.server.difference_values import DifferenceRequest, SamplerSource
from whymatch.server.logs import logger

FIT_IMAGES = 1000
"""Images that a normal distribution of patches is fitted to, drawn at random from a larger gallery."""
MARGINAL_IMAGES = 256
"""Images whose patches `marginal` draws from, kept in memory as long as the explanation."""
MARGINAL_BYTES = 2**28
"""How large they are together at most; fewer maps of a layer with many responses are kept."""

Read = Callable[[bytes, tuple[int, int] | None], NDArray[Any]]
"""From the file of an image, and the size of the network's input, to what windows are cut from: pixels, or cells."""


@dataclass(frozen=True, eq=False)
class MadeSampler:
    """A sampler, and what it is made of."""

    sampler: Sampler
    source: SamplerSource


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
    read = _reader(model, limits, wanted.layer)
    if wanted.sampler == "marginal":
        yield from _marginal(gallery, read, wanted, content, size)
        return
    for fit in _normal(gallery, read, wanted):
        yield Progress("images", fit.done, fit.total, _of(fit.result, wanted) if fit.result else None)


def _reader(model: Model, limits: DecodeLimits, layer: str | None) -> Read:
    maps = LayerMaps(model, layer) if layer else None

    def read(content: bytes, size: tuple[int, int] | None) -> NDArray[Any]:
        pixels = model.prepare(content, limits, size=size).pixels
        return maps(pixels) if maps else pixels

    return read


def _of(normal: PatchNormal, wanted: DifferenceRequest) -> MadeSampler:
    k, seed = wanted.setting.window_px, wanted.setting.seed
    sampler: Sampler = MeanSampler(normal, k) if wanted.sampler == "mean" else ConditionalSampler(normal, k, seed)
    source = SamplerSource(normal.image_count, normal.patch_count)
    if isinstance(normal, CellNormal):
        source = replace(source, channel_count=normal.channels, variance_share=normal.variance_share)
    return MadeSampler(sampler, source)


def _normal(gallery: Gallery, read: Read, wanted: DifferenceRequest) -> Iterator[Progress[PatchNormal]]:
    """Yield the gallery's normal distribution of patches: the one that it keeps, or a new one, fitted and kept."""
    context_px, layer = wanted.setting.context_px, wanted.layer
    path = gallery.derived_file(_file(context_px, layer))
    kept = None if wanted.refit else _kept(path, CellNormal if layer else PatchNormal)
    if kept is not None:
        yield Progress("images", kept.image_count, kept.image_count, kept)
        return
    names = gallery.sample_names(FIT_IMAGES, seed=0)
    images = (image for name in names if (image := _image(gallery, read, name)) is not None)
    fit_images: Callable[..., Iterator[Progress[PatchNormal]]] = fit_cells if layer else fit_patches
    for fit in fit_images(images, len(names), context_px):
        if fit.result:
            _save(fit.result, path, gallery.name)
        yield fit


def _file(context_px: int, layer: str | None) -> str:
    """Return the name of the file that keeps a normal; that of a layer is hashed, for it may hold any character."""
    return f"cells-{sha256(layer.encode()).hexdigest()[:12]}-{context_px}.npz" if layer else f"patches-{context_px}.npz"


def _save(normal: PatchNormal, path: Path, gallery: str) -> None:
    try:
        normal.save(path)
    except OSError as err:  # the explanation does not need the file
        logger.warning("the patches of gallery %r cannot be kept and will be fitted again: %s", gallery, err)


def _kept(path: Path, kind: type[PatchNormal]) -> PatchNormal | None:
    try:
        return kind.load(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as err:
        logger.warning("%s is broken and is made again: %s", path.name, err)
        return None


def _marginal(
    gallery: Gallery, read: Read, wanted: DifferenceRequest, content: bytes, size: tuple[int, int]
) -> Iterator[Progress[MadeSampler]]:
    names = gallery.sample_names(MARGINAL_IMAGES + 1, seed=0)
    own = content_digest(content)
    others: list[NDArray[Any]] = []
    for done, name in enumerate(names, 1):
        if len(others) < MARGINAL_IMAGES and sum(each.nbytes for each in others) < MARGINAL_BYTES:
            image = _image(gallery, read, name, size=size, without=own)
            others += [] if image is None else [image]
        yield Progress("images", done, len(names))
    if not others:
        raise TooFewImages(f"the marginal sampler needs other images, and gallery {gallery.name!r} has none; add some")
    sampler = MarginalSampler(np.stack(others), wanted.setting.window_px, wanted.setting.seed)
    yield Progress("images", len(names), len(names), MadeSampler(sampler, SamplerSource(len(others))))


def _image(
    gallery: Gallery, read: Read, name: str, *, size: tuple[int, int] | None = None, without: str = ""
) -> NDArray[Any] | None:
    """Return what windows are cut from; None if the image was deleted meanwhile, or is the one to leave out."""
    try:
        content = gallery.content(name)
    except UnknownImage:
        return None
    return None if content_digest(content) == without else read(content, size)
