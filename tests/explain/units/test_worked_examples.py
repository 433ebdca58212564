"""The examples of docs/units.md: their numbers are read from the page."""

import re
from pathlib import Path

import numpy as np
import pytest
from small_networks import model_of
from torch import nn

from whymatch.embed.networks import Network
from whymatch.explain.units.receptive_field import find_receptive_field
from whymatch.explain.units.selectivity import color_selectivity

PAGE = (Path(__file__).parents[3] / "docs" / "units.md").read_text()
ROW = r"^\| (shares of the categories|S|quotient) \| ([\d., ]+) \|$"
RED, WHITE, BLUE, GREEN = (220, 20, 30), (255, 255, 255), (30, 60, 220), (0, 128, 0)


def test_the_table_of_receptive_fields():
    stated = re.findall(r"^\| \w+ of \d, stride \d \| (\d+) px \| (\d+) px \|$", PAGE, re.MULTILINE)
    layers = nn.Sequential(
        nn.Conv2d(3, 2, 3, 2), nn.MaxPool2d(2, 2), nn.Conv2d(2, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = model_of(Network("chain", layers.eval(), frozenset()))
    fields = [find_receptive_field(model, layer, 40, 40).rows for layer in "012"]
    assert [(str(rows.size_px), str(rows.stride_px)) for rows in fields] == stated


def test_the_table_of_selectivity():
    stated = {what: [float(one) for one in values.split(", ")] for what, values in re.findall(ROW, PAGE, re.MULTILINE)}
    found = color_selectivity([np.array([[RED] * 4 + [WHITE] * 3 + [BLUE] * 2 + [GREEN]], np.uint8)])
    assert found.histogram.tolist() == pytest.approx(stated["shares of the categories"])
    assert [found.value] == pytest.approx(stated["S"])
    assert [found.quotient] == pytest.approx(stated["quotient"])
