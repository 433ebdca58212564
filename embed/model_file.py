"""A model as one safetensors file: the weights of a network and, as metadata, all else that determines its vectors.

`whymatch train` writes such files. The metadata is text:

    backbone   the network's name, as torchvision, timm or this package know it
    mean, std  of red, green and blue, 0 to 1: `0.485,0.456,0.406`, or one number for all three
    size_px    the input size that the model is meant for
    pooling    average, max or gem
    gem_power  the power of gem
    classes    the names of the classes of the network's own classifier, a JSON list
    training   how it was made, JSON; for the reader alone

Files of other programs have less of it; the network's name and the command line supply what is missing.
"""

import json
import math
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from whymatch.embed.errors import BadModel
from whymatch.embed.pooling import Pooling, PoolingKind

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class ModelFacts:
    """The metadata of a model file; None where the file says nothing."""

    backbone: str | None = None
    mean: Triple | None = None
    std: Triple | None = None
    size_px: int | None = None
    pooling: Pooling | None = None
    classes: tuple[str, ...] = ()
    training: Mapping[str, Any] = field(default_factory=dict)


def read_model_file(path: Path) -> tuple[ModelFacts, dict[str, torch.Tensor]]:
    """Read the metadata and the weights of a safetensors file.

    Raises:
        BadModel: it is not a safetensors file, or its metadata is invalid.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as err:
        raise BadModel(f"{str(path)!r} is not a safetensors file ({err})") from err
    try:
        return _facts(facts), state
    except (ValueError, TypeError) as err:
        raise BadModel(f"the metadata of {str(path)!r} cannot be read: {err}") from err


def write_model_file(
    path: Path, facts: ModelFacts, state: Mapping[str, torch.Tensor], *, in_a_byte: Container[str] = ()
) -> None:
    """Write a model file in one step: `path` holds all of it or what it held before.

    Weights take two bytes, float16; those of the tensors named in `in_a_byte` one, float8 with three bits of mantissa.

    Raises:
        OSError: no space, no such folder.
    """
    from safetensors.torch import save_file

    halved = {
        name: tensor.detach().cpu().to(_stored_as(name, tensor, in_a_byte)).contiguous()
        for name, tensor in state.items()
    }
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        save_file(halved, unfinished, metadata=_metadata(facts))
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _stored_as(name: str, tensor: torch.Tensor, in_a_byte: Container[str]) -> torch.dtype:
    if not tensor.is_floating_point():
        return tensor.dtype
    return torch.float8_e4m3fn if name in in_a_byte else torch.float16


def _facts(metadata: Mapping[str, str]) -> ModelFacts:
    pooling = metadata.get("pooling")
    if pooling not in (None, "average", "max", "gem"):
        raise ValueError(f"no pooling {pooling!r}; there are average, max and gem")
    classes = json.loads(metadata.get("classes", "[]"))
    training = json.loads(metadata.get("training", "{}"))
    return ModelFacts(
        backbone=metadata.get("backbone"),
        mean=_triple(metadata.get("mean")),
        std=_triple(metadata.get("std")),
        size_px=int(metadata["size_px"]) if "size_px" in metadata else None,
        pooling=Pooling(cast(PoolingKind, pooling), float(metadata.get("gem_power", 3.0))) if pooling else None,
        classes=tuple(map(str, classes)),
        training=dict(training),
    )


def _metadata(facts: ModelFacts) -> dict[str, str]:
    texts = {
        "backbone": facts.backbone,
        "mean": facts.mean and ",".join(map(str, facts.mean)),
        "std": facts.std and ",".join(map(str, facts.std)),
        "size_px": facts.size_px and str(facts.size_px),
        "pooling": facts.pooling and facts.pooling.kind,
        "gem_power": facts.pooling and str(facts.pooling.power),
        "classes": json.dumps(facts.classes),
        "training": json.dumps(facts.training),
    }
    return {name: text for name, text in texts.items() if text}


def _triple(text: str | None) -> Triple | None:
    """Read `0.5` or `0.485, 0.456, 0.406`."""
    if text is None:
        return None
    values = [float(part) for part in text.strip("[]() ").split(",")]
    red, green, blue = values if len(values) == 3 else values[:1] * 3
    if not all(map(math.isfinite, values)):
        raise ValueError(f"{text!r} are not three numbers")
    return red, green, blue
