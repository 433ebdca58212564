"""A model: a network's trunk with the preprocessing before it and the pooling after it, and its fingerprint."""

import functools
import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import fx

from whymatch.embed.activeness import Activeness, InterActive, InterActiveSetting
from whymatch.embed.errors import BadModel, NoClassScores
from whymatch.embed.features import Features
from whymatch.embed.geometry import Geometry, GeometryMode, Interpolation, Placement
from whymatch.embed.image import DecodeLimits, decode_unconverted
from whymatch.embed.layers import Layers
from whymatch.embed.loading import BUNDLED, WEIGHT_SUFFIXES, load_network
from whymatch.embed.model_file import Triple
from whymatch.embed.networks import Network
from whymatch.embed.pictures import to_srgb
from whymatch.embed.pooling import Array, Pooling, PoolingKind
from whymatch.embed.taps import Tap, parse_tap
from whymatch.embed.trunk import Trunk, cut_trunk, output_shape, side_for_top, stride_and_min_side

VERSION = 2
"""Of decoding, resizing and all else between a file and its vector; raised by each change that changes vectors."""
Precision = Literal["float32", "bfloat16"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, eq=False)
class Prepared:
    """A decoded image, ready for the network."""

    pixels: NDArray[np.uint8]
    """(h, w, 3) RGB at the size of the network's input."""
    placement: Placement


