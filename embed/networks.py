"""Classification networks by name, and how the libraries that define them lay images onto their inputs."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from whymatch.embed.classifier import Classifier, classifier_of
from whymatch.embed.cnn_m import CnnM
from whymatch.embed.errors import BadModel
from whymatch.embed.geometry import Interpolation
from whymatch.embed.model_file import Triple
from whymatch.embed.pooling import Pooling
from whymatch.embed.torchvision_models import import_models

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_CLASSES = 1000
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)


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
    interpolation: Interpolation = "bilinear"
    """How its images were resized."""
    crop: float = 1.0
    """The share of an image's shorter side that its usual central crop sees."""

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
        if found is None:
            return None
        names = {f"{found.name}.{name}" for name in found.layer.state_dict()}
        return found if names <= self.loaded else None


def untrained_network(name: str) -> Network:
    """Return a network by name with random weights, drawn from torch's current seed.

    Raises:
        BadModel: neither this package, torchvision nor timm has it.
    """
    if name in _OWN:
        return Network(name, _OWN[name]().eval(), frozenset())
    return _torchvision(name) if is_of_torchvision(name) else timm_network(name, pretrained=False)


def is_own(name: str) -> bool:
    """Say whether this package alone has a network of that name; no library has weights of it."""
    return name in _OWN


def is_of_torchvision(name: str) -> bool:
    """Say whether torchvision has a classification network of that name."""
    models = import_models()
    return name in models.list_models(module=models)


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


def _torchvision(name: str) -> Network:
    models = import_models()
    network = Network(name, models.get_model(name, weights=None, **_OPTIONS.get(name, {})).eval(), frozenset())
    default = getattr(models.get_model_weights(name), "DEFAULT", None)
    if default is None:
        return network
    preset = default.transforms()
    return replace(
        network,
        mean=tuple(preset.mean),
        std=tuple(preset.std),
        size_px=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        crop=min(preset.crop_size[0] / preset.resize_size[0], 1.0),
    )


def timm_network(name: str, *, pretrained: bool) -> Network:
    """Return a network of timm, with or without the weights that timm downloads.

    Raises:
        BadModel: timm is not there, or has no such network, or no weights of it.
    """
    name = name.removeprefix("timm/")
    try:
        import_models()  # timm imports torchvision
        import timm
        from timm.data import resolve_model_data_config
    except ImportError as err:
        raise BadModel(
            f"torchvision has no network {name!r}; for timm's networks `pip install '.[timm]'` in a checkout"
        ) from err
    if not timm.is_model(name):
        raise BadModel(f"neither torchvision nor timm has a network {name!r}; see `torchvision.models.list_models()`")
    try:
        module = timm.create_model(name, pretrained=pretrained).eval()
    except (OSError, RuntimeError) as err:
        raise BadModel(f"the weights of {name} cannot be downloaded ({err}); pass --weights FILE") from err
    facts = resolve_model_data_config(module)
    return Network(
        f"timm/{name}",
        module,
        frozenset(module.state_dict()) if pretrained else frozenset(),
        facts["mean"],
        facts["std"],
        facts["input_size"][-1],
        interpolation=facts["interpolation"],
        crop=min(facts["crop_pct"], 1.0),
    )
