"""Sheets of near duplicates."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image

from whymatch.client import results
from whymatch.client.draw.folder import clear_pictures, note_pictures
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.tiles import fitted, framed, side_by_side, stacked, text_panel, tile

SHOWN = 20
"""So many images of a group have a tile."""
COLUMNS = 5
TILE = (260, 200)
"""Width and height in pixels."""


def write_groups(
    found: results.Duplicates, originals: Iterable[Sequence[Image.Image | None]], folder: Path
) -> list[Path]:
    """Write a sheet of each group as `NUMBER.png`, and return the files.

    originals: for each group its first images as they are, SHOWN at most; None for what cannot be shown.
    """
    clear_pictures(folder)
    files = []
    for number, (group, pictures) in enumerate(zip(found, originals, strict=True), start=1):
        files.append(folder / f"{number:03}.png")
        save_png(group_sheet(group, pictures), files[-1], found.provenance)
    note_pictures(folder, files)
    return files


def group_sheet(group: results.DuplicateGroup, pictures: Sequence[Image.Image | None]) -> Image.Image:
    """Return the first images of a group side by side, with their names, and how similar they are."""
    tiles = [_captioned(picture, name) for picture, name in zip(pictures, group.names, strict=False)]
    rows = [side_by_side(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    lines = [f"{len(group.names)} near duplicates: similarity {group.least_score:.4f} to {group.largest_score:.4f}"]
    if len(group.names) > len(tiles):
        lines.append(f"{len(group.names) - len(tiles)} more are not shown")
    return framed(stacked([text_panel(lines, max(row.width for row in rows)), *rows]))


def _captioned(picture: Image.Image | None, name: str) -> Image.Image:
    shown = tile(fitted(picture, TILE), TILE) if picture else text_panel(["no picture"], TILE[0])
    return stacked([shown, text_panel([name], TILE[0])])
