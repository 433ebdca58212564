"""What prediction difference explains: numbers that the model makes of an image, as classes and as words."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from whymatch.client.inputs import ImageInput, Stored

FORMS = (
    "class:NAME, score:NAME, unit:LAYER/CHANNEL, unit:LAYER/CHANNEL@ROW,COLUMN, similarity:FILE, "
    "similarity:image:NAME, evidence:LABEL or evidence-image:NAME"
)
"""The words of the command line; `str` of a target writes them."""

_UNIT = re.compile(r"(.+)/([0-9]{1,9})(?:@([0-9]{1,9}),([0-9]{1,9}))?")


@dataclass(frozen=True)
class ClassProbability:
    """The probability of a class; its map is the weight of evidence in bits."""

    name: str
    """The class, its number from 0, or `top1`, `top2` and so on for the image's most likely classes."""

    def __str__(self) -> str:
        return f"class:{self.name}"


@dataclass(frozen=True)
class ClassScore:
    """The score of a class before softmax."""

    name: str
    """As of `ClassProbability`."""

    def __str__(self) -> str:
        return f"score:{self.name}"


@dataclass(frozen=True)
class Unit:
    """The response of a unit, or the mean over all units of a feature map."""

    layer: str
    """By one of the names in `Model.layers`, or by the name of a module of the network."""
    channel: int
    """From 0."""
    cell: tuple[int, int] | None = None
    """Row and column of the unit, from 0; None for the mean over the units of the channel."""

    def __str__(self) -> str:
        where = f"@{self.cell[0]},{self.cell[1]}" if self.cell else ""
        return f"unit:{self.layer}/{self.channel}{where}"


@dataclass(frozen=True)
class Similarity:
    """The cosine similarity to another image."""

    image: ImageInput | Stored

    def __str__(self) -> str:
        if isinstance(self.image, Stored):
            return f"similarity:image:{self.image.name}"
        if isinstance(self.image, (str, os.PathLike)):
            return f"similarity:{os.fspath(self.image)}"
        return "similarity:picture"


@dataclass(frozen=True)
class Evidence:
    """The probability of a label among the image's neighbors; its map is the weight of evidence in bits."""

    label: str

    def __str__(self) -> str:
        return f"evidence:{self.label}"


@dataclass(frozen=True)
class ImageEvidence:
    """The probability of one image among the image's neighbors; its map is the weight of evidence in bits."""

    name: str
    gallery: str | None = None
    """Where it is; None means the gallery of the call."""

    def __str__(self) -> str:
        return f"evidence-image:{self.name}"


PredictionTarget: TypeAlias = ClassProbability | ClassScore | Unit | Similarity | Evidence | ImageEvidence
"""What prediction difference explains."""


def read_target(text: str) -> PredictionTarget:
    """Read a target in the words of the command line, such as `class:top1`; raise ValueError if it is none."""
    kind, _, name = text.partition(":")
    if name:
        match kind:
            case "class":
                return ClassProbability(name)
            case "score":
                return ClassScore(name)
            case "unit":
                return _unit(text, name)
            case "similarity":
                return Similarity(_image(name))
            case "evidence":
                return Evidence(name)
            case "evidence-image":
                return ImageEvidence(name)
    raise ValueError(f"{text!r} is no target; write {FORMS}")


def _unit(text: str, name: str) -> Unit:
    found = _UNIT.fullmatch(name)
    if not found:
        raise ValueError(f"{text!r} names no unit; write unit:LAYER/CHANNEL or unit:LAYER/CHANNEL@ROW,COLUMN")
    layer, channel, row, column = found.groups()
    return Unit(layer, int(channel), (int(row), int(column)) if row else None)


def _image(name: str) -> str | Stored:
    if name.startswith("image:"):
        return Stored(name.removeprefix("image:"))
    if not Path(name).is_file():
        raise ValueError(f"there is no file {name!r}; a stored image is written similarity:image:NAME")
    return name
