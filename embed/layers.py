"""The layers of a network by name, and which layers read which."""

import difflib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from whymatch.embed.errors import BadLayer, NoReluLayers
from whymatch.embed.operations import (
    ADDITIONS,
    CONCATENATIONS,
    is_identity,
    is_norm,
    is_pool,
    is_relu,
    layer_of,
    pads_as_it_says,
    pool_of,
)
from whymatch.embed.subgraph import module_outputs, reached_from
from whymatch.embed.trunk import SCORES, Trunk, without_numbers


@dataclass(frozen=True)
class Layer:
    """A layer with a response: the output of a ReLU, or of pooling or concatenating such outputs."""

    name: str
    """In the paper's style for VGG and AlexNet (`conv-4-3`, `pool-4`, `fc-6`), else the name of the module."""
    aliases: tuple[str, ...]
    """Other names of the same response, among them that of the convolution before the ReLU."""
    node: fx.Node
    channels: int


@dataclass(frozen=True)
class Reader:
    """A convolution or a pooling that reads a response."""

    node: fx.Node
    """Its output, before the ReLU that may follow."""
    layer: nn.Module
    first: int
    """The channel of its input with which the response begins: not 0 behind a concatenation."""


class Layers:
    """The layers of a trunk and its top, in the order in which they compute."""

    def __init__(self, trunk: Trunk) -> None:
        """Find the layers."""
        self.module = _with_top(trunk)
        self.nodes = list(self.module.graph.nodes)
        self.position = {node: number for number, node in enumerate(self.nodes)}
        self._shapes = shapes_of(self.module, 512, 512)
        self._channels = {node: shape[1] for node, shape in self._shapes.items() if len(shape) == 4}
        self._end = trunk.layer
        self._responses = self._find_responses()
        named = self._named()
        self.all = [] if all(layer.name == SCORES for layer in named) else named
        """The layers with a response; none in a network without ReLUs."""
        self._by_name = {name: layer for layer in self.all for name in (*layer.aliases, layer.name)}

    @property
    def last(self) -> Layer:
        """The last layer before the class scores. Raises NoReluLayers."""
        self._require_some()
        return self.all[-2] if self.all[-1].name == SCORES else self.all[-1]

    @property
    def end_in_response(self) -> bool:
        """Whether the feature map of the trunk is a response, and so at least 0."""
        return self._end in self._by_name

    def find(self, name: str) -> Layer:
        """Return a layer by any of its names.

        Raises:
            BadLayer: no such layer, or one without a ReLU; the message lists names that are near.
            NoReluLayers: none has a ReLU; InterActive is defined by which responses are above 0.
        """
        self._require_some()
        if name in self._by_name:
            return self._by_name[name]
        near = difflib.get_close_matches(name, self._by_name, n=5, cutoff=0.4) or [layer.name for layer in self.all[:5]]
        what = (
            "has no response that a ReLU lets through"
            if name in module_outputs(self.module.graph)
            else "is no layer of this network"
        )
        raise BadLayer(f"{name!r} {what}; near it are {', '.join(near)}; `whymatch layers` lists all")

    def _require_some(self) -> None:
        if not self.all:
            raise NoReluLayers("the network has no layer with a ReLU; take one that has, for example resnet50 or vgg16")

    def readers(self, node: fx.Node, first: int = 0) -> Iterator[Reader]:
        """Yield the convolutions and poolings that read a response, directly or out of a concatenation.

        Additions, the shortcuts of residual blocks, have no weights and are no layers: they are passed over.
        """
        for user in node.users:
            layer = self.called(user)
            if isinstance(layer, nn.Conv2d) or is_pool(user, layer):
                yield Reader(user, layer or pool_of(user), first)
            elif is_identity(user, layer):
                yield from self.readers(user, first)
            elif user.target in CONCATENATIONS:
                before = itertools.takewhile(lambda each: each is not node, user.all_input_nodes)
                yield from self.readers(user, first + sum(self._channels[each] for each in before))

    def users(self, node: fx.Node) -> Iterator[fx.Node]:
        """Yield what uses the output of a node, behind what changes nothing."""
        for user in node.users:
            if is_identity(user, self.called(user)):
                yield from self.users(user)
            else:
                yield user

    def response_of(self, reader: Reader) -> fx.Node | None:
        """Return the response of a reader: the output of the ReLU behind its convolution, or of the pooling itself."""
        node = reader.node
        if not isinstance(reader.layer, nn.Conv2d):
            return node
        while len(node.users) == 1:
            (node,) = node.users
            layer = self.called(node)
            if is_relu(node, layer):
                return node
            if not (is_norm(node, layer) or is_identity(node, layer) or node.target in ADDITIONS):
                return None
        return None

    def pads_as_it_says(self, reader: Reader) -> bool:
        """Say whether the windows of a reader lie where its kernel, stride and padding say."""
        if not isinstance(reader.layer, nn.Conv2d) or type(reader.layer) is nn.Conv2d:
            return True  # poolings, too, are torch's own
        return pads_as_it_says(reader.layer, self._shapes[reader.node.all_input_nodes[0]], self._shapes[reader.node])

    def leads_to(self, node: fx.Node, later: fx.Node) -> bool:
        """Say whether the output of a node is, or has a part in, that of a later one."""
        return later in reached_from(node, self.nodes)

    def called(self, node: fx.Node) -> nn.Module | None:
        """Return the module that a node calls."""
        return layer_of(self.module, node)

    def _find_responses(self) -> set[fx.Node]:
        responses: set[fx.Node] = set()
        for node in self.nodes:
            layer = self.called(node)
            if isinstance(layer, nn.Identity):
                continue
            passes_on = is_pool(node, layer) or is_identity(node, layer) or node.target in CONCATENATIONS
            if is_relu(node, layer) or (passes_on and responses.issuperset(map(self._passed_on, node.all_input_nodes))):
                responses.add(node)
        return responses

    def _passed_on(self, node: fx.Node) -> fx.Node:
        """Return the node whose output a node has: another one than itself behind what timm leaves empty."""
        while isinstance(self.called(node), nn.Identity):
            [node] = node.all_input_nodes
        return node

    def _named(self) -> list[Layer]:
        names: dict[fx.Node, list[str]] = {node: [] for node in self.nodes if node in self._responses}
        modules = module_outputs(self.module.graph)
        for module, node in modules.items():
            if self._passed_on(node) in names:
                names[self._passed_on(node)].append(module)
        for module, node in modules.items():
            relu = self._relu_behind(node)
            if relu is not None:
                names[relu].append(module)
        papers = _paper_names(self)
        return [
            Layer(name, tuple(other for other in found if other != name), node, self._channels[node])
            for node, found in names.items()
            for name in [papers.get(node) or (self._end if self._end in found else next(iter(found), node.name))]
        ]

    def _relu_behind(self, node: fx.Node) -> fx.Node | None:
        """Return the ReLU right behind a convolution, or behind its normalization."""
        if not isinstance(self.called(node), nn.Conv2d):
            return None
        while len(node.users) == 1:
            (node,) = node.users
            layer = self.called(node)
            if not (is_norm(node, layer) or is_identity(node, layer)):
                return node if node in self._responses else None
        return None


