"""Units in words: a card of one, the colors of a layer, and the stems of their files."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from whymatch.client.unit_results import ColorSelectivity, DecodedFilter, LayerColors, UnitDescription

ROWS = ("single-color", "double-color", "multiple-color", "black-white")
CLASSES = ("aligned centered", "aligned shifted", "dispersed")
"""Rows and columns of the paper's table 2; filters of more than two colors and black-white ones have rows of their own.
"""


@dataclass(frozen=True, eq=False)
class UnitCard:
    """The description of one unit and its decoded filter."""

    unit: UnitDescription
    filter: DecodedFilter | None = None
    """None if it was not asked for, or cannot be decoded."""
    no_filter: str = ""
    """Why it cannot be decoded."""

    @property
    def stem(self) -> str:
        """The name of its files."""
        return unit_stem(self.unit.layer, self.unit.channel)

    def lines(self) -> list[str]:
        """Describe the unit, and list its top images."""
        return [*self.facts(), *(f"{top.response:.4g}\t{top.label}\t{top.name}" for top in self.unit.top_images)]

    def facts(self) -> list[str]:
        """Describe the unit."""
        unit = self.unit
        seen = unit.receptive_field
        lines = [f"{unit.layer} / {unit.channel}: largest response {unit.maximum:.4g} over {unit.image_count} images"]
        lines.append(f"sees at most {seen.width_px} x {seen.height_px} px of the network's input")
        if self.filter:
            lines.append(f"decoded filter: {filter_words(self.filter)}")
        if self.no_filter:
            lines.append(self.no_filter)
        if unit.is_dead:
            return [*lines, "dead: no image of the gallery makes it respond"]
        if unit.color:
            lines.append(color_words(unit.color))
        labels = ", ".join(f"{one.label} {one.precision:.0%}" for one in unit.labels[:5])
        return [*lines, f"labels of the top {unit.label_image_count} images: {labels or 'none'}"]


def unit_stem(layer: str, channel: int) -> str:
    """Return a name for files of a unit."""
    return f"{stem(layer)}-{channel:04}"


def stem(layer: str) -> str:
    """Return a name for files of a layer."""
    return re.sub(r"[^\w.-]", "_", layer)


def color_words(color: ColorSelectivity) -> str:
    """Describe how selective a unit is, and for which colors."""
    if color.gray:
        return f"no color in its patches ({', '.join(color.label)})"
    return f"color selectivity S = {color.selectivity:.2f}: {', '.join(color.label)}"


def filter_words(one: DecodedFilter) -> str:
    """Name the class of a filter."""
    color = one.color
    if color.content != "varied":
        return color.content
    where = f" {color.position}" if color.alignment == "aligned" else ""
    return f"{color.alignment}{where}, {color.tone}, {color.colors} ({', '.join(color.names) or 'none'})"


def color_lines(one: LayerColors) -> list[str]:
    """Describe the colors of a layer."""
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


def filter_classes(one: LayerColors) -> dict[str, dict[str, list[int]]]:
    """Return the paper's table 2: the channels of a layer by row and column."""
    found: dict[str, dict[str, list[int]]] = {row: {kind: [] for kind in CLASSES} for row in ROWS}
    for unit in one.units:
        if (color := unit.filter) and color.content == "varied":
            row = "black-white" if color.tone == "black-white" else f"{color.colors}-color"
            kind = color.alignment if color.alignment == "dispersed" else f"aligned {color.position}"
            found[row][kind].append(unit.channel)
    return found


def class_table(one: LayerColors) -> Sequence[tuple[str, ...]]:
    """Return the paper's table 2 as counts of units, and a row for each content of the other filters."""
    rows = [(row, *(str(len(units)) for units in kinds.values())) for row, kinds in filter_classes(one).items()]
    plain = Counter(unit.filter.content for unit in one.units if unit.filter and unit.filter.content != "varied")
    return [("", *CLASSES), *rows, *((kind, str(count)) for kind, count in sorted(plain.items()))]
