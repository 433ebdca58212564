"""A recipe: all that determines the outcome of a training run, and the way from it to a run."""

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from whymatch.embed.errors import BadFolder, BadModel
from whymatch.embed.folders import LabeledImage, find_images, labels_of
from whymatch.embed.model import load_named_model, named_network
from whymatch.embed.model_file import ModelFacts
from whymatch.embed.networks import Network, untrained_network
from whymatch.embed.pictures.folders import LeftOut
from whymatch.embed.pooling import Pooling, PoolingKind
from whymatch.embed.training.batches import Batches, BatchSetting
from whymatch.embed.training.learner import Learner
from whymatch.embed.training.objectives import Distillation, LabelObjective, Objective
from whymatch.embed.training.run import Run, Schedule
from whymatch.embed.training.stages import Reads, Stages, parse_pairs
from whymatch.embed.training.teacher import Teacher, pad_as_tensorflow
from whymatch.embed.training.views import ViewSetting

Loss = Literal["triplet", "proxy", "contrastive", "distillation", "stages"]


@dataclass(frozen=True)
class Recipe:
    """What is trained, on what, and how."""

    folders: tuple[str, ...]
    """Where the images are; for the three losses of labels each image's label is the name of its folder."""
    include: str = "*"
    """Only images whose file name matches this pattern."""
    loss: Loss = "proxy"
    model: str = "bundled"
    """The model to begin with, `[BACKBONE=]MODEL[:POOLING]`."""
    scratch: str = ""
    """A network to begin with random weights instead."""
    pooling: PoolingKind | None = None
    """By default that of the model to begin with."""
    size_px: int = 0
    """Side of the views that it trains on; 0 takes the model's input size."""
    model_size_px: int = 0
    """The input size that the trained model is meant for; 0 leaves it. Larger than the views' is usually better."""

    steps: int = 1000
    batch_size: int = 64
    images_per_label: int = 4
    """Of each label in a batch; distillation takes images as they come."""
    learning_rate: float = 2e-4
    warmup_steps: int = 50
    weight_decay: float = 0.05
    margin: float = 0.2
    """Of the three losses of labels, in units of the cosine."""
    smallest_part: float = 0.25
    light: float = 0.1
    seed: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    device: str = "cpu"

    teacher: str = ""
    """The model to learn from, for distillation and stages."""
    teacher_size_px: int = 160
    """Side of what the teacher sees; the student sees the same, resized to `size_px`. In stages both see `size_px`."""
    teacher_padding: Literal["torchvision", "tensorflow"] = "torchvision"
    """Where the teacher's convolutions of stride 2 pad; weights trained with TensorFlow require the latter."""
    class_names: str = ""
    """A file of the names of the teacher's classes, one a line; then the student learns its probabilities, too."""
    compact_classifier: bool = False
    """Store the weights of the network's classifier in a byte each."""
    mix: float = 0.5
    """Share of the images that are mixed with another one."""
    stages: tuple[str, ...] = ()
    """The last modules of each stage, `STUDENT=TEACHER`, from the first stage to the feature map."""
    stages_read: Reads = "teacher"
    """What a stage reads while it learns: what the teacher's stage below gives, or the student's."""


def prepare(
    recipe: Recipe,
    folder: Path,
    *,
    save_every: int = 200,
    checkpoints: Sequence[int] = (),
    left_out: LeftOut | None = None,
) -> Run:
    """Make the run of a recipe in a folder.

    save_every, checkpoints: as in `Run`.
    left_out: counts what is in the recipe's folders and is not learned from.

    Raises:
        BadFolder: no images, or no labels to learn from.
        BadModel: the model, the network or the teacher cannot be used.
    """
    images = find_images([Path(name) for name in recipe.folders], include=recipe.include, left_out=left_out)
    torch.manual_seed(recipe.seed)
    network = _network(recipe)
    learner = Learner(network)
    settings = BatchSetting(recipe.batch_size, recipe.size_px or network.size_px, recipe.seed)
    views = ViewSetting(recipe.smallest_part, light=recipe.light)
    if recipe.loss == "distillation":
        _require_classifier(recipe, learner)
        objective: Objective = Distillation(learner, _teacher(recipe), mix=recipe.mix, size_px=settings.size_px)
        batches = Batches(images, replace(settings, size_px=recipe.teacher_size_px), views)
    elif recipe.loss == "stages":
        _require_classifier(recipe, learner)
        pairs = parse_pairs(recipe.stages)
        objective = Stages(learner, _teacher(recipe), pairs, reads=recipe.stages_read, mix=recipe.mix)
        batches = Batches(images, settings, views)
    else:
        labels = _require_labels(images)
        objective = LabelObjective(recipe.loss, labels=labels, channels=learner.channels, margin=recipe.margin)
        batches = Batches(images, replace(settings, images_per_label=recipe.images_per_label), views)
    schedule = Schedule(recipe.steps, recipe.learning_rate, recipe.warmup_steps, recipe.weight_decay)
    return Run(
        folder,
        network,
        _facts(recipe, network),
        learner,
        objective,
        batches,
        schedule,
        _settings(recipe, images),
        seed=recipe.seed,
        precision=recipe.precision,
        device=recipe.device,
        save_every=save_every,
        checkpoints=tuple(checkpoints),
        in_a_byte=_in_a_byte(recipe, learner),
    )


