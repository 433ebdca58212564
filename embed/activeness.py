"""InterActive (Xie et al., "Inter-Layer Activeness Propagation"): active neurons, supervised by a later layer."""

import functools
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from whymatch.embed.errors import BadLayer
from whymatch.embed.layers import Layer, Layers, Reader
from whymatch.embed.operations import RELUS, WITHOUT_WRITING, is_too_small, window_of
from whymatch.embed.pooling import Array

Aggregation = Literal["average", "max"]


@dataclass(frozen=True)
class InterActiveSetting:
    """One way to weigh the neurons of one layer."""

    layer: str
    """t, by name."""
    supervision: str = "last"
    """T: `last`, the last layer before the class scores; `next`, the one that reads t; or the name of a later layer."""
    norm: float = 2.0
    """p, at least 1; infinity counts only the largest response of T."""

    def __post_init__(self) -> None:
        if not self.norm >= 1:
            raise BadLayer(f"the norm must be 1 or more, or infinity, not {self.norm}")


@dataclass(frozen=True, eq=False)
class Activeness:
    """The neurons of one layer for one image, x, and how much each of them counts, gamma.

        ln f = -||x_T||_p^p, x_T the mean of the responses of layer T over its cells         (equations 2 to 5)
        gamma_whd = sum over the neurons that read neuron whd of |d ln f / d their sum|       (equation 9)

    where "their sum" is what a neuron adds up before its ReLU, whose slope is the paper's indicator. As in the paper's
    figures, the sign of ln f is turned, so that positive weights speak for a neuron.
    """

    responses: Array
    """x, (H, W, C) float32, at least 0."""
    weights: Array
    """gamma, (H, W, C) float32, or (H, W, 1) where it is the same for all channels, as it is below a convolution."""

    @property
    def weight_map(self) -> Array:
        """The sum of gamma over the channels, (H, W) float32: the paper's figure 3."""
        total: Array = self.weights.sum(axis=2) * np.float32(self.responses.shape[2] / self.weights.shape[2])
        return total

    @property
    def weighted(self) -> Array:
        """The activeness itself: the responses times gamma, (H, W, C) float32 (equation 8)."""
        weighted: Array = self.responses * self.weights
        return weighted

    def descriptor(self, aggregation: Aggregation = "average") -> Array:
        """Average `weighted` over the cells, or take the largest, and scale to length 1: (C,) float32."""
        cells = self.weighted.reshape(-1, self.responses.shape[2])
        pooled: Array = cells.mean(axis=0) if aggregation == "average" else cells.max(axis=0)
        pooled /= np.abs(pooled).max() or np.float32(1)  # the squares of very small and very large weights would vanish
        length = np.linalg.norm(pooled)
        return pooled / length if length else pooled


