"""Runs a network on variants of one image in which only a window of the input, or of one layer, changes.

It computes only what that changes.
"""

import functools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import fx, nn
from torch.nn import functional

from whymatch.embed.map_patches import Patches, Span, unchanged, whole_maps
from whymatch.embed.operations import (
    ARITHMETIC,
    is_adaptive_average,
    is_global_mean,
    is_pool,
    is_same_everywhere,
    is_zero_padded_convolution,
    joins_channels,
    layer_of,
    picks_channels,
    pool_of,
    window_of,
    writes_into_input,
)
from whymatch.embed.subgraph import reached_from

Value: TypeAlias = Any
"""The output of a node: `Patches` of a map, or a tensor without places, for all windows and samples."""


class Incremental:
    """Runs one network on one image.

    A window of the input, or of the output of one node, changes only those activations whose receptive field sees it,
    and of these only the ones that depend on that node; all others stay those of the unchanged image. Convolutions,
    poolings, layers that do the same at every place, sums and concatenations are computed again on that growing part,
    the mean over a map by its difference. All else is computed as a whole, and so is what follows it. The result is
    that of the whole network.
    """

    def __init__(
        self,
        module: fx.GraphModule,
        inputs: torch.Tensor,
        ends: Collection[fx.Node],
        start: fx.Node | None = None,
    ) -> None:
        """Run the network once.

        inputs: (1, 3, h, w), the unchanged image, normalized for the network.
        ends: the nodes whose values `run` returns; each must depend on `start`.
        start: the node whose output the windows are cut from, a map; None means the input.
        """
        self._interpreter = fx.Interpreter(module)
        self._module = module
        self._ends = set(ends)
        self._nodes = _leading_to(self._ends)
        self._start = start or self._nodes[0]
        self._last_use = {source: node for node in self._nodes for source in node.all_input_nodes}
        self._bordered: dict[fx.Node, torch.Tensor] = {}
        self.multiplications = 0
        """Of convolutions and linear layers in the last run."""
        self._windows = self._evaluations = 1
        self.base: dict[fx.Node, Any] = {}
        """The output of each node for the unchanged image."""
        self._kept = set(self._nodes)
        values: dict[fx.Node, Any] = {}
        for node in self._nodes:
            values[node] = self.base[node] = inputs if node.op == "placeholder" else self._computed(node, values)
            self._pass_on(node, values)
        self._of_input = reached_from(self._nodes[0], self._nodes)
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
        contents: (windows, samples, C, k, k), normalized for the network where they are pixels.
        """
        side = contents.shape[-1]
        values: dict[fx.Node, Value] = {}
        before: dict[fx.Node, Value] = dict(self.base)  # as the nodes that run next read it
        found: dict[fx.Node, Value] = {}
        self._windows = contents.shape[0]
        self.multiplications, self._evaluations = 0, contents.shape[0] * contents.shape[1]
        for node in self._nodes:
            if node is self._start:
                rows, columns = (
                    Span(tuple(firsts), tuple(first + side for first in firsts), size)
                    for firsts, size in zip((tops, lefts), self.base[node].shape[-2:], strict=True)
                )
                parts = contents.flatten(0, 1).contiguous(memory_format=torch.channels_last)
                values[node] = Patches(parts, rows, columns, self.base[node])
                self._pass_on(node, values)
            elif not values.keys().isdisjoint(node.all_input_nodes):
                changed = {source: values[source] for source in node.all_input_nodes if source in values}
                values[node] = self._value(node, changed, before)
                self._pass_on(node, values)
            else:
                self._pass_on(node, before)
            if node in self._ends:
                found[node] = values[node]
            for source in node.all_input_nodes:
                if self._last_use[source] is node:
                    values.pop(source, None)
        return found

    def _value(self, node: fx.Node, changed: Mapping[fx.Node, Value], before: Mapping[fx.Node, Any]) -> Value:
        """Return the output of a node for its changed inputs; the others are as before."""
        if not all(each.is_whole for each in changed.values() if isinstance(each, Patches)):
            maps = _alike(node, changed, before)
            if maps and (followed := self._followed(node, maps)) is not None:
                return followed
            self.computed_whole.add(node.name)
        inputs = {source: self._whole(source, changed, before) for source in node.all_input_nodes}
        result = self._computed(node, inputs)
        if not isinstance(result, torch.Tensor) or result.ndim != 4:
            return result
        return whole_maps(result, self.base[node], windows=self._windows)

    def _whole(self, source: fx.Node, changed: Mapping[fx.Node, Value], before: Mapping[fx.Node, Any]) -> Any:
        """Return the output of a node as a whole, for all windows and samples."""
        if source in changed:
            value = changed[source]
            return value.whole() if isinstance(value, Patches) else value
        value = before[source]
        if source not in self._of_input or not isinstance(value, torch.Tensor):
            return value
        return value.repeat(self._evaluations, *[1] * (value.ndim - 1))

    def _followed(self, node: fx.Node, maps: list[Patches]) -> Value:
        """Return the output of a node from the changed parts alone, None if these are not enough."""
        layer, first, base = layer_of(self._module, node), maps[0], self.base[node]
        if len(maps) > 1:
            alike = len({(each.base.ndim, each.base.shape[-2:]) for each in maps}) == 1
            return self._joined(node, maps) if alike and _joins(node, first) else None
        if _slides(node, layer):
            return self._slid(node, layer or pool_of(node), first)
        if is_global_mean(node, layer, base):
            return first.mean().to(first.values.dtype).reshape(-1, *base.shape[1:])
        if _keeps_cells(node, layer, first, base):
            return replace(first, values=first.values.clone(), base=base)
        if _is_computed_by_place(node, layer, first):
            values = self._computed(node, {node.all_input_nodes[0]: first.values})
            return replace(first, values=values, base=base)
        return None

    def _slid(self, node: fx.Node, layer: nn.Module, maps: Patches) -> Patches:
        """Return the output of a convolution or a pooling for the changed part."""
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
        layer = layer_of(self._module, node)
        if writes_into_input(node, layer):
            kept = self._kept.intersection(node.all_input_nodes)
            inputs = {source: value.clone() if source in kept else value for source, value in inputs.items()}
        args, kwargs = fx.map_arg((node.args, node.kwargs), lambda source: inputs[source])
        result = getattr(self._interpreter, node.op)(node.target, args, kwargs)
        self._count(layer, result)
        return result

    def _pass_on(self, node: fx.Node, values: dict[fx.Node, Any]) -> None:
        """Where a node wrote into its input, let later readers of that input read the result."""
        if writes_into_input(node, layer_of(self._module, node)):
            values[node.all_input_nodes[0]] = values[node]

    def _not_to_write_into(self) -> set[fx.Node]:
        """Return the nodes to leave as they are: inputs, ends, those with several readers, and what shares memory."""
        kept: set[fx.Node] = set()
        for node in self._nodes:
            same = (source for source in node.all_input_nodes if _is_same_memory(self.base[source], self.base[node]))
            if node in (self._nodes[0], self._start, *self._ends) or len(node.users) > 1 or not kept.isdisjoint(same):
                kept.add(node)
        return kept

    def _count(self, layer: nn.Module | None, result: torch.Tensor) -> None:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            self.multiplications += result.numel() * layer.weight[0].numel()


def _leading_to(ends: Collection[fx.Node]) -> list[fx.Node]:
    """Return the nodes that the ends depend on, themselves among them, in order; the first is the input."""
    wanted = set(ends)
    graph = next(iter(ends)).graph
    for node in reversed(graph.nodes):
        if node in wanted:
            wanted.update(node.all_input_nodes)
    return [node for node in graph.nodes if node in wanted]


def _alike(node: fx.Node, changed: Mapping[fx.Node, Value], before: Mapping[fx.Node, Any]) -> list[Patches] | None:
    """Return the inputs of a node as parts of maps, unchanged ones as well; None if one cannot be."""
    parts = [each for each in changed.values() if isinstance(each, Patches)]
    if len(parts) < len(changed):
        return None
    maps: list[Patches] = []
    for source in node.all_input_nodes:
        base = before[source]
        if source not in changed and not (isinstance(base, torch.Tensor) and parts[0].fits(base)):
            return None
        maps.append(changed[source] if source in changed else unchanged(base, parts[0]))
    return maps


def _is_same_memory(first: object, second: object) -> bool:
    if not isinstance(first, torch.Tensor) or not isinstance(second, torch.Tensor):
        return False
    return first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()


def _slides(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node is a convolution or pooling that reads zeros, or nothing, beyond the edges of a map."""
    if not is_pool(node, layer):
        return is_zero_padded_convolution(layer)
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


def _is_computed_by_place(node: fx.Node, layer: nn.Module | None, maps: Patches) -> bool:
    """Say whether each place of the output is computed from that place of the input, in the same way everywhere."""
    return _joins(node, maps) or is_same_everywhere(node, layer) or picks_channels(node, maps.base.ndim)


def _keeps_cells(node: fx.Node, layer: nn.Module | None, maps: Patches, base: torch.Tensor) -> bool:
    """Say whether a node averages a map over cells as many as it has, as VGG does with images of the usual size."""
    return is_adaptive_average(node, layer) and maps.base.shape == base.shape


def _joins(node: fx.Node, maps: Patches) -> bool:
    """Say whether a node does arithmetic with maps, or puts their channels one behind the other."""
    return node.target in ARITHMETIC or joins_channels(node, maps.base.ndim)
