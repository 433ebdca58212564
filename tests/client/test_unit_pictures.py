"""Pictures of units: whole words on charts, and the table of classes."""

import numpy as np

from whymatch.client import ColorThresholds, FilterColor, LayerColors, UnitColors
from whymatch.client.draw.chart import HEIGHT_PX, Chart
from whymatch.client.draw.unit_words import class_table, filter_classes


def chart(words: list[str]):
    places = list(range(1, len(words) + 1))
    drawn = Chart(places, [0, 1], low_x=0.5, high_x=len(words) + 0.5)
    return drawn.picture("", "layers", lambda place: words[round(place) - 1], "{:g}".format, [("red", "a", "line")])


def test_words_that_are_too_wide_for_their_place_are_slanted_and_whole():
    short, long = chart(["a", "b"]), chart(["features.12.expand3x3_activation" * 2] * 6)
    assert short.height == HEIGHT_PX
    assert long.height > HEIGHT_PX
    assert long.width > short.width  # the first one begins left of the field
    assert (np.asarray(long)[:, 0] == 255).all()


def varied(alignment: str, position: str, tone: str, colors: str) -> FilterColor:
    return FilterColor("varied", alignment, 0.9, position, 0.1, tone, 0.2, colors, (), None, ColorThresholds())


def test_each_varied_filter_has_one_place_in_the_table_of_classes():
    dead = FilterColor("dead", "", 0, "", 0, "", 0, "single", (), None, ColorThresholds())
    filters = [
        varied("aligned", "centered", "chromatic", "double"),
        varied("aligned", "shifted", "chromatic", "single"),
        varied("aligned", "centered", "black-white", "double"),
        varied("dispersed", "shifted", "chromatic", "multiple"),
        dead,
    ]
    units = [UnitColors(channel, color, None) for channel, color in enumerate(filters)]
    layer = LayerColors("l", "m", units, (), "", (), np.zeros(0, np.float32), 0, 0, None, (), 0, False)
    found = filter_classes(layer)
    assert {row: [*kinds.values()] for row, kinds in found.items()} == {
        "single-color": [[], [1], []],
        "double-color": [[0], [], []],
        "multiple-color": [[], [], [3]],
        "black-white": [[2], [], []],
    }
    assert class_table(layer)[-1] == ("dead", "1")