class InterActive:
    """Weighs the layers of one network."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers

    def weigh(self, inputs: torch.Tensor, settings: Sequence[InterActiveSetting]) -> list[list[Activeness]]:
        """Return the activeness of each input for each setting.

        inputs: (B, 3, h, w), normalized for the network. Its images do not affect each other.

        Raises:
            BadLayer: a layer is not there, or cannot be supervised so, or the inputs are too small for it.
        """
        pairs = self.weigh_together(inputs, settings)
        tensors = {id(each): each for pair in pairs for each in pair}  # settings of one layer share its responses
        arrays = {name: _array(each) for name, each in tensors.items()}
        weighed = [(arrays[id(responses)], arrays[id(gamma)]) for responses, gamma in pairs]
        return [[Activeness(x[image], gamma[image]) for x, gamma in weighed] for image in range(len(inputs))]

    def weigh_together(
        self, inputs: torch.Tensor, settings: Sequence[InterActiveSetting]
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return x (B, C, H, W) and gamma (B, C or 1, H, W) for each setting, float32.

        One pass forward, up to the last layer that is asked for, and one backward for each pair of T and p, down to the
        lowest of the readers that it supervises.
        """
        plans = [self._plan(setting) for setting in settings]
        if not plans:
            return []
        readers = {reader.node for plan in plans for reader, _ in plan.supervised}
        wanted = {plan.layer.node for plan in plans} | {target for plan in plans for _, target in plan.supervised}
        with torch.inference_mode(False), torch.enable_grad():
            values = _Forward(self.layers.module, readers).values(inputs.clone(), readers | wanted)
            scores = _scores(values, plans)
        responses = {plan.layer.node: values[plan.layer.node].detach().float() for plan in plans}
        return [(responses[plan.layer.node], _gamma(plan, values, scores)) for plan in plans]

    def responses(self, inputs: torch.Tensor, names: Sequence[str]) -> list[torch.Tensor]:
        """Return the responses x (B, C, H, W) of some layers as they are, float32. Raises BadLayer."""
        nodes = [self.layers.find(name).node for name in names]
        values = _Forward(self.layers.module, ()).values(inputs, set(nodes)) if nodes else {}
        return [values[node].float() for node in nodes]

    def check(self, setting: InterActiveSetting) -> None:
        """Raise BadLayer if a setting does not fit the network."""
        self._plan(setting)

    def _plan(self, setting: InterActiveSetting) -> "_Plan":
        layer = self.layers.find(setting.layer)
        readers = list(self.layers.readers(layer.node))
        if not readers:
            raise BadLayer(
                f"{setting.layer!r} is the last layer, and no layer above can supervise it; take an earlier one, for "
                f"example {self.layers.all[-2].name}"
                if layer is self.layers.all[-1]
                else f"what reads {setting.layer!r} is neither a convolution nor a pooling, but "
                f"{', '.join(user.name for user in self.layers.users(layer.node))}; take another layer"
            )
        for reader in readers:
            if not self.layers.pads_as_it_says(reader):
                raise BadLayer(
                    f"{reader.node.target}, which reads {setting.layer!r}, pads in its own way; take another layer"
                )
        if setting.supervision == "next":
            return _Plan(setting, layer, [(reader, self._response_of(reader, setting)) for reader in readers])
        target = self.layers.last if setting.supervision == "last" else self.layers.find(setting.supervision)
        supervised = [(reader, target.node) for reader in readers if self.layers.leads_to(reader.node, target.node)]
        if not supervised:
            raise BadLayer(
                f"{setting.supervision!r} does not come after {setting.layer!r}; take a later layer, or `next`"
            )
        return _Plan(setting, layer, supervised)

    def _response_of(self, reader: Reader, setting: InterActiveSetting) -> fx.Node:
        response = self.layers.response_of(reader)
        if response is None:
            raise BadLayer(
                f"no ReLU follows {reader.node.target}, which reads {setting.layer!r}, so the next layer has no "
                "response; take the supervision `last`"
            )
        return response


@dataclass(frozen=True)
class _Plan:
    setting: InterActiveSetting
    layer: Layer
    supervised: list[tuple[Reader, fx.Node]]
    """The readers of the layer, each with the layer T that supervises it."""


Score = tuple[fx.Node, float, fx.Node]
"""T, p, and the reader whose neurons are scored."""