@dataclass(frozen=True, eq=False)
class Model:
    """All that turns an image into an embedding."""

    backbone: str
    """Name of the network."""
    trunk: Trunk
    geometry: Geometry
    mean: Triple
    std: Triple
    pooling: Pooling
    precision: Precision
    device: str
    tap: Tap | None = None
    """What is pooled instead of the trunk's output."""
    classes: tuple[str, ...] = ()
    """Names of the classes that the network scores; none if its weights lack its classifier."""
    interpolation: Interpolation = "bilinear"
    """How images are resized."""

    @property
    def dimensions(self) -> int:
        """Length of an embedding."""
        return self.tap.channels if self.tap else self.trunk.channels

    @property
    def layer(self) -> str:
        """Name of the layer whose feature map is pooled, or the text of the tap."""
        return self.tap.text if self.tap else self.trunk.layer

    def unit_of(self, channel: int) -> tuple[str, int] | None:
        """Return the layer and the channel of the unit that a channel of the feature map is; None for a weighed one."""
        if self.tap is None:
            return self.layer, channel
        for term in self.tap.terms:
            layer = term if isinstance(term, str) else term.layer
            count = self.layers.find(layer).channels
            if channel < count:
                return (layer, channel) if isinstance(term, str) else None
            channel -= count
        return None

    @property
    def may_be_negative(self) -> bool:
        """Whether the feature map can have values below 0: no ReLU ends it, or later layers weigh it."""
        if self.tap is None:
            return not self.layers.end_in_response
        return any(isinstance(term, InterActiveSetting) and term.supervision != "next" for term in self.tap.terms)

    @functools.cached_property
    def description(self) -> dict[str, object]:
        """Everything that decides what vector an image gets, ready for JSON."""
        pooling = asdict(self.pooling) if self.pooling.kind == "gem" else {"kind": self.pooling.kind}
        top = {"top_sha256": self.trunk.top_sha256} if self.tap else {}
        return {
            "version": VERSION,
            "backbone": self.backbone,
            "layer": self.layer,
            "weights_sha256": self.trunk.weights_sha256,
            **top,
            "preprocessing": {**self._placing(), "filter": self.interpolation, "mean": self.mean, "std": self.std},
            "pooling": pooling,
            "precision": self.precision,
        }

    @functools.cached_property
    def fingerprint(self) -> str:
        """32 hexadecimal digits that change with anything in `description`. The device is not part of it."""
        text = json.dumps(self.description, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def _placing(self) -> dict[str, object]:
        """Describe the geometry; the crop only where there is one, so that older fingerprints stay."""
        facts = asdict(self.geometry)
        if self.geometry.mode != "center-crop" or self.geometry.crop == 1:
            del facts["crop"]
        return facts

    def prepare(self, content: bytes, limits: DecodeLimits, *, size: tuple[int, int] | None = None) -> Prepared:
        """Decode an image file and lay it onto the network's input. Raises the errors of `decode_image`.

        size: width and height of the input; by default the geometry derives them from those of the image.
        """
        image, profile = decode_unconverted(content, limits)
        placement = self.geometry.placement(*image.size)
        size = size or self.geometry.input_size(*image.size)
        return Prepared(self.resize(image, profile, placement.area, size), placement)

    def resize(
        self, image: Image.Image, profile: bytes, area: tuple[float, float, float, float], size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Lay a part of a picture onto an input of a size (width, height): (height, width, 3) sRGB.

        image, profile: as `decode_unconverted` returns them.
        area: left, top, right and bottom of the part, in pixels of the picture.
        """
        resized = image.resize(size, Image.Resampling[self.interpolation.upper()], box=area)
        return np.asarray(to_srgb(resized, profile))

    def features(self, batch: Sequence[Prepared]) -> list[Features]:
        """Run the network on images of one input size."""
        feature_maps = self.feature_maps(np.stack([image.pixels for image in batch]))
        pooled = self.pooling.pool(feature_maps)
        if not np.isfinite(pooled).all():
            raise FloatingPointError("the network's output is not finite; are its weights damaged?")
        return [
            Features(feature_map, vector, self.pooling, image.placement)
            for image, feature_map, vector in zip(batch, feature_maps, pooled, strict=True)
        ]

    @torch.inference_mode()
    def feature_maps(self, pixels: NDArray[np.uint8]) -> Array:
        """Return the feature maps (B, H, W, C) float32 of pixels (B, h, w, 3)."""
        outputs = (self.tap or self.trunk.module)(self.inputs(pixels))
        result: Array = outputs.permute(0, 2, 3, 1).float().contiguous().cpu().numpy()
        return result

    @torch.inference_mode()
    def class_scores(self, pixels: NDArray[np.uint8]) -> Array:
        """Return the scores of the classes before softmax, (B, classes) float32, of pixels (B, h, w, 3).

        Raises:
            NoClassScores: the weights lack the network's classifier.
        """
        scores: Array = self.scorer(self.trunk.module(self.inputs(pixels))).float().cpu().numpy()
        return scores

    @property
    def scorer(self) -> fx.GraphModule:
        """The function from feature maps to class scores. Raises NoClassScores."""
        if self.trunk.scorer is None:
            raise NoClassScores(
                f"{self.backbone} has no class scores here: {self.trunk.unscored}; explain a similarity, a label or a "
                "unit instead"
            )
        return self.trunk.scorer

    def inputs(self, pixels: NDArray[np.uint8] | Array) -> torch.Tensor:
        """Return the inputs of the network, (B, 3, h, w), normalized, for pixels (B, h, w, 3), 0 to 255."""
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device=self.device) * 255 for values in (self.mean, self.std)
        )
        # (B, h, w, 3) memory seen as (B, 3, h, w) is torch's channels_last, the fast order for convolutions. bfloat16
        # holds 0 to 255 exactly, and batch_norm computes (x - mean) / std in float32: one pass, rounded once.
        dtype = DTYPES[self.precision]
        exact = dtype if pixels.dtype == np.uint8 else torch.float32
        writable = np.require(pixels, requirements="W")  # torch warns of others; what Pillow gives is not
        inputs = torch.from_numpy(writable).to(self.device, exact).permute(0, 3, 1, 2)
        return torch.nn.functional.batch_norm(inputs, mean, std**2, eps=0.0).to(dtype)

    @functools.cached_property
    def layers(self) -> Layers:
        """The layers of the network by name."""
        return Layers(self.trunk)

    def weigh(self, pixels: NDArray[np.uint8], settings: Sequence[InterActiveSetting]) -> list[list[Activeness]]:
        """Return the activeness of the neurons for each of some images (B, h, w, 3), for each setting.

        Raises:
            NoReluLayers: the network has no ReLU.
            BadLayer: a setting does not fit the network, or the images are too small for a layer.
        """
        return InterActive(self.layers).weigh(self.inputs(pixels), settings)


def load_model(
    backbone: str | None = None,
    *,
    weights: Path | None = None,
    pooling: Pooling | None = None,
    geometry: GeometryMode = "keep",
    size_px: int | None = None,
    mean: Triple | None = None,
    std: Triple | None = None,
    precision: Precision = "float32",
    device: str = "cpu",
    tap: str | None = None,
) -> Model:
    """Load a model.

    backbone: `bundled`, or a torchvision or timm classification network by name; by default the one that the weights
        file names, or `bundled`.
    weights: its weights file; by default what the library itself would download.
    pooling, size_px, mean, std: by default what the weights were trained with.
    tap: the layers to pool instead of the last, and how to weigh them; `parse_tap` reads it.

    Raises:
        BadModel, BadLayer: the message says what does not fit.
    """
    _check(pooling or Pooling(), size_px, mean, std, device)
    torch.backends.cudnn.allow_tf32 = False  # on a GPU float32 means float32
    network = load_network(backbone, weights)
    trunk = cut_trunk(network)
    stride, min_side = stride_and_min_side(trunk) if geometry == "keep" else (1, 1)
    if tap and geometry == "keep":
        min_side = side_for_top(trunk, stride, min_side)
    size = size_px or network.size_px
    if size < min_side or output_shape(trunk.module, size) is None:
        raise BadModel(f"inputs of {size} px leave {network.name} no cell; --size-px must be at least {min_side}")
    above = [module for module in (trunk.classifier, trunk.scorer) if module]
    for module in (trunk.module, *(layer for _, layer in trunk.top), *above):
        module.to(device, DTYPES[precision]).requires_grad_(False)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(
        BUNDLED if backbone is None and weights is None else backbone or network.name,
        trunk,
        Geometry(geometry, size, stride, min_side, network.crop),
        mean or network.mean,
        std or network.std,
        pooling or network.pooling,
        precision,
        device,
        parse_tap(tap, Layers(trunk)) if tap else None,
        network.class_names if trunk.scorer else (),
        network.interpolation,
    )


def load_named_model(name: str, *, gem_power: float = Pooling.power, **settings: Any) -> Model:
    """Load the model that `[BACKBONE=]MODEL[:POOLING][@LAYERS]` names, as command lines take it.

    MODEL is `bundled`, a torchvision or timm network, or a weights file; BACKBONE names the network of a file that does
    not say it itself; POOLING is average, max or gem: `resnet50:max`, `run/model.safetensors`, `vgg16=vgg.pth:gem`.
    LAYERS, `LAYER[,SUPERVISION[,NORM]]` joined by `+`, are pooled instead of the last one, as they are or weighed by
    InterActive: `resnet50@layer3`, `bundled@features.13.conv.1,last,2`.
    gem_power: of the GeM pooling that `name` asks for.
    settings: the rest as in `load_model`: geometry, size_px, mean, std, precision, device.

    Raises:
        BadModel: the message says what does not fit.
    """
    name, tap = _without_tap(name)
    backbone, weights, pooling = _parts_of(name)
    pooling = pooling and replace(pooling, power=gem_power)
    return load_model(backbone, weights=weights, pooling=pooling, tap=tap, **settings)


def named_network(name: str) -> Network:
    """Load the whole network of the model that `load_named_model` loads, classifier and all.

    Raises:
        BadModel: the message says what does not fit.
    """
    backbone, weights, pooling = _parts_of(name)
    network = load_network(backbone, weights)
    return replace(network, pooling=pooling or network.pooling)


def _without_tap(name: str) -> tuple[str, str | None]:
    model, at, tap = name.rpartition("@")
    return (model, tap) if at and Path(name).suffix not in WEIGHT_SUFFIXES else (name, None)


def _parts_of(name: str) -> tuple[str | None, Path | None, Pooling | None]:
    """Take `[BACKBONE=]MODEL[:POOLING]` apart into backbone, weights file and pooling."""
    rest, _, kind = name.rpartition(":")
    pooling = Pooling(cast(PoolingKind, kind)) if rest and kind in get_args(PoolingKind) else None
    backbone, named, model = (rest if pooling else name).rpartition("=")
    if named or Path(model).suffix in WEIGHT_SUFFIXES:
        if not Path(model).is_file():
            raise BadModel(f"there is no weights file {model!r}")
        return backbone or None, Path(model), pooling
    return model, None, pooling


def _check(pooling: Pooling, size_px: int | None, mean: Triple | None, std: Triple | None, device: str) -> None:
    if pooling.kind == "gem" and not 1 <= pooling.power < 1000:
        raise BadModel(f"the power of GeM pooling must be from 1 to 1000, not {pooling.power}")
    if size_px is not None and not 1 <= size_px <= 4096:
        raise BadModel(f"the input size must be from 1 to 4096 px, not {size_px}")
    if std is not None and not all(0 < value < math.inf for value in std):
        raise BadModel(f"the standard deviations must be positive, not {std}")
    if mean is not None and not all(map(math.isfinite, mean)):
        raise BadModel(f"the means must be numbers, not {mean}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as err:
        raise BadModel(f"the device {device!r} cannot be used ({err}); try cpu") from err
