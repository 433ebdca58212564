"""Runs a network again and again on one image of which only a window changes, and computes only what that changes."""

import functools
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.nn import functional

from whymatch.embed.layers import CONCATENATIONS, Pair, is_pool, pool_of, window_of

SAME_EVERYWHERE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh),
    *(nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity),
)
"""Layers that do the same at every place, whatever lies beside it."""
SAME_EVERYWHERE_FUNCTIONS = (
    *(functional.relu, functional.relu6, functional.hardswish, functional.silu, functional.gelu, functional.dropout),
    *(functional.relu_, torch.relu, torch.relu_, torch.sigmoid, torch.tanh),
    *("relu", "relu_", "sigmoid", "tanh", "contiguous"),
)
SUMS = (operator.add, torch.add, operator.sub, torch.sub, operator.mul, torch.mul, operator.truediv)


Value: TypeAlias = Any
"""What a node gives: `Patches` of a map, or a tensor without places, for all windows and samples."""


@dataclass(frozen=True)
class Span:
    """The rows, or the columns, of a map that each of some windows may change."""

    starts: tuple[int, ...]
    stops: tuple[int, ...]
    size: int
    """How many the map has."""

    @functools.cached_property
    def length(self) -> int:
        """How many are computed for each window: as many as for that which changes most."""
        return max(stop - start for start, stop in zip(self.starts, self.stops, strict=True))

    @functools.cached_property
    def firsts(self) -> list[int]:
        """The first that is computed for each window."""
        return [min(start, self.size - self.length) for start in self.starts]

    def through(self, kernel: int, stride: int, padding: int, dilation: int, size: int) -> "Span":
        """Return which of the `size` outputs of a sliding kernel see a change; at least one."""
        reach = (kernel - 1) * dilation
        starts = [min(max(0, -(-(start + padding - reach) // stride)), size - 1) for start in self.starts]
        stops = [min((stop - 1 + padding) // stride + 1, size) for stop in self.stops]
        return Span(tuple(starts), tuple(map(max, stops, [start + 1 for start in starts])), size)

    def joined(self, other: "Span") -> "Span":
        """Return the smallest span that holds both."""
        return Span(tuple(map(min, self.starts, other.starts)), tuple(map(max, self.stops, other.stops)), self.size)


@dataclass(frozen=True, eq=False)
class Patches:
    """The part of a map that some windows change, for some samples of each, and the map of the unchanged image."""

    values: torch.Tensor
    """(windows * samples, C, rows.length, columns.length), or without C."""
    rows: Span
    columns: Span
    base: torch.Tensor
    """(1, C, H, W), or without C."""

    @property
    def is_whole(self) -> bool:
        """Whether the whole map was computed."""
        return self.values.shape[-2:] == self.base.shape[-2:]

    @property
    def samples(self) -> int:
        """How many samples each window has."""
        return len(self.values) // len(self.rows.starts)

    def whole(self) -> torch.Tensor:
        """Return the whole maps, (windows * samples, C, H, W)."""
        return self.values if self.is_whole else self._from(0, 0, self.base.shape[-2:])

    def mean(self) -> torch.Tensor:
        """Return the mean over the places of the maps, (windows * samples, C) float32, by its difference to `base`."""
        if self.is_whole:
            return self.values.float().mean((-2, -1))
        unchanged = _parts(self.base, self.rows.firsts, self.columns.firsts, self.values.shape[-2:])
        before = torch.cat([part.float().sum((-2, -1)) for part in unchanged]).repeat_interleave(self.samples, 0)
        change = self.values.float().sum((-2, -1)) - before
        return self.base.float().mean((-2, -1)) + change / (self.rows.size * self.columns.size)

    def at(self, row: int, column: int) -> torch.Tensor:
        """Return what the maps have at one place, (windows * samples, C)."""
        return self._from(row, column, (1, 1))[..., 0, 0]

    def tiles(
        self, base: torch.Tensor, border: Pair, tops: list[int], lefts: list[int], size: Sequence[int]
    ) -> torch.Tensor:
        """Return a part of the maps for each window, from rows `tops` and columns `lefts` on, of one size.

        base: the unchanged map behind a border, of so many rows above and columns on the left; rows and columns count
            from the border's edge.
        """
        own_tops, own_lefts = ([first + border[axis] for first in span.firsts] for axis, span in enumerate(self._spans))
        height, width = self.values.shape[-2:]
        if (own_tops, own_lefts, [height, width]) == (tops, lefts, list(size)):
            return self.values
        order = torch.channels_last if base.ndim == 4 else torch.contiguous_format
        shape = (len(self.values), *base.shape[1:-2], *size)
        tiles = torch.empty(shape, dtype=base.dtype, device=base.device, memory_format=order)
        for window, part in enumerate(_parts(base, tops, lefts, size)):
            samples = slice(window * self.samples, (window + 1) * self.samples)
            tile = tiles[samples]
            tile.copy_(part.expand_as(tile))
            rows, own_rows = _overlap(own_tops[window] - tops[window], height, size[0])
            columns, own_columns = _overlap(own_lefts[window] - lefts[window], width, size[1])
            tile[..., rows, columns] = self.values[samples, ..., own_rows, own_columns]
        return tiles

    def _from(self, row: int, column: int, size: Sequence[int]) -> torch.Tensor:
        windows = len(self.rows.starts)
        return self.tiles(self.base, (0, 0), [row] * windows, [column] * windows, size)

    @property
    def _spans(self) -> tuple[Span, Span]:
        return self.rows, self.columns


def whole_maps(values: torch.Tensor, base: torch.Tensor, *, windows: int) -> Patches:
    """Return maps that were computed as a whole, (windows * samples, C, H, W)."""
    rows, columns = (Span((0,) * windows, (size,) * windows, size) for size in values.shape[2:])
    return Patches(values, rows, columns, base)


class Incremental:
    """Runs one network on one image.

    A window changes only those activations whose receptive field sees it. Convolutions, poolings, layers that do the
    same at every place, sums and concatenations are computed again on that growing part, the mean over a map by its
    difference. All else is computed as a whole, and so is what follows it. The result is that of the whole network.
    """

    def __init__(self, module: fx.GraphModule, inputs: torch.Tensor, ends: Collection[fx.Node]) -> None:
        """Run the network once.

        inputs: (1, 3, h, w), the unchanged image as the network wants it.
        ends: the nodes whose values are wanted.
        """
        self._interpreter = fx.Interpreter(module)
        self._module = module
        self._ends = set(ends)
        self._nodes = _leading_to(self._ends)
        self._last_use = {source: node for node in self._nodes for source in node.all_input_nodes}
        self._bordered: dict[fx.Node, torch.Tensor] = {}
        self.multiplications = 0
        """Of convolutions and linear layers in the last run."""
        self._windows = self._evaluations = 1
        self.base: dict[fx.Node, Any] = {}
        """What each node gives for the unchanged image."""
        self._kept = set(self._nodes)
        values: dict[fx.Node, Any] = {}
        for node in self._nodes:
            values[node] = self.base[node] = inputs if node.op == "placeholder" else self._computed(node, values)
            self._pass_on(node, values)
        self._kept = self._not_to_write_into()
        self._whole_multiplications = self.multiplications
        self.computed_whole: set[str] = set()
        """The nodes that could not be followed: they are computed as a whole, and so is what comes after them."""

    @property
    def multiplied_share(self) -> float:
        """Multiplications of the last run, as a share of those that whole images would have taken."""
        whole = self._whole_multiplications * self._evaluations
        return self.multiplications / whole if whole else 1.0

    def run(self, tops: Sequence[int], lefts: Sequence[int], contents: torch.Tensor) -> dict[fx.Node, Value]:
        """Return the values of the ends for windows with other contents.

        tops, lefts: the first row and column of each window.
        contents: (windows, samples, 3, k, k), as the network wants them.
        """
        side = contents.shape[-1]
        values: dict[fx.Node, Value] = {}
        found: dict[fx.Node, Value] = {}
        self._windows = contents.shape[0]
        self.multiplications, self._evaluations = 0, contents.shape[0] * contents.shape[1]
        for node in self._nodes:
            if node.op == "placeholder":
                rows, columns = (
                    Span(tuple(firsts), tuple(first + side for first in firsts), size)
                    for firsts, size in zip((tops, lefts), self.base[node].shape[-2:], strict=True)
                )
                changed = contents.flatten(0, 1).contiguous(memory_format=torch.channels_last)
                values[node] = Patches(changed, rows, columns, self.base[node])
            elif not values.keys().isdisjoint(node.all_input_nodes):
                values[node] = self._value(node, {source: values.get(source) for source in node.all_input_nodes})
                self._pass_on(node, values)
            if node in self._ends:
                found[node] = values[node]
            for source in node.all_input_nodes:
                if self._last_use[source] is node:
                    values.pop(source, None)
        return found

    def _value(self, node: fx.Node, inputs: Mapping[fx.Node, Value]) -> Value:
        """Return what a node makes of its changed inputs; None stands for an unchanged one."""
        maps = [each for each in inputs.values() if isinstance(each, Patches)]
        if not all(each.is_whole for each in maps):
            if len(maps) == len(inputs) and (followed := self._followed(node, maps)) is not None:
                return followed
            self.computed_whole.add(node.name)
        whole = {n: each.whole() if isinstance(each, Patches) else each for n, each in inputs.items()}
        result = self._computed(node, {n: self.base[n] if each is None else each for n, each in whole.items()})
        if not isinstance(result, torch.Tensor) or result.ndim != 4:
            return result
        return whole_maps(result, self.base[node], windows=self._windows)

    def _followed(self, node: fx.Node, maps: list[Patches]) -> Value:
        """Return what a node makes of changes alone, None if that cannot be said."""
        layer, first, base = self._called(node), maps[0], self.base[node]
        if len(maps) > 1:
            alike = len({(each.base.ndim, each.base.shape[-2:]) for each in maps}) == 1
            return self._joined(node, maps) if alike and _joins(node, first) else None
        if _slides(node, layer):
            return self._slid(node, layer or pool_of(node), first)
        if _is_global_mean(node, layer, base):
            return first.mean().to(first.values.dtype).reshape(-1, *base.shape[1:])
        if _keeps_cells(node, layer, first, base):
            return replace(first, values=first.values.clone(), base=base)
        if _is_same_everywhere(node, layer, first):
            values = self._computed(node, {node.all_input_nodes[0]: first.values})
            return replace(first, values=values, base=base)
        return None

    def _slid(self, node: fx.Node, layer: nn.Module, maps: Patches) -> Patches:
        """Return what a convolution or a pooling makes of changes."""
        base = self.base[node]
        kernel, stride, padding, dilation = window_of(layer)
        rows, columns = (
            span.through(kernel[axis], stride[axis], padding[axis], dilation[axis], base.shape[2 + axis])
            for axis, span in enumerate((maps.rows, maps.columns))
        )
        size = [
            (span.length - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
            for axis, span in enumerate((rows, columns))
        ]
        tops, lefts = ([first * stride[axis] for first in span.firsts] for axis, span in enumerate((rows, columns)))
        if node not in self._bordered:
            self._bordered[node] = _with_border(maps.base, layer, base.shape[2:])
        values = _slide(layer, maps.tiles(self._bordered[node], padding, tops, lefts, size))
        self._count(layer, values)
        return Patches(values, rows, columns, base)

    def _joined(self, node: fx.Node, maps: list[Patches]) -> Patches:
        """Return the sum, or another function of each place, or the concatenation of changes."""
        rows = functools.reduce(Span.joined, [each.rows for each in maps])
        columns = functools.reduce(Span.joined, [each.columns for each in maps])
        size = (rows.length, columns.length)
        parts = [each.tiles(each.base, (0, 0), rows.firsts, columns.firsts, size) for each in maps]
        values = self._computed(node, dict(zip(node.all_input_nodes, parts, strict=True)))
        return Patches(values, rows, columns, self.base[node])

    def _computed(self, node: fx.Node, inputs: Mapping[fx.Node, Any]) -> Any:
        """Run a node."""
        layer = self._called(node)
        if _writes(node, layer):
            kept = self._kept.intersection(node.all_input_nodes)
            inputs = {source: value.clone() if source in kept else value for source, value in inputs.items()}
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: inputs[source])
        result = getattr(self._interpreter, node.op)(node.target, args, kwargs)
        self._count(layer, result)
        return result

    def _pass_on(self, node: fx.Node, values: dict[fx.Node, Any]) -> None:
        """Let those that read after a layer what it wrote into read what it wrote."""
        if _writes(node, self._called(node)):
            values[node.all_input_nodes[0]] = values[node]

    def _not_to_write_into(self) -> set[fx.Node]:
        """Return the inputs, the ends, what several read, and what is the same memory, as behind nn.Identity."""
        kept: set[fx.Node] = set()
        for node in self._nodes:
            same = (source for source in node.all_input_nodes if _is_same_memory(self.base[source], self.base[node]))
            if node.op == "placeholder" or node in self._ends or len(node.users) > 1 or not kept.isdisjoint(same):
                kept.add(node)
        return kept

    def _count(self, layer: nn.Module | None, result: torch.Tensor) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            self.multiplications += result.numel() * layer.weight[0].numel()

    def _called(self, node: fx.Node) -> nn.Module | None:
        return self._module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _parts(base: torch.Tensor, tops: list[int], lefts: list[int], size: Sequence[int]) -> list[torch.Tensor]:
    places = zip(tops, lefts, strict=True)
    return [base[..., top : top + size[0], left : left + size[1]] for top, left in places]


def _overlap(first: int, length: int, size: int) -> tuple[slice, slice]:
    """Return the part of 0 to `size` that lies in `first` to `first + length`, as both of them count it."""
    start = min(max(first, 0), size)
    stop = max(min(first + length, size), start)
    return slice(start, stop), slice(start - first, stop - first)


def _leading_to(ends: Collection[fx.Node]) -> list[fx.Node]:
    """Return the nodes that the ends depend on, in order."""
    wanted = set(ends)
    graph = next(iter(ends)).graph
    for node in reversed(graph.nodes):
        if node in wanted:
            wanted.update(node.all_input_nodes)
    return [node for node in graph.nodes if node in wanted]


def _writes(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node writes its output into its input."""
    if layer:
        return bool(getattr(layer, "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    return bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))


def _is_same_memory(first: object, second: object) -> bool:
    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return False
    return first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()


def _slides(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node is a convolution or pooling that reads zeros, or nothing, beyond the edges of a map."""
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros"
    if not is_pool(node, layer):
        return False
    pool = layer or pool_of(node)
    if isinstance(pool, nn.MaxPool2d):
        return not pool.return_indices
    assert isinstance(pool, nn.AvgPool2d)
    return pool.count_include_pad and not pool.ceil_mode and pool.divisor_override is None


def _slide(layer: nn.Module, tiles: torch.Tensor) -> torch.Tensor:
    """Run a convolution or pooling without its padding."""
    if isinstance(layer, nn.Conv2d):
        return functional.conv2d(tiles, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)
    if isinstance(layer, nn.MaxPool2d):
        return functional.max_pool2d(tiles, layer.kernel_size, layer.stride, 0, layer.dilation)
    assert isinstance(layer, nn.AvgPool2d)
    return functional.avg_pool2d(tiles, layer.kernel_size, layer.stride)


def _with_border(base: torch.Tensor, layer: nn.Module, size: Sequence[int]) -> torch.Tensor:
    """Return a map with all that the kernel reads for an output of that size."""
    kernel, stride, padding, dilation = window_of(layer)
    ends = [(size[axis] - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1 for axis in (0, 1)]
    bottom, right = (max(0, ends[axis] - padding[axis] - base.shape[2 + axis]) for axis in (0, 1))
    fill = float("-inf") if isinstance(layer, nn.MaxPool2d) else 0.0
    border = (padding[1], right, padding[0], bottom)
    return functional.pad(base, border, value=fill).contiguous(memory_format=torch.channels_last)


def _is_global_mean(node: fx.Node, layer: nn.Module | None, base: object) -> bool:
    """Say whether a node takes the mean over all places."""
    if not isinstance(base, torch.Tensor):
        return False
    if isinstance(layer, nn.AdaptiveAvgPool2d) or node.target is functional.adaptive_avg_pool2d:
        return base.shape[2:] == (1, 1)
    axes = [value for value in (*node.args[1:2], node.kwargs.get("dim")) if value is not None]
    return node.target in ("mean", torch.mean) and axes in ([[2, 3]], [(2, 3)], [[-2, -1]], [(-2, -1)])


def _is_same_everywhere(node: fx.Node, layer: nn.Module | None, maps: Patches) -> bool:
    if _joins(node, maps) or node.target in SAME_EVERYWHERE_FUNCTIONS or isinstance(layer, SAME_EVERYWHERE):
        return True
    if node.target is torch.unsqueeze:
        return node.args[1:] == (1,) and maps.base.ndim == 3
    index = node.args[1] if node.target is operator.getitem and maps.base.ndim == 4 else None
    return isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and index[1] is not None


def _keeps_cells(node: fx.Node, layer: nn.Module | None, maps: Patches, base: torch.Tensor) -> bool:
    """Say whether a node averages a map over cells as many as it has, as VGG does with images of the usual size."""
    is_adaptive = isinstance(layer, nn.AdaptiveAvgPool2d) or node.target is functional.adaptive_avg_pool2d
    return is_adaptive and maps.base.shape == base.shape


def _joins(node: fx.Node, maps: Patches) -> bool:
    """Say whether a node adds maps, or does likewise place by place, or puts their channels one behind the other."""
    if node.target in CONCATENATIONS:
        return [*node.args[1:], *node.kwargs.values()] == [1] and maps.base.ndim == 4
    return node.target in SUMS
