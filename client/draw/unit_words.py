"""Units in words: a card of one, the colors of a layer, and the stems of their files."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from whymatch.client.unit_results import ColorSelectivity, DecodedFilter, LayerColors, UnitDescription

COLORS = ("single", "double", "multiple")
CLASSES = ("aligned centered", "aligned shifted", "dispersed")


@dataclass(frozen=True, eq=False)
class UnitCard:
    """What is known of one unit."""

    unit: UnitDescription
    filter: DecodedFilter | None = None
    """None where it was not asked for, or cannot be decoded."""
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
    """Say how selective a unit is, and for what colors."""
    if color.gray:
        return f"no color in its patches ({', '.join(color.label)})"
    return f"color selectivity S = {color.selectivity:.2f}: {', '.join(color.label)}"


def filter_words(one: DecodedFilter) -> str:
    """Say what class a filter is of."""
    color = one.color
    if color.content != "varied":
        return color.content
    where = f" {color.position}" if color.alignment == "aligned" else ""
    return f"{color.alignment}{where}, {color.tone}, {color.colors} ({', '.join(color.names) or 'none'})"


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
