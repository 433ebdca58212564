"""Prediction difference: how much each part of an image supports a prediction, found by treating it as unknown.

Zintgraf, Cohen, Welling, "A New Method to Visualize Deep Neural Networks": each window of k x k pixels is replaced by
samples of its possible contents, and the value of a pixel is the mean over the windows on it (algorithm 1). The cells
of a hidden layer may take the place of the pixels (equation 6).
"""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed import Alterations, Array, LayerMaps, Model, Placement, Prepared
from whymatch.explain.errors import BadWindow
from whymatch.explain.samplers import Sampler
from whymatch.explain.targets import Function, Target

Wide = NDArray[np.float64]

MAX_CONTEXT_PX = 32
"""Of an outer patch: the covariance of larger ones is too large to be of use."""
MAX_MARGIN_PX = 8
"""Between window and outer patch: a gain is kept for each of the places that a window can have in it."""
MAX_CONTEXT_CELLS = 7
"""Of an outer patch of a layer's cells, each of which has up to 64 values."""
ROUND = 5
"""Samples of each window between two looks at the standard error."""


@dataclass(frozen=True)
class PredictionDifferenceSetting:
    """How to treat parts of an image as unknown."""

    window_px: int = 10
    """k: a window has k x k pixels of the network's input, or cells of a layer."""
    context_px: int = 14
    """l: the window is predicted from the rest of an l x l patch around it."""
    sample_count: int = 20
    """S: how many samples replace each window."""
    stride_px: int = 4
    """Pixels, or cells, from one window to the next; 1 in the paper."""
    seed: int = 0
    """The same seed draws the same samples."""
    batch_size: int = 100
    """Altered images at once; bounds memory, and changes nothing else."""
    max_standard_error: float | None = None
    """Stop sooner, after every 5 samples of all windows, if no pixel's standard error is larger in any map."""

    def check(self, height: int, width: int, layer: str | None = None) -> None:
        """Raise BadWindow if this cannot be done to an input of that size in pixels, or to a layer of that in cells."""
        if layer is None:
            self._check(height, width, f"an input of {width} x {height}", "px", MAX_CONTEXT_PX)
        else:
            cells = f"layer {layer!r} of {width} x {height} cells"
            self._check(height, width, cells, "cells", MAX_CONTEXT_CELLS)

    def _check(self, height: int, width: int, what: str, unit: str, most: int) -> None:
        k, outer, largest = self.window_px, self.context_px, min(most, height, width)
        for value, name in ((k, "window"), (self.stride_px, "stride"), (self.sample_count, "number of samples")):
            if value < 1:
                raise BadWindow(f"the {name} is {value}; take 1 or more")
        if self.batch_size < 1:
            raise BadWindow(f"the batch size is {self.batch_size}; take 1 or more")
        if k > largest:
            raise BadWindow(f"the window of {k} {unit} is too large for {what}; at most {largest}")
        if k > outer:
            enough = min(k + 4, largest)
            raise BadWindow(
                f"the window of {k} {unit} is larger than its context of {outer} {unit}; take a context of {enough}"
            )
        if outer > largest:
            raise BadWindow(f"the context of {outer} {unit} is too large for {what}; at most {largest}")
        if outer - k > MAX_MARGIN_PX:
            raise BadWindow(
                f"the context of {outer} {unit} is too wide for a window of {k} {unit}; at most {k + MAX_MARGIN_PX}"
            )
        if self.stride_px > k:
            raise BadWindow(
                f"a stride of {self.stride_px} {unit} leaves {'pixels' if unit == 'px' else unit} between windows of "
                f"{k} {unit}; at most {k}"
            )
        bound = self.max_standard_error
        if bound is not None and not (bound > 0 and self.sample_count > 1):
            raise BadWindow(f"the bound {bound} on the standard error must be above 0, and needs more than one sample")


@dataclass(frozen=True, eq=False)
class DifferenceMap:
    """The prediction difference of each pixel of the network's input, or cell of a layer, for a target."""

    target: Target
    plain: float
    """z(x), the target's value for the unchanged image."""
    values: Array
    """(h, w) float32: weight of evidence in bits, or activation difference in the target's own unit."""
    standard_errors: Array | None
    """(h, w) float32, of the sampling; None until a window has two samples."""
    placement: Placement
    """Where the pixels of the input, or the cells, lie in the image."""


