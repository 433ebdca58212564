"""Where several images are like the images of one label, on one scale: the paper's figure 8."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from whymatch.client import results
from whymatch.client.draw.folder import clear_pictures, note_pictures
from whymatch.client.draw.maps import common_scale, lit
from whymatch.client.draw.matches import COLUMNS, LARGE, SMALL
from whymatch.client.draw.outlines import draw_best_box
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.tiles import fitted, framed, scale_panel, side_by_side, stacked, text_panel, tile

OVERLAY_PX = 512
"""The longer side of a map's picture, as the server draws one."""


@dataclass(frozen=True, eq=False)
class Explained:
    """An image, and why it is similar to the images of a label."""

    name: str
    content: bytes
    """Its file."""
    explanation: results.LabelExplanation


def write_labels(images: Sequence[Explained], label: str, folder: Path) -> list[Path]:
    """Write the map of each image as `NN-query.png`, and `sheet.png`, all on one scale; return the maps."""
    clear_pictures(folder)
    scale = common_scale(one.explanation.query_map for one in images)
    overlays = [lit(one.content, one.explanation.query_map, scale, size_px=OVERLAY_PX) for one in images]
    files = [folder / f"{number:02}-query.png" for number in range(1, len(images) + 1)]
    for one, overlay, file in zip(images, overlays, files, strict=True):
        save_png(overlay, file, one.explanation.provenance)
    save_png(labels_sheet(images, overlays, label, scale), folder / "sheet.png", None)
    note_pictures(folder, [*files, folder / "sheet.png"])
    return files


def labels_sheet(
    images: Sequence[Explained], overlays: Sequence[Image.Image], label: str, scale: results.ColorScale
) -> Image.Image:
    """Return one picture of the maps in rows, each with its score, and the scale of them all."""
    panels = [_panel(one, overlay) for one, overlay in zip(images, overlays, strict=True)]
    rows = [side_by_side(panels[start : start + COLUMNS]) for start in range(0, len(panels), COLUMNS)]
    lines = [
        f"label {label!r}: where each image is like the other images of it",
        "all maps have one scale; the number is the mean score",
        "white frame: the best box of a map (--box-share)",
    ]
    return framed(stacked([*rows, text_panel(lines, LARGE[0]), scale_panel(scale, LARGE[0])]))


def _panel(one: Explained, overlay: Image.Image) -> Image.Image:
    picture = fitted(overlay, SMALL)
    draw_best_box(picture, one.explanation.query_map)
    caption = [f"{one.explanation.score:.3f}  {one.explanation.image_count} images", one.name]
    return stacked([tile(picture, SMALL), text_panel(caption, SMALL[0])])
