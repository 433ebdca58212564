"""The teacher of a distillation: another model, whose feature maps the student learns to predict."""

import torch
from torch import nn

from whymatch.embed.classifier import Classifier
from whymatch.embed.model import Model

TOGETHER = 16
"""Images that go through it at once; more of them leave the processor's cache and take longer."""


class Teacher:
    """Makes feature maps of the pixels that the student sees."""

    def __init__(self, model: Model, classifier: Classifier | None) -> None:
        """Prepare to teach. `classifier` is that of its pooled vectors, if the student is to learn the classes."""
        self.channels = model.dimensions
        self.classifier = classifier.requires_grad_(False) if classifier is not None else None
        self._model = model

    @property
    def module(self) -> nn.Module:
        """The network up to its feature map."""
        return self._model.trunk.module

    def inputs(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the network's inputs (B, 3, h, w) of pixels (B, 3, h, w), 0 to 255."""
        return self._model.inputs(_rows(pixels).numpy())

    def maps(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return its feature maps (B, C, H, W) float32 of pixels (B, 3, h, w), 0 to 255."""
        pieces = torch.split(_rows(pixels), TOGETHER)
        maps = [torch.from_numpy(self._model.feature_maps(some.numpy())) for some in pieces]
        return torch.cat(maps).permute(0, 3, 1, 2).to(pixels.device)


def _rows(pixels: torch.Tensor) -> torch.Tensor:
    """Return pixels (B, 3, h, w), 0 to 255, as a model takes them: bytes (B, h, w, 3)."""
    return pixels.round().byte().permute(0, 2, 3, 1).contiguous().cpu()


def pad_as_tensorflow(module: nn.Module) -> None:
    """Make convolutions of stride 2 pad right and bottom only, as TensorFlow's "SAME" does for inputs of even size."""
    for convolution in module.modules():
        if isinstance(convolution, nn.Conv2d) and convolution.stride == (2, 2) and convolution.padding == (1, 1):
            convolution.padding = (0, 0)
            convolution.register_forward_pre_hook(_pad_right_and_bottom)


def _pad_right_and_bottom(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (nn.functional.pad(inputs[0], (0, 1, 0, 1)),)
