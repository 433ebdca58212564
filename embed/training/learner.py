"""The network that learns: a trunk in training mode, differentiable pooling, and the network's own classifier."""

import torch
from torch import nn

from whymatch.embed.networks import Network
from whymatch.embed.trunk import trainable_trunk

SMALLEST = 1e-6
"""Activations are raised to this before GeM takes their power, whose slope at 0 has no bound."""


class Learner(nn.Module):
    """Pixels to feature maps, pooled vectors and class scores. Its parameters are the network's own."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.trunk, self.channels = trainable_trunk(network)
        self.classifier = classifier_of(network.module, self.channels)
        self._pooling = network.pooling
        mean, std = (torch.tensor(values) * 255 for values in (network.mean, network.std))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("variance", std**2, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return self.mean.device

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the feature maps (B, C, H, W) of pixels (B, 3, h, w), 0 to 255."""
        maps: torch.Tensor = self.trunk(nn.functional.batch_norm(pixels, self.mean, self.variance, eps=0.0))
        return maps

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool feature maps (B, C, H, W) into vectors (B, C), as `Pooling.pool` does."""
        if self._pooling.kind == "average":
            return maps.mean((2, 3))
        if self._pooling.kind == "max":
            return maps.amax((2, 3))
        power = self._pooling.power
        return maps.clamp(min=SMALLEST).pow(power).mean((2, 3)).pow(1 / power)


class Classifier(nn.Module):
    """The network's own last layer, which scores classes."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.classes = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels

    def forward(self, maps: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
        """Return scores (B, classes) of feature maps (B, C, H, W) and their pooled vectors (B, C).

        A convolution, SqueezeNet's, scores each cell of the map, and what is above 0 is averaged.
        """
        scores: torch.Tensor = self.layer(maps if isinstance(self.layer, nn.Conv2d) else vectors)
        return scores.relu().mean((2, 3)) if scores.ndim == 4 else scores


def classifier_of(module: nn.Module, channels: int) -> Classifier | None:
    """Return what scores the classes of a network: its last linear layer, or the convolution of its `classifier`."""
    convolutions = getattr(module, "classifier", nn.Identity()).modules()
    layers: list[nn.Linear | nn.Conv2d] = [layer for layer in module.modules() if isinstance(layer, nn.Linear)]
    layers = layers or [layer for layer in convolutions if isinstance(layer, nn.Conv2d)]
    return Classifier(layers[-1]) if layers and layers[-1].weight.shape[1] == channels else None
