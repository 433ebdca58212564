"""The teacher of a distillation: another model, whose feature maps the student learns to predict."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from whymatch.embed.errors import TrainingFailed
from whymatch.embed.model import Model
from whymatch.embed.training.batches import View

TOGETHER = 16
"""Views that go through it at once; more of them leave the processor's cache and take longer."""


class Teacher:
    """Answers views with feature maps. It sees each part of an image once, unmirrored, and remembers it on disk.

    Its memory is a file of float16 maps, `parts` times H W C, and outlives the run: one that goes on after a kill, or
    another run over the same images with the same seed, finds there what the teacher said before.
    """

    def __init__(self, model: Model, classifier: nn.Linear | None, *, size_px: int, parts: int, memory: Path) -> None:
        """Open or make the memory.

        classifier: of its pooled vectors, if it has one.
        parts: how many parts of images there are.
        memory: folder of the files.

        Raises:
            TrainingFailed: the memory does not fit on the disk.
        """
        self.size_px = size_px
        self.classifier = classifier.requires_grad_(False) if classifier is not None else None
        self._model = model
        shape = model.feature_maps(np.zeros((1, size_px, size_px, 3), np.uint8)).shape[1:]
        self.channels = int(shape[2])
        memory.mkdir(parents=True, exist_ok=True)
        self._maps = _array_file(memory / "maps.f16", np.dtype(np.float16), (parts, *shape))
        self._known = _array_file(memory / "known.u8", np.dtype(np.uint8), (parts,))

    def knows(self, part: int) -> bool:
        """Say whether it saw a part before."""
        return bool(self._known[part])

    def maps(self, views: list[View]) -> torch.Tensor:
        """Return its feature maps (B, C, H, W) float32, mirrored as the views are."""
        self._learn({view.part: view.for_teacher for view in views if view.for_teacher is not None})
        maps = np.stack([self._maps[view.part] for view in views]).astype(np.float32)
        for view, each in zip(views, maps, strict=True):
            if view.mirrored:
                each[:] = each[:, ::-1].copy()
        return torch.from_numpy(maps).permute(0, 3, 1, 2)

    def _learn(self, pixels: dict[int, NDArray[np.uint8]]) -> None:
        parts = list(pixels)
        for start in range(0, len(parts), TOGETHER):
            some = parts[start : start + TOGETHER]
            self._maps[some] = self._model.feature_maps(np.stack([pixels[part] for part in some]))
            self._known[some] = 1


def pad_as_tensorflow(module: nn.Module) -> None:
    """Make convolutions of stride 2 pad right and bottom only, as TensorFlow's "SAME" does for inputs of even size."""
    for convolution in module.modules():
        if isinstance(convolution, nn.Conv2d) and convolution.stride == (2, 2) and convolution.padding == (1, 1):
            convolution.padding = (0, 0)
            convolution.register_forward_pre_hook(_pad_right_and_bottom)


def _pad_right_and_bottom(module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (nn.functional.pad(inputs[0], (0, 1, 0, 1)),)


def _array_file(path: Path, kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Map a file into memory: the one that is there if it has the right size, else one of zeros."""
    size = math.prod(shape) * kind.itemsize
    if path.is_file() and path.stat().st_size == size:
        return np.memmap(path, kind, "r+", shape=shape)
    free = shutil.disk_usage(path.parent).free
    if size > free:  # a mapped file that finds no room later would end the process without a word
        raise TrainingFailed(
            f"the teacher's memory takes {size / 1e9:.1f} GB, and {path.parent} has {free / 1e9:.1f} GB left; free "
            "some space, or choose fewer --parts-per-image or another --teacher-memory"
        )
    return np.memmap(path, kind, "w+", shape=shape)
