"""The network that learns: a trunk in training mode, differentiable pooling, and the network's own classifier."""

import torch
from torch import nn

from whymatch.embed.classifier import classifier_of
from whymatch.embed.networks import Network
from whymatch.embed.trunk import trainable_trunk

SMALLEST = 1e-6
"""Activations are raised to this before GeM takes their power, whose slope at 0 has no bound."""
MOMENTUM = 0.1
"""Of the running means of normalizations, torch's own; MNASNet's, 0.0003, would take ten thousand batches to arrive."""


class Learner(nn.Module):
    """Pixels to feature maps, pooled vectors and class scores. Its parameters are the network's own."""

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.trunk, self.channels = trainable_trunk(network)
        for module in self.trunk.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = MOMENTUM
        found = classifier_of(network.module)
        self.classifier = found if found and found.channels == self.channels else None
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
        maps: torch.Tensor = self.trunk(self.normalized(pixels))
        return maps

    def normalized(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the network's inputs (B, 3, h, w) of pixels (B, 3, h, w), 0 to 255."""
        return nn.functional.batch_norm(pixels, self.mean, self.variance, eps=0.0)

    def pool(self, maps: torch.Tensor) -> torch.Tensor:
        """Pool feature maps (B, C, H, W) into vectors (B, C), as `Pooling.pool` does."""
        if self._pooling.kind == "average":
            return maps.mean((2, 3))
        if self._pooling.kind == "max":
            return maps.amax((2, 3))
        power = self._pooling.power
        return maps.clamp(min=SMALLEST).pow(power).mean((2, 3)).pow(1 / power)
