"""Plots of the colors of layers, like the paper's figures 2 and 3."""

import math
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from whymatch.client.draw.chart import FINE, Chart, Entry, even_ticks
from whymatch.client.draw.folder import clear_pictures, note_pictures
from whymatch.client.draw.saving import save_png
from whymatch.client.draw.tiles import side_by_side
from whymatch.client.draw.unit_words import stem
from whymatch.client.unit_results import ColorAxis, LayerColors

BAR, MIXTURE, AXIS = "#b9c0ca", "#c62828", "#1c2026"
WHEEL_PX = 260
Curve = Sequence[tuple[float, float]]
"""Thresholds, and the share of the units above each."""
CURVES = ("#1f5fa8", "#d9822b", "#3a8f4d", "#b03a48", "#7b5ea7", "#8a6d3b", "#c75fa0", "#5f6b7a")


def write_plots(layers: Sequence[LayerColors], folder: Path) -> list[Path]:
    """Write `axes-LAYER.png` of each layer, and `selectivity.png` of all, as far as the answers have them."""
    clear_pictures(folder)
    pictures = {f"axes-{stem(one.layer)}.png": axis_plot(one) for one in layers if one.axis_setting}
    if any(one.curve for one in layers):
        pictures["selectivity.png"] = selectivity_plot([(one.layer, one.curve) for one in layers])
    for name, picture in pictures.items():
        save_png(picture, folder / name, layers[0].provenance)
    files = [folder / name for name in pictures]
    note_pictures(folder, files)
    return files


def axis_plot(colors: LayerColors) -> Image.Image:
    """Return the units of a layer over their chromatic angle, the mixture, and beside it the axes in their plane."""
    return side_by_side([_angles(colors), _wheel(colors.axes)])


def axis_color(angle_deg: float, length: float = 0.7) -> tuple[int, int, int]:
    """Return the color at a place of the chromatic plane: of middle intensity, red at 0 and yellow at 90 degrees."""
    red_green, yellow_blue = (length * part(math.radians(angle_deg)) for part in (math.cos, math.sin))
    both = 1 + 2 * yellow_blue / 3  # red and green
    red, green, blue = (both + red_green) / 2, (both - red_green) / 2, 0.5 - 2 * yellow_blue / 3
    red, green, blue = (round(255 * min(1.0, max(0.0, value))) for value in (red, green, blue))
    return red, green, blue


def _angles(colors: LayerColors) -> Image.Image:
    bin_deg = (colors.axis_setting.bin_deg if colors.axis_setting else None) or 10
    highest = max([*colors.histogram, *(float(value) * bin_deg for value in colors.density), 1])
    chart = Chart(range(0, 181, 30), even_ticks(0, highest), low_x=0, high_x=180)
    for number, count in enumerate(colors.histogram):
        left, right = number * bin_deg, (number + 1) * bin_deg
        chart.area([(left, 0), (left, count), (right, count), (right, 0)], BAR)
    if len(colors.density):
        chart.line([(degree, float(value) * bin_deg) for degree, value in enumerate(colors.density)], MIXTURE)
    for axis in colors.axes:
        chart.line([(axis.angle_deg, 0), (axis.angle_deg, highest)], AXIS, 1)
    found = f"{len(colors.axes)} axes" if colors.axes else "no axes"
    title = f"{colors.layer}: {sum(colors.histogram)} of {len(colors.units)} units have a chromatic axis; {found}"
    key: list[Entry] = [(BAR, "units", "area")]
    if colors.axes:
        key += [(MIXTURE, f"mixture of least AIC, {colors.aic:.0f}", "line"), (AXIS, "axes, its means", "line")]
    words = "degrees from red-green; 90 is yellow-blue"
    return chart.picture(title, words, "{:g}".format, "{:g}".format, key, key_beside=True)


def _wheel(axes: Sequence[ColorAxis]) -> Image.Image:
    """Return the axes as lines through middle gray, each place in its color."""
    side, middle, reach = WHEEL_PX * FINE, WHEEL_PX * FINE / 2, WHEEL_PX * FINE * 0.45
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((middle - reach, middle - reach, middle + reach, middle + reach), outline="#c9ced6", width=FINE)
    for axis in axes:
        angle = math.radians(axis.angle_deg)
        for step in range(-100, 101):
            x, y = middle + reach * step / 100 * math.cos(angle), middle - reach * step / 100 * math.sin(angle)
            color = axis_color(axis.angle_deg, 0.9 * step / 100)
            draw.ellipse((x - 4 * FINE, y - 4 * FINE, x + 4 * FINE, y + 4 * FINE), fill=color)
    return picture.resize((WHEEL_PX, WHEEL_PX), Image.Resampling.LANCZOS)


def selectivity_plot(layers: Sequence[tuple[str, Curve]]) -> Image.Image:
    """Return for each threshold how many units of each layer are more selective for colors, from layer to layer.

    layers: names and curves; what has no curve is left out.
    """
    shown = [(name, curve) for name, curve in layers if curve]
    places = list(range(1, len(shown) + 1))
    chart = Chart(places, [0, 0.2, 0.4, 0.6, 0.8, 1], low_x=0.5, high_x=len(shown) + 0.5)
    key: list[Entry] = []
    for number, (threshold, _) in enumerate(shown[0][1]):
        color = CURVES[number % len(CURVES)]
        points = [(place, curve[number][1]) for place, (_, curve) in zip(places, shown, strict=True)]
        chart.line(points, color)
        for x, y in points:
            chart.dot(x, y, color)
        key.append((color, f"S above {threshold:.2f}", "line"))
    title = "Units that are selective for colors"

    def word(place: float) -> str:
        return shown[round(place) - 1][0]

    return chart.picture(title, "layers", word, "{:.0%}".format, key, key_beside=True)
