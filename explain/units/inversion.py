"""Projects what units look for from a layer's output to its inputs: transposed filters, upsampling, factors."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from whymatch.embed import BadLayer
from whymatch.embed.operations import (
    ADDITIONS,
    ARITHMETIC,
    DIVISIONS,
    MULTIPLICATIONS,
    SUBTRACTIONS,
    is_pointwise,
    is_pool,
    pool_of,
    window_of,
)
from whymatch.explain.units.layer_map import LayerMap


@dataclass(frozen=True, eq=False)
class Pattern:
    """What some units look for in a map."""

    values: torch.Tensor
    """(B, C, h, w) float32, signed; it grows downwards, for padding is no end to it."""
    top: int = 0
    """Row of the map in which it begins, may be negative, for a unit in row 0 of its own map."""
    left: int = 0

    def times(self, factor: torch.Tensor | float) -> "Pattern":
        """Return each channel times its factor."""
        return replace(self, values=self.values * factor)

    def plus(self, other: "Pattern") -> "Pattern":
        """Return the sum, place by place."""
        both = (self, other)
        top, left = min(each.top for each in both), min(each.left for each in both)
        height = max(each.top + each.values.shape[2] for each in both) - top
        width = max(each.left + each.values.shape[3] for each in both) - left
        total = self.values.new_zeros(*self.values.shape[:2], height, width)
        for each in both:
            rows, columns = each.values.shape[2:]
            row, column = each.top - top, each.left - left
            total[:, :, row : row + rows, column : column + columns] += each.values
        return Pattern(total, top, left)


def inverted(found: LayerMap, node: fx.Node, pattern: Pattern) -> list[tuple[fx.Node, Pattern]]:
    """Return what is looked for in each input of a node; what has no pixels in it is left out.

    Raises:
        BadLayer: the node cannot be inverted so.
    """
    layer, source = found.called(node), node.all_input_nodes[0]
    if type(layer) is nn.Conv2d:
        return [(source, _through_convolution(layer, pattern))]
    if is_pool(node, layer):
        return [(source, _through_pool(layer or pool_of(node), pattern))]
    if isinstance(layer, nn.BatchNorm2d):
        return [(source, pattern.times(_factor_of(layer)))]
    if is_pointwise(node, layer):
        return [(source, pattern)]
    if found.joins_channels(node):
        return _split(found, node, pattern)
    if found.picks_channels(node):
        return [(source, _put_back(found, node, pattern))]
    return [(each, pattern.times(factor)) for each, factor in _summands(found, node)]


def _through_convolution(layer: nn.Conv2d, pattern: Pattern) -> Pattern:
    """Convolve with the transposed filters (equation 1), after upsampling by the stride, as the paper does it."""
    _, stride, padding, _ = window_of(layer)
    spread = _upsampled(pattern.values, stride, (1, 1))
    values = functional.conv_transpose2d(spread, layer.weight.float(), dilation=layer.dilation, groups=layer.groups)
    return Pattern(values, pattern.top * stride[0] - padding[0], pattern.left * stride[1] - padding[1])


def _through_pool(layer: nn.Module, pattern: Pattern) -> Pattern:
    """Upsample to what the pooling read."""
    kernel, stride, padding, dilation = window_of(layer)
    extent = ((kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1)
    values = _upsampled(pattern.values, stride, extent)
    return Pattern(values, pattern.top * stride[0] - padding[0], pattern.left * stride[1] - padding[1])


def _upsampled(values: torch.Tensor, stride: tuple[int, int], window: tuple[int, int]) -> torch.Tensor:
    """Return values (..., h, w) interpolated linearly between the centers of the windows in which they were found.

    Returns (..., (h - 1) stride + window, ...), as many as all windows cover; beyond the outermost centers as there.
    """
    for axis, step, extent in zip((-2, -1), stride, window, strict=True):
        if step > 1 or extent > 1:
            values = _interpolated(values, axis, step, extent)
    return values


def _interpolated(values: torch.Tensor, axis: int, stride: int, window: int) -> torch.Tensor:
    size = values.shape[axis]
    places = torch.arange((size - 1) * stride + window, device=values.device, dtype=values.dtype)
    centers = ((places - (window - 1) / 2) / stride).clamp(0, size - 1)
    before = centers.long()
    after = (before + 1).clamp(max=size - 1)
    share = (centers - before).reshape(-1, *[1] * (-1 - axis))
    return torch.lerp(values.index_select(axis, before), values.index_select(axis, after), share)


def _factor_of(norm: nn.BatchNorm2d) -> torch.Tensor:
    """Return what a batch normalization multiplies each channel by, (C, 1, 1): weight / sqrt(variance + eps)."""
    assert norm.running_var is not None
    weight: torch.Tensor | float = 1.0 if norm.weight is None else norm.weight.float()
    return (weight / (norm.running_var.float() + norm.eps).sqrt())[:, None, None]


def _split(found: LayerMap, node: fx.Node, pattern: Pattern) -> list[tuple[fx.Node, Pattern]]:
    """Return the channels of each map in a concatenation."""
    sources: Any = node.args[0]
    parts = torch.split(pattern.values, [found.shapes[source][1] for source in sources], dim=1)
    return [(source, replace(pattern, values=part)) for source, part in zip(sources, parts, strict=True)]


def _put_back(found: LayerMap, node: fx.Node, pattern: Pattern) -> Pattern:
    """Return the channels at their place among those that they were taken of, in a map of which others see nothing."""
    source = node.all_input_nodes[0]
    if node.target in (torch.unsqueeze, "unsqueeze"):  # what it was, (B, h, w), is a single channel all the same
        return pattern
    index: Any = node.args[1]
    values = pattern.values.new_zeros(len(pattern.values), found.shapes[source][1], *pattern.values.shape[2:])
    values[:, [index[1]] if isinstance(index[1], int) else index[1]] = pattern.values
    return replace(pattern, values=values)


def _summands(found: LayerMap, node: fx.Node) -> list[tuple[fx.Node, float]]:
    """Return what is added, and its sign, or what is multiplied by a number, and that number."""
    pair: list[Any] = [*node.args, None, None][:2]
    nodes = [each for each in pair if isinstance(each, fx.Node) and each.op != "get_attr"]
    alike = all(found.shapes[each] == found.shapes[node] for each in nodes)
    numbers = [each for each in pair if isinstance(each, int | float)]
    if node.target in ARITHMETIC and alike and nodes and not node.kwargs:
        if node.target in (*ADDITIONS, *SUBTRACTIONS):
            is_difference = node.target in SUBTRACTIONS
            signs = (1.0, -1.0 if is_difference else 1.0)
            return [(each, sign) for each, sign in zip(pair, signs, strict=True) if each in nodes]
        if node.target in MULTIPLICATIONS and numbers:
            return [(nodes[0], float(numbers[0]))]
        if node.target in DIVISIONS and pair[1] in numbers:
            return [(nodes[0], 1 / numbers[0])]
    called = found.called(node)
    kind = type(called).__name__ if called else getattr(node.target, "__name__", node.target)
    raise BadLayer(
        f"the filters of {found.name!r} cannot be decoded: below it lies {node.name!r}, a {kind}, which cannot be "
        "inverted; take a layer before it"
    )
