"""InterActive as an explanation: where in an image a layer's neurons are active, as a later layer weighs them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed import (
    Activeness,
    Array,
    BadLayer,
    DecodeLimits,
    Geometry,
    InterActive,
    InterActiveSetting,
    Model,
    Placement,
)

INTERACTIVE_PX, MIN_INTERACTIVE_PX, MAX_INTERACTIVE_PX = 512, 32, 1024
STRIDE = 32
"""The sides of an un-warped input are multiples of it, as in the paper."""


@dataclass(frozen=True, eq=False)
class WeightMap:
    """The weight of the neurons at each place: the sum of gamma over the channels."""

    values: Array
    """(H, W) float32, at the layer's own resolution; their unit has no meaning."""
    placement: Placement
    """Where the cells lie in the image."""


@dataclass(frozen=True, eq=False)
class InterActiveExplanation:
    """How active the neurons of some layers are for one image."""

    settings: tuple[InterActiveSetting, ...]
    results: tuple[Activeness, ...]
    """One for each setting."""
    placement: Placement
    input_size: tuple[int, int]
    """Width and height of the network's input."""

    @property
    def maps(self) -> list[WeightMap]:
        """The weight map of each setting."""
        return [WeightMap(result.weight_map, self.placement) for result in self.results]


def explain_interactive(
    model: Model,
    content: bytes,
    settings: Sequence[InterActiveSetting],
    *,
    size_px: int = INTERACTIVE_PX,
    warp: bool = False,
    limits: DecodeLimits = DecodeLimits(),
) -> InterActiveExplanation:
    """Weigh the neurons of some layers for an image file.

    size_px: the input has about size_px^2 pixels and the image's shape, to within 32 px a side; with `warp` it is a
        square of that side.

    Raises:
        BadLayer: a setting does not fit the network, or the input is too small for a layer.
        NoReluLayers: the network has no ReLU.
        The errors of `decode_image`.
    """
    geometry = Geometry("warp" if warp else "keep", size_px, STRIDE, min_side_px=STRIDE)
    prepared = replace(model, geometry=geometry).prepare(content, limits)
    [results] = model.weigh(np.stack([prepared.pixels]), settings)
    height, width, _ = prepared.pixels.shape
    return InterActiveExplanation(tuple(settings), tuple(results), prepared.placement, (width, height))


def reweighted_scores(model: Model, pixels: NDArray[np.uint8], *, norm: float = 2.0) -> tuple[Array, Array]:
    """Return the class scores of images, and those after InterActive weighed their last layer: (B, classes) float32.

    See `scores_by_norm`, which raises the same errors.
    """
    plain, again = scores_by_norm(model, pixels, [norm])
    return plain, again


def scores_by_norm(model: Model, pixels: NDArray[np.uint8], norms: Sequence[float]) -> list[Array]:
    """Return the class scores of images, and those after InterActive weighed their last layer, for each norm.

    The responses x of the last layer before the scores (fc-7 of VGG), supervised by the scores, become x gamma, scaled
    to keep their length over all cells, and go through the classifier again (section 4.4 of the paper). The layer T is
    the scores behind a ReLU, as every x_T of the paper is: classes with a score below 0 supervise nothing.

    pixels: (B, h, w, 3). Returns 1 + len(norms) arrays (B, classes) float32, the plain scores first.

    Raises:
        BadLayer: the model has no classifier that reads the responses of its last ReLU.
        NoReluLayers: the network has no ReLU.
    """
    classifier = model.trunk.classifier
    if classifier is None:
        reason = model.trunk.unscored or "its weights lack its classifier, or that does not read its feature map"
        raise BadLayer(f"{model.backbone} has no class scores here: {reason}")
    last = model.layers.last
    if classifier.name not in [str(reader.node.target) for reader in model.layers.readers(last.node)]:
        raise BadLayer(
            f"the class scores of {model.backbone} are not of its last ReLU, {last.name}, so there are no responses to "
            "weigh; take a network whose classifier reads what a ReLU lets through, for example vgg16 or resnet50"
        )
    settings = [InterActiveSetting(last.name, "next", norm) for norm in norms]
    weighed = InterActive(model.layers).weigh_together(model.inputs(pixels), settings)
    responses = weighed[0][0]
    maps = [responses, *(_with_length_of(responses, responses * gamma) for _, gamma in weighed)]
    dtype = classifier.layer.weight.dtype
    with torch.no_grad():
        return [classifier(each.to(dtype), each.mean((2, 3)).to(dtype)).float().cpu().numpy() for each in maps]


def _with_length_of(responses: torch.Tensor, weighed: torch.Tensor) -> torch.Tensor:
    """Scale each image of the weighed responses (B, C, H, W) to the length of the plain ones."""
    before, after = (maps.flatten(1).norm(dim=1)[:, None, None, None] for maps in (responses, weighed))
    scaled: torch.Tensor = weighed * before / torch.where(after > 0, after, 1)
    return scaled
