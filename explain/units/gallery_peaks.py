"""The peaks of a layer over a gallery: made in one pass over its images, kept, and made for new images only."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch

from whymatch.embed import Array, DecodeLimits, Model, Progress
from whymatch.embed.batches import prepared_batches
from whymatch.explain.units.peak_store import FILE, DamagedPeaks, PeakStore, peak_store
from whymatch.explain.units.peaks import Peaks, peaks_of
from whymatch.explain.units.responses import LayerResponses
from whymatch.explain.units.tops import TopTable
from whymatch.index import Gallery, StoredImage

LOGGER = logging.getLogger(__name__)

AT_ONCE = 16
"""Stored feature maps whose peaks are kept together."""
READ_AT_ONCE = 512
"""Images whose peaks are in memory at once."""
RETRIES = 3
"""Times that damaged peaks are made again."""

Read = TypeVar("Read")


class LayerPeaks:
    """The peaks of all units of a layer over the images of a gallery."""

    def __init__(self, images: Sequence[StoredImage], store: PeakStore) -> None:
        self.images = images
        self._store = store

    def tops(self, units: Sequence[int], count: int) -> Iterator[TopTable | None]:
        """Find the `count` images that each of some units responds to most; yields None on the way, and last those."""
        table, first = TopTable(units, self.images, count), 0
        for digests in self._chunks():
            responses, cells = self._store.peaks(digests)
            table.add(first, responses[:, list(units)], cells[:, list(units)])
            first += len(digests)
            yield None
        yield table

    def quantiles(self, units: Sequence[int], share: float) -> tuple[Array, int]:
        """Return the response (units,) that the share of the cells of all images does not exceed, for each unit.

        Estimated from some cells of each image, drawn at random; the number of draws is returned, too.
        """
        drawn = np.concatenate([self._store.samples(digests)[:, list(units)] for digests in self._chunks()])
        return np.quantile(drawn, share, axis=0).astype(np.float32), len(drawn)

    def _chunks(self) -> Iterator[list[str]]:
        for start in range(0, len(self.images), READ_AT_ONCE):
            yield [one.content_sha256 for one in self.images[start : start + READ_AT_ONCE]]


class GalleryPeaks:
    """Makes the peaks of a layer that a gallery lacks: of the feature maps that it keeps, or by running the network.

    Peaks belong to the content of an image, by whatever name, so that a change of the gallery meanwhile spoils none.
    """

    def __init__(self, gallery: Gallery, model: Model, responses: LayerResponses, limits: DecodeLimits) -> None:
        self._gallery = gallery
        self._model = model
        self._responses = responses
        self._limits = limits

    def read(self, read: Callable[[LayerPeaks], Iterator[Read | None]]) -> Iterator[Progress[Read]]:
        """Make what is lacking, and read something of all peaks; yields how far that is, and last what was read.

        What has been made is kept, wherever this is left. Images that cannot be read are left out.

        Raises:
            StorageFull, ReadOnlyStorage: the peaks cannot be kept.
            DamagedPeaks: they were damaged again and again.
        """
        for _ in range(RETRIES):  # two calls may notice the same damage, and one remove what the other has begun
            try:
                yield from self._read(read)
                return
            except DamagedPeaks as err:
                LOGGER.warning("%s; those of gallery %r are made again", err, self._gallery.name)
        yield from self._read(read)

    def _read(self, read: Callable[[LayerPeaks], Iterator[Read | None]]) -> Iterator[Progress[Read]]:
        images = self._gallery.distinct_images()
        names = {one.content_sha256: one.name for one in images}
        path = self._gallery.derived_file(FILE)
        with peak_store(path, self._responses.identity, self._responses.channels) as store:
            store.keep_only(names)
            known = store.known()
            missing = {digest: name for digest, name in names.items() if digest not in known}
            done = len(names) - len(missing)
            yield Progress("images", done, len(names))
            for made in self._made(missing):
                store.add(made)
                done += len(made)
                yield Progress("images", done, len(names))
            known = store.known()
            peaks = LayerPeaks([one for one in images if one.content_sha256 in known], store)
            for result in read(peaks):
                yield Progress("images", len(names), len(names), result)

    def _made(self, missing: Mapping[str, str]) -> Iterator[dict[str, Peaks]]:
        """Yield the peaks of images, some at a time; names by the hash of the file."""
        keeps_maps = not self._gallery.facts().omit_feature_maps
        return self._of_stored(missing) if keeps_maps and self._responses.is_pooled else self._of_images(missing)

    def _of_stored(self, missing: Mapping[str, str]) -> Iterator[dict[str, Peaks]]:
        found: dict[str, Peaks] = {}
        for digest in missing:
            if features := self._gallery.features_by_hash(digest):  # else it was deleted meanwhile
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
            if (content := self._gallery.content_by_hash(digest)) is not None:
                yield digest, content
            else:
                LOGGER.warning("image %r has no part in the peaks of units: its file is gone", name)


def _seed(digest: str) -> int:
    return int(digest[:16], 16)
