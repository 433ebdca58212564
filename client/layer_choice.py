"""Which layers of a network to look at where nobody names them."""

from collections.abc import Sequence

import numpy as np

from whymatch.client.results import Layer

SCORES = "scores"
"""The layer of class scores, which has no features."""
ENOUGH = 5


def blocks(layers: Sequence[Layer]) -> list[str]:
    """Return the names of the outermost layers, of whole blocks where there are enough; five at least, if there are."""
    names = [layer.name for layer in layers if layer.name != SCORES]
    depths = sorted(name.count(".") for name in names)
    return [name for name in names if name.count(".") <= depths[min(ENOUGH, len(names)) - 1]]


def spread(layers: Sequence[Layer], count: int) -> list[str]:
    """Return the names of `count` blocks, or of all if there are fewer, evenly from the first to the last."""
    names = blocks(layers)
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round().astype(int)
    return [names[place] for place in places]
