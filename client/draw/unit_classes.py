"""The classes of a layer's filters as a picture, like the paper's table 2."""

from collections.abc import Mapping, Sequence

from PIL import Image

from whymatch.client.draw.tiles import PALE, fitted, font, framed, side_by_side, stacked, text_panel, tile
from whymatch.client.draw.unit_words import CLASSES, filter_classes
from whymatch.client.unit_results import LayerColors

EXAMPLES = 4
"""Filters that stand for a class."""
FILTER, NAME_PX = (72, 72), 130
CELL_PX = EXAMPLES * (FILTER[0] + 12)


def class_examples(colors: LayerColors) -> list[int]:
    """Return the channels of the filters that stand for the classes of a layer."""
    return [
        channel for kinds in filter_classes(colors).values() for units in kinds.values() for channel in _spread(units)
    ]


def class_sheet(colors: LayerColors, pictures: Mapping[int, Image.Image]) -> Image.Image:
    """Return a table of aligned and dispersed filters by their number of colors, each class with counts and examples.

    pictures: of the filters that stand for the classes, by channel.
    """
    head = side_by_side([text_panel([""], NAME_PX), *(text_panel([kind], CELL_PX) for kind in CLASSES)])
    rows = [
        side_by_side([text_panel([row], NAME_PX), *(_cell(units, pictures) for units in kinds.values())])
        for row, kinds in filter_classes(colors).items()
    ]
    rest = [unit.filter.content for unit in colors.units if unit.filter and unit.filter.content != "varied"]
    title = f"{colors.layer}: classes of {len(colors.units)} decoded filters"
    lines = [title, f"{len(rest)} have one color only, or no weights"] if rest else [title]
    return framed(stacked([text_panel(lines, 4 * NAME_PX), head, *rows]))


def _cell(units: Sequence[int], pictures: Mapping[int, Image.Image]) -> Image.Image:
    ground = Image.new("RGB", (CELL_PX, FILTER[1] + 62), "white" if units else PALE)
    if units:
        ground.paste(text_panel([f"{len(units)} unit{'s' if len(units) > 1 else ''}"], 100), (0, 0))
    for place, channel in enumerate(_spread(units)):
        sharp = Image.Resampling.NEAREST if max(pictures[channel].size) * 2 <= FILTER[0] else None
        filter_tile = tile(fitted(pictures[channel], FILTER, sharp), FILTER)
        left = place * (FILTER[0] + 12)
        ground.paste(filter_tile, (left, 26))
        ground.paste(text_panel([str(channel)], round(font().getlength(str(channel))) + 2), (left, 30 + FILTER[1]))
    return ground


def _spread(units: Sequence[int]) -> list[int]:
    """Return some of the units, evenly spread."""
    count = min(EXAMPLES, len(units))
    return [units[place * len(units) // count] for place in range(count)]
