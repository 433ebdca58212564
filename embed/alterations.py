"""Outputs of a model for one image with windows of it, or of a layer, replaced.

They are class scores, pooled vectors, and responses of layers.
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from whymatch.embed.activeness import InterActiveSetting
from whymatch.embed.errors import BadLayer, NoReluLayers
from whymatch.embed.incremental import Incremental, Value
from whymatch.embed.map_patches import Patches, whole_maps
from whymatch.embed.model import Model
from whymatch.embed.pooling import TINY, Array, Pooling
from whymatch.embed.subgraph import module_outputs, reached_from, section


@dataclass(frozen=True)
class ClassScores:
    """The scores of all classes before softmax, (classes,)."""


@dataclass(frozen=True)
class PooledVector:
    """The pooled vector of the image, beta (C,)."""


@dataclass(frozen=True)
class Responses:
    """The responses of a layer: each channel's mean over the cells, or those of one cell, (C,)."""

    layer: str
    cell: tuple[int, int] | None = None
    """Row and column."""


End: TypeAlias = ClassScores | PooledVector | Responses
"""An output of the network for an image, as a vector."""


class Alterations:
    """Runs one model on one image with windows of other contents, windows of its pixels or of a layer's cells.

    Each window is replaced alone, and only what it changes is computed (`Incremental`).
    """

    def __init__(
        self, model: Model, pixels: NDArray[np.uint8], ends: Sequence[End], *, layer: str | None = None
    ) -> None:
        """Run the model on the unchanged image.

        pixels: (h, w, 3), as `Model.prepare` makes them.
        ends: the outputs to compute for each altered image.
        layer: the layer whose cells are replaced. What depends on it is computed from the altered map, all else, such
            as a shortcut around it, from the unchanged image. None means the pixels.

        Raises:
            NoClassScores: class scores are among the ends, and the network has none.
            BadLayer: no layer has that name, it has no such cell, or an end does not depend on the altered layer.
        """
        self._model = model
        self._network = NetworkGraph(model)
        self._inputs = model.inputs(np.stack([pixels]))
        self._ends = [(end, self._network.node(end)) for end in ends]
        self._start = None if layer is None else self._network.layer(layer)
        if layer is not None and self._start:
            self._network.check_reached(layer, self._start, ends)
        with torch.inference_mode():
            nodes = [node for _, node in self._ends]
            self._incremental = Incremental(self._network.module, self._inputs, nodes, self._start)
            base = self._incremental.base
            for end, node in self._ends:
                _check(end, base[node])
            self.plain = [self._read(end, _unchanged(base[node])) for end, node in self._ends]
            """Each end of the unchanged image, (1, n) float32."""

    @property
    def multiplied_share(self) -> float:
        """Multiplications of the last run, as a share of those that whole images would have taken."""
        return self._incremental.multiplied_share

    @property
    def computed_whole(self) -> set[str]:
        """Where the network cannot be followed: from these nodes on whole images are computed. Known after a run."""
        return self._incremental.computed_whole | ({self._model.layer} if self._pools_tap else set())

    @property
    def _pools_tap(self) -> bool:
        return self._model.tap is not None and any(isinstance(end, PooledVector) for end, _ in self._ends)

    def run(self, tops: Sequence[int], lefts: Sequence[int], contents: Array) -> list[torch.Tensor]:
        """Return each end for windows with other contents, (windows * samples, n) float32.

        tops, lefts: the first row and column of each window.
        contents: (windows, samples, k, k, C) float32; pixels of 0 to 255, C = 3, or responses of the layer.
        """
        with torch.inference_mode():
            inputs = self._contents(contents.reshape(-1, *contents.shape[2:]))
            values = self._incremental.run(tops, lefts, inputs.reshape(*contents.shape[:2], *inputs.shape[1:]))
            return [self._read(end, values[node]) for end, node in self._ends]

    def gradient(self, activation: Callable[[list[torch.Tensor]], torch.Tensor]) -> Array:
        """Return the gradient of a scalar function of the ends at each pixel, or cell, of what is altered, (h, w).

        The largest absolute derivative among the channels (Simonyan et al., "Deep inside convolutional networks"), for
        pixels of 0 to 255, or for the responses of the layer, at the unchanged image; float32.

        Raises:
            BadLayer: InterActive weighs the pooled layers, and it has no gradient.
        """
        terms = self._model.tap.terms if self._model.tap and self._pools_tap else ()
        if any(isinstance(term, InterActiveSetting) for term in terms):
            raise BadLayer(
                f"{self._model.layer!r} weighs neurons, which has no gradient; leave out the sensitivity map"
            )
        with torch.inference_mode(False), torch.enable_grad():
            recorder = _Recorder(self._network.module, {node for _, node in self._ends}, self._start)
            values = recorder.values(self._inputs)
            number = activation([self._read(end, _unchanged(values[node])) for end, node in self._ends])
            number.backward()  # type: ignore[no-untyped-call]
        steps = recorder.gradient()
        if self._start is None:
            steps = steps / (torch.tensor(self._model.std, device=steps.device)[:, None, None] * 255)
        steepest: Array = steps.abs().amax(0).float().cpu().numpy()
        return steepest

    def _contents(self, contents: Array) -> torch.Tensor:
        """Return contents (B, k, k, C) as the network has them, (B, C, k, k)."""
        if self._start is None:
            return self._model.inputs(contents)
        return torch.from_numpy(contents).to(self._inputs).permute(0, 3, 1, 2)

    def _read(self, end: End, value: Value) -> torch.Tensor:
        if isinstance(end, PooledVector):
            tap = self._model.tap
            vectors = _pooled(self._model.pooling, value if tap is None else _unchanged(tap(value.whole())))
        elif not isinstance(value, Patches):
            vectors = value.float().flatten(1)
        elif isinstance(end, Responses) and end.cell:
            vectors = value.at(*end.cell).float()
        else:
            vectors = value.mean()
        return vectors.cpu()


