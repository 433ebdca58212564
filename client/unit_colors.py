"""The colors of a layer in words: the table of the paper, and the axes."""

from collections import Counter
from collections.abc import Sequence

from whymatch.client.unit_results import LayerColors

COLORS = ("single", "double", "multiple")
CLASSES = ("aligned centered", "aligned shifted", "dispersed")


def color_lines(one: LayerColors) -> list[str]:
    """Say how a layer is about color."""
    lines = [f"{one.layer}: {len(one.units)} units"]
    if any(unit.filter for unit in one.units):
        lines += ["\t".join(row) for row in class_table(one)]
        axes = ", ".join(f"{axis.angle_deg:.0f} deg ({axis.weight:.0%})" for axis in one.axes)
        lines.append(f"axes: {axes}" if axes else f"no axes: {one.no_axes}")
    if one.curve:
        above = ", ".join(f"{share:.0%} above {threshold:.2f}" for threshold, share in one.curve)
        lines.append(f"selectivity S: {above}{'; no colors, the gallery is gray' if one.gray else ''}")
    if any(unit.selectivity for unit in one.units) or one.dead_count:
        lines.append(f"{one.dead_count} units are dead")
    return lines


def class_table(one: LayerColors) -> Sequence[tuple[str, ...]]:
    """Return the paper's table 2 as counts of units, with a row for each number of colors and for the other filters."""
    filters = [unit.filter for unit in one.units if unit.filter]
    varied = [each for each in filters if each.content == "varied"]
    kinds = (each.alignment if each.alignment == "dispersed" else f"aligned {each.position}" for each in varied)
    counts = Counter(zip((each.colors for each in varied), kinds, strict=True))
    rows = [(f"{colors}-color", *(str(counts[colors, kind]) for kind in CLASSES)) for colors in COLORS]
    plain = Counter(each.content for each in filters if each.content != "varied")
    tones = Counter(each.tone for each in varied)
    return [("", *CLASSES), *rows, *((kind, str(count)) for kind, count in sorted((plain + tones).items()))]
