"""A chart with two axes as a picture, drawn with Pillow alone."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

from PIL import Image, ImageChops, ImageDraw

from whymatch.client.draw.tiles import font, side_by_side

WIDTH_PX, HEIGHT_PX = 720, 460
LEFT_PX, TOP_PX, RIGHT_PX, BOTTOM_PX = 78, 48, 690, 395
"""The corners of the field between the axes."""
FINE = 3
"""Lines are drawn this many times as large and shrunk, which smooths them."""
GRID, INK = "#e3e6ea", "#222222"
KEY_ROW_PX = 24
SLANT_DEG = 35
"""Of words that are too wide for their place."""

Points = Sequence[tuple[float, float]]
Word = Callable[[float], str]
Entry = tuple[str, str, Literal["line", "area", "dot"]]
"""Color, words, and the mark in front of them."""


class Chart:
    """A field between a horizontal and a vertical axis; what is drawn last lies on top."""

    def __init__(self, x_ticks: Sequence[float], y_ticks: Sequence[float], *, low_x: float, high_x: float) -> None:
        """Draw the grid. The vertical axis goes from the first to the last of its ticks."""
        self._x_ticks, self._y_ticks = x_ticks, y_ticks
        self._low_x, self._high_x = low_x, high_x
        self._image = Image.new("RGB", (WIDTH_PX * FINE, HEIGHT_PX * FINE), "white")
        self._draw = ImageDraw.Draw(self._image)
        for x in x_ticks:
            self._pixels([(self._x(x), TOP_PX), (self._x(x), BOTTOM_PX)], GRID, 1)
        for y in y_ticks:
            self._pixels([(LEFT_PX, self._y(y)), (RIGHT_PX, self._y(y))], GRID, 1)

    def line(self, points: Points, color: str, width_px: int = 2) -> None:
        """Draw a line through points."""
        self._pixels([(self._x(x), self._y(y)) for x, y in points], color, width_px)

    def area(self, corners: Points, color: str) -> None:
        """Fill an outline."""
        self._draw.polygon([(self._x(x) * FINE, self._y(y) * FINE) for x, y in corners], fill=color)

    def dot(self, x: float, y: float, color: str) -> None:
        """Draw a point."""
        left, top = self._x(x) * FINE, self._y(y) * FINE
        self._draw.ellipse((left - 4 * FINE, top - 4 * FINE, left + 4 * FINE, top + 4 * FINE), fill=color)

    def picture(
        self, title: str, x_label: str, x_word: Word, y_word: Word, key: Sequence[Entry], *, key_beside: bool = False
    ) -> Image.Image:
        """Return the chart with its words, and a key in its lower right corner or beside it."""
        self._pixels([(LEFT_PX, TOP_PX), (LEFT_PX, BOTTOM_PX), (RIGHT_PX, BOTTOM_PX)], INK, 1)
        picture = self._image.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.LANCZOS)
        draw = ImageDraw.Draw(picture)
        draw.text((LEFT_PX, 14), title, fill=INK, font=font(17))
        for y in self._y_ticks:
            draw.text((LEFT_PX - 8, self._y(y)), y_word(y), fill=INK, font=font(14), anchor="rm")
        panel = _key_panel(key)
        if not key_beside:
            picture.paste(panel, (RIGHT_PX - 8 - panel.width, BOTTOM_PX - 10 - panel.height))
        picture = self._with_words(picture, x_label, x_word)
        return side_by_side([picture, panel]) if key_beside else picture

    def _with_words(self, picture: Image.Image, x_label: str, x_word: Word) -> Image.Image:
        """Write the words of the horizontal axis, aslant where they are wider than what lies between two ticks."""
        words = [_word_picture(x_word(x)) for x in self._x_ticks]
        places = [self._x(x) for x in self._x_ticks]
        between = min((right - left for left, right in itertools.pairwise(places)), default=RIGHT_PX - LEFT_PX)
        slanted = max(word.width for word in words) > between - 6
        if slanted:
            words = [word.rotate(SLANT_DEG, Image.Resampling.BICUBIC, expand=True, fillcolor="white") for word in words]
        lefts = [round(x - word.width * (1 if slanted else 0.5)) for x, word in zip(places, words, strict=True)]
        margin = max(0, -min(lefts))
        lowest = BOTTOM_PX + 8 + max(word.height for word in words)
        whole = Image.new("RGB", (picture.width + margin, max(picture.height, lowest + 36)), "white")
        whole.paste(picture, (margin, 0))
        for left, word in zip(lefts, words, strict=True):
            whole.paste(word, (margin + left, BOTTOM_PX + 8), ImageChops.invert(word.convert("L")))
        middle = (margin + (LEFT_PX + RIGHT_PX) / 2, lowest + 8)
        ImageDraw.Draw(whole).text(middle, x_label, fill=INK, font=font(15), anchor="mt")
        return whole

    def _x(self, value: float) -> float:
        return LEFT_PX + (value - self._low_x) / (self._high_x - self._low_x) * (RIGHT_PX - LEFT_PX)

    def _y(self, value: float) -> float:
        low, high = self._y_ticks[0], self._y_ticks[-1]
        return BOTTOM_PX - (value - low) / (high - low) * (BOTTOM_PX - TOP_PX)

    def _pixels(self, points: Points, color: str, width_px: int) -> None:
        self._draw.line([(x * FINE, y * FINE) for x, y in points], fill=color, width=width_px * FINE, joint="curve")


def even_ticks(low: float, high: float) -> list[float]:
    """Return round numbers at even steps, the first at or below `low` and the last at or above `high`."""
    step = round_step(high - low)
    return [step * number for number in range(math.floor(low / step), math.ceil(high / step - 1e-9) + 1)]


def round_step(length: float) -> float:
    """Return a round number that goes into `length` about five times."""
    rough = length / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)


def _word_picture(word: str) -> Image.Image:
    picture = Image.new("RGB", (max(1, math.ceil(font(14).getlength(word))), 18), "white")
    ImageDraw.Draw(picture).text((0, 9), word, fill=INK, font=font(14), anchor="lm")
    return picture


def _key_panel(key: Sequence[Entry]) -> Image.Image:
    width = 63 + round(max(font(14).getlength(words) for _, words, _ in key))
    panel = Image.new("RGB", (width, KEY_ROW_PX * len(key) + 12), "white")
    draw = ImageDraw.Draw(panel)
    draw.rectangle((0, 0, panel.width - 1, panel.height - 1), outline=GRID)
    for row, (color, words, kind) in enumerate(key):
        middle = 6 + KEY_ROW_PX * (row + 0.5)
        half = 1.5 if kind == "line" else 7
        if kind == "dot":
            draw.ellipse((22, middle - 4, 30, middle + 4), fill=color)
        else:
            draw.rectangle((12, middle - half, 40, middle + half), fill=color)
        draw.text((50, middle), words, fill=INK, font=font(14), anchor="lm")
    return panel
