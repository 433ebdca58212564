"""The part of a classification network up to its last feature map: what is pooled into an embedding."""

import copy
import hashlib
import math
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from whymatch.embed.classifier import Classifier, classifier_of
from whymatch.embed.errors import BadModel
from whymatch.embed.networks import Network
from whymatch.embed.operations import is_pool_to_fixed_size, layer_of
from whymatch.embed.subgraph import section

Module = TypeVar("Module", bound=nn.Module)

SCORES = "scores"
"""Name of the ReLU behind the class scores."""


@dataclass(frozen=True)
class Trunk:
    """A function of inputs (B, 3, h, w) to feature maps (B, C, H, W)."""

    module: fx.GraphModule
    layer: str
    """Name of the layer whose output is the feature map."""
    weights_sha256: str
    """Hash of all its parameters and buffers."""
    channels: int
    """C."""
    top: tuple[tuple[str, nn.Module], ...] = ()
    """What lies above the feature map, by name, up to the class scores: fully connected layers as convolutions, and the
    ReLUs behind them, one behind the scores, too. Nothing if the weights lack it or convolutions cannot do the same."""
    top_sha256: str = ""
    """Hash of its parameters."""
    classifier: Classifier | None = None
    """The layer that scores the classes, if `top` ends in it."""
    scorer: fx.GraphModule | None = None
    """A function of feature maps to class scores (B, classes) before softmax: all of the network behind the feature
    map. None if the weights lack a part of it, or it cannot be traced."""
    unscored: str = ""
    """Why there is no scorer."""


def cut_trunk(network: Network) -> Trunk:
    """Cut a network before the pooling that its classifier reads.

    The cut is where the last pooling to a fixed size begins, or the module `classifier`, whichever comes first: before
    the global pooling of ResNet and its like, after the last layer of the convolutional part of VGG, AlexNet and
    SqueezeNet. timm's networks name their cut themselves, `forward_features`.

    Raises:
        BadModel: no feature map is pooled there (vision transformers), or the weights lack a part of the trunk.
    """
    module, layer, behind = _traced(network)
    channels = _channels(module, network)
    _require_weights(module, network)
    unscored = _unscored(behind, network)
    weights_sha256 = weights_hash(module)
    _part_activations(module)
    _fold_batch_norms(module)
    top = _top(network, channels) if behind is not None else ()
    top_sha256 = hashlib.sha256("".join(weights_hash(part) for _, part in top).encode()).hexdigest()
    classifier = network.classifier if top else None
    scorer = None if unscored else behind
    return Trunk(module, layer, weights_sha256, channels, top, top_sha256, classifier, scorer, unscored)


def names_of_trunk(network: Network) -> list[str]:
    """Return the names of the parameters and buffers that a file of weights must have for the trunk.

    Raises:
        BadModel: no feature map is pooled there.
    """
    module, _, _ = _traced(network)
    _channels(module, network)
    return _required(module, network)


def trainable_trunk(network: Network) -> tuple[nn.Module, int]:
    """Return the same trunk unfolded and in training mode, and C; its parameters are the network's own.

    Raises:
        BadModel: no feature map is pooled there.
    """
    module, _, _ = _traced(network)
    return module.train(), _channels(module, network)


def output_shape(module: nn.Module, side: int) -> torch.Size | None:
    """Return the shape of the output for one side x side input, without computing it; None if it does not fit."""
    try:
        output = without_numbers(module)(torch.zeros(1, 3, side, side, device="meta"))
    except (RuntimeError, AssertionError, ValueError):
        return None
    return output.shape if output.numel() else None


def without_numbers(module: Module) -> Module:
    """Return a float32 network of the same shapes on torch's meta device, to try sizes on, without copying numbers."""
    memo: dict[int, object] = {
        id(tensor): nn.Parameter(
            tensor.to("meta", torch.float32 if tensor.is_floating_point() else tensor.dtype), requires_grad=False
        )
        for tensor in (*module.parameters(), *module.buffers())
    }
    return copy.deepcopy(module, memo)


def stride_and_min_side(trunk: Trunk) -> tuple[int, int]:
    """Measure how many input pixels a cell takes, and the shortest side, a multiple of it, that leaves a cell.

    Raises:
        BadModel: the network takes inputs of one size only.
    """
    small, large = output_shape(trunk.module, 256), output_shape(trunk.module, 512)
    if small is None or large is None or large[2] <= small[2]:
        raise BadModel("this network takes inputs of one size only; use the geometry `warp` or `center-crop`")
    stride = round(256 / (large[2] - small[2]))
    side = stride
    while output_shape(trunk.module, side) is None:
        side += stride
    return stride, side


