"""What a run minimizes: a loss on the labels of its images, or the distance from a teacher."""

from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from whymatch.embed.errors import TrainingFailed
from whymatch.embed.training.batches import View
from whymatch.embed.training.learner import Learner
from whymatch.embed.training.mixing import mixed
from whymatch.embed.training.teacher import Teacher

MetricLoss = Literal["triplet", "proxy", "contrastive"]


class Objective(nn.Module):
    """A loss, perhaps with parameters of its own, which are thrown away after the run."""

    pace = 1.0
    """Learning rate of its parameters, relative to the network's."""

    @abstractmethod
    def loss(self, learner: Learner, views: list[View]) -> torch.Tensor:
        """Return the loss of a batch, a scalar."""


class LabelObjective(Objective):
    """Embeddings of one label close, those of others far; the losses are pytorch-metric-learning's.

    triplet:     max(0, margin + s(hardest negative) - s(hardest positive)) for each anchor, the mean of those above 0
                 ("batch hard" of Hermans, Beyer, Leibe)
    proxy:       proxy anchor loss, a learned vector for each label
    contrastive: 1 - s for each pair of one label, max(0, s - (1 - margin)) for each pair of two
    with s the cosine.
    """

    pace = 10.0

    def __init__(self, kind: MetricLoss, *, labels: int, channels: int, margin: float) -> None:
        super().__init__()
        try:
            from pytorch_metric_learning import distances, losses, miners
        except ImportError as err:
            raise TrainingFailed(f"the losses of labels need {err.name}: pip install '.[train]' in a checkout") from err
        cosine = distances.CosineSimilarity()
        self._miner = miners.BatchHardMiner(distance=cosine) if kind == "triplet" else None
        if kind == "triplet":
            self._loss: nn.Module = losses.TripletMarginLoss(margin=margin, distance=cosine)
        elif kind == "proxy":
            self._loss = losses.ProxyAnchorLoss(num_classes=labels, embedding_size=channels, margin=margin)
        else:
            self._loss = losses.ContrastiveLoss(pos_margin=1, neg_margin=1 - margin, distance=cosine)

    def loss(self, learner: Learner, views: list[View]) -> torch.Tensor:
        """Return the loss of a batch."""
        vectors = learner.pool(learner(pixels_of(views).to(learner.device))).float()
        labels = torch.tensor([view.label for view in views], device=vectors.device)
        loss: torch.Tensor = self._loss(vectors, labels, self._miner(vectors, labels) if self._miner else None)
        return loss


class Distillation(Objective):
    """The student learns to see what a teacher sees: at each place, in the whole image, between images, and what class.

    The sum of
        places     1 - cos(A s, t - mean t) at each cell, A a linear layer
        image      the same for the average-pooled vectors
        relations  KL(softmax_j(cos(t_i, t_j) / T) || softmax_j(w cos(s_i, s_j))) over the other images j of the batch
        classes    KL(teacher's class probabilities || student's)
    with s and t the student's and the teacher's vectors, A and w learned.
    """

    TEMPERATURE = 0.05
    """T: a cosine that is higher by this counts e times as much."""

    def __init__(self, learner: Learner, teacher: Teacher, *, mix: float, size_px: int) -> None:
        """Prepare to learn.

        mix: how many of the images are mixed with another one, a share.
        size_px: side of the student's input; the teacher sees the views as they come, larger ones if you like.
        """
        super().__init__()
        self._teacher = teacher
        self._mix = mix
        self._size = (size_px, size_px)
        self._to_teacher = nn.Linear(learner.channels, teacher.channels)
        self._log_sharpness = nn.Parameter(torch.tensor(3.0))

    def loss(self, learner: Learner, views: list[View]) -> torch.Tensor:
        """Return the loss of a batch."""
        pixels = mixed(pixels_of(views), self._mix).to(learner.device)
        small = functional.interpolate(pixels, self._size, mode="bilinear", antialias=True)
        return torch.stack(list(self.terms(learner, small, self._teacher.maps(pixels)).values())).sum()

    def terms(self, learner: Learner, pixels: torch.Tensor, teacher_maps: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the terms of the loss: pixels (B, 3, h, w), 0 to 255; teacher_maps (B, T, H, W)."""
        maps = learner(pixels).float()
        vectors, teacher_vectors = learner.pool(maps), teacher_maps.mean((2, 3))
        grid = min(maps.shape[2], teacher_maps.shape[2]), min(maps.shape[3], teacher_maps.shape[3])
        terms = {
            "places": self._apart(_cells(maps, grid), _cells(teacher_maps, grid)),
            "image": self._apart(maps.mean((2, 3)), teacher_vectors),
            "relations": self._relations(vectors, teacher_vectors),
        }
        if learner.classifier is not None and self._teacher.classifier is not None:
            wanted = self._teacher.classifier(teacher_maps, teacher_vectors).log_softmax(1)
            found = learner.classifier(maps, vectors).log_softmax(1)
            terms["classes"] = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return terms

    def _apart(self, vectors: torch.Tensor, teacher_vectors: torch.Tensor) -> torch.Tensor:
        centered = teacher_vectors - teacher_vectors.mean(0)
        return 1 - functional.cosine_similarity(self._to_teacher(vectors), centered).mean()

    def _relations(self, vectors: torch.Tensor, teacher_vectors: torch.Tensor) -> torch.Tensor:
        wanted = (_cosines_with_others(teacher_vectors) / self.TEMPERATURE).log_softmax(1)
        found = (_cosines_with_others(vectors) * self._log_sharpness.exp()).log_softmax(1)
        return functional.kl_div(found, wanted, reduction="batchmean", log_target=True)


def pixels_of(views: list[View]) -> torch.Tensor:
    """Stack the pixels of views, (B, 3, h, w) float32, 0 to 255."""
    pixels = torch.from_numpy(np.stack([view.pixels for view in views]))
    return pixels.permute(0, 3, 1, 2).float()


def _cells(maps: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """Bring maps (B, C, H, W) to a grid and return its cells (B H W, C)."""
    return functional.adaptive_avg_pool2d(maps, grid).permute(0, 2, 3, 1).flatten(0, 2)


def _cosines_with_others(vectors: torch.Tensor) -> torch.Tensor:
    """Return the cosines (B, B - 1) of each vector with each other one."""
    unit = functional.normalize(vectors)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    return (unit @ unit.T)[~itself].view(len(unit), -1)