class NetworkGraph:
    """The graph of a model's network from its input to its class scores, if it has any."""

    def __init__(self, model: Model) -> None:
        self._model = model
        trunk, graph = model.trunk, fx.Graph()
        self._features = self._scores = _node(graph.graph_copy(trunk.module.graph, {}))
        parts = [trunk.module]
        if trunk.scorer:
            [maps] = [node for node in trunk.scorer.graph.nodes if node.op == "placeholder"]
            self._scores = _node(graph.graph_copy(trunk.scorer.graph, {maps: self._features}))
            parts.append(trunk.scorer)
        graph.output(self._scores)
        named = [
            part for each in parts for part in (each.named_modules(), each.named_parameters(), each.named_buffers())
        ]
        self.module = fx.GraphModule({name: part for each in named for name, part in each}, graph)

    def node(self, end: End) -> fx.Node:
        """Return the node whose output is an end."""
        if isinstance(end, Responses):
            return self.layer(end.layer)
        if isinstance(end, PooledVector):
            return self._features if self._model.tap is None else next(iter(self.module.graph.nodes))
        assert self._model.scorer
        return self._scores

    def check_reached(self, layer: str, start: fx.Node, ends: Sequence[End]) -> None:
        """Raise BadLayer if an end does not depend on a layer, whose node is `start`."""
        reached = reached_from(start, self.module.graph.nodes)
        for end in ends:
            if self.node(end) in reached:
                continue
            if isinstance(end, Responses):
                raise BadLayer(
                    f"layer {end.layer!r} does not depend on {layer!r}, whose cells are altered; take a later one"
                )
            raise BadLayer(f"nothing leads from layer {layer!r}, whose cells are altered, to the pooled vector")

    def up_to(self, node: fx.Node) -> fx.GraphModule:
        """Return the function of the network's input to the output of a node."""
        part = section(self.module, next(iter(self.module.graph.nodes)), node)
        assert part
        return part

    def layer(self, name: str) -> fx.Node:
        """Return the response of a layer by any name that InterActive knows, else the output of that module."""
        nodes: dict[str, fx.Node] = {node.name: node for node in self.module.graph.nodes}
        outputs, named = module_outputs(self.module.graph), [layer.name for layer in self._model.layers.all]
        try:
            response = self._model.layers.find(name).node.name
        except (BadLayer, NoReluLayers):
            response = ""
        if response in nodes:
            return nodes[response]
        if name in outputs:
            return outputs[name]
        others = {*outputs, *named} - {name}  # what InterActive knows by that name may be none here
        near = difflib.get_close_matches(name, sorted(others), n=5, cutoff=0.4)
        raise BadLayer(
            f"{name!r} is no layer of this network; "
            + (f"near it are {', '.join(near)}; " if near else "")
            + "`whymatch layers` lists all"
        )


def _node(output: object) -> fx.Node:
    assert isinstance(output, fx.Node)
    return output


class _Recorder(fx.Interpreter):
    """Runs a network and keeps the outputs of some nodes, and the gradient at one, `start`, else at the input."""

    def __init__(self, module: fx.GraphModule, wanted: set[fx.Node], start: fx.Node | None) -> None:
        super().__init__(module)
        self._wanted = wanted
        self._start = start or next(iter(module.graph.nodes))
        self._kept: dict[fx.Node, torch.Tensor] = {}
        self._leaf = torch.empty(0)

    def values(self, inputs: torch.Tensor) -> dict[fx.Node, torch.Tensor]:
        self.run(inputs)
        return self._kept

    def gradient(self) -> torch.Tensor:
        """Return (C, h, w), once a function of the values has been differentiated."""
        assert self._leaf.grad is not None
        return self._leaf.grad[0]

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n is self._start:
            self._leaf = result.detach().clone().requires_grad_()
            result = self._leaf.clone()  # the next layer may write into it
        if n in self._wanted:
            self._kept[n] = result.clone()
        return result


def _unchanged(value: torch.Tensor) -> Value:
    """Return an output for the unchanged image as if a window had been replaced by itself."""
    return whole_maps(value, value, windows=1) if value.ndim == 4 else value


def _check(end: End, value: object) -> None:
    """Raise BadLayer if a layer lacks the channels or the cell that an end names."""
    if not isinstance(end, Responses):
        return
    shape = value.shape if isinstance(value, torch.Tensor) else ()
    if len(shape) not in (2, 4):
        raise BadLayer(f"{end.layer!r} has no channels; take one of the layers that `whymatch layers` lists")
    cells = tuple(shape[2:]) or (1, 1)
    if end.cell and not all(0 <= place < size for place, size in zip(end.cell, cells, strict=True)):
        raise BadLayer(
            f"{end.layer!r} has no cell in row {end.cell[0]}, column {end.cell[1]}: for this image it has {cells[0]} "
            f"rows of {cells[1]} cells, counted from 0"
        )


def _pooled(pooling: Pooling, maps: Patches) -> torch.Tensor:
    """Return pooled vectors (B, C) float32 as `Pooling.pool` makes them."""
    if pooling.kind == "average":
        return maps.mean()
    whole = maps.whole().float()
    peaks = whole.amax((2, 3), keepdim=True)
    if pooling.kind == "max":
        return peaks[..., 0, 0]
    peaks = peaks.clamp(min=float(TINY))
    mean = (whole.clamp(min=0) / peaks).pow(pooling.power).mean((2, 3))
    return mean.pow(1 / pooling.power) * peaks[..., 0, 0]
