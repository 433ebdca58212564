"""The layers of a network that reports cover by default."""

from collections.abc import Sequence

import numpy as np

from whymatch.client.results import Layer, Model

ENOUGH = 5


def blocks(layers: Sequence[Layer]) -> list[str]:
    """Return the names of the outermost layers, of whole blocks where there are enough; five at least, if there are."""
    names = [layer.name for layer in layers]
    depths = sorted(name.count(".") for name in names)
    return [name for name in names if name.count(".") <= depths[min(ENOUGH, len(names)) - 1]]


def spread(model: Model, count: int) -> list[str]:
    """Return `count` layers with units, or all if there are fewer: blocks, evenly from the first to what is pooled."""
    pooled = model.layer
    with_units = [layer for layer in model.layers if layer.has_units]
    names = [name for name in blocks(with_units) if name != pooled]
    places = np.linspace(0, len(names) - 1, min(count - 1, len(names))).round().astype(int)
    below = [names[place] for place in np.unique(places)]
    return below if "+" in pooled or "," in pooled else [*below, pooled]
