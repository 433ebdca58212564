"""The parts of maps that change when windows of an image do."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from whymatch.embed.operations import Pair


@dataclass(frozen=True)
class Span:
    """The rows, or the columns, of a map that each of some windows may change."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    size: int
    """How many the map has."""

    @functools.cached_property
    def length(self) -> int:
        """How many are computed for each window: those of the window that changes most."""
        return max(stop - start for start, stop in zip(self.starts, self.stops, strict=True))

    @functools.cached_property
    def firsts(self) -> list[int]:
        """The first that is computed for each window."""
        return [min(start, self.size - self.length) for start in self.starts]

    def through(self, kernel: int, stride: int, padding: int, dilation: int, size: int) -> "Span":
        """Return which of the `size` outputs of a sliding kernel see a change; at least one."""
        reach = (kernel - 1) * dilation
        starts = [min(max(0, -(-(start + padding - reach) // stride)), size - 1) for start in self.starts]
        stops = [min((stop - 1 + padding) // stride + 1, size) for stop in self.stops]
        return Span(tuple(starts), tuple(map(max, stops, [start + 1 for start in starts])), size)

    def joined(self, other: "Span") -> "Span":
        """Return the smallest span that holds both."""
        return Span(tuple(map(min, self.starts, other.starts)), tuple(map(max, self.stops, other.stops)), self.size)


@dataclass(frozen=True, eq=False)
class Patches:
    """The part of a map that some windows change, for some samples of each, and the map of the unchanged image."""

    values: torch.Tensor
    """(windows * samples, C, rows.length, columns.length), or without C."""
    rows: Span
    columns: Span
    base: torch.Tensor
    """(1, C, H, W), or without C."""

    @property
    def is_whole(self) -> bool:
        """Whether the whole map was computed."""
        return self.values.shape[-2:] == self.base.shape[-2:]

    def fits(self, other: torch.Tensor) -> bool:
        """Say whether a tensor is a map with as many places, for one image."""
        return other.ndim == self.base.ndim and other.shape[:1] + other.shape[-2:] == (1, *self.base.shape[-2:])

    @property
    def samples(self) -> int:
        """How many samples each window has."""
        return len(self.values) // len(self.rows.starts)

    def whole(self) -> torch.Tensor:
        """Return the whole maps, (windows * samples, C, H, W)."""
        return self.values if self.is_whole else self._from(0, 0, self.base.shape[-2:])

    def mean(self) -> torch.Tensor:
        """Return the mean over the places of the maps, (windows * samples, C) float32, by its difference to `base`."""
        if self.is_whole:
            return self.values.float().mean((-2, -1))
        unchanged = _parts(self.base, self.rows.firsts, self.columns.firsts, self.values.shape[-2:])
        before = torch.cat([part.float().sum((-2, -1)) for part in unchanged]).repeat_interleave(self.samples, 0)
        change = self.values.float().sum((-2, -1)) - before
        return self.base.float().mean((-2, -1)) + change / (self.rows.size * self.columns.size)

    def at(self, row: int, column: int) -> torch.Tensor:
        """Return the values of the maps at one place, (windows * samples, C)."""
        return self._from(row, column, (1, 1))[..., 0, 0]

    def tiles(
        self, base: torch.Tensor, border: Pair, tops: list[int], lefts: list[int], size: Sequence[int]
    ) -> torch.Tensor:
        """Return a part of the maps for each window, from rows `tops` and columns `lefts` on, of one size.

        base: the unchanged map with a border; `tops` and `lefts` count from the edge of the border.
        border: rows of the border above the map, and columns on its left.
        """
        own_tops, own_lefts = ([first + border[axis] for first in span.firsts] for axis, span in enumerate(self._spans))
        height, width = self.values.shape[-2:]
        if (own_tops, own_lefts, [height, width]) == (tops, lefts, list(size)):
            return self.values
        order = torch.channels_last if base.ndim == 4 else torch.contiguous_format
        shape = (len(self.values), *base.shape[1:-2], *size)
        tiles = torch.empty(shape, dtype=base.dtype, device=base.device, memory_format=order)
        for window, part in enumerate(_parts(base, tops, lefts, size)):
            samples = slice(window * self.samples, (window + 1) * self.samples)
            tile = tiles[samples]
            tile.copy_(part.expand_as(tile))
            rows, own_rows = _overlap(own_tops[window] - tops[window], height, size[0])
            columns, own_columns = _overlap(own_lefts[window] - lefts[window], width, size[1])
            tile[..., rows, columns] = self.values[samples, ..., own_rows, own_columns]
        return tiles

    def _from(self, row: int, column: int, size: Sequence[int]) -> torch.Tensor:
        windows = len(self.rows.starts)
        return self.tiles(self.base, (0, 0), [row] * windows, [column] * windows, size)

    @property
    def _spans(self) -> tuple[Span, Span]:
        return self.rows, self.columns


def whole_maps(values: torch.Tensor, base: torch.Tensor, *, windows: int) -> Patches:
    """Return maps that were computed as a whole, (windows * samples, C, H, W)."""
    rows, columns = (Span((0,) * windows, (size,) * windows, size) for size in values.shape[2:])
    return Patches(values, rows, columns, base)


def unchanged(base: torch.Tensor, like: Patches) -> Patches:
    """Return the part of a map (1, C, H, W) that lies where others change, as it is for all windows and samples."""
    cut = _parts(base, like.rows.firsts, like.columns.firsts, like.values.shape[-2:])
    return Patches(torch.cat(cut).repeat_interleave(like.samples, 0), like.rows, like.columns, base)


def _parts(base: torch.Tensor, tops: list[int], lefts: list[int], size: Sequence[int]) -> list[torch.Tensor]:
    places = zip(tops, lefts, strict=True)
    return [base[..., top : top + size[0], left : left + size[1]] for top, left in places]


def _overlap(first: int, length: int, size: int) -> tuple[slice, slice]:
    """Return the part of 0 to `size` that lies in `first` to `first + length`, as both of them count it."""
    start = min(max(first, 0), size)
    stop = max(min(first + length, size), start)
    return slice(start, stop), slice(start - first, stop - first)