class _Forward(fx.Interpreter):
    """Runs a network so that gradients flow back to some of its nodes: nothing in place, nothing kept below them."""

    def __init__(self, module: fx.GraphModule, readers: Collection[fx.Node]) -> None:
        super().__init__(module)
        self._nodes = module.graph.nodes
        self._readers = readers

    def values(self, inputs: torch.Tensor, wanted: Collection[fx.Node]) -> dict[fx.Node, torch.Tensor]:
        """Return the outputs of some nodes; what comes after the last of them is not computed."""
        kept: dict[fx.Node, torch.Tensor] = {}
        self.args_iter = iter([inputs])
        for node in self._nodes:
            value = self.env[node] = self._output(node)
            if node in self._readers and not value.requires_grad:
                value.requires_grad_()
            if node in wanted:
                kept[node] = value
            if len(kept) == len(wanted):
                break
            for used in self.user_to_last_uses.get(node, ()):
                del self.env[used]
        return kept

    def _output(self, node: fx.Node) -> Any:
        try:
            return self.run_node(node)
        except RuntimeError as err:
            if "too small" not in str(err):
                raise
            raise BadLayer(f"the image leaves {node.target} no cell; pass a larger input size") from err

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        layer = self.fetch_attr(target)
        if isinstance(layer, RELUS):
            return functional.relu6(*args) if isinstance(layer, nn.ReLU6) else functional.relu(*args)
        if isinstance(layer, nn.Conv2d) and is_too_small(args[0], layer):
            rows, columns = args[0].shape[2:]
            raise BadLayer(
                f"the image leaves {target} a map of {rows} x {columns} cells, less than its kernel of "
                f"{layer.kernel_size[0]} x {layer.kernel_size[1]}; pass a larger input size"
            )
        return super().call_module(target, args, kwargs)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kwargs = {name: value for name, value in kwargs.items() if name != "inplace"}
        return super().call_function(WITHOUT_WRITING.get(target, target), args, kwargs)

    def call_method(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return super().call_method(target.removesuffix("_"), args, kwargs)


def _scores(values: Mapping[fx.Node, torch.Tensor], plans: Sequence[_Plan]) -> dict[Score, torch.Tensor]:
    """Return d ln f / d z, its sign turned; z is what a reader adds up before its ReLU."""
    supervised: dict[tuple[fx.Node, float], set[fx.Node]] = {}
    for plan in plans:
        for reader, target in plan.supervised:
            supervised.setdefault((target, plan.setting.norm), set()).add(reader.node)
    scores: dict[Score, torch.Tensor] = {}
    for number, ((target, norm), readers) in enumerate(supervised.items(), start=1):
        sums = [values[node] for node in readers]
        slopes = torch.autograd.grad(_norm(values[target], norm).sum(), sums, retain_graph=number < len(supervised))
        scores |= {(target, norm, node): slope.float() for node, slope in zip(readers, slopes, strict=True)}
    return scores


def _norm(responses: torch.Tensor, p: float) -> torch.Tensor:
    """Return ||x||_p^p of the mean responses x of each image, (B,); for p infinite, the largest of them."""
    means = responses.float().mean((2, 3))
    return means.max(dim=1).values if math.isinf(p) else means.pow(p).sum(dim=1)


def _gamma(plan: _Plan, values: Mapping[fx.Node, torch.Tensor], scores: Mapping[Score, torch.Tensor]) -> torch.Tensor:
    """Sum the scores of all neurons that read a neuron: (B, C or 1, H, W)."""
    norm, responses = plan.setting.norm, values[plan.layer.node]
    scored = [
        (reader, scores[target, norm, reader.node] * _active(reader, values)) for reader, target in plan.supervised
    ]
    gamma = functools.reduce(torch.add, [_spread(score, reader, responses) for reader, score in scored])
    if not gamma.sum().isfinite():
        raise BadLayer(f"the weights overflow with a norm of {norm:g}; take a smaller one, or inf")
    return gamma


def _active(reader: Reader, values: Mapping[fx.Node, torch.Tensor]) -> torch.Tensor | bool:
    """Say which neurons of a pooling are above 0; the scores of a convolution have the slope of its ReLU in them."""
    return True if isinstance(reader.layer, nn.Conv2d) else values[reader.node].detach() > 0


def _spread(scores: torch.Tensor, reader: Reader, responses: torch.Tensor) -> torch.Tensor:
    """Sum over the neurons (B, D, H', W') that read a neuron: (B, C or 1, H, W), for the responses (B, C, H, W).

    A convolution reads all channels of its group, a pooling one. Which weight a connection has does not matter.
    """
    size, channels = responses.shape[2:], responses.shape[1]
    if not isinstance(reader.layer, nn.Conv2d):
        return _over_windows(scores, reader.layer, size)[:, reader.first : reader.first + channels]
    groups = reader.layer.groups
    spread = _over_windows(scores.reshape(len(scores), groups, -1, *scores.shape[2:]).sum(2), reader.layer, size)
    if groups == 1:
        return spread
    each = spread.repeat_interleave(reader.layer.in_channels // groups, dim=1)
    return each[:, reader.first : reader.first + channels]


def _over_windows(scores: torch.Tensor, layer: nn.Module, size: torch.Size) -> torch.Tensor:
    """Give the score of each window (B, G, H', W') to all cells (B, G, H, W) that the window sees."""
    kernel, stride, padding, dilation = window_of(layer)
    (rows, columns), (top, left) = size, padding
    below, right = ((count - 1) * step + 1 for count, step in zip(scores.shape[2:], stride, strict=True))
    offsets = [range(0, length * gap, gap) for length, gap in zip(kernel, dilation, strict=True)]
    height, width = max(top + rows, below + offsets[0][-1]), max(left + columns, right + offsets[1][-1])
    seen = torch.zeros((*scores.shape[:2], height, width), device=scores.device)
    for row, column in itertools.product(*offsets):
        seen[:, :, row : row + below : stride[0], column : column + right : stride[1]] += scores
    return seen[:, :, top : top + rows, left : left + columns]


def _array(values: torch.Tensor) -> Array:
    """Return (B, C, H, W) as (B, H, W, C)."""
    array: Array = values.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return array
