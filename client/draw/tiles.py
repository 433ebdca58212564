"""The parts of sheets of pictures: tiles, lines of text, bars, and the legend of the colors."""

import re
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from whymatch.client import results
from whymatch.client.draw.colors import GRADIENTS, colored

GAP_PX = 12
LINE_PX = 24
BAR_PX, LEAST_BAR_PX = 162, 40
"""Width of the bar of a scale, as far as there is room."""
BREAKS = re.compile(r"(?<=[\s_/~,;=+-])")
PALE = "#eceff3"
BAR, AGAINST = "#4c78a8", "#e45756"


def font(size_px: int = 16) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return the font of all sheets."""
    return ImageFont.load_default(size=size_px)


def fitted(picture: Image.Image, size: tuple[int, int], resampling: Image.Resampling | None = None) -> Image.Image:
    """Return `picture` as large as `size` allows, however narrow it is."""
    zoom = min(size[0] / picture.width, size[1] / picture.height)
    fits = (max(1, round(picture.width * zoom)), max(1, round(picture.height * zoom)))
    return picture.convert("RGB").resize(fits, resampling)


def tile(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return `picture` centered on a pale ground; the tiles of all images have one size."""
    ground = Image.new("RGB", size, PALE)
    ground.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
    return ground


def text_panel(lines: Sequence[str], width_px: int) -> Image.Image:
    """Return lines of text on white, each continued on as many as it needs."""
    rows = [row for line in lines for row in wrapped(line, width_px)]
    panel = Image.new("RGB", (width_px, max(1, LINE_PX * len(rows))), "white")
    draw = ImageDraw.Draw(panel)
    for row, line in enumerate(rows):
        draw.text((0, row * LINE_PX + 2), line, fill="black", font=font())
    return panel


def wrapped(text: str, width_px: int) -> list[str]:
    """Divide a text into lines that fit: behind a space, a dash or the like, else within a word."""
    lines = [""]
    for word in BREAKS.split(text):
        if lines[-1] and not _fits(lines[-1] + word.rstrip(), width_px):
            lines.append("")
        lines[-1] += word
        while len(lines[-1]) > 1 and not _fits(lines[-1].rstrip(), width_px):
            lines[-1:] = _cut(lines[-1], width_px)
    return [line.rstrip() for line in lines]


def shortened(text: str, width_px: int) -> str:
    """Return a text that fits, without its middle if need be: the end is often what tells two names apart."""
    kept = len(text)
    short = text
    while kept > 2 and not _fits(short, width_px):
        kept -= 1
        short = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
    return short


def _cut(word: str, width_px: int) -> tuple[str, str]:
    """Divide a word behind the last character that fits, at least one."""
    place = next((end for end in range(len(word) - 1, 1, -1) if _fits(word[:end], width_px)), 1)
    return word[:place], word[place:]


def _fits(text: str, width_px: int) -> bool:
    return font().getlength(text) <= width_px


def scale_panel(scale: results.ColorScale, width_px: int, unit: str = "per cell") -> Image.Image:
    """Return what the colors stand for: a bar between the lowest and the highest value."""
    panel = Image.new("RGB", (width_px, LINE_PX), "white")
    draw = ImageDraw.Draw(panel)
    low, high = f"{scale.low:.4g}", " ".join(filter(None, [f"{scale.high:.4g}", unit, f"({scale.color_map})"]))
    left_px = _write(draw, 0, low)
    if scale.color_map in GRADIENTS:
        bar_px = max(LEAST_BAR_PX, min(BAR_PX, width_px - round(left_px + draw.textlength(high, font=font()) + 8)))
        values = np.linspace(scale.low, scale.high, bar_px)
        panel.paste(Image.fromarray(np.tile(colored(values, scale), (15, 1, 1))), (round(left_px), 4))
        left_px += bar_px + 8
    _write(draw, left_px, high)
    return panel


def bars_panel(
    rows: Sequence[tuple[str, float, str]], width_px: int, colors: tuple[str, str] = (BAR, AGAINST)
) -> Image.Image:
    """Return a line for each (name, length, value), whose bar is as long as its length among the longest.

    colors: of positive and of negative lengths.
    """
    panel = Image.new("RGB", (width_px, max(1, LINE_PX * len(rows))), "white")
    draw = ImageDraw.Draw(panel)
    left_px, right_px = 130, width_px - 150
    longest = max((abs(length) for _, length, _ in rows), default=0) or 1
    for row, (name, length, value) in enumerate(rows):
        top_px = row * LINE_PX
        end_px = left_px + (right_px - left_px) * abs(length) / longest
        draw.text((0, top_px + 2), shortened(name, left_px - 8), fill="black", font=font())
        draw.rectangle((left_px, top_px + 5, end_px, top_px + 18), fill=colors[length < 0])
        draw.text((right_px + 10, top_px + 2), value, fill="black", font=font())
    return panel


def side_by_side(pictures: Sequence[Image.Image]) -> Image.Image:
    """Put pictures into a row."""
    width_px = sum(picture.width for picture in pictures) + GAP_PX * (len(pictures) - 1)
    line = Image.new("RGB", (width_px, max(picture.height for picture in pictures)), "white")
    left_px = 0
    for picture in pictures:
        line.paste(picture, (left_px, 0))
        left_px += picture.width + GAP_PX
    return line


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Put pictures into a column."""
    height_px = sum(picture.height for picture in pictures) + GAP_PX * (len(pictures) - 1)
    stack = Image.new("RGB", (max(picture.width for picture in pictures), height_px), "white")
    top_px = 0
    for picture in pictures:
        stack.paste(picture, (0, top_px))
        top_px += picture.height + GAP_PX
    return stack


def framed(sheet: Image.Image) -> Image.Image:
    """Return a sheet with a white margin."""
    return ImageOps.expand(sheet, GAP_PX, "white")


def _write(draw: ImageDraw.ImageDraw, left_px: float, text: str) -> float:
    """Write a word and return where the next thing may begin."""
    draw.text((left_px, 2), text, fill="black", font=font())
    return left_px + draw.textlength(text, font=font()) + 8
