"""Pictures: accuracy by layer, and the paper's figure 2, how responses are distributed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whymatch.embed import Array
from whymatch.embed.terminal import save_figure
from whymatch.explain.interactive_study.descriptors import Variant
from whymatch.explain.interactive_study.experiment import Results

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 100
COMMON = 0.999
"""The share of the responses that figure 2 has room for: the largest of all would leave the others no width."""


def save_accuracies(results: Results, path: Path, *, title: str, made: Mapping[str, Any] | None = None) -> None:
    """Draw a line for each variant over the layers, with a picture for each kind of inputs, as the suffix says.

    made: the provenance that a PNG carries.

    Raises:
        OSError: it cannot be written.
    """
    save_figure(lambda: _accuracies(results, title), path, made)


def save_histograms(
    responses: Mapping[str, Array], path: Path, *, title: str, made: Mapping[str, Any] | None = None
) -> None:
    """Draw how often the mean responses x_T (equation 2) of each layer have which size, as the suffix says.

    responses: by layer, of all images and channels; what is 0 is left out. As in the paper, sizes and frequencies are
    normalized: 1 is the size that one response of a thousand exceeds, and the frequency of the fullest bin.

    Raises:
        OSError: it cannot be written.
    """
    save_figure(lambda: _histograms(responses, title), path, made)


def frequencies(responses: Array) -> Array:
    """Return how many responses above 0 are in each bin between 0 and the common largest, the fullest bin being 1."""
    active = responses[responses > 0]
    if not active.size:
        return np.zeros(BINS, np.float32)
    counts, _ = np.histogram(active / np.quantile(active, COMMON), BINS, (0.0, 1.0))
    heights: Array = (counts / counts.max()).astype(np.float32)
    return heights


def _accuracies(results: Results, title: str) -> "Figure":
    from matplotlib.figure import Figure

    kinds = list(results.layers[0].accuracies)
    names = list(dict.fromkeys(row.layer for row in results.layers))
    variants = list(dict.fromkeys(row.variant for row in results.layers))
    weighed = iter(_colors(sum(variant.supervision is not None for variant in variants)))
    styles = {variant: _style(variant, weighed) for variant in variants}
    figure = Figure(figsize=(max(5.0, 0.7 * len(names)) * len(kinds), 4.4), layout="constrained")
    for axes, kind in zip(figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0], kinds, strict=True):
        for variant, style in styles.items():
            found = {row.layer: row.accuracies[kind] for row in results.layers if row.variant == variant}
            heights = [100 * accuracy.mean if (accuracy := found.get(name)) else np.nan for name in names]
            axes.plot(heights, marker=".", label=variant.name, **style)
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
        axes.set_title(kind, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(bottom=0)
    figure.suptitle(title, fontsize=9)
    figure.supylabel("accuracy, %", fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=8, frameon=False, ncols=3)
    return figure


def _style(variant: Variant, colors: Iterator[object]) -> dict[str, Any]:
    """Draw original responses gray, and above the others, which often give the same."""
    if variant.supervision is None:
        return {"color": "0.5", "linestyle": ":" if variant.aggregation == "max" else "--", "zorder": 3}
    return {"color": next(colors)}


def _histograms(responses: Mapping[str, Array], title: str) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    middles = (np.arange(BINS) + 0.5) / BINS
    for (name, values), color in zip(responses.items(), _colors(len(responses)), strict=True):
        axes.plot(middles, frequencies(values), color=color, label=name)
    axes.set_xlabel("mean response of a channel, normalized")
    axes.set_ylabel("frequency, normalized")
    axes.set_title(title, fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    return figure


def _colors(count: int) -> Sequence[object]:
    import matplotlib as mpl

    return list(mpl.colormaps["viridis"](np.linspace(0, 0.9, count)))
