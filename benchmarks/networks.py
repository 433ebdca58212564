"""Weights to measure with: speed does not depend on what a network has learned."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from whymatch.embed.torchvision_models import import_models


def write_untrained(name: str, folder: Path) -> Path:
    """Write the weights of an untrained torchvision network to a file."""
    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    save_file(import_models().get_model(name, weights=None).state_dict(), path)
    return path


def small_network(folder: Path) -> str:
    """Write an untrained squeezenet1_1, whose embeddings have 512 dimensions, and return what `--model` calls it."""
    return f"squeezenet1_1={write_untrained('squeezenet1_1', folder)}"


def has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