def side_for_top(trunk: Trunk, stride: int, side: int) -> int:
    """Return the shortest side, from `side` on, whose feature map is not smaller than the kernel of what lies above."""
    kernel = max((part.kernel_size[0] for _, part in trunk.top if isinstance(part, nn.Conv2d)), default=1)
    while (output_shape(trunk.module, side) or (0, 0, 0))[2] < kernel:
        side += stride
    return side


def _channels(module: nn.Module, network: Network) -> int:
    shape = output_shape(module, 256) or output_shape(module, network.size_px)
    if shape is None or len(shape) != 4:
        raise BadModel(f"{network.name} gives no map of channels, rows and columns at any input size; {_TAKE_A_CNN}")
    if _has_channels_last(shape, network):
        raise BadModel(f"the map of {network.name} has its channels behind rows and columns; {_TAKE_A_CNN}")
    return shape[1]


def _has_channels_last(shape: torch.Size, network: Network) -> bool:
    """Say whether rows and columns come before the channels, whose number timm's networks name: in its Swin."""
    return bool(shape[3] == getattr(network.module, "num_features", None) != shape[1])


class _Tracer(fx.Tracer):
    """Traces a network down to torch's own layers and to the special convolutions that timm derives from them."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (nn.Conv2d, nn.BatchNorm2d)) or super().is_leaf_module(m, module_qualified_name)


def _traced(network: Network) -> tuple[fx.GraphModule, str, fx.GraphModule | None]:
    """Return the trunk, the name of its last layer, and what is behind it, if that can be traced."""
    tracer = _Tracer()
    names_its_cut = hasattr(network.module, "forward_features")
    if names_its_cut:
        tracer.traced_func_name = "forward_features"
    try:
        graph = tracer.trace(network.module)
    except (fx.proxy.TraceError, AssertionError, TypeError) as err:
        raise BadModel(f"the layers of {network.name} cannot be followed ({err}); {_TAKE_A_CNN}") from err
    traced = fx.GraphModule(tracer.root, graph, network.name)
    output = next(node for node in graph.nodes if node.op == "output")
    end = output.all_input_nodes[0] if names_its_cut else _feature_node(traced, network)
    behind = _traced_head(network) if names_its_cut else section(traced, end, output)
    graph.erase_node(output)
    graph.output(end)
    graph.eliminate_dead_code()
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced, _name_of(end), behind


def _traced_head(network: Network) -> fx.GraphModule | None:
    """Return what timm's networks call `forward_head`."""
    tracer = _Tracer()
    tracer.traced_func_name = "forward_head"
    try:
        graph = tracer.trace(network.module, {"pre_logits": False})
    except (fx.proxy.TraceError, AssertionError, TypeError, AttributeError):
        return None
    head = fx.GraphModule(network.module, graph)
    for node in reversed(graph.nodes):  # the switch `pre_logits`, and the check that it is off
        if node.target is torch._assert or (not node.users and node.op != "output"):
            graph.erase_node(node)
    head.recompile()
    return head


def _unscored(behind: fx.GraphModule | None, network: Network) -> str:
    """Say why a network scores no classes; nothing if it does."""
    if behind is None:
        return "what lies behind its feature map cannot be followed, as where attention pools it"
    if classifier_of(network.module) is None:
        return "it has no classifier"
    missing = [name for name in _required(behind, network) if name not in network.loaded]
    return f"its weights lack its classifier, first {missing[0]!r}" if missing else ""


def _feature_node(traced: fx.GraphModule, network: Network) -> fx.Node:
    nodes = list(traced.graph.nodes)
    pools = [node for node in nodes if is_pool_to_fixed_size(node, layer_of(traced, node))]
    if not pools:
        raise BadModel(f"{network.name} pools no feature map before its classifier; {_TAKE_A_CNN}")
    classifier = [node for node in nodes if node.op == "call_module" and str(node.target).startswith("classifier.")]
    end = min(pools[-1:] + classifier[:1], key=nodes.index)
    feature_map: fx.Node = end.all_input_nodes[0]
    return feature_map


