"""What pixels a unit really responds to: random occluders on its top images (Zhou et al., object detectors)."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from whymatch.embed import Alterations, Array, Model, Progress, Responses, TooFewImages
from whymatch.explain.errors import BadTarget
from whymatch.explain.patches import Pixels
from whymatch.explain.regions import Box
from whymatch.explain.units.occluders import AS_PAPER, OccluderSetting, axes_around
from whymatch.explain.units.receptive_field import ReceptiveField, find_receptive_field


@dataclass(frozen=True, eq=False)
class EmpiricalField:
    """What a unit responds to around its cell."""

    layer: str
    unit: int
    values: Array
    """(h, w) float32, not negative: by how much the unit's activation changed, up or down, when the pixel was occluded,
    on average over the occluders on it and then over the images that have it. The middle, h / 2 and w / 2, is the
    center of the unit's cell. h x w is the theoretical field, or if that is everything, twice the largest image."""
    box: Box
    """Around all values above the threshold, in pixels of `values`; empty if no occluder changed the unit."""
    theoretical: ReceptiveField
    """For one of the images; `rows.size_px` and `columns.size_px` are the size to compare with."""
    setting: OccluderSetting
    images: int
    evaluations: int
    """Occluded images that went through the network: for each image the occluders that the unit can see."""
    positions: int
    """Occluders on all images, seen or not."""
    multiplied_share: float
    """Multiplications, as a share of those that whole images would have taken for these evaluations."""

    @property
    def width_px(self) -> int:
        """Empirical width; 0 if no occluder changed the unit: it is dead as far as these images go."""
        return round(self.box.right_px - self.box.left_px)

    @property
    def height_px(self) -> int:
        """Empirical height; 0 if no occluder changed the unit."""
        return round(self.box.bottom_px - self.box.top_px)


def find_empirical_field(
    model: Model,
    layer: str,
    unit: int,
    images: Sequence[tuple[Pixels, tuple[int, int]]],
    setting: OccluderSetting = AS_PAPER,
) -> Iterator[Progress[EmpiricalField]]:
    """Occlude the top images of a unit, a batch of occluders at a time; yields how far it is, and last the field.

    layer: by any name that `Alterations` takes; its response is that behind the ReLU, if one follows.
    images: pixels (h, w, 3), as `Model.prepare` makes them, of any sizes; row and column of the unit's strongest cell.

    Raises:
        BadLayer: no layer has that name, it has no rows and columns, or no such cell.
        BadTarget: the layer has no such unit.
        BadWindow: the setting makes no sense, or an image is smaller than an occluder.
        TooFewImages: there is no image.
    """
    setting.check()
    if not images:
        raise TooFewImages(f"unit {unit} of {layer!r} has no top images; give at least one")
    fields = [find_receptive_field(model, layer, *pixels.shape[:2]) for pixels, _ in images]
    largest_px = (max(field.input_px[0] for field in fields), max(field.input_px[1] for field in fields))
    axes = [axes_around(field, cell, largest_px, setting) for field, (_, cell) in zip(fields, images, strict=True)]
    planned, done, multiplied = sum(len(rows.seen) * len(columns.seen) for rows, columns in axes), 0, 0.0
    sums, counts = (np.zeros([axis.stop - axis.first for axis in axes[0]]) for _ in range(2))
    for number, (image, (rows, columns)) in enumerate(zip(images, axes, strict=True)):
        places = list(itertools.product(rows.seen.tolist(), columns.seen.tolist()))
        changes = [np.zeros(0, np.float32)]
        for batch, share in _batches(model, layer, unit, image, places, setting, seed=[setting.seed, number]):
            changes.append(batch)
            done, multiplied = done + len(batch), multiplied + len(batch) * share
            yield Progress("evaluations", done, planned)
        sums += rows.spread @ np.concatenate(changes).reshape(len(rows.seen), len(columns.seen)) @ columns.spread.T
        counts += np.outer(rows.is_inside, columns.is_inside)

    values: Array = (sums / np.maximum(counts, 1)).astype(np.float32)
    box, positions = _extent(values, setting.threshold), sum(len(rows.all) * len(columns.all) for rows, columns in axes)
    share = multiplied / max(done, 1)
    field = EmpiricalField(layer, unit, values, box, fields[0], setting, len(images), done, positions, share)
    yield Progress("evaluations", done, planned, field)


def _batches(
    model: Model,
    layer: str,
    unit: int,
    image: tuple[Pixels, tuple[int, int]],
    places: Sequence[tuple[int, int]],
    setting: OccluderSetting,
    *,
    seed: Sequence[int],
) -> Iterator[tuple[Array, float]]:
    """Yield by how much occluders change the unit, (n,) float32, not negative, and the share of multiplications.

    places: first row and column of each occluder on the image.
    """
    pixels, cell = image
    alterations = Alterations(model, pixels, [Responses(layer, cell)])
    [plain] = alterations.plain
    if not 0 <= unit < plain.shape[1]:
        raise BadTarget(f"layer {layer!r} has no channel {unit}; take one from 0 to {plain.shape[1] - 1}")
    random, side = np.random.default_rng(seed), setting.side_px
    for start in range(0, len(places), setting.batch_size):
        tops, lefts = zip(*places[start : start + setting.batch_size], strict=True)
        contents = random.uniform(0, 255, (len(tops), 1, side, side, 3)).astype(np.float32)
        [responses] = alterations.run(tops, lefts, contents)
        yield (responses[:, unit] - plain[0, unit]).abs().numpy(), alterations.multiplied_share


def _extent(values: Array, threshold: float) -> Box:
    """Return the box around all that is above the threshold, a share of the maximum."""
    above = values > threshold * values.max()
    if not above.any():
        return Box(0, 0, 0, 0)
    rows, columns = np.flatnonzero(above.any(1)), np.flatnonzero(above.any(0))
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
