"""Pictures of units: a card of one, sheets of filters, receptive fields, segments, and minimal images step by step."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from whymatch.client.draw.differences import gray
from whymatch.client.draw.folder import clear_pictures, note_pictures
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.tiles import bars_panel, fitted, font, framed, side_by_side, stacked, text_panel, tile
from whymatch.client.draw.unit_words import UnitCard, color_words, filter_words, unit_stem
from whymatch.client.results import Provenance
from whymatch.client.unit_results import (
    ColorSelectivity,
    DecodedFilter,
    EmpiricalField,
    MinimalImageStep,
    Segmentation,
    UnitSegment,
)

PATCH, FILTER, PICTURE = (112, 112), (176, 176), (360, 360)
"""Width and height of a patch, a filter and an image on a sheet."""
PATCHES_IN_ROW, FILTERS_IN_ROW, STEPS_IN_ROW = 3, 8, 4
PANEL_PX = 420
STEPS_SHOWN = 8
FRAME_MS, LAST_FRAME_MS = 400, 2000
SWATCHES = {
    "red": "#d62728",
    "orange": "#ff8c00",
    "brown": "#8b5a2b",
    "yellow": "#f2d600",
    "green": "#2ca02c",
    "blue": "#1f77d0",
    "purple": "#8a2be2",
    "pink": "#ff9ec4",
    "black": "#111111",
    "gray": "#8c8c8c",
    "white": "#ffffff",
}
"""What the names of colors look like."""


def write_cards(cards: Sequence[UnitCard], folder: Path, notes: Sequence[str] = ()) -> list[Path]:
    """Write a picture of each unit, `LAYER-UNIT.png`, beside those that are there, and return the files.

    notes: a line for each card, below its title.
    """
    files = [folder / f"{card.stem}.png" for card in cards]
    for card, file, note in zip(cards, files, notes or [""] * len(cards), strict=True):
        save_png(card_picture(card, note), file, card.unit.provenance)
    note_pictures(folder, files)
    return files


def write_filters(found: Sequence[DecodedFilter], folder: Path) -> list[Path]:
    """Write a picture of each filter, `LAYER-UNIT.png`, and `sheet.png`; return the former."""
    write_sheet(filter_sheet(found), folder, found[0].provenance if found else None)
    files = [folder / f"{unit_stem(one.layer, one.channel)}.png" for one in found]
    for one, file in zip(found, files, strict=True):
        save_png(one.picture_png, file, one.provenance)
    note_pictures(folder, files)
    return files


def write_segments(found: Sequence[UnitSegment], folder: Path, provenance: Provenance | None) -> list[Path]:
    """Write each segment over its image, `LAYER-UNIT.png`, its mask, and `sheet.png`; return the first."""
    write_sheet(segment_sheet(found), folder, provenance)
    files, masks = [], []
    for one in found:
        stem = unit_stem(one.layer, one.channel)
        masks.append(folder / f"{stem}-mask.png")
        save_png(one.mask(), masks[-1], provenance)
        files.append(folder / f"{stem}.png")
        save_png(one.overlay_png, files[-1], provenance)
    note_pictures(folder, [*files, *masks])
    return files


def write_sheet(sheet: Image.Image, folder: Path, provenance: Provenance | None) -> Path:
    """Write `sheet.png`, the first picture of a command."""
    clear_pictures(folder)
    save_png(sheet, folder / "sheet.png", provenance)
    note_pictures(folder, [folder / "sheet.png"])
    return folder / "sheet.png"


def card_picture(card: UnitCard, note: str = "") -> Image.Image:
    """Return the card of a unit: patches and segments of its top images, its decoded filter, colors and labels."""
    unit = card.unit
    patches = [_captioned(top.patch(), PATCH, f"{top.response:.4g}") for top in unit.top_images if top.patch_png]
    left = [text_panel(["what it sees"], 3 * PATCH[0]), _grid(patches, PATCHES_IN_ROW)] if patches else []
    segments = [_captioned(top.segment(), PATCH, top.label) for top in unit.top_images if top.segment_png]
    middle = [text_panel(["its segments"], 3 * PATCH[0]), _grid(segments, PATCHES_IN_ROW)] if segments else []
    seen = [stacked(column) for column in (left, middle) if column]
    right = [text_panel(_facts(card), PANEL_PX)]
    if card.filter:
        right.append(_captioned_lines(card.filter.picture(), FILTER, ["decoded filter:", filter_words(card.filter)]))
    if unit.color:
        right.append(color_panel(unit.color))
    if unit.labels:
        rows = [(one.label, one.precision, f"{one.precision:.0%}") for one in unit.labels[:5]]
        right += [
            text_panel([f"labels of the top {unit.label_image_count} images"], PANEL_PX),
            bars_panel(rows, PANEL_PX),
        ]
    title = text_panel([f"{unit.layer} / {unit.channel}", *filter(None, [note])], PANEL_PX)
    return framed(stacked([title, side_by_side([*seen, stacked(right)])]))


def color_panel(color: ColorSelectivity) -> Image.Image:
    """Return how selective a unit is for colors, and what share each color has, as a bar of swatches."""
    bar = Image.new("RGB", (PANEL_PX, 22), "white")
    draw, left = ImageDraw.Draw(bar), 0.0
    for one in color.names:
        right = left + one.share * (PANEL_PX - 1)
        draw.rectangle((left, 0, right, 20), fill=SWATCHES.get(one.name, "white"), outline="#b5bac2")
        left = right
    return stacked([text_panel([color_words(color)], PANEL_PX), bar])


def filter_sheet(filters: Sequence[DecodedFilter]) -> Image.Image:
    """Return decoded filters side by side, as the paper's figure 1; each has its own scale."""
    return picture_sheet([(str(one.channel), one.picture()) for one in filters])


