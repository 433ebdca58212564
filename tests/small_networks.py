"""Models of small networks, as if they were trained."""

import dataclasses
from collections.abc import Callable

import torch
from torch import nn

from whymatch.embed import Geometry, Model, Pooling
from whymatch.embed.layers import Layers
from whymatch.embed.networks import Network, untrained_network
from whymatch.embed.taps import parse_tap
from whymatch.embed.trunk import cut_trunk

AVERAGE = Pooling()


class Small(nn.Module):
    """A stem, a residual block and a classifier."""

    def __init__(self, *, relu: bool = True) -> None:
        super().__init__()
        self.conv1, self.bn1, self.conv2 = nn.Conv2d(3, 6, 3, 2, 1), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, 1, 1)
        self.relu = nn.ReLU(inplace=True) if relu else nn.Identity()
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.conv2(x) + x)
        return self.fc(self.avgpool(x).flatten(1))


class Calls(nn.Module):
    """A layer that is a function, so that a network of them reads as its formula; `parts` are its own layers."""

    def __init__(self, function: Callable[..., torch.Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.function(x, *self.parts)


def small(*, pooling: Pooling = AVERAGE, relu: bool = True, tap: str | None = None, lacking: str = " ") -> Model:
    torch.manual_seed(0)
    module = Small(relu=relu)
    nn.init.uniform_(module.bn1.running_var, 0.5, 2)
    return model_of(Network("small", module.eval(), frozenset()), pooling=pooling, tap=tap, lacking=lacking)


def model_of(
    network: Network, *, pooling: Pooling = AVERAGE, tap: str | None = None, lacking: str = " ", side: int = 32
) -> Model:
    """Return a model of a network as if it were trained, but for what begins with `lacking`."""
    network.module.requires_grad_(False)
    loaded = frozenset(name for name in network.module.state_dict() if not name.startswith(lacking))
    network = dataclasses.replace(network, loaded=loaded)
    trunk = cut_trunk(network)
    tapped = parse_tap(tap, Layers(trunk)) if tap else None
    geometry = Geometry("warp", side, 1, 1)
    classes = network.class_names if trunk.scorer else ()
    return Model(network.name, trunk, geometry, network.mean, network.std, pooling, "float32", "cpu", tapped, classes)


def slim(name: str) -> Network:
    """Return a network with random weights, narrower in the fully connected layers of VGG and AlexNet, to be quick."""
    with torch.device("meta" if name in ("alexnet", "vgg11") else "cpu"):
        network = untrained_network(name)
        for child, layer in [*getattr(network.module, "classifier", nn.Module()).named_children()]:
            if isinstance(layer, nn.Linear) and 4096 in (layer.in_features, layer.out_features):
                sizes = (8 if size == 4096 else size for size in (layer.in_features, layer.out_features))
                network.module.classifier.set_submodule(child, nn.Linear(*sizes))
    network.module.to_empty(device="cpu")
    torch.manual_seed(0)
    for key, tensor in network.module.state_dict().items():
        if key.endswith("num_batches_tracked"):
            tensor.zero_()
        elif tensor.ndim > 1:
            nn.init.kaiming_normal_(tensor)
        else:
            nn.init.uniform_(tensor, 0.5, 1.5) if key.endswith(("weight", "var")) else nn.init.normal_(tensor, 0, 0.1)
    return network
