"""The labels that units detect in an image, outlined and named on one picture, with its classes and matches."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from whymatch.client.draw.folder import note_pictures
from whymatch.client.draw.outlines import PAIR_COLORS, outline_mask
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.tiles import bars_panel, fitted, font, framed, side_by_side, stacked, text_panel
from whymatch.client.unit_results import Segmentation, UnitSegment

PICTURE, PANEL_PX = (760, 640), 420
LABELS, UNITS = 5, 5
"""No more labels than this are drawn, and no more units named."""
PLATE_PX = 22
Plate = tuple[float, float, float]
"""Left, top and right edge of a name."""


def write_detectors(picture: Image.Image, found: Segmentation, folder: Path) -> None:
    """Write `detectors.png` into a folder of segments."""
    file = folder / "detectors.png"
    save_png(detectors_picture(picture, found), file, found.provenance)
    note_pictures(folder, [file])


def detectors_picture(picture: Image.Image, found: Segmentation) -> Image.Image:
    """Return an image with what its detectors find: of each label where half of the units that detect it respond.

    What lies outside is darkened; labels of most units come first. picture: the upright image.
    """
    labels = dict([*detected(found.segments).items()][:LABELS])
    panels = [text_panel(_lines(labels), PANEL_PX)]
    if found.classes:
        rows = [(one.class_name[:16], one.probability, f"{one.probability:.0%}") for one in found.classes]
        panels += [text_panel(["classes"], PANEL_PX), bars_panel(rows, PANEL_PX)]
    if found.matches:
        words = [f"{match.score:.3f}  {match.label or match.name}" for match in found.matches]
        panels.append(text_panel(["matches", *words], PANEL_PX))
    return framed(side_by_side([_outlined(fitted(picture, PICTURE), labels), stacked(panels)]))


def detected(segments: Sequence[UnitSegment]) -> dict[str, list[UnitSegment]]:
    """Return the segments of each label that is detected, the label of most segments first."""
    labels: dict[str, list[UnitSegment]] = {}
    for one in segments:
        if one.label:
            labels.setdefault(one.label.label, []).append(one)
    return dict(sorted(labels.items(), key=lambda item: -len(item[1])))


def _outlined(picture: Image.Image, labels: Mapping[str, Sequence[UnitSegment]]) -> Image.Image:
    masks = [_shared([one.mask().resize(picture.size) for one in segments]) for segments in labels.values()]
    inside = functools.reduce(ImageChops.lighter, masks, Image.new("L", picture.size))
    shown = Image.composite(picture, picture.point(lambda value: value // 2), inside)
    for mask, color in zip(masks, PAIR_COLORS, strict=False):
        outline_mask(shown, mask, color)
    plates: list[Plate] = []
    for name, mask, color in zip(labels, masks, PAIR_COLORS, strict=False):
        plates.append(_name(shown, name, mask, color, plates))
    return shown


def _shared(masks: Sequence[Image.Image]) -> Image.Image:
    """Return where at least half of some masks are white."""
    mean = np.mean([np.asarray(mask) for mask in masks], axis=0)
    return Image.fromarray(np.where(mean >= 127, 255, 0).astype(np.uint8))


def _name(picture: Image.Image, name: str, mask: Image.Image, color: str, taken: Sequence[Plate]) -> Plate:
    """Write a name above the upper left corner of a mask, but not over another one; return where."""
    width = font(14).getlength(name) + 10
    corner_x, corner_y = (mask.getbbox() or (0, 0, 0, 0))[:2]
    left, top = max(0.0, min(corner_x, picture.width - width)), max(0.0, corner_y - PLATE_PX)
    while any(left < right and other < left + width and abs(top - up) < PLATE_PX for other, up, right in taken):
        top += PLATE_PX
    draw = ImageDraw.Draw(picture)
    draw.rectangle((left, top, left + width, top + PLATE_PX - 2), fill=color, outline="black")
    draw.text((left + 5, top + PLATE_PX / 2 - 1), name, fill="black", font=font(14), anchor="lm")
    return left, top, left + width


def _lines(labels: Mapping[str, Sequence[UnitSegment]]) -> list[str]:
    lines = []
    for name, segments in labels.items():
        units = " ".join(str(one.channel) for one in segments[:UNITS])
        more = f" and {len(segments) - UNITS} more" if len(segments) > UNITS else ""
        lines.append(f"{name}: {'units' if len(segments) > 1 else 'unit'} {units}{more}")
    return lines or ["no unit that detects a label responds here"]
