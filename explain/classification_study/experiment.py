"""What is measured: how often the right class is not among the first, before and after weighing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array, BadFolder, DecodeLimits, Model, WhymatchError, read_image_file
from whymatch.explain.classification_study.crops import Crops
from whymatch.explain.interactive import scores_by_norm
from whymatch.index.evaluation.embedding import Advance, Unreadable

FIRST = (1, 5)
"""The error of the first class, and of the first five."""
COMBINED = "combined"
Posteriors = NDArray[np.float64]


@dataclass(frozen=True)
class Row:
    """A line of the table: one error of one model."""

    model: str
    """Its name, or `combined`: the mean of the probabilities of all."""
    layer: str
    """What is weighed; empty for `combined`."""
    first: int
    """Wrong is an image whose class is not among the first so many."""
    errors: list[float]
    """0 to 1: of the plain scores, then for each norm."""


@dataclass(frozen=True)
class Results:
    """The table, and what it was measured on."""

    rows: list[Row]
    norms: Sequence[float]
    images: int
    """That count."""
    crops: int
    """Inputs for each of them."""
    unreadable: Unreadable


def measure(
    models: Mapping[str, Model],
    images: Mapping[Path, int],
    norms: Sequence[float],
    crops: Crops,
    advance: Advance = lambda images: None,
) -> Results:
    """Classify images, each with the number of its class, by each model and by all together.

    The probabilities of the crops of an image, a softmax of each one's scores, are averaged, then those of the models.

    Raises:
        BadLayer, NoReluLayers: a model has no class scores, or its last layer cannot be weighed.
        BadFolder: no image can be read.
    """
    names = [*models, *([COMBINED] if len(models) > 1 else [])]
    wrong = {name: np.zeros((len(FIRST), 1 + len(norms))) for name in names}
    unreadable: Unreadable = {}
    limits = DecodeLimits()
    for path, number in images.items():
        try:
            content = read_image_file(path, limits.max_bytes)
            inputs = {name: list(crops.inputs(model, content, limits)) for name, model in models.items()}
        except (WhymatchError, OSError) as err:
            unreadable[path] = str(err)
        else:
            found = {name: posteriors(models[name], inputs[name], norms) for name in models}
            found |= {COMBINED: np.mean(list(found.values()), axis=0)} if len(models) > 1 else {}
            for name, each in found.items():
                wrong[name] += misses(each, number)
        advance(1)
    count = len(images) - len(unreadable)
    if not count:
        path, reason = next(iter(unreadable.items()))
        raise BadFolder(f"none of the {len(images)} images can be read; {str(path)!r}: {reason}")
    layers = {name: model.layers.last.name for name, model in models.items()}
    rows = [
        Row(name, layers.get(name, ""), first, [float(error) for error in errors / count])
        for name in names
        for first, errors in zip(FIRST, wrong[name], strict=True)
    ]
    return Results(rows, norms, count, crops.count, unreadable)


def posteriors(model: Model, inputs: Sequence[NDArray[np.uint8]], norms: Sequence[float]) -> Posteriors:
    """Return the mean probability of each class over some inputs, (1 + norms, classes), of plain scores first."""
    batches = [np.stack([softmax(scores) for scores in scores_by_norm(model, pixels, norms)]) for pixels in inputs]
    mean: Posteriors = np.concatenate(batches, axis=1).mean(axis=1)
    return mean


def softmax(scores: Array) -> Posteriors:
    """Return probabilities (B, classes) of scores."""
    powers = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    probabilities: Posteriors = powers / powers.sum(axis=1, keepdims=True)
    return probabilities


def misses(probabilities: Posteriors, number: int) -> NDArray[np.bool_]:
    """Return whether a class is not among the first, (len(FIRST), n), of probabilities (n, classes).

    Of classes that are equally probable, the one with the lower number comes first.
    """
    own = probabilities[:, number, None]
    before = (probabilities > own).sum(axis=1) + (probabilities[:, :number] == own).sum(axis=1)
    return np.stack([before >= first for first in FIRST])
