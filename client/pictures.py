"""Pictures of maps in a folder: one file each, and a sheet that shows all matches of a search at a glance."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from whymatch.client import results
from whymatch.client.colors import GRADIENTS

COLUMN_PX, ROW_PX = 260, 200
CAPTION_PX = 52
GAP_PX = 12
COLUMNS = 5


def write_search(result: results.SearchResult, folder: Path) -> dict[str, Path]:
    """Write the maps of each match as `RANK-query.png` and `RANK-match.png`, and `sheet.png`; return them by stem."""
    written: dict[str, Path] = {}
    for rank, match in enumerate(result, start=1):
        sides = {f"{rank:02}-query": match.query_map, f"{rank:02}-match": match.match_map}
        written |= write_maps(sides, folder)
    sheet(result).save(folder / "sheet.png")
    return written


def write_maps(maps: dict[str, results.SimilarityMap | None], folder: Path) -> dict[str, Path]:
    """Write the picture of each map as `STEM.png`; return the files by stem."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {stem: folder / f"{stem}.png" for stem, similarity_map in maps.items() if similarity_map}
    for stem, file in files.items():
        similarity_map = maps[stem]
        assert similarity_map
        file.write_bytes(similarity_map.overlay_png)
    return files


def sheet(result: results.SearchResult) -> Image.Image:
    """Return one picture of a search: for each match the query's map, the match's map, rank, score, label and name."""
    panels = [_panel(rank, match) for rank, match in enumerate(result, start=1)]
    rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
    lines = [_side_by_side(row) for row in rows] or [_text_panel("no matches")]
    lines.append(_scale_panel(result.color_scale))
    return ImageOps.expand(_stacked(lines), GAP_PX, "white")


def _panel(rank: int, match: results.Match) -> Image.Image:
    maps = [similarity_map for similarity_map in (match.query_map, match.match_map) if similarity_map]
    pictures = [_fitted(similarity_map.overlay()) for similarity_map in maps]
    caption = _text_panel(f"{rank}.  {match.score:.3f}  {match.label}\n{match.name}", width_px=COLUMN_PX)
    return _stacked([*pictures, caption])


def _fitted(picture: Image.Image) -> Image.Image:
    """Return `picture` centered on a pale tile; the tiles of all images have one size."""
    picture = picture.convert("RGB")
    picture.thumbnail((COLUMN_PX, ROW_PX))
    tile = Image.new("RGB", (COLUMN_PX, ROW_PX), "#eceff3")
    tile.paste(picture, ((COLUMN_PX - picture.width) // 2, (ROW_PX - picture.height) // 2))
    return tile


def _text_panel(text: str, width_px: int = 2 * COLUMN_PX) -> Image.Image:
    panel = Image.new("RGB", (width_px, CAPTION_PX), "white")
    ImageDraw.Draw(panel).multiline_text((0, 2), text, fill="black", font=_font(), spacing=6)
    return panel


def _scale_panel(scale: results.ColorScale | None) -> Image.Image:
    """Return what the colors stand for: a bar between the lowest and the highest value of a cell."""
    if scale is None:
        return _text_panel("")
    panel = _text_panel(f"above: where in the query; below: where in the match\n{scale.low:.4f}")
    draw = ImageDraw.Draw(panel)
    colors = GRADIENTS.get(scale.color_map, [])
    for step, color in enumerate(colors):
        left_px = 70 + step * 20
        draw.rectangle((left_px, 28, left_px + 19, 42), fill=color)
    text = f"{scale.high:.4f} per cell ({scale.color_map})"
    draw.text((80 + len(colors) * 20, 26), text, fill="black", font=_font())
    return panel


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=16)


def _side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    width_px = sum(picture.width for picture in pictures) + GAP_PX * (len(pictures) - 1)
    line = Image.new("RGB", (width_px, max(picture.height for picture in pictures)), "white")
    left_px = 0
    for picture in pictures:
        line.paste(picture, (left_px, 0))
        left_px += picture.width + GAP_PX
    return line


def _stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    height_px = sum(picture.height for picture in pictures) + GAP_PX * (len(pictures) - 1)
    stack = Image.new("RGB", (max(picture.width for picture in pictures), height_px), "white")
    top_px = 0
    for picture in pictures:
        stack.paste(picture, (0, top_px))
        top_px += picture.height + GAP_PX
    return stack