def _top(network: Network, channels: int) -> tuple[tuple[str, nn.Module], ...]:
    classifier = network.classifier
    if classifier is None:
        return ()
    layers = (
        [(classifier.name, classifier.layer)]
        if classifier.channels == channels
        else _fully_connected(network, channels)
    )
    top: list[tuple[str, nn.Module]] = []
    for name, layer in layers:
        if isinstance(layer, nn.Linear):
            layer = _as_convolution(layer, math.isqrt(layer.in_features // channels))
            channels = layer.out_channels
        top.append((name, layer))
    return (*top, (SCORES, nn.ReLU())) if top else ()


def _fully_connected(network: Network, channels: int) -> list[tuple[str, nn.Module]]:
    """Return the linear layers of VGG and AlexNet, which read all cells of a map of one size, and their ReLUs."""
    pool, classifier = (getattr(network.module, name, None) for name in ("avgpool", "classifier"))
    if not isinstance(pool, nn.AdaptiveAvgPool2d) or not isinstance(classifier, nn.Sequential):
        return []
    named = [(f"classifier.{name}", layer) for name, layer in classifier.named_children()]
    linear = [(name, layer) for name, layer in named if isinstance(layer, nn.Linear)]
    side = pool.output_size[0] if isinstance(pool.output_size, tuple) else pool.output_size
    loaded = all(f"{name}.weight" in network.loaded for name, _ in linear)
    known = all(isinstance(layer, (nn.Linear, nn.ReLU, nn.Dropout, nn.Flatten)) for _, layer in named)
    if not loaded or not known or linear[0][1].in_features != channels * (side or 0) ** 2:
        return []
    return [(name, layer) for name, layer in named if isinstance(layer, (nn.Linear, nn.ReLU))]


def _as_convolution(layer: nn.Linear, side: int) -> nn.Conv2d:
    """Return the convolution with a side x side kernel that does the same to a map of that size; it shares weights."""
    channels = layer.in_features // side**2
    convolution = nn.Conv2d(channels, layer.out_features, side, device="meta")
    convolution.weight = nn.Parameter(layer.weight.detach().view(layer.out_features, channels, side, side))
    convolution.bias = layer.bias
    return convolution


def _name_of(node: fx.Node) -> str:
    """Name a node by its module; a function, such as a concatenation, by the module that calls it."""
    if node.op == "call_module":
        return str(node.target)
    return next(reversed(node.meta.get("nn_module_stack") or {}), node.name)


def _require_weights(module: nn.Module, network: Network) -> None:
    missing = [name for name in _required(module, network) if name not in network.loaded]
    if missing:
        raise BadModel(
            f"the weights do not fit {network.name}: {len(missing)} of its tensors are missing or of another shape, "
            f"first {missing[0]!r}; pass the weights of this very network"
        )


def _required(module: nn.Module, network: Network) -> list[str]:
    """Return the names of what a part of a network reads; not of buffers that the network computes itself."""
    saved = network.module.state_dict()
    return [name for name in _state(module) if name in saved]


def _part_activations(traced: fx.GraphModule) -> None:
    """Part timm's batch normalizations from the activations in them, so that both are known for what they are.

    The normalization keeps its name and those of its parameters.
    """
    for node in list(traced.graph.nodes):
        both = layer_of(traced, node)
        act = getattr(both, "act", None)
        if not isinstance(both, nn.BatchNorm2d) or not isinstance(act, nn.Module):
            continue
        traced.set_submodule(str(node.target), _norm_alone(both, act))
        if not isinstance(act, nn.Identity):
            with traced.graph.inserting_after(node):
                activation = traced.graph.call_module(f"{node.target}.act")
            activation.meta = dict(node.meta)
            node.replace_all_uses_with(activation)
            activation.args = (node,)
    traced.recompile()


def _norm_alone(both: nn.BatchNorm2d, act: nn.Module) -> nn.BatchNorm2d:
    """Return the normalization, with the activation as a child; all tensors are shared."""
    norm = nn.BatchNorm2d(both.num_features, both.eps, both.momentum, both.affine, both.track_running_stats, "meta")
    norm.__dict__.update({name: getattr(both, name) for name in ("_parameters", "_buffers", "training")})
    norm.add_module("act", act)
    return norm


def _fold_batch_norms(traced: fx.GraphModule) -> None:
    """Fold each batch normalization into the convolution before it: the same function, fewer passes over memory."""
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        source = node.all_input_nodes[0] if node.op == "call_module" else None
        if source is None or source.op != "call_module" or len(source.users) > 1:
            continue
        convolution, norm = modules[str(source.target)], modules[str(node.target)]
        if type(convolution) is nn.Conv2d and type(norm) is nn.BatchNorm2d:
            traced.set_submodule(str(source.target), fuse_conv_bn_eval(convolution, norm))
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()


def weights_hash(module: nn.Module) -> str:
    """Return the SHA-256 of all parameters and buffers that an output depends on, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in _state(module).items():
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return all parameters and buffers that an output depends on, by name."""
    state = module.state_dict()
    return {name: state[name] for name in sorted(state) if not name.endswith("num_batches_tracked")}


_TAKE_A_CNN = "transformers are not supported yet; take a convolutional network, for example resnet50"
