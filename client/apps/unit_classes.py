"""The classes of a layer's filters as a picture, with examples that the server decodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from whymatch.client.draw.folder import note_pictures
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.unit_classes import class_examples, class_sheet
from whymatch.client.draw.unit_words import stem
from whymatch.client.unit_results import LayerColors

if TYPE_CHECKING:
    from whymatch.client.client import Client


def write_class_sheets(client: Client, layers: Sequence[LayerColors], folder: Path) -> list[Path]:
    """Write `classes-LAYER.png` of each layer whose filters were decoded."""
    files = []
    for one in layers:
        if one.axis_setting:
            files.append(folder / f"classes-{stem(one.layer)}.png")
            save_png(fetch_class_sheet(client, one), files[-1], one.provenance)
    note_pictures(folder, files)
    return files


def fetch_class_sheet(client: Client, colors: LayerColors) -> Image.Image:
    """Return the classes of a layer; its filters must have been decoded."""
    examples = class_examples(colors)  # no channels would mean all
    found = client.units.filters(colors.layer, examples) if examples else ()
    return class_sheet(colors, {one.channel: one.picture() for one in found})
