"""The output of `whymatch study classification`: a table, a JSON document, and a picture."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from whymatch.embed.terminal import save_figure, short
from whymatch.explain.classification_study.experiment import FIRST, Results, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER_LAYER = "fc-7"


def table(results: Results) -> str:
    """Return the errors in percent; the least of each line has a star."""
    names = {row.model: short(row.model) for row in results.rows}
    wide, deep = (
        2 + max(map(len, [head, *words]))
        for head, words in (("Model", names.values()), ("Layer", [row.layer for row in results.rows]))
    )
    ways = ["Orig.", *(f"p = {norm:g}" for norm in results.norms)]
    lines = [f"{'Model':{wide}}{'Layer':{deep}}{'Error':7}" + "".join(f"{way:>10} " for way in ways).rstrip()]
    for row in results.rows:
        values = "".join(f"{100 * error:10.2f}{'*' if error == min(row.errors) else ' '}" for error in row.errors)
        lines.append(f"{names[row.model]:{wide}}{row.layer:{deep}}{f'top-{row.first}':7}{values}".rstrip())
    facts = (
        f"{results.images} images, {results.crops} input{'s' * (results.crops != 1)} for each; error in %: the share "
        "of images whose class is not among the first; * is the least of its line"
    )
    return "\n".join([*lines, "", facts])


def notes(results: Results) -> list[str]:
    """Return what a reader of the table should know, a sentence each."""
    other = {row.model: row.layer for row in results.rows if row.layer not in ("", PAPER_LAYER)}
    found = [
        f"{model} has no fully connected layers below its scores (fc-6 and fc-7); its last layer, {layer}, is weighed"
        for model, layer in other.items()
    ]
    return found + [f"{path} was left out: {reason}" for path, reason in results.unreadable.items()]


def document(results: Results) -> dict[str, object]:
    """Return all that was measured, ready for JSON; errors are 0 to 1."""
    return {
        "images": results.images,
        "inputs_per_image": results.crops,
        "errors": [line for row in results.rows for line in _lines(row, results.norms)],
        "skipped": [{"path": str(path), "reason": reason} for path, reason in results.unreadable.items()],
    }


def save_errors(results: Results, path: Path, *, title: str, made: Mapping[str, Any]) -> None:
    """Draw the errors of each model as bars, a picture for each kind of error; see `save_figure`."""
    save_figure(lambda: _bars(results, title), path, made)


def _lines(row: Row, norms: Sequence[float]) -> list[dict[str, object]]:
    ways = [None, *("inf" if norm == math.inf else norm for norm in norms)]
    return [
        {"model": row.model, "layer": row.layer or None, "top": row.first, "norm": way, "error": error}
        for way, error in zip(ways, row.errors, strict=True)
    ]


def _bars(results: Results, title: str) -> "Figure":
    import matplotlib as mpl
    from matplotlib.figure import Figure

    ways = ["original", *(f"p = {norm:g}" for norm in results.norms)]
    colors = ["0.5", *mpl.colormaps["viridis"](np.linspace(0, 0.9, len(results.norms)))]
    names = [short(name) for name in dict.fromkeys(row.model for row in results.rows)]
    figure = Figure(figsize=(max(6.0, 2.4 * len(names)), 3.6), layout="constrained")
    for axes, first in zip(figure.subplots(1, len(FIRST)), FIRST, strict=True):
        heights = np.array([row.errors for row in results.rows if row.first == first]) * 100
        for way, color in enumerate(colors):
            places = np.arange(len(names)) + (way - (len(ways) - 1) / 2) * 0.8 / len(ways)
            axes.bar(places, heights[:, way], 0.8 / len(ways), color=color, label=ways[way])
        axes.set_xticks(range(len(names)), names, fontsize=8)
        axes.set_title(f"top-{first} error, %", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=9)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", fontsize=8, frameon=False, ncols=4)
    return figure
