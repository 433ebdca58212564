"""Classification networks by name, with weights from a file or from the library that defines them."""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from whymatch.embed.classifier import Classifier, classifier_of
from whymatch.embed.cnn_m import CnnM
from whymatch.embed.errors import BadModel
from whymatch.embed.model_file import Triple, read_model_file
from whymatch.embed.pooling import Pooling
from whymatch.embed.torchvision_models import import_models

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_CLASSES = 1000
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
BUNDLED = "bundled"
BUNDLED_WEIGHTS = Path(__file__).parent / "weights" / "bundled.safetensors"


@dataclass(frozen=True)
class Network:
    """A classification network and the images that it was trained on."""

    name: str
    module: nn.Module
    loaded: frozenset[str]
    """Names of the parameters and buffers that have trained values."""
    mean: Triple = IMAGENET_MEAN
    """Mean of red, green and blue, 0 to 1, taken off each pixel."""
    std: Triple = IMAGENET_STD
    """What each channel is divided by afterwards."""
    size_px: int = 224
    """Side of its usual square input."""
    pooling: Pooling = Pooling()
    """How the vectors that it was trained for are pooled."""
    classes: tuple[str, ...] = ()
    """Names of the classes of its own classifier, where its weights file names them."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that it scores: those of its file, for 1000 classes else ImageNet's, or numbers."""
        count = self.classifier.classes if self.classifier else 0
        if len(self.classes) == count:
            return self.classes
        if count == IMAGENET_CLASSES:
            return tuple(import_models().get_model_weights("resnet18").DEFAULT.meta["categories"])
        return tuple(map(str, range(count)))

    @property
    def classifier(self) -> Classifier | None:
        """The layer that scores its classes, if it was trained."""
        found = classifier_of(self.module)
        return found if found and f"{found.name}.weight" in self.loaded else None


def load_network(name: str | None, weights: Path | None) -> Network:
    """Load `bundled`, a torchvision network by name, or a timm one (`timm/NAME`, or NAME if torchvision has none).

    name: None takes the one that the weights file names, or `bundled` if there is no file either.
    weights: a `.safetensors` or `.pth` file of the network's state; without it, the library's own default weights.

    Raises:
        BadModel: unknown name, unreadable weights, or weights that cannot be downloaded.
    """
    if name == BUNDLED or (name is None and weights is None):
        return load_network(None, weights or BUNDLED_WEIGHTS)
    if weights is not None:
        return _with_weights_file(untrained_network(name or _backbone_of(weights)), weights)
    assert name is not None
    if name in _OWN:
        raise BadModel(f"no library has weights of {name}; pass --weights FILE")
    if name in _torchvision_names():
        return _with_torchvision_weights(untrained_network(name))
    return _timm(name, pretrained=True)


def untrained_network(name: str) -> Network:
    """Return a network by name with random weights, drawn from torch's current seed.

    Raises:
        BadModel: neither this package, torchvision nor timm has it.
    """
    if name in _OWN:
        return Network(name, _OWN[name]().eval(), frozenset())
    if name in _torchvision_names():
        module = import_models().get_model(name, weights=None, **_OPTIONS.get(name, {}))
        return Network(name, module.eval(), frozenset())
    return _timm(name, pretrained=False)


def _backbone_of(weights: Path) -> str:
    if weights.suffix == ".safetensors" and weights.is_file():
        named = read_model_file(weights)[0].backbone
        if named:
            return named
    raise BadModel(f"{str(weights)!r} does not say what network it belongs to; also pass --backbone NAME")


def _torchvision_names() -> list[str]:
    models = import_models()
    names: list[str] = models.list_models(module=models)
    return names


def _with_torchvision_weights(network: Network) -> Network:
    default = import_models().get_model_weights(network.name).DEFAULT
    try:
        state = default.get_state_dict(progress=True, check_hash=True)
    except OSError as err:
        raise BadModel(f"the weights of {network.name} cannot be downloaded ({err}); pass --weights FILE") from err
    preset = default.transforms()
    network = replace(network, mean=tuple(preset.mean), std=tuple(preset.std), size_px=preset.crop_size[0])
    return _with_state(network, state)


def _regnet_x_200mf() -> nn.Module:
    """The smallest network of "Designing Network Design Spaces", which torchvision's class builds but does not name."""
    regnet = import_models().regnet
    module: nn.Module = regnet.RegNet(
        regnet.BlockParams.from_init_params(depth=13, w_0=24, w_a=36.44, w_m=2.49, group_width=8)
    )
    return module


_OWN: dict[str, Callable[[], nn.Module]] = {"cnn_m": CnnM, "regnet_x_200mf": _regnet_x_200mf}

# Without these both networks warn and draw their random weights very slowly; the trained weights expect the transform.
_GOOGLE: dict[str, Any] = {"aux_logits": False, "init_weights": False, "transform_input": True}
_OPTIONS = {"googlenet": _GOOGLE, "inception_v3": _GOOGLE}


def _timm(name: str, *, pretrained: bool) -> Network:
    name = name.removeprefix("timm/")
    try:
        import_models()  # timm imports torchvision
        import timm
        from timm.data import resolve_model_data_config
    except ImportError as err:
        raise BadModel(
            f"torchvision has no network {name!r}; for timm's networks `pip install 'whymatch[timm]'`"
        ) from err
    if not timm.is_model(name):
        raise BadModel(f"neither torchvision nor timm has a network {name!r}; see `torchvision.models.list_models()`")
    try:
        module = timm.create_model(name, pretrained=pretrained).eval()
    except (OSError, RuntimeError) as err:
        raise BadModel(f"the weights of {name} cannot be downloaded ({err}); pass --weights FILE") from err
    facts = resolve_model_data_config(module)
    loaded = frozenset(module.state_dict()) if pretrained else frozenset()
    return Network(f"timm/{name}", module, loaded, facts["mean"], facts["std"], facts["input_size"][-1])


def _with_weights_file(network: Network, path: Path) -> Network:
    if not path.is_file():
        raise BadModel(f"there is no weights file {str(path)!r}")
    if path.suffix == ".safetensors":
        return _with_safetensors(network, path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as err:
        raise BadModel(f"{str(path)!r} is not a file of weights that torch can load safely ({err})") from err
    return _with_state(network, _state_of(state, path))


def _with_safetensors(network: Network, path: Path) -> Network:
    facts, state = read_model_file(path)
    network = replace(
        network,
        mean=facts.mean or network.mean,
        std=facts.std or network.std,
        size_px=facts.size_px or network.size_px,
        pooling=facts.pooling or network.pooling,
        classes=facts.classes,
    )
    return _with_state(network, state)


def _state_of(loaded: object, path: Path) -> Mapping[str, torch.Tensor]:
    """Find the tensors in what training programs save: bare, or under `state_dict` or `model`."""
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise BadModel(f"{str(path)!r} holds no dictionary of tensors; save `model.state_dict()`")
    # DataParallel puts `module.` before each name.
    return {str(name).removeprefix("module."): tensor for name, tensor in loaded.items()}


def _with_state(network: Network, state: Mapping[str, torch.Tensor]) -> Network:
    """Load what fits; a class head of another size is left out, and `trunk.py` insists on the rest."""
    wanted = network.module.state_dict()  # with its metadata, which MNASNet requires
    fitting = {name: tensor for name, tensor in state.items() if name in wanted and tensor.shape == wanted[name].shape}
    wanted.update(fitting)
    network.module.load_state_dict(wanted)
    return replace(network, loaded=frozenset(fitting))
