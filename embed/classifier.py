"""The classifier: the last layer of a classification network."""

from typing import Any

import torch
from torch import nn


class Classifier(nn.Module):
    """The last layer of a network; its parameters are the network's own."""

    def __init__(self, name: str, layer: nn.Linear | nn.Conv2d, *, reads_maps: bool) -> None:
        """Name a layer.

        reads_maps: whether a convolution scores each cell of a map, as in SqueezeNet, and not what is pooled from it.
        """
        super().__init__()
        self.name = name
        self.layer = layer
        self.reads_maps = reads_maps

    @property
    def channels(self) -> int:
        """How many channels it reads."""
        return self.layer.weight.shape[1]

    @property
    def classes(self) -> int:
        """How many classes it scores."""
        return self.layer.weight.shape[0]

    def forward(self, maps: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return scores (B, classes) of maps (B, C, H, W) and of the vectors (B, C) that were pooled from them.

        Those of the cells of a map go through a ReLU and are averaged.
        """
        if self.reads_maps:
            cells: torch.Tensor = self.layer(maps)
            return cells.relu().mean((2, 3))
        scores: torch.Tensor = self.layer(vectors if isinstance(self.layer, nn.Linear) else vectors[:, :, None, None])
        return scores.flatten(1)


def classifier_of(module: nn.Module) -> Classifier | None:
    """Return the classifier of a network.

    It is the one that timm names, else the last linear layer or, in SqueezeNet, the last convolution of `classifier`.
    """
    layers = list(module.named_modules())
    get: Any = getattr(module, "get_classifier", None)
    if get is not None:
        named = get()
        own = [(name, layer) for name, layer in layers if layer is named and isinstance(layer, (nn.Linear, nn.Conv2d))]
        return Classifier(*own[0], reads_maps=False) if own else None
    linear = [(name, layer) for name, layer in layers if isinstance(layer, nn.Linear)]
    if linear:
        return Classifier(*linear[-1], reads_maps=False)
    found = [(name, x) for name, x in layers if name.startswith("classifier.") and isinstance(x, nn.Conv2d)]
    return Classifier(*found[-1], reads_maps=True) if found else None
