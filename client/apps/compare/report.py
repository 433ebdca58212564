"""The report of `whymatch compare`: one HTML page with its pictures inside."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from whymatch.client.apps.compare.comparison import Comparison
from whymatch.client.apps.compare.measures import half_share
from whymatch.client.apps.pages import render
from whymatch.client.draw.maps import lit


def report(comparison: Comparison, pictures: Mapping[Path, Image.Image]) -> str:
    """Return the page; `pictures` are of all queries and matches, upright."""
    return render("compare", comparison=comparison, pictures=pictures, lit=lit, half_share=half_share)
