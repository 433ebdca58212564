"""Kinds of operations in a traced network: sets of layers and functions, and questions to a node of its graph.

A node calls a layer, or a function or method that does the same. `layer` is the layer that it calls, None for the
others; its `target` is then the function, or the name of the method.
"""

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

Pair = tuple[int, int]
"""Of rows and of columns."""

RELUS = (nn.ReLU, nn.ReLU6)
"""Layers that cut off negative values."""
RELU_FUNCTIONS = (functional.relu, functional.relu6, functional.relu_, torch.relu, torch.relu_, "relu", "relu_")
"""The same as functions and methods."""

POOLS = (nn.MaxPool2d, nn.AvgPool2d)
"""Layers that take the maximum or the mean in a sliding window."""
POOL_FUNCTIONS = (functional.max_pool2d, functional.avg_pool2d, torch.max_pool2d)
"""The same as functions."""

ADAPTIVE_POOLS = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
"""Layers that pool a map of any size to a fixed one."""
ADAPTIVE_POOL_FUNCTIONS = (functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d)
"""The same as functions."""

IDENTITIES = (nn.Dropout, nn.Dropout2d, nn.Identity)
"""Layers that change nothing once training is over."""
IDENTITY_FUNCTIONS = (functional.dropout, functional.dropout2d)
"""The same as functions."""

SAME_EVERYWHERE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh),
    *(nn.BatchNorm2d, nn.Dropout, nn.Dropout2d, nn.Identity),
)
"""Layers that map each value of a channel by one function, at every place the same."""
SAME_EVERYWHERE_FUNCTIONS = (
    *(functional.relu, functional.relu6, functional.hardswish, functional.silu, functional.gelu, functional.dropout),
    *(functional.relu_, torch.relu, torch.relu_, torch.sigmoid, torch.tanh),
    *("relu", "relu_", "sigmoid", "tanh", "contiguous"),
)
"""The same as functions and methods."""
POINTWISE = (*SAME_EVERYWHERE, nn.LocalResponseNorm)
"""Layers whose output at a place depends on the input at that place alone, perhaps on other channels of it."""

ADDITIONS = (operator.add, torch.add)
"""Functions that add two maps, or a number to a map."""
SUBTRACTIONS = (operator.sub, torch.sub)
"""Functions that subtract them."""
MULTIPLICATIONS = (operator.mul, torch.mul)
"""Functions that multiply them."""
DIVISIONS = (operator.truediv,)
"""Functions that divide them."""
ARITHMETIC = (*ADDITIONS, *SUBTRACTIONS, *MULTIPLICATIONS, *DIVISIONS)
"""Functions of two maps, or of a map and a number, place by place."""

CONCATENATIONS = (torch.cat, torch.concat)
"""Functions that put maps one behind the other."""

WITHOUT_WRITING: dict[object, Callable[..., Any]] = {
    operator.iadd: operator.add,
    functional.relu_: functional.relu,
    torch.relu_: torch.relu,
}
"""Functions that write into their input, with those that return the same and leave it as it is."""


