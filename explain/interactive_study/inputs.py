"""The two ways in which the paper hands images to a network."""

from dataclasses import replace
from typing import Literal

from whymatch.embed import BadModel, Geometry, Model
from whymatch.embed.trunk import output_shape
from whymatch.explain.interactive import STRIDE

InputKind = Literal["unwarped", "warped", "unwarped-box", "warped-box"]
"""In their own shape or as squares; the whole image, or only what is in the object's box."""
IN_BOX: dict[InputKind, InputKind] = {"unwarped": "unwarped-box", "warped": "warped-box"}
"""The kind that is cropped to the box, for each kind of whole images."""


def with_inputs(model: Model, kind: InputKind, size_px: int) -> Model:
    """Return a model that takes images in one of the paper's two ways.

    unwarped: the image's shape is kept, in about size_px^2 pixels, with both sides multiples of 32; ribbons are made
        wide enough for all layers of the network.
    warped: a square of that side, whatever the image's shape.

    Raises:
        BadModel: the inputs are too small for a layer of the network.
        NoReluLayers: the network has no ReLU.
    """
    sides = [size_px] if kind == "warped" else range(STRIDE, size_px + 1, STRIDE)
    enough = next((side for side in sides if output_shape(model.layers.module, side) is not None), None)
    if enough is None:
        raise BadModel(
            f"{kind} inputs of {size_px} px leave {model.layers.last.name}, the last layer of {model.backbone}, no "
            f"cell; pass a larger {'--warped-size-px' if kind == 'warped' else '--size-px'}"
        )
    geometry = Geometry("warp", size_px) if kind == "warped" else Geometry("keep", size_px, STRIDE, enough)
    return replace(model, geometry=geometry)
