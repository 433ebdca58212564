"""The classifier: the last layer of a classification network."""

import torch
from torch import nn


class Classifier(nn.Module):
    """The last layer of a network; its parameters are the network's own."""

    def __init__(self, name: str, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.name = name
        self.layer = layer

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

        A convolution, as in SqueezeNet, scores each cell of a map; its scores go through a ReLU and are averaged.
        """
        scores: torch.Tensor = self.layer(maps if isinstance(self.layer, nn.Conv2d) else vectors)
        return scores.relu().mean((2, 3)) if scores.ndim == 4 else scores


def classifier_of(module: nn.Module) -> Classifier | None:
    """Return the classifier of a network: its last linear layer or, in SqueezeNet, a convolution."""
    layers = dict(module.named_modules())
    found: list[tuple[str, nn.Linear | nn.Conv2d]] = [(n, x) for n, x in layers.items() if isinstance(x, nn.Linear)]
    found = found or [(n, x) for n, x in layers.items() if n.startswith("classifier.") and isinstance(x, nn.Conv2d)]
    return Classifier(*found[-1]) if found else None
