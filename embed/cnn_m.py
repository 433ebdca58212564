"""CNN-M of Chatfield et al., "Return of the devil in the details", whose units the paper on colors studies."""

import torch
from torch import nn


class CnnM(nn.Module):
    """Table 1 of Rafegas and Vanrell: five convolutions of 96 to 512 filters, and three fully connected layers.

    Local response normalization, the poolings, 3 x 3 with a stride of 2 and the last window hanging over the edge, and
    inputs of 224 x 224 pixels, which leave 6 x 6 cells, are those of the published network.
    """

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_block(3, 96, 7, stride=2, normalized=True),
            *_block(96, 256, 5, stride=2, padding=1, normalized=True),
            nn.Conv2d(256, 512, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(512, 512, 3, padding=1),
            nn.ReLU(inplace=True),
            *_block(512, 512, 3, padding=1),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(),
            nn.Linear(4096, classes),
        )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return class scores (B, classes) of inputs (B, 3, h, w)."""
        scores: torch.Tensor = self.classifier(self.avgpool(self.features(inputs)).flatten(1))
        return scores


def _block(
    channels: int, filters: int, kernel: int, *, stride: int = 1, padding: int = 0, normalized: bool = False
) -> list[nn.Module]:
    """Return a convolution with what follows it up to its pooling."""
    norm = [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if normalized else []
    return [
        nn.Conv2d(channels, filters, kernel, stride, padding),
        nn.ReLU(inplace=True),
        *norm,
        nn.MaxPool2d(3, 2, ceil_mode=True),
    ]
