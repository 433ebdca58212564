"""The peaks of a layer over a gallery: made in one pass over its images, kept, and made for new images only."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed import Array, DecodeLimits, Model
from whymatch.embed.flow import prepared_batches
from whymatch.explain.units.peak_store import FILE, DamagedPeaks, PeakStore, peak_store
from whymatch.explain.units.peaks import Cells, Peaks, peaks_of
from whymatch.explain.units.responses import LayerResponses
from whymatch.index import Gallery, StoredImage, UnknownImage

LOGGER = logging.getLogger(__name__)

AT_ONCE = 16
"""Stored feature maps whose peaks are kept together."""
READ_AT_ONCE = 512
"""Images whose peaks are in memory at once."""

Read = TypeVar("Read")


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


@dataclass(frozen=True)
class Passing(Generic[Read]):
    """How far the pass over the images is, and last what was read of the peaks."""

    done: int
    """Images whose peaks are known."""
    total: int
    result: Read | None = None


class LayerPeaks:
    """The peaks of all units of a layer over the images of a gallery."""

    def __init__(self, images: Sequence[StoredImage], store: PeakStore) -> None:
        self.images = images
        self._store = store

    def tops(self, units: Sequence[int], count: int) -> list[UnitTops]:
        """Return the `count` images that each of some units responds to most."""
        wanted = list(units)
        places: NDArray[np.intp] = np.zeros((len(wanted), 0), np.intp)
        responses: Array = np.zeros((len(wanted), 0), np.float32)
        cells: Cells = np.zeros((len(wanted), 0, 2), np.uint16)
        first = 0
        for digests in self._chunks():
            new_responses, new_cells = self._store.peaks(digests)
            added = np.arange(first, first + len(digests))
            places = np.hstack([places, np.broadcast_to(added, (len(wanted), len(added)))])
            responses = np.hstack([responses, new_responses[:, wanted].T])
            cells = np.hstack([cells, new_cells[:, wanted].swapaxes(0, 1)])
            best = np.argsort(-responses, axis=1, kind="stable")[:, :count]
            places, responses = np.take_along_axis(places, best, axis=1), np.take_along_axis(responses, best, axis=1)
            cells = np.take_along_axis(cells, best[..., None], axis=1)
            first += len(digests)
        return [
            UnitTops(unit, self._top_images(places[row], responses[row], cells[row]), len(self.images))
            for row, unit in enumerate(wanted)
        ]

    def quantiles(self, units: Sequence[int], share: float) -> tuple[Array, int]:
        """Return the response (units,) that the share of the cells of all images does not exceed, for each unit.

        Estimated from some cells of each image, drawn at random; their number is returned, too.
        """
        drawn = np.concatenate([self._store.samples(digests)[:, list(units)] for digests in self._chunks()])
        return np.quantile(drawn, share, axis=0).astype(np.float32), len(drawn)

    def _chunks(self) -> Iterator[list[str]]:
        for start in range(0, len(self.images), READ_AT_ONCE):
            yield [one.content_sha256 for one in self.images[start : start + READ_AT_ONCE]]

    def _top_images(self, places: NDArray[np.intp], responses: Array, cells: Cells) -> tuple[TopImage, ...]:
        found = zip(places.tolist(), responses.tolist(), cells.tolist(), strict=True)
        return tuple(
            TopImage(self.images[place], size, (row, column)) for place, size, (row, column) in found if size > 0
        )


class GalleryPeaks:
    """Makes the peaks of a layer that a gallery lacks: of the feature maps that it keeps, or by running the network."""

    def __init__(self, gallery: Gallery, model: Model, responses: LayerResponses, limits: DecodeLimits) -> None:
        self._gallery = gallery
        self._model = model
        self._responses = responses
        self._limits = limits

    def read(self, read: Callable[[LayerPeaks], Read]) -> Iterator[Passing[Read]]:
        """Make what is lacking, and read something of all peaks; yields how far that is.

        What has been made is kept, wherever this is left. Images that cannot be read are left out.

        Raises:
            StorageFull, ReadOnlyStorage: the peaks cannot be kept.
        """
        with suppress(DamagedPeaks):
            yield from self._read(read)
            return
        LOGGER.warning("the peaks of units of gallery %r were damaged and are made again", self._gallery.name)
        yield from self._read(read)

    def _read(self, read: Callable[[LayerPeaks], Read]) -> Iterator[Passing[Read]]:
        images = self._gallery.distinct_images()
        names = {one.content_sha256: one.name for one in images}
        with peak_store(self._gallery.derived_file(FILE), self._responses.identity) as store:
            known = store.known()
            store.forget(known.difference(names))
            missing = {digest: name for digest, name in names.items() if digest not in known}
            done = len(names) - len(missing)
            yield Passing(done, len(names))
            for made in self._made(missing):
                store.add(made)
                done += len(made)
                yield Passing(done, len(names))
            known = store.known()
            peaks = LayerPeaks([one for one in images if one.content_sha256 in known], store)
            yield Passing(len(names), len(names), read(peaks))

    def _made(self, missing: Mapping[str, str]) -> Iterator[dict[str, Peaks]]:
        """Yield the peaks of images, some at a time; names by the hash of the file."""
        keeps_maps = not self._gallery.facts().omit_feature_maps
        return self._of_stored(missing) if keeps_maps and self._responses.is_pooled else self._of_images(missing)

    def _of_stored(self, missing: Mapping[str, str]) -> Iterator[dict[str, Peaks]]:
        found: dict[str, Peaks] = {}
        for digest, name in missing.items():
            with suppress(UnknownImage):  # deleted meanwhile
                [features] = self._gallery.features([name])
                assert features
                maps = torch.from_numpy(features.feature_map)[None].permute(0, 3, 1, 2)
                [found[digest]] = peaks_of(maps, [_seed(digest)])
            if len(found) == AT_ONCE:
                yield found
                found = {}
        yield found

    def _of_images(self, missing: Mapping[str, str]) -> Iterator[dict[str, Peaks]]:
        for batch, broken in prepared_batches(self._model, self._contents(missing), self._limits):
            for digest, err in broken.items():
                LOGGER.warning("image %r has no part in the peaks of units: %s", missing[digest], err)
            if batch:
                digests = [digest for digest, _ in batch]
                maps = self._responses.maps(np.stack([prepared.pixels for _, prepared in batch]))
                yield dict(zip(digests, peaks_of(maps, list(map(_seed, digests))), strict=True))

    def _contents(self, names: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
        for digest, name in names.items():
            with suppress(UnknownImage):  # deleted meanwhile
                yield digest, self._gallery.content(name)


def _seed(digest: str) -> int:
    return int(digest[:16], 16)
