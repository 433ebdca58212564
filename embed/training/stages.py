"""Distillation in stages: each part of the student learns to do what one part of its teacher does."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import fx, nn
from torch.nn import functional

from whymatch.embed.errors import BadModel
from whymatch.embed.subgraph import module_outputs, section
from whymatch.embed.training.batches import View
from whymatch.embed.training.learner import Learner
from whymatch.embed.training.mixing import mixed
from whymatch.embed.training.objectives import Objective, pixels_of
from whymatch.embed.training.teacher import TOGETHER, Teacher

Reads = Literal["teacher", "student"]


class Stages(Objective):
    """Each stage of the student learns to predict the output of the teacher's stage from the same input.

    The sum of
        stages   mean_c( mean (s_c - t_c)^2 / (v_c + 0.1 mean_c v_c) ) for each stage, v_c the variance of t_c
        image    1 - cos(mean s - m, mean t - m), means over the cells of the last stage, m the batch's mean of mean t
        classes  KL(teacher's class probabilities || student's)
    with s_c and t_c a channel of the student's and the teacher's response; t_c is 0 where only the student has it.

    A stage reads the output of the teacher's stage below: it need not wait for its own to be good, and thousands
    of places of an image are as many examples; at the end of training it should read the student's, errors and all.
    """

    FLOOR = 0.1
    CELLS = 16384
    """Cells of a batch that a stage learns from, if it reads the teacher's; more of the same image add little."""

    def __init__(
        self, learner: Learner, teacher: Teacher, pairs: Sequence[tuple[str, str]], *, reads: Reads, mix: float
    ) -> None:
        """Prepare to learn.

        pairs: the last modules of a stage, the student's and the teacher's, from the first stage to the feature map.

        Raises:
            BadModel: no such modules, they do not cut the network in two, or the teacher has more channels there.
        """
        super().__init__()
        self._names = [f"{ours}={theirs}" for ours, theirs in pairs]
        self._parts = tuple(_cut(learner.trunk, [ours for ours, _ in pairs]))  # a tuple: they are the learner's
        self._teacher_parts = tuple(_cut(teacher.module, [theirs for _, theirs in pairs]))
        self._teacher = teacher
        self._reads = reads
        self._mix = mix

    def loss(self, learner: Learner, views: list[View]) -> torch.Tensor:
        """Return the loss of a batch."""
        pixels = mixed(pixels_of(views), self._mix).to(learner.device)
        return torch.stack(list(self.terms(learner, pixels).values())).sum()

    def terms(self, learner: Learner, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the terms of the loss, of pixels (B, 3, h, w), 0 to 255."""
        terms: dict[str, torch.Tensor] = {}
        read = maps = learner.normalized(pixels)
        target = pixels
        for name, part, target in zip(self._names, self._parts, self._responses(pixels), strict=True):
            images = len(read) if self._reads == "student" else -(-self.CELLS // target[0, 0].numel())
            maps = part(read[:images]).float()
            target = _as_wide_as(maps, target, name)
            terms[name] = self._missed(maps, target[:images])
            read = maps if self._reads == "student" else target
        vectors, teacher_vectors = maps.mean((2, 3)), target[: len(maps)].mean((2, 3))
        middle = teacher_vectors.mean(0)
        terms["image"] = 1 - functional.cosine_similarity(vectors - middle, teacher_vectors - middle).mean()
        if learner.classifier is not None and self._teacher.classifier is not None:
            wanted = self._teacher.classifier(target, target.mean((2, 3))).log_softmax(1)
            found = learner.classifier(read, read.mean((2, 3))).log_softmax(1)
            terms["classes"] = functional.kl_div(found, wanted, reduction="batchmean", log_target=True)
        return terms

    def _responses(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        """Return the output of each stage of the teacher, (B, C, H, W)."""
        pieces = []
        with torch.no_grad():
            for some in torch.split(pixels, TOGETHER):
                responses = [self._teacher.inputs(some)]
                for part in self._teacher_parts:
                    responses.append(part(responses[-1]))
                pieces.append(responses[1:])
        return [torch.cat(stage) for stage in zip(*pieces, strict=True)]

    def _missed(self, found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        variance = wanted.var((0, 2, 3))
        error = (found - wanted).square().mean((0, 2, 3))
        return (error / (variance + self.FLOOR * variance.mean())).mean()


def parse_pairs(texts: Sequence[str]) -> list[tuple[str, str]]:
    """Read `STUDENT=TEACHER`, names of modules.

    Raises:
        BadModel: it cannot be read.
    """
    if not texts:
        raise BadModel("training in stages needs the stages; write STUDENT=TEACHER, the last module of each")
    pairs = []
    for text in texts:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals and theirs):
            raise BadModel(f"{text!r} is no stage; write STUDENT=TEACHER, the last module of each: layer1=features.3")
        pairs.append((ours, theirs))
    return pairs


def _cut(trunk: nn.Module, names: Sequence[str]) -> list[fx.GraphModule]:
    """Cut a trunk behind the modules of these names."""
    assert isinstance(trunk, fx.GraphModule)
    outputs = module_outputs(trunk.graph)
    start, *_, output = trunk.graph.nodes
    parts = []
    for name in names:
        if name not in outputs:
            raise BadModel(f"{trunk.__class__.__name__} has no module {name!r}; there are {', '.join(outputs)}")
        part = section(trunk, start, outputs[name])
        if part is None:
            raise BadModel(f"{name!r} reads more than the stage below it, or comes before it; cut behind whole blocks")
        parts.append(part)
        start = outputs[name]
    if output.all_input_nodes != [start]:
        raise BadModel(f"the last stage must end with the feature map, not with {names[-1]!r}")
    return parts


def _as_wide_as(maps: torch.Tensor, target: torch.Tensor, name: str) -> torch.Tensor:
    """Append channels of zeros to the teacher's output, until it has as many as the student's."""
    (_, ours, *grid), (_, theirs, *wanted) = maps.shape, target.shape
    if grid != wanted:
        cells = " x ".join(map(str, wanted)), " x ".join(map(str, grid))
        raise BadModel(
            f"at {name} the teacher gives {cells[0]} cells, the student {cells[1]}; pair modules of one stride"
        )
    if theirs > ours:
        raise BadModel(f"at {name} the teacher gives {theirs} channels, the student only {ours}")
    return functional.pad(target, (0, 0, 0, 0, 0, ours - theirs))
