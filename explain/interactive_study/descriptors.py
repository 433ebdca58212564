"""The descriptors that the paper compares: which there are, which a layer allows, and those of one image."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn

from whymatch.embed import Aggregation, Array, BadLayer, InterActive, InterActiveSetting, Layer, Layers, Model

Supervision = Literal["next", "last"]
SUPERVISIONS: tuple[Supervision, ...] = ("next", "last")
PAPER_LAYERS = ("pool-1", "pool-2", "conv-3-3", "pool-3", "conv-4-3", "pool-4", "conv-5-3", "pool-5", "fc-6")
"""Of VGG-19, in table 1."""
ABOUT = 6
"""Layers to measure in other networks, unless they are named."""
ENOUGH = 4


@dataclass(frozen=True)
class Variant:
    """How the responses of a layer become a descriptor: a line in a group of the paper's table 1."""

    aggregation: Aggregation = "average"
    supervision: Supervision | None = None
    """None: the original responses, not weighed."""
    norm: float = 0.0
    """p, at least 1; original responses have none."""

    @property
    def name(self) -> str:
        """As the paper prints it."""
        if self.supervision is None:
            return "Orig., AVG" if self.aggregation == "average" else "Orig., MAX"
        return f"{self.supervision.title()}, p = {self.norm:g}"


@dataclass(frozen=True)
class Descriptor:
    """One variant of one layer."""

    layer: str
    variant: Variant

    @property
    def name(self) -> str:
        """Unique among the descriptors of a study."""
        return f"{self.layer}: {self.variant.name}"


def variants(norms: Sequence[float] = (1.0, 2.0), aggregation: Aggregation = "average") -> list[Variant]:
    """Return the original variants, then those that are weighed.

    aggregation: of the weighed ones.
    """
    weighed = [Variant(aggregation, supervision, norm) for supervision in SUPERVISIONS for norm in norms]
    return [Variant("average"), Variant("max"), *weighed]


def allows(layers: Layers, layer: Layer, variant: Variant) -> bool:
    """Say whether a layer has a variant.

    `next` requires a ReLU or a pooling behind every reader of the layer, `last` that the last layer depends on it.
    """
    try:
        if variant.supervision:
            InterActive(layers).check(InterActiveSetting(layer.name, variant.supervision, variant.norm))
    except BadLayer:
        return False
    return True


def default_layers(layers: Layers) -> list[str]:
    """Return the names of the paper's nine layers for VGG, and of about six for other networks.

    These are spread evenly over the outermost modules, of which there are at least four, whose responses have all
    variants. What a pooling alone reads is left to the pooling.

    Raises:
        BadLayer: no layer has all variants.
    """
    names = {layer.name for layer in layers.all}
    if "pool-5" in names:
        return [name for name in PAPER_LAYERS if name in names]
    usable = [layer.name for layer in layers.all if _is_usable(layers, layer)]
    if not usable:
        raise BadLayer("no layer of this network has both supervisions; name layers with --layers")
    depths = [name.count(".") for name in usable]
    depth = sorted(depths)[min(ENOUGH, len(usable)) - 1]
    outer = [name for name, deep in zip(usable, depths, strict=True) if deep <= depth]
    places = np.linspace(0, len(outer) - 1, min(ABOUT, len(outer))).round().astype(int)
    return [outer[place] for place in places]


def describe(model: Model, pixels: NDArray[np.uint8], descriptors: Sequence[Descriptor]) -> dict[str, Array]:
    """Return the descriptors (C,) float32 of one image (h, w, 3), by name; those of original responses not normalized.

    One pass forward, and one backward for each supervising layer and norm. Layers that nothing can weigh, as the last
    one, cost a second pass forward.

    Raises:
        BadLayer: the image is too small for a layer.
        FloatingPointError: a descriptor is not finite.
    """
    weighed = [(each, each.variant) for each in descriptors if each.variant.supervision]
    settings = [InterActiveSetting(each.layer, variant.supervision or "", variant.norm) for each, variant in weighed]
    batch = np.stack([pixels])  # a copy, as torch requires writable memory
    results = model.weigh(batch, settings)[0] if settings else []
    responses = {each.layer: result.responses for (each, _), result in zip(weighed, results, strict=True)}
    unweighed = {each.layer: None for each in descriptors if each.layer not in responses}
    responses |= _responses(model, batch, list(unweighed))
    described = {
        each.name: result.descriptor(variant.aggregation)
        for (each, variant), result in zip(weighed, results, strict=True)
    }
    for each in descriptors:
        if each.variant.supervision is None:
            pool = np.mean if each.variant.aggregation == "average" else np.max
            described[each.name] = pool(responses[each.layer], axis=(0, 1))
    if not all(np.isfinite(values).all() for values in described.values()):
        raise FloatingPointError("the network's responses are not finite; are its weights damaged?")
    return described


def _is_usable(layers: Layers, layer: Layer) -> bool:
    readers = layers.readers(layer.node)
    return any(isinstance(reader.layer, nn.Conv2d) for reader in readers) and all(
        allows(layers, layer, variant) for variant in variants()
    )


def _responses(model: Model, batch: NDArray[np.uint8], names: Sequence[str]) -> dict[str, Array]:
    """Return the responses (H, W, C) of some layers to one image (1, h, w, 3), by a pass forward alone."""
    found = InterActive(model.layers).responses(model.inputs(batch), names)
    return {name: one[0].permute(1, 2, 0).cpu().numpy() for name, one in zip(names, found, strict=True)}
