"""Cards of units, each made of the unit's description and its decoded filter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from whymatch.client.draw.unit_words import UnitCard
from whymatch.client.errors import InvalidArgument
from whymatch.client.results import Progress
from whymatch.client.unit_results import DecodedFilter, SelectivitySetting

if TYPE_CHECKING:
    from whymatch.client.client import Client


def fetch_cards(
    client: Client,
    layer: str,
    channels: Sequence[int] = (),
    *,
    top_count: int | None = None,
    label_image_count: int | None = None,
    segment_quantile: float | None = None,
    selectivity: SelectivitySetting | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Iterator[UnitCard]:
    """Yield cards of units, with patches, segments, colors and, where they can be decoded, filters.

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
        with_segments=True,
        segment_quantile=segment_quantile,
        with_colors=True,
        selectivity=selectivity,
        progress=progress,
    )
    for unit in described:
        yield UnitCard(unit, filters.get(unit.channel), no_filter)
