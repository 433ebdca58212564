"""Decoded filters: what a unit looks for, projected to image space without any image (Rafegas and Vanrell, section 2).

Layer by layer downwards, beginning with 1 at the unit: the patterns n_k that are looked for in the filters k of a layer
become those in its channels j, n_j = sum over k of n_k * f_j^k (equation 1), a convolution with transposed filters.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx

from whymatch.embed import Array, BadLayer, Model
from whymatch.explain.errors import BadTarget
from whymatch.explain.units.inversion import Pattern, inverted
from whymatch.explain.units.layer_map import LayerMap, find_layer_map

PIXELS = 2**19
"""Of the filters that are decoded at once; bounds memory, and changes nothing else."""


@dataclass(frozen=True, eq=False)
class DecodedFilter:
    """The filter of a unit in image space."""

    layer: str
    unit: int
    values: Array
    """(h, w, 3) float32, signed: for red, green and blue as the network's first layer gets them, that is less their
    mean and divided by their standard deviation; h x w is the theoretical receptive field, padding and all."""

    @property
    def scale(self) -> float:
        """The largest absolute value; 0 for a unit without weights."""
        return float(np.abs(self.values).max())

    def shown(self, scale: float | None = None) -> Array:
        """Return a picture of it, (h, w, 3) float32 of 0 to 1: 0.5 + values / (2 scale), so that gray 0.5 stands for 0.

        scale: value that is shown as 1, the same for all colors; larger ones are cut off. By default the filter's own
            `scale`; the filters of a layer compare if all are shown with their largest.
        """
        whole = 2 * (self.scale if scale is None else scale) or 1.0
        picture: Array = (0.5 + self.values / whole).clip(0, 1)
        return picture


def decode_filters(model: Model, layer: str, units: Sequence[int] | None = None) -> Iterator[DecodedFilter]:
    """Decode the filters of a layer, one after the other, computed a batch at a time.

    Convolutions are inverted by their transposed filters, poolings and strides by bilinear upsampling, batch
    normalization by its factor; what adds a constant or cuts values off, as ReLUs do, is passed over. What was
    concatenated is split, what was added is projected through every summand, and what several read is summed up.
    layer: by any name that `Alterations` takes; not only convolutions.
    units: by default all.

    Raises:
        BadLayer: no layer has that name, it has no rows and columns, a node below it cannot be inverted, or the values
            grow beyond what float32 holds.
        BadTarget: the layer has no such unit.
    """
    side = model.geometry.size_px
    found = find_layer_map(model, layer, side, side)
    units = range(found.units) if units is None else units
    for unit in units:
        if not 0 <= unit < found.units:
            raise BadTarget(f"layer {layer!r} has no channel {unit}; take one from 0 to {found.units - 1}")
    start, count = 0, 1
    while start < len(units):
        batch = units[start : start + count]
        filters = _decoded(found, batch)
        for unit, values in zip(batch, filters, strict=True):
            yield DecodedFilter(layer, unit, values)
        start, count = start + count, max(1, PIXELS // (filters.shape[1] * filters.shape[2]))


@torch.inference_mode()
def _decoded(found: LayerMap, units: Sequence[int]) -> Array:
    """Return (B, h, w, 3)."""
    device = next(found.module.parameters()).device
    own = torch.eye(found.units, device=device)[list(units)][:, :, None, None]
    waiting: dict[fx.Node, list[Pattern]] = {found.node: [Pattern(own)]}
    for node in reversed(found.module.graph.nodes):
        if node not in waiting or node.op == "get_attr":
            continue
        pattern = functools.reduce(Pattern.plus, waiting.pop(node))
        if node.op == "placeholder":
            break
        for source, part in inverted(found, node, pattern):
            waiting.setdefault(source, []).append(part)
    if not pattern.values.isfinite().all():
        raise BadLayer(
            f"the decoded filters of {found.name!r} are larger than float32 can hold; take a layer before it"
        )
    values: Array = pattern.values.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return values