def _with_top(trunk: Trunk) -> fx.GraphModule:
    """Return the graph of a trunk and what lies above it; all parameters are the trunk's own."""
    if not trunk.top:
        return trunk.module
    graph = fx.Graph()
    end = graph.graph_copy(trunk.module.graph, {})
    for name, _ in trunk.top:
        end = graph.call_module(name, (end,))
    graph.output(end)
    parts = [trunk.module.named_modules(), trunk.module.named_parameters(), trunk.module.named_buffers(), trunk.top]
    return fx.GraphModule({name: part for named in parts for name, part in named}, graph)


def shapes_of(module: fx.GraphModule, height: int, width: int) -> dict[fx.Node, torch.Size]:
    """Return the shape of each node's output for one input, without computing values; empty if it is not a tensor."""
    recorder = _Recorder(without_numbers(module))
    recorder.run(torch.zeros(1, 3, height, width, device="meta"))
    return dict(zip(module.graph.nodes, recorder.shapes, strict=True))  # a copy's nodes may have other names


class _Recorder(fx.Interpreter):
    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.shapes: list[torch.Size] = []

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.shapes.append(result.shape if isinstance(result, torch.Tensor) else torch.Size())
        return result


def _paper_names(layers: Layers) -> dict[fx.Node, str]:
    """Name the layers of VGG by block and place in it, and the fully connected ones of VGG and AlexNet."""
    names: dict[fx.Node, str] = {}
    modules = [node for node in layers.nodes if node.op == "call_module" and node.target != SCORES]
    chain = [(node, layers.called(node)) for node in modules]
    in_top = {node for node, _ in chain if str(node.target).startswith("classifier.")}
    block, place, full = 1, 0, 6
    pools = sum(isinstance(layer, nn.MaxPool2d) for _, layer in chain)
    is_vgg = pools == 5 and all(node.op != "call_function" for node in layers.nodes)
    for node, layer in chain:
        if isinstance(layer, nn.Conv2d):
            place += 1
        elif node in in_top:
            names[node], full = f"fc-{full}", full + 1
        elif is_vgg and isinstance(layer, nn.MaxPool2d):
            names[node], block, place = f"pool-{block}", block + 1, 0
        elif is_vgg:
            names[node] = f"conv-{block}-{place}"
    return names
