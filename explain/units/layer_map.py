"""A layer of a model's network in the graph of all of it, and the shapes of the maps, without computing any."""

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import fx, nn

from whymatch.embed import BadLayer, Model
from whymatch.embed.alterations import NetworkGraph, Responses
from whymatch.embed.layers import shapes_of
from whymatch.embed.operations import joins_channels, layer_of, picks_channels


@dataclass(frozen=True, eq=False)
class LayerMap:
    """A layer with rows and columns of units."""

    name: str
    module: fx.GraphModule
    """The network, from its input to its class scores."""
    node: fx.Node
    """What gives the layer's map."""
    shapes: dict[fx.Node, torch.Size]
    """Of each node's output for one input; empty if it is not a tensor."""

    @property
    def units(self) -> int:
        """How many channels it has."""
        return self.shapes[self.node][1]

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns."""
        shape = self.shapes[self.node]
        return shape[2], shape[3]

    def called(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a node calls."""
        return layer_of(self.module, node)

    def joins_channels(self, node: fx.Node) -> bool:
        """Say whether a node puts the channels of maps one behind the other."""
        return joins_channels(node, len(self.shapes[node]))

    def picks_channels(self, node: fx.Node) -> bool:
        """Say whether a node takes some channels of a map, or makes a single one a map again."""
        return bool(node.all_input_nodes) and picks_channels(node, len(self.shapes[node.all_input_nodes[0]]))


def find_layer_map(model: Model, layer: str, height_px: int, width_px: int) -> LayerMap:
    """Find a layer and what its map is like for inputs of one size.

    layer: by any name that `Alterations` takes.

    Raises:
        BadLayer: no layer has that name, or it has no rows and columns.
    """
    network = NetworkGraph(model)
    node = network.node(Responses(layer))
    shapes = shapes_of(network.module, height_px, width_px)
    if len(shapes[node]) != 4:
        raise BadLayer(
            f"the units of {layer!r} have no place in the image; take a layer before the fully connected ones"
        )
    return LayerMap(layer, network.module, node, shapes)


def unit_layers(model: Model) -> set[str]:
    """Return the names of those of a model's layers that have rows and columns of units."""
    network, side = NetworkGraph(model), model.geometry.size_px
    shapes = shapes_of(network.module, side, side)
    found = set()
    for layer in model.layers.all:
        with suppress(BadLayer):
            if len(shapes[network.node(Responses(layer.name))]) == 4:
                found.add(layer.name)
    return found
