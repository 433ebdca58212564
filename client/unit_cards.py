"""Cards of units: what a server says of each, put together of its description and its decoded filter."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from whymatch.client.errors import InvalidArgument
from whymatch.client.unit_results import (
    ColorSelectivity,
    DecodedFilter,
    SelectivitySetting,
    UnitDescription,
    UnitProgress,
)

if TYPE_CHECKING:
    from whymatch.client.client import Client


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
        """Say it in words."""
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
        lines.append(f"labels of the top {unit.label_image_count} images: {labels or 'none'}")
        return [*lines, *(f"{top.response:.4g}\t{top.label}\t{top.name}" for top in unit.top_images)]


def fetch_cards(
    client: Client,
    layer: str,
    channels: Sequence[int] = (),
    *,
    top_count: int | None = None,
    label_image_count: int | None = None,
    selectivity: SelectivitySetting | None = None,
    progress: Callable[[UnitProgress], None] | None = None,
) -> Iterator[UnitCard]:
    """Yield cards of units, with patches, colors and decoded filters; without those where they cannot be decoded.

    channels: empty for all of the layer.
    """
    filters: dict[int, DecodedFilter] = {}
    no_filter = ""
    try:
        filters = {one.channel: one for one in client.units.filters(layer, channels)}
    except InvalidArgument as error:
        if error.reason != "BAD_LAYER":
            raise
        no_filter = str(error)
    described = client.units.describe(
        layer,
        channels,
        top_count=top_count,
        label_image_count=label_image_count,
        with_patches=True,
        with_colors=True,
        selectivity=selectivity,
        progress=progress,
    )
    for unit in described:
        yield UnitCard(unit, filters.get(unit.channel), no_filter)


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
