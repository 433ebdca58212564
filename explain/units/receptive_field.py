"""The pixels of its input that a unit can see, from the geometry of the layers below it."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from torch import fx, nn

from whymatch.embed import BadLayer, Model, Placement
from whymatch.embed.operations import (
    ARITHMETIC,
    is_adaptive_average,
    is_pointwise,
    is_pool,
    is_zero_padded_convolution,
    pool_of,
    window_of,
)
from whymatch.explain.regions import Box
from whymatch.explain.units.layer_map import LayerMap, find_layer_map


@dataclass(frozen=True)
class Sight:
    """What the units along one axis of a map can see along that axis of the input. The first pixel spans 0 to 1."""

    size_px: int = 1
    """Pixels that each unit sees."""
    stride_px: int = 1
    """Pixels from what one unit sees to what the next one sees; 0 where all see the same."""
    center_px: float = 0.5
    """Center of what the first unit sees: not that of its size, where padding lets it see beyond the edge."""

    def span(self, place: int) -> tuple[int, int]:
        """Return the first pixel that a unit sees, may be negative, and the first one behind."""
        first = round(self.center_px - self.size_px / 2) + place * self.stride_px
        return first, first + self.size_px

    def through(self, kernel: int, stride: int, padding: int, dilation: int) -> "Sight":
        """Return what the outputs of a sliding kernel see.

        With r = (kernel - 1) dilation and s the stride up to here: size + r s, stride s, center + (r / 2 - padding) s.
        Neither the size of the map nor `ceil_mode` matters: it only adds units at the far edge.
        """
        reach = (kernel - 1) * dilation
        center = self.center_px + (reach / 2 - padding) * self.stride_px
        return Sight(self.size_px + reach * self.stride_px, self.stride_px * stride, center)

    def joined(self, other: "Sight") -> "Sight":
        """Return what units see that read both, place by place: the smallest span that holds what either sees."""
        spans = (self.span(0), other.span(0))
        first, stop = min(span[0] for span in spans), max(span[1] for span in spans)
        return Sight(stop - first, self.stride_px, (first + stop) / 2)


@dataclass(frozen=True)
class ReceptiveField:
    """What the units of a layer can see of inputs of one size, in pixels of the input."""

    layer: str
    rows: Sight
    columns: Sight
    input_px: tuple[int, int]
    """Height and width of the input."""
    map_size: tuple[int, int]
    """Rows and columns of the layer's map."""
    whole_from: str | None
    """The node of the network from which on every unit sees the whole input: a mean over all places, as in the gates
    of squeeze-excitation, or an operation that cannot be followed, behind which no less can be promised."""

    def box(self, row: int, column: int, *, clipped: bool = True) -> Box:
        """Return the rectangle that a unit can see.

        clipped: to the input; else it may begin and end outside because of padding.

        Raises:
            BadLayer: the map has no such cell.
        """
        places = (row, column)
        if not all(0 <= place < count for place, count in zip(places, self.map_size, strict=True)):
            rows, columns = self.map_size
            raise BadLayer(
                f"{self.layer!r} has no cell in row {row}, column {column}: for this input it has {rows} rows of "
                f"{columns} cells, counted from 0"
            )
        spans = [sight.span(place) for sight, place in zip((self.rows, self.columns), places, strict=True)]
        if clipped:
            spans = [
                (min(max(0, first), size), max(0, min(stop, size)))
                for (first, stop), size in zip(spans, self.input_px, strict=True)
            ]
        (top, bottom), (left, right) = spans
        return Box(left, top, right, bottom)

    def box_in_original(self, row: int, column: int, placement: Placement) -> Box:
        """Return the clipped rectangle in pixels of the original image. Raises BadLayer as `box` does."""
        box, (height, width) = self.box(row, column), self.input_px
        left, top, right, bottom = placement.area
        x, y = (right - left) / width, (bottom - top) / height
        return Box(left + x * box.left_px, top + y * box.top_px, left + x * box.right_px, top + y * box.bottom_px)


def find_receptive_field(model: Model, layer: str, height_px: int, width_px: int) -> ReceptiveField:
    """Return what the units of a layer can see of inputs of one size.

    layer: by any name that `Alterations` takes.

    Raises:
        BadLayer: no layer has that name, or it has no rows and columns.
    """
    found = find_layer_map(model, layer, height_px, width_px)
    seen: dict[fx.Node, _Seen] = {}
    for node in found.module.graph.nodes:
        sources = [source for source in node.all_input_nodes if source in seen]
        if node.op == "placeholder":
            seen[node] = Sight(), Sight()
        elif sources:  # what depends on no pixel, such as a parameter, sees none
            seen[node] = _seen(found, node, sources, [seen[source] for source in sources])
    sights = seen[found.node]
    whole_from = sights if isinstance(sights, str) else None
    if isinstance(sights, str):
        sights = Sight(height_px, 0, height_px / 2), Sight(width_px, 0, width_px / 2)
    return ReceptiveField(layer, *sights, (height_px, width_px), found.map_size, whole_from)


_Seen: TypeAlias = tuple[Sight, Sight] | str
"""By the units in a column and those in a row, or the node from which on all is seen."""


def _seen(found: LayerMap, node: fx.Node, sources: Sequence[fx.Node], seen: Sequence[_Seen]) -> _Seen:
    """Return what the output of a node sees, given what its inputs see."""
    layer = found.called(node)
    sights = [each for each in seen if not isinstance(each, str)]
    if len(sights) < len(seen):
        return next(each for each in seen if isinstance(each, str))
    if is_pool(node, layer) or is_zero_padded_convolution(layer):
        rows, columns = zip(*window_of(layer or pool_of(node)), strict=True)
        return sights[0][0].through(*rows), sights[0][1].through(*columns)
    alike = {
        (found.shapes[source][-2:], rows.stride_px, columns.stride_px)
        for source, (rows, columns) in zip(sources, sights, strict=True)
    }
    if not _keeps_places(found, node, layer) or len(alike) > 1:
        return node.name
    rows_seen, columns_seen = zip(*sights, strict=True)
    return functools.reduce(Sight.joined, rows_seen), functools.reduce(Sight.joined, columns_seen)


def _keeps_places(found: LayerMap, node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether each place of the output depends on that place of the inputs alone."""
    if is_adaptive_average(node, layer):
        return found.shapes[node] == found.shapes[node.all_input_nodes[0]]  # as VGG with images of the usual size
    if found.joins_channels(node) or found.picks_channels(node) or is_pointwise(node, layer):
        return True
    return node.target in ARITHMETIC
