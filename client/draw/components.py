"""The curve of the component shares as a picture."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from whymatch.client import results
from whymatch.client.draw.chart import Chart, Entry, even_ticks, round_step
from whymatch.client.draw.saving import save_png

CURVE, BAND, MARK = "#1f5fa8", "#cfe0f3", "#d62728"


def write_components(shares: results.ComponentShares, file: Path) -> None:
    """Draw the curve into a PNG file."""
    save_png(components_picture(shares), file, shares.provenance)


def components_picture(shares: results.ComponentShares) -> Image.Image:
    """Return the mean share of the score over the number of leading channels, in a band of most of the pairs."""
    last = max(2, len(shares.mean))
    up = even_ticks(min(0.0, float(shares.low.min())), max(1.0, float(shares.high.max())))
    chart = Chart(count_ticks(last), up, low_x=1, high_x=last)
    if len(shares.mean) > 1:
        chart.area([*_points(shares.low), *reversed(_points(shares.high))], BAND)
    chart.line(_points(shares.mean), CURVE)
    title = f"Share of the similarity score in the leading channels ({shares.pair_count} pairs)"
    key: list[Entry] = [(CURVE, "mean", "line"), (BAND, "10% to 90% of the pairs", "area")]
    if len(shares.mean) >= results.MARKED_CHANNELS:
        share = float(shares.mean[results.MARKED_CHANNELS - 1])
        chart.dot(results.MARKED_CHANNELS, share, MARK)
        key.append((MARK, f"{results.MARKED_CHANNELS} leading channels: {share:.1%}", "dot"))
    return chart.picture(title, "number of leading channels", "{:g}".format, "{:.0%}".format, key)


def count_ticks(last: int) -> list[int]:
    """Return 1 and round numbers at even steps up to `last`."""
    step = max(1, round(round_step(last)))
    return [1, *(count for count in range(step, last + 1, step) if count > 1)]


def _points(curve: NDArray[np.float32]) -> list[tuple[float, float]]:
    return [(count, float(share)) for count, share in enumerate(curve, start=1)]