def picture_sheet(pictures: Sequence[tuple[str, Image.Image]]) -> Image.Image:
    """Return pictures of filters with their names side by side."""
    tiles = [_captioned(picture, PATCH, name) for name, picture in pictures]
    width, height = pictures[0][1].size
    lines = [f"{width} x {height} px; gray is a weight of 0; each filter has its own scale"]
    return framed(stacked([_grid(tiles, FILTERS_IN_ROW), text_panel(lines, 2 * PANEL_PX)]))


def field_sheet(one: EmpiricalField) -> Image.Image:
    """Return a receptive field with its size."""
    return framed(_captioned_lines(field_picture(one), PICTURE, field_lines(one)))


def field_picture(one: EmpiricalField) -> Image.Image:
    """Return the map of a receptive field, brighter where the unit responds more, with a box around the field."""
    if one.box is None:
        return Image.new("RGB", FILTER, "black")
    picture = gray(one.values, float(one.values.max())).convert("RGB")
    zoom = max(1, round(PICTURE[0] / max(picture.size)))
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    edges = (one.box.left_px, one.box.top_px, one.box.right_px, one.box.bottom_px)
    left, top, right, bottom = (edge * zoom for edge in edges)
    ImageDraw.Draw(picture).rectangle((left, top, right - 1, bottom - 1), outline="#35c4ff", width=max(2, zoom // 2))
    return picture


def field_lines(one: EmpiricalField) -> list[str]:
    """Describe the size of a receptive field."""
    seen = f"at most {one.theoretical.width_px} x {one.theoretical.height_px} px by geometry"
    if one.box is None:
        return [f"{one.layer} / {one.channel}: dead", seen]
    above = f"above {one.occluder.threshold:.0%} of the largest change, {one.image_count} images"
    return [f"{one.layer} / {one.channel}: {one.width_px} x {one.height_px} px", above, seen]


def segment_sheet(segments: Sequence[UnitSegment]) -> Image.Image:
    """Return the segments of an image side by side."""
    tiles = [_captioned_lines(one.overlay(), PICTURE, segment_lines(one)) for one in segments if one.overlay_png]
    return framed(_grid(tiles or [text_panel(["no unit responds"], PANEL_PX)], 3))


def segmentation_lines(found: Segmentation) -> list[str]:
    """Return a line for each segment, class and match."""
    return [
        *("; ".join(segment_lines(one)) for one in found.segments),
        *(f"{one.probability:.1%}\t{one.class_name}" for one in found.classes),
        *(f"{match.score:.4f}\t{match.label}\t{match.name}" for match in found.matches),
    ]


def segment_lines(one: UnitSegment) -> list[str]:
    """Describe the threshold and the size of a segment."""
    if one.threshold is None:
        return [f"{one.layer} / {one.channel}: dead", "no segment"]
    label = f"{one.label.label} ({one.label.precision:.0%}), " if one.label else ""
    return [
        f"{one.layer} / {one.channel}: {label}{one.area_share:.0%} of the image",
        f"up to {float(one.responses.max()):.3g}, from {one.threshold:.3g} on; {one.maximum:.3g} in the gallery",
    ]


def write_minimal_image(steps: Sequence[MinimalImageStep], folder: Path, *, of_class: bool) -> Path:
    """Write each step as `step-NNN.png`, all as `animation.gif`, and some of them as `sheet.png`, which is returned."""
    frames = [step for step in steps if not step.minimal or len(steps) == 1]
    sheet = write_sheet(minimal_image_sheet(frames, of_class=of_class), folder, steps[-1].provenance)
    files = [folder / f"step-{number:03}.png" for number in range(len(frames))]
    for step, file in zip(frames, files, strict=True):
        save_png(step.picture_png, file, step.provenance)
    pictures = [fitted(step.picture(), PICTURE) for step in frames]
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_FRAME_MS]
    pictures[0].save(
        folder / "animation.gif", save_all=True, append_images=pictures[1:], duration=durations, loop=0, optimize=False
    )
    note_pictures(folder, [*files, folder / "animation.gif"])
    return sheet


def minimal_image_sheet(steps: Sequence[MinimalImageStep], *, of_class: bool) -> Image.Image:
    """Return some steps of a minimal image, the first and the last among them.

    of_class: it was for a class, not for a match.
    """
    places = np.unique(np.linspace(0, len(steps) - 1, min(STEPS_SHOWN, len(steps))).round().astype(int))
    tiles = [_captioned_lines(steps[n].picture(), FILTER, step_lines(steps[n], of_class=of_class)) for n in places]
    what = f"{'class' if of_class else 'match'}: {steps[0].prediction}"
    return framed(stacked([_grid(tiles, STEPS_IN_ROW), text_panel([what], 600)]))


def step_lines(step: MinimalImageStep, *, of_class: bool) -> list[str]:
    """Describe how much of an image is left, and what that is worth."""
    return [f"{step.area_share:.0%} of the image", f"{'probability' if of_class else 'similarity'} {step.value:.3f}"]


def _facts(card: UnitCard) -> list[str]:
    unit = card.unit
    seen = unit.receptive_field
    lines = [f"largest response {unit.maximum:.4g} over {unit.image_count} images"]
    lines.append(f"sees at most {seen.width_px} x {seen.height_px} px of the input")
    if unit.is_dead:
        lines.append("dead: no image of the gallery makes it respond")
    if card.no_filter:
        lines.append("its filter cannot be decoded")
    return lines


def _captioned(picture: Image.Image, size: tuple[int, int], caption: str) -> Image.Image:
    return _captioned_lines(picture, size, [caption])


def _captioned_lines(picture: Image.Image, size: tuple[int, int], lines: Sequence[str]) -> Image.Image:
    width = max(size[0], *(round(font().getlength(line)) + 4 for line in lines))
    sharp = Image.Resampling.NEAREST if max(picture.size) * 2 <= max(size) else Image.Resampling.LANCZOS
    return stacked([tile(fitted(picture, size, sharp), size), text_panel(lines, min(width, PANEL_PX))])


def _grid(tiles: Sequence[Image.Image], columns: int) -> Image.Image:
    return stacked([side_by_side(tiles[start : start + columns]) for start in range(0, len(tiles), columns)])