class PredictionDifference:
    """The prediction difference of one image, computed window by window, from coarse to fine."""

    def __init__(
        self,
        model: Model,
        image: Prepared,
        targets: Sequence[Target],
        sampler: Sampler,
        setting: PredictionDifferenceSetting = PredictionDifferenceSetting(),
        *,
        layer: str | None = None,
    ) -> None:
        """Plan the work, and run the unchanged image.

        layer: the hidden layer H whose cells are taken as unknown, all channels of a cell together; a target z(h) is
            then computed from the altered responses h, and from the unchanged image where it does not depend on them.
            None for the pixels.

        Raises:
            BadWindow: the setting does not fit the image, or the layer.
            BadTarget, BadLayer, NoClassScores: a target is not there, or does not depend on the layer.
        """
        self._known = image.pixels if layer is None else LayerMaps(model, layer)(image.pixels)
        rows, columns, _ = self._known.shape
        setting.check(rows, columns, layer)
        self.setting = setting
        self._placement, self._targets, self._sampler = image.placement, targets, sampler
        ends = list(dict.fromkeys(target.end for target in targets))
        self._end_numbers = [ends.index(target.end) for target in targets]
        self._alterations = Alterations(model, image.pixels, ends, layer=layer)
        self._plain = [float(value[0]) for value in self._values(self._alterations.plain)]
        self._grid = _Grid.over((rows, columns), setting)
        self._order = self._grid.coarse_to_fine()
        self.windows = list(zip(*self._grid.places(self._order), strict=True))
        """First row and column of each window, in the order in which they come."""
        self._is_drawn = sampler.kind != "mean"
        self._samples = setting.sample_count if self._is_drawn else 1
        self._counts = np.zeros(len(self._order), np.int64)
        self._sums = np.zeros((len(targets), len(self._order)))
        self._squares = np.zeros((len(targets), len(self._order)))
        self._stopped = False
        self.done = 0
        """Evaluations so far: altered images that went through the network."""
        self.multiplied_share = 1.0
        """Multiplications of the last step, as a share of those that whole images would have taken."""
        self.computed_whole: set[str] = set()
        """The nodes of the network from which on whole images are computed; known after a step."""

    @property
    def planned(self) -> int:
        """Evaluations in all; those done, once the bound on the standard error has stopped them."""
        return self.done if self._stopped else len(self._order) * self._samples

    @property
    def is_complete(self) -> bool:
        """Whether every window has all its samples."""
        return self.done == self.planned

    def steps(self) -> Iterator[int]:
        """Go on, a batch at a time, and yield `done` after each; what was done is kept if this is not exhausted."""
        while not self.is_complete:
            first = int(self._counts.min())
            last = self._samples if self.setting.max_standard_error is None else first - first % ROUND + ROUND
            count = min(self.setting.batch_size, min(last, self._samples) - first)
            left = self._order[self._counts[self._order] == first]
            self._evaluate(left[: max(1, self.setting.batch_size // count)], first, count)
            self._stopped = self._is_precise()
            yield self.done

    def maps(self) -> list[DifferenceMap]:
        """Return the maps as they are now.

        A partial map takes the windows that have not been evaluated yet for a mean of those near them, values and
        standard errors alike; the error of this is not in the standard errors.
        """
        return [self._map(number) for number in range(len(self._targets))]

    def sensitivities(self) -> list[Array]:
        """Return the sensitivity map of each target, (h, w) float32: how steep it is in each pixel, or cell."""
        return [
            self._alterations.gradient(functools.partial(_sloped, target.slope, number))
            for number, target in zip(self._end_numbers, self._targets, strict=True)
        ]

    def release(self) -> None:
        """Let go of the sampler and of what the network made of the unchanged image, both large; the maps stay."""
        del self._alterations, self._sampler

    def _values(self, ends: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return the value of each target for each image, (B,)."""
        return [target.of(ends[number]) for number, target in zip(self._end_numbers, self._targets, strict=True)]

    def _evaluate(self, windows: NDArray[np.intp], first: int, count: int) -> None:
        tops, lefts = self._grid.places(windows)
        places = zip(tops, lefts, strict=True)
        drawn = [self._sampler.draw(self._known, top, left, first + count)[first:] for top, left in places]
        for number, values in enumerate(self._values(self._alterations.run(tops, lefts, np.stack(drawn)))):
            changes = values.double().numpy().reshape(len(windows), count) - self._plain[number]
            self._sums[number, windows] += changes.sum(1)
            self._squares[number, windows] += (changes**2).sum(1)
        self._counts[windows] += count
        self.done += len(windows) * count
        self.multiplied_share = self._alterations.multiplied_share
        self.computed_whole = self._alterations.computed_whole

    def _is_precise(self) -> bool:
        """Say whether all windows have as many samples, and a bound on the standard error holds."""
        bound, samples = self.setting.max_standard_error, self._counts.min()
        if bound is None or not samples or samples % ROUND or samples != self._counts.max():
            return False
        errors = [one.standard_errors for one in self.maps()]
        return all(each is not None and each.max() <= bound for each in errors)

    def _map(self, number: int) -> DifferenceMap:
        target, counts = self._targets[number], np.maximum(self._counts, 1)
        change = self._sums[number] / counts
        means = self._plain[number] + change
        known = self._counts > 0
        values = self._grid.pixel_means(target.difference(self._plain[number], means), known)
        errors, measured = None, self._counts > (1 if self._is_drawn else 0)
        if measured.any():
            variances = (self._squares[number] / counts - change**2).clip(min=0) / np.maximum(counts - 1, 1)
            errors = self._grid.pixel_errors(target.error(means, np.sqrt(variances)), measured)
        return DifferenceMap(target, self._plain[number], values, errors, self._placement)


def _sloped(slope: Function, number: int, ends: Sequence[torch.Tensor]) -> torch.Tensor:
    return slope(ends[number])[0]


@dataclass(frozen=True, eq=False)
class _Grid:
    """Where the windows lie; they are counted row by row."""

    tops: NDArray[np.intp]
    lefts: NDArray[np.intp]
    window_px: int
    size: tuple[int, int]
    """Height and width of the image."""

    @classmethod
    def over(cls, size: tuple[int, int], setting: PredictionDifferenceSetting) -> "_Grid":
        k, stride = setting.window_px, setting.stride_px
        # The last window ends with the image, wherever the stride would put it.
        tops, lefts = (np.array(sorted({*range(0, side - k, stride), side - k}), np.intp) for side in size)
        return cls(tops, lefts, k, size)

    def places(self, windows: NDArray[np.intp]) -> tuple[list[int], list[int]]:
        """Return the first rows and columns of some windows."""
        rows, columns = np.divmod(windows, len(self.lefts))
        return self.tops[rows].tolist(), self.lefts[columns].tolist()

    def coarse_to_fine(self) -> NDArray[np.intp]:
        """Return the windows so that the first ones of any number lie evenly: each level halves the area for each."""
        rows, columns = np.divmod(np.arange(len(self.tops) * len(self.lefts)), len(self.lefts))
        level = np.full(len(rows), -1)
        step = 2 ** math.ceil(math.log2(max(len(self.tops), len(self.lefts), 2)))
        levels = 0
        while (level < 0).any():
            for offset in (0, step // 2):
                here = (rows % step == offset) & (columns % step == offset)
                level[here & (level < 0)] = levels
                levels += 1
            step //= 2
        return np.argsort(level, kind="stable")

    def pixel_means(self, values: Wide, known: NDArray[np.bool_]) -> Array:
        """Return the mean over the windows that hold each pixel, (h, w) float32."""
        sums, counts = self._summed(self._filled(values, known))
        return (sums / counts).astype(np.float32)

    def pixel_errors(self, errors: Wide, known: NDArray[np.bool_]) -> Array:
        """Return the standard errors of these means, (h, w) float32; each window has samples of its own."""
        sums, counts = self._summed(self._filled(errors**2, known))
        return (np.sqrt(sums) / counts).astype(np.float32)

    def _summed(self, values: Wide) -> tuple[Wide, Wide]:
        """Return the sum over the windows that hold each pixel, and their number, (h, w)."""
        over_rows, over_columns = (
            ((firsts <= pixels[:, None]) & (pixels[:, None] < firsts + self.window_px)).astype(float)
            for firsts, pixels in ((self.tops, np.arange(self.size[0])), (self.lefts, np.arange(self.size[1])))
        )
        return over_rows @ values @ over_columns.T, over_rows.sum(1)[:, None] * over_columns.sum(1)

    def _filled(self, values: Wide, known: NDArray[np.bool_]) -> Wide:
        """Return values (rows, columns), unknown ones as a mean of the known ones, which fades with their distance."""
        shape = (len(self.tops), len(self.lefts))
        values, known = values.reshape(shape), known.reshape(shape)
        if known.all() or not known.any():
            return np.where(known, values, 0)
        reach = math.sqrt(self.size[0] * self.size[1] / known.sum()) / 2
        over_rows, over_columns = (
            np.exp(-0.5 * ((firsts[:, None] - firsts) / reach) ** 2) for firsts in (self.tops, self.lefts)
        )
        weights = over_rows @ known @ over_columns
        near = over_rows @ np.where(known, values, 0) @ over_columns / np.maximum(weights, np.finfo(float).tiny)
        return np.where(known, values, near)
