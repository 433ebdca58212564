"""The responses of one layer: the network is run up to there, and no further."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from whymatch.embed import Model
from whymatch.embed.trunk import weights_hash
from whymatch.explain.units.layer_map import find_layer_map


class LayerResponses:
    """The network of a model up to a layer with rows and columns."""

    def __init__(self, model: Model, layer: str) -> None:
        """Find the layer.

        layer: by any name that `Alterations` takes; the response is that behind the ReLU, if one follows.

        Raises:
            BadLayer: no layer has that name, or it has no rows and columns.
        """
        side = model.geometry.size_px
        self.found = find_layer_map(model, layer, side, side)
        self._model = model
        self._module = _up_to(self.found.module, self.found.node)

    @property
    def channels(self) -> int:
        """How many units there are; each has a cell for every place."""
        return self.found.units

    @property
    def is_pooled(self) -> bool:
        """Whether this is the feature map that the model pools, which galleries keep."""
        [output] = [node for node in self._model.trunk.module.graph.nodes if node.op == "output"]
        return self._model.tap is None and self.found.node.name == output.all_input_nodes[0].name

    @property
    def identity(self) -> str:
        """What the responses depend on beside the model's fingerprint: the node, and the weights above the trunk."""
        name = self.found.node.name
        if name in {node.name for node in self._model.trunk.module.graph.nodes}:
            return name
        assert self._model.trunk.scorer
        return f"{name} {weights_hash(self._model.trunk.scorer)[:32]}"

    @torch.inference_mode()
    def maps(self, pixels: NDArray[np.uint8]) -> torch.Tensor:
        """Return the responses (B, C, H, W) float32 to pixels (B, h, w, 3), as `Model.prepare` makes them."""
        responses: torch.Tensor = self._module(self._model.inputs(pixels)).float()
        return responses


def _up_to(module: fx.GraphModule, node: fx.Node) -> fx.GraphModule:
    """Return the part of a network that a node depends on; it shares the weights."""
    graph, copies = fx.Graph(), dict[fx.Node, Any]()
    for each in module.graph.nodes:
        copies[each] = graph.node_copy(each, copies.__getitem__)
        if each is node:
            break
    graph.output(copies[node])
    part = fx.GraphModule(module, graph)
    graph.eliminate_dead_code()
    part.recompile()
    return part