def _in_a_byte(recipe: Recipe, learner: Learner) -> tuple[str, ...]:
    classifier = learner.classifier
    return (f"{classifier.name}.weight",) if recipe.compact_classifier and classifier is not None else ()


def _network(recipe: Recipe) -> Network:
    network = untrained_network(recipe.scratch) if recipe.scratch else named_network(recipe.model)
    return replace(network, pooling=Pooling(recipe.pooling)) if recipe.pooling else network


def _teacher(recipe: Recipe) -> Teacher:
    model = load_named_model(recipe.teacher, device=recipe.device)
    if recipe.teacher_padding == "tensorflow":
        pad_as_tensorflow(model.trunk.module)
    classifier = model.trunk.classifier if recipe.class_names else None
    names = _class_names(recipe)
    classes = classifier.classes if classifier is not None else 0
    if names and len(names) != classes:
        raise BadModel(f"{recipe.teacher} has {classes} classes, but {recipe.class_names} {len(names)} names")
    return Teacher(model, classifier)


def _require_classifier(recipe: Recipe, learner: Learner) -> None:
    """Refuse class names if their number is not that of the student's own classes."""
    names = len(_class_names(recipe))
    classes = learner.classifier.classes if learner.classifier is not None else 0
    if names and names != classes:
        raise BadModel(
            f"{recipe.scratch or recipe.model} scores {classes} classes, not {names}; leave --class-names out"
        )


def _class_names(recipe: Recipe) -> tuple[str, ...]:
    return tuple(Path(recipe.class_names).read_text().splitlines()) if recipe.class_names else ()


def _require_labels(images: Sequence[LabeledImage]) -> int:
    """Return how many labels there are."""
    groups = labels_of(images)
    single = [label for label, group in groups.items() if len(group) < 2]
    if len(groups) - len(single) < 2:
        raise BadFolder(
            f"there is nothing to learn from: of {len(groups)} labels {len(single)} have one image only; put the "
            "images of each label into a folder of its own, at least two of them"
        )
    return len(groups)


def _facts(recipe: Recipe, network: Network) -> ModelFacts:
    return ModelFacts(
        backbone=network.name,
        mean=network.mean,
        std=network.std,
        size_px=recipe.model_size_px or recipe.size_px or network.size_px,
        pooling=network.pooling,
        classes=_class_names(recipe) if recipe.loss in ("distillation", "stages") else (),
    )


def _settings(recipe: Recipe, images: Sequence[LabeledImage]) -> dict[str, Any]:
    """Return the training facts for a model file; paths without their folders, which are private."""
    settings = asdict(recipe) | {"folders": [Path(folder).name for folder in recipe.folders]}
    for name in ("model", "teacher", "class_names"):
        settings[name] = re.sub(r"[^=]*/", "", settings[name])
    return settings | {"images": len(images), "images_sha256": _hash_of(images)}


def _hash_of(images: Sequence[LabeledImage]) -> str:
    """Return a hash of the names and labels of images; not of their contents, which would take a pass over all."""
    names = "\n".join(f"{image.label}/{image.path.name}" for image in images)
    return hashlib.sha256(os.fsencode(names)).hexdigest()[:16]  # names need not be UTF-8
