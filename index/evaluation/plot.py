"""A bar chart of what was measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whymatch.embed.terminal import save_figure, short
from whymatch.index.evaluation.histogram import NAME as BASELINE
from whymatch.index.evaluation.report import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BASELINE_COLOR = "0.7"
"""Gray: what the colored bars should be above."""


def save_plot(rows: Sequence[Row], path: Path, *, title: str, made: Mapping[str, Any] | None = None) -> None:
    """Draw a group of bars for each measure, with a bar for each model, and save it as the suffix of `path` says.

    title: what stands before the numbers of queries and labels.
    made: the provenance that a PNG carries.

    Raises:
        OSError: it cannot be written.
    """
    save_figure(lambda: _draw(rows, title), path, made)


def _draw(rows: Sequence[Row], title: str) -> "Figure":
    import matplotlib as mpl
    from matplotlib.figure import Figure

    names = list(rows[0].measures())
    bar = 0.8 / len(rows)
    colors = mpl.colormaps["viridis"](np.linspace(0.1, 0.85, len(rows)))
    figure = Figure(figsize=(max(6.4, 0.45 * len(names) * (len(rows) + 1)), 4.2), layout="constrained")
    axes = figure.add_subplot()
    for place, (row, color) in enumerate(zip(rows, colors, strict=True)):
        bars = axes.bar(
            np.arange(len(names)) + (place - (len(rows) - 1) / 2) * bar,
            list(row.measures().values()),
            0.92 * bar,
            color=BASELINE_COLOR if row.model == BASELINE else color,
            label=short(row.model),
        )
        axes.bar_label(bars, fmt="%.2f", fontsize=7, padding=1)
    axes.set_xticks(np.arange(len(names)), names)
    axes.set_ylim(0, 1.05)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{title}: {rows[0].quality.queries} queries of {rows[0].quality.labels} labels", fontsize=9)
    figure.legend(loc="outside lower center", fontsize=8, frameon=False, ncols=2)
    return figure
