"""The curve of the component shares as a picture, drawn with Pillow alone."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from whymatch.client import results
from whymatch.client.tiles import font

WIDTH_PX, HEIGHT_PX = 720, 460
LEFT_PX, TOP_PX, RIGHT_PX, BOTTOM_PX = 78, 48, 690, 395
"""The corners of the field between the axes."""
FINE = 3
"""Lines are drawn this many times as large and shrunk, which smooths them."""
CURVE, BAND, GRID, INK = "#1f5fa8", "#cfe0f3", "#e3e6ea", "#222222"

Place = Callable[[float, float], tuple[float, float]]


def write_components(shares: results.ComponentShares, file: Path) -> None:
    """Draw the curve into a PNG file."""
    components_picture(shares).save(file, "PNG")


def components_picture(shares: results.ComponentShares) -> Image.Image:
    """Return the mean share of the score over the number of leading channels, in a band of most of the pairs."""
    last = max(2, len(shares.mean))
    across = count_ticks(last)
    up = share_ticks(min(0.0, float(shares.low.min())), max(1.0, float(shares.high.max())))
    place = _placing(1, last, up[0], up[-1])
    picture = Image.new("RGB", (WIDTH_PX * FINE, HEIGHT_PX * FINE), "white")
    _draw_lines(ImageDraw.Draw(picture), shares, across, up, place)
    picture = picture.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.LANCZOS)
    _write_words(ImageDraw.Draw(picture), shares, across, up, place)
    return picture


def count_ticks(last: int) -> list[int]:
    """Return 1 and round numbers at even steps up to `last`."""
    step = max(1, round(_round_step(last)))
    return [1, *(count for count in range(step, last + 1, step) if count > 1)]


def share_ticks(low: float, high: float) -> list[float]:
    """Return round numbers at even steps, the first at or below `low` and the last at or above `high`."""
    step = _round_step(high - low)
    return [step * number for number in range(math.floor(low / step), math.ceil(high / step - 1e-9) + 1)]


def _round_step(length: float) -> float:
    """Return a round number that goes into `length` about five times."""
    rough = length / 6
    power = 10.0 ** math.floor(math.log10(rough))
    return power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough)


def _placing(low_x: float, high_x: float, low_y: float, high_y: float) -> Place:
    """Return the function from values to pixels of the finished picture."""

    def place(x: float, y: float) -> tuple[float, float]:
        return (
            LEFT_PX + (x - low_x) / (high_x - low_x) * (RIGHT_PX - LEFT_PX),
            BOTTOM_PX - (y - low_y) / (high_y - low_y) * (BOTTOM_PX - TOP_PX),
        )

    return place


def _draw_lines(
    draw: ImageDraw.ImageDraw, shares: results.ComponentShares, across: list[int], up: list[float], place: Place
) -> None:
    """Draw grid, band, curve and axes."""
    for x in across:
        _line(draw, [(place(x, 0)[0], TOP_PX), (place(x, 0)[0], BOTTOM_PX)], GRID, 1)
    for y in up:
        _line(draw, [(LEFT_PX, place(1, y)[1]), (RIGHT_PX, place(1, y)[1])], GRID, 1)
    band = [*_points(shares.low, place), *reversed(_points(shares.high, place))]
    if len(shares.mean) > 1:
        draw.polygon([(x * FINE, y * FINE) for x, y in band], fill=BAND)
    _line(draw, _points(shares.mean, place), CURVE, 2)
    _line(draw, [(LEFT_PX, TOP_PX), (LEFT_PX, BOTTOM_PX), (RIGHT_PX, BOTTOM_PX)], INK, 1)


def _write_words(
    draw: ImageDraw.ImageDraw, shares: results.ComponentShares, across: list[int], up: list[float], place: Place
) -> None:
    """Write the title, the numbers at the axes, and what the axes and the lines mean."""
    title = f"Share of the similarity score in the leading channels ({shares.pair_count} pairs)"
    draw.text((LEFT_PX, 14), title, fill=INK, font=font(17))
    for x in across:
        draw.text((place(x, 0)[0], BOTTOM_PX + 8), f"{x:g}", fill=INK, font=font(14), anchor="mt")
    for y in up:
        draw.text((LEFT_PX - 8, place(1, y)[1]), f"{y:.0%}", fill=INK, font=font(14), anchor="rm")
    middle = (LEFT_PX + RIGHT_PX) / 2
    draw.text((middle, BOTTOM_PX + 34), "number of leading channels", fill=INK, font=font(15), anchor="mt")
    _write_key(draw)


def _write_key(draw: ImageDraw.ImageDraw) -> None:
    """Explain the line and the band in the corner where the curve never is."""
    left, top = RIGHT_PX - 230, BOTTOM_PX - 64
    draw.rectangle((left - 12, top - 8, RIGHT_PX - 8, BOTTOM_PX - 10), fill="white", outline=GRID)
    draw.line((left, top + 9, left + 28, top + 9), fill=CURVE, width=3)
    draw.text((left + 38, top + 9), "mean", fill=INK, font=font(14), anchor="lm")
    draw.rectangle((left, top + 26, left + 28, top + 40), fill=BAND)
    draw.text((left + 38, top + 33), "10% to 90% of the pairs", fill=INK, font=font(14), anchor="lm")


def _points(curve: NDArray[np.float32], place: Place) -> list[tuple[float, float]]:
    return [place(count, float(share)) for count, share in enumerate(curve, start=1)]


def _line(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], color: str, width_px: int) -> None:
    draw.line([(x * FINE, y * FINE) for x, y in points], fill=color, width=width_px * FINE, joint="curve")
