"""Classification networks by name, with weights from a file or from the library that defines them."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from whymatch.embed.errors import BadModel
from whymatch.embed.torchvision_models import import_models

Triple = tuple[float, float, float]

IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
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


def load_network(name: str, weights: Path | None) -> Network:
    """Load `bundled`, a torchvision network by name, or a timm one (`timm/NAME`, or NAME if torchvision has none).

    weights: a `.safetensors` or `.pth` file of the network's state; without it, the library's own default weights.

    Raises:
        BadModel: unknown name, unreadable weights, or weights that cannot be downloaded.
    """
    if name == "bundled":
        return replace(_torchvision("squeezenet1_1", weights or BUNDLED_WEIGHTS), name="bundled", size_px=176)
    if name in _torchvision_names():
        return _torchvision(name, weights)
    return _timm(name.removeprefix("timm/"), weights)


def _torchvision_names() -> list[str]:
    models = import_models()
    names: list[str] = models.list_models(module=models)
    return names


def _torchvision(name: str, weights: Path | None) -> Network:
    models = import_models()
    network = Network(name, models.get_model(name, weights=None, **_OPTIONS.get(name, {})).eval(), frozenset())
    if weights is not None:
        return _with_weights_file(network, weights)
    default = models.get_model_weights(name).DEFAULT
    try:
        state = default.get_state_dict(progress=True, check_hash=True)
    except OSError as err:
        raise BadModel(f"the weights of {name} cannot be downloaded ({err}); pass --weights FILE") from err
    preset = default.transforms()
    network = replace(network, mean=tuple(preset.mean), std=tuple(preset.std), size_px=preset.crop_size[0])
    return _with_state(network, state)


# Without these both networks warn and draw their random weights very slowly; the trained weights expect the transform.
_GOOGLE: dict[str, Any] = {"aux_logits": False, "init_weights": False, "transform_input": True}
_OPTIONS = {"googlenet": _GOOGLE, "inception_v3": _GOOGLE}


def _timm(name: str, weights: Path | None) -> Network:
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
        module = timm.create_model(name, pretrained=weights is None).eval()
    except (OSError, RuntimeError) as err:
        raise BadModel(f"the weights of {name} cannot be downloaded ({err}); pass --weights FILE") from err
    facts = resolve_model_data_config(module)
    network = Network(
        f"timm/{name}", module, frozenset(module.state_dict()), facts["mean"], facts["std"], facts["input_size"][-1]
    )
    return network if weights is None else _with_weights_file(network, weights)


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
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            facts = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
    except (SafetensorError, OSError) as err:
        raise BadModel(f"{str(path)!r} is not a safetensors file ({err})") from err
    mean = _triple(facts["mean"]) if "mean" in facts else network.mean
    std = _triple(facts["std"]) if "std" in facts else network.std
    return _with_state(replace(network, mean=mean, std=std), state)


def _triple(text: str) -> Triple:
    """Read `0.5` or `0.485, 0.456, 0.406`."""
    values = [float(part) for part in text.strip("[]() ").split(",")]
    red, green, blue = values if len(values) == 3 else values[:1] * 3
    return red, green, blue


def _state_of(loaded: object, path: Path) -> Mapping[str, torch.Tensor]:
    """Find the tensors in what training programs save: bare, or under `state_dict` or `model`."""
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise BadModel(f"{str(path)!r} holds no dictionary of tensors; save `model.state_dict()`")
    return {str(name).removeprefix("module."): tensor for name, tensor in loaded.items()}


def _with_state(network: Network, state: Mapping[str, torch.Tensor]) -> Network:
    """Load what fits; a class head of another size is left out, and `trunk.py` insists on the rest."""
    wanted = network.module.state_dict()
    fitting = {name: tensor for name, tensor in state.items() if name in wanted and tensor.shape == wanted[name].shape}
    network.module.load_state_dict(fitting, strict=False)
    return replace(network, loaded=frozenset(fitting))
