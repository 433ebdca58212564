"""Networks with their weights: from a file, or from the library that defines them."""

from dataclasses import replace
from pathlib import Path

import torch

from whymatch.embed.checkpoint import State, fitting, read_checkpoint
from whymatch.embed.errors import BadModel
from whymatch.embed.model_file import ModelFacts, read_model_file
from whymatch.embed.networks import Network, is_of_torchvision, is_own, timm_network, untrained_network
from whymatch.embed.torchvision_models import import_models
from whymatch.embed.trunk import names_of_trunk

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")
BUNDLED = "bundled"
BUNDLED_WEIGHTS = Path(__file__).parent / "weights" / "bundled.safetensors"


def load_network(name: str | None, weights: Path | None) -> Network:
    """Load `bundled`, a torchvision network by name, or a timm one (`timm/NAME`, or NAME if torchvision has none).

    What has no feature map is refused before its weights are read or downloaded.

    name: None takes the one that the weights file names, or `bundled` if there is no file either.
    weights: a `.safetensors` or `.pth` file of the network's state; without it, the library's own default weights.

    Raises:
        BadModel: unknown name, no feature map, unreadable weights, or weights that do not fit or cannot be downloaded.
    """
    if name == BUNDLED or (name is None and weights is None):
        return load_network(None, weights or BUNDLED_WEIGHTS)
    if weights is not None:
        return _with_weights_file(untrained_network(name or _backbone_of(weights)), weights)
    assert name is not None
    if is_own(name):
        raise BadModel(f"no library has weights of {name}; pass --weights FILE")
    if is_of_torchvision(name):
        return _with_torchvision_weights(untrained_network(name))
    names_of_trunk(_shape_of(name))
    return timm_network(name, pretrained=True)


def _backbone_of(weights: Path) -> str:
    if weights.suffix == ".safetensors" and weights.is_file():
        named = read_model_file(weights)[0].backbone
        if named:
            return named
    raise BadModel(f"{str(weights)!r} does not say what network it belongs to; also pass --backbone NAME")


def _shape_of(name: str) -> Network:
    """Return a timm network without numbers, if it can be built so."""
    try:
        with torch.device("meta"):
            return timm_network(name, pretrained=False)
    except (RuntimeError, NotImplementedError, ValueError):  # some compute numbers while they are built
        return timm_network(name, pretrained=False)


def _with_torchvision_weights(network: Network) -> Network:
    trunk = names_of_trunk(network)
    try:
        state = import_models().get_model_weights(network.name).DEFAULT.get_state_dict(progress=True, check_hash=True)
    except OSError as err:
        raise BadModel(f"the weights of {network.name} cannot be downloaded ({err}); pass --weights FILE") from err
    return _with_state(network, [state], trunk, f"torchvision's file of {network.name}")


def _with_weights_file(network: Network, path: Path) -> Network:
    if not path.is_file():
        raise BadModel(f"there is no weights file {str(path)!r}")
    trunk = names_of_trunk(network)
    if path.suffix == ".safetensors":
        facts, state = read_model_file(path)
        return _with_state(_with_facts(network, facts), [state], trunk, repr(str(path)))
    return _with_state(network, read_checkpoint(path), trunk, repr(str(path)))


def _with_facts(network: Network, facts: ModelFacts) -> Network:
    """Put what a file says in place of what the library says; a file of `train` was made with bilinear resizing."""
    if facts.mean or facts.std or facts.size_px:
        network = replace(network, interpolation="bilinear", crop=1.0)
    return replace(
        network,
        mean=facts.mean or network.mean,
        std=facts.std or network.std,
        size_px=facts.size_px or network.size_px,
        pooling=facts.pooling or network.pooling,
        classes=facts.classes,
    )


def _with_state(network: Network, states: list[State], trunk: list[str], source: str) -> Network:
    wanted = network.module.state_dict()  # with its metadata, which MNASNet requires
    fits = fitting(states, wanted, trunk, source=source, network=network.name)
    wanted.update(fits)
    network.module.load_state_dict(wanted)
    return replace(network, loaded=frozenset(fits))