def layer_of(module: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the layer that a node of a network calls, None if it calls none."""
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def is_relu(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node is a ReLU."""
    return isinstance(layer, RELUS) or node.target in RELU_FUNCTIONS


def is_pool(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node is an average or maximum pooling with a sliding window."""
    return isinstance(layer, POOLS) or node.target in POOL_FUNCTIONS


def is_adaptive_average(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node averages a map over a fixed number of cells."""
    return isinstance(layer, nn.AdaptiveAvgPool2d) or node.target is functional.adaptive_avg_pool2d


def is_pool_to_fixed_size(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node pools a map of any size to a fixed one, as networks do before their classifier."""
    if node.op == "call_method":
        return node.target == "mean" and [2, 3] in node.args
    return isinstance(layer, ADAPTIVE_POOLS) or (node.op == "call_function" and node.target in ADAPTIVE_POOL_FUNCTIONS)


def is_global_mean(node: fx.Node, layer: nn.Module | None, result: object) -> bool:
    """Say whether a node takes the mean over all places of a map.

    result: what it returns for some input.
    """
    if not isinstance(result, torch.Tensor):
        return False
    if is_adaptive_average(node, layer):
        return result.shape[2:] == (1, 1)
    axes = [value for value in (*node.args[1:2], node.kwargs.get("dim")) if value is not None]
    return node.target in ("mean", torch.mean) and axes in ([[2, 3]], [(2, 3)], [[-2, -1]], [(-2, -1)])


def is_identity(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node changes nothing once training is over."""
    return isinstance(layer, IDENTITIES) or node.target in IDENTITY_FUNCTIONS


def is_norm(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node normalizes the channels of a map, as networks do between a convolution and its ReLU."""
    return isinstance(layer, (nn.BatchNorm2d, nn.GroupNorm)) or node.target is functional.group_norm


def is_same_everywhere(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node maps each value of a channel by one function, at every place the same."""
    return isinstance(layer, SAME_EVERYWHERE) or node.target in SAME_EVERYWHERE_FUNCTIONS


def is_pointwise(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether the output of a node at a place depends on one map at that place alone."""
    return isinstance(layer, POINTWISE) or node.target in SAME_EVERYWHERE_FUNCTIONS


def is_zero_padded_convolution(layer: nn.Module | None) -> bool:
    """Say whether a layer is a plain convolution that reads zeros, or nothing, beyond the edges of a map."""
    return type(layer) is nn.Conv2d and layer.padding_mode == "zeros"


def joins_channels(node: fx.Node, dimensions: int) -> bool:
    """Say whether a node puts the channels of maps one behind the other.

    dimensions: of the tensors that it joins.
    """
    return node.target in CONCATENATIONS and [*node.args[1:], *node.kwargs.values()] == [1] and dimensions == 4


def picks_channels(node: fx.Node, dimensions: int) -> bool:
    """Say whether a node takes some channels of a map, or makes a single one a map again.

    dimensions: of the tensor that it reads.
    """
    if node.target in (torch.unsqueeze, "unsqueeze"):
        return node.args[1:] == (1,) and dimensions == 3
    index = node.args[1] if node.target is operator.getitem and dimensions == 4 else None
    return isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None) and index[1] is not None


def writes_into_input(node: fx.Node, layer: nn.Module | None) -> bool:
    """Say whether a node writes its output into its input."""
    if layer:
        return bool(getattr(layer, "inplace", False))
    name = str(getattr(node.target, "__name__", node.target))
    return bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))


def pool_of(node: fx.Node) -> nn.Module:
    """Return the layer that a call of a pooling function amounts to."""
    kind: Callable[..., nn.Module] = nn.AvgPool2d if node.target is functional.avg_pool2d else nn.MaxPool2d
    return kind(*node.args[1:], **node.kwargs)


def window_of(layer: nn.Module) -> tuple[Pair, Pair, Pair, Pair]:
    """Return kernel, stride, padding (above, left) and dilation of a convolution or pooling."""
    kernel = _pair(layer.kernel_size)
    dilation = _pair(getattr(layer, "dilation", 1))
    padding: Any = layer.padding
    if padding == "same":
        padding = tuple(step * (length - 1) // 2 for step, length in zip(dilation, kernel, strict=True))
    return kernel, _pair(layer.stride), _pair(0 if padding == "valid" else padding), dilation


def pads_as_it_says(layer: nn.Conv2d, before: torch.Size, after: torch.Size) -> bool:
    """Say whether a map `after` a convolution has the size that its own kernel, stride and padding give it.

    Convolutions that come from TensorFlow pad in another way, by the size of the map `before`.
    """
    sides = zip(before[2:], after[2:], *window_of(layer), strict=True)
    return all(
        (side + 2 * pad - step * (length - 1) - 1) // stride + 1 == size
        for side, size, length, stride, pad, step in sides
    )


def is_too_small(responses: torch.Tensor, layer: nn.Conv2d) -> bool:
    """Say whether a map (B, C, H, W) is smaller than the kernel of the convolution that is to read it."""
    sides, (kernel, _, padding, dilation) = responses.shape[2:], window_of(layer)
    spans = zip(sides, kernel, padding, dilation, strict=True)
    return any(side + 2 * pad < step * (length - 1) + 1 for side, length, pad, step in spans)


def _pair(value: Any) -> Pair:
    return value if isinstance(value, tuple) else (value, value)
