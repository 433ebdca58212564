"""The maps of one layer of a model, as alterations of that layer replace parts of them."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from whymatch.embed.alterations import End, NetworkGraph
from whymatch.embed.errors import BadLayer
from whymatch.embed.model import Model
from whymatch.embed.pooling import Array


class LayerMaps:
    """Computes the responses of one layer to single images."""

    def __init__(self, model: Model, layer: str) -> None:
        """Find the layer by a name that InterActive knows, else by that of a module. Raises BadLayer."""
        self._model, self._layer = model, layer
        self._network = NetworkGraph(model)
        self._node = self._network.layer(layer)
        self._function = self._network.up_to(self._node)

    def check_leads_to(self, ends: Sequence[End]) -> None:
        """Raise BadLayer if an output does not depend on the layer, NoClassScores if the network has none."""
        self._network.check_reached(self._layer, self._node, ends)

    @torch.inference_mode()
    def __call__(self, pixels: NDArray[np.uint8]) -> Array:
        """Return the responses (H, W, C) float32 to an image (h, w, 3).

        Raises:
            BadLayer: the layer has no cells.
        """
        responses = self._function(self._model.inputs(pixels[None]))
        if not isinstance(responses, torch.Tensor) or responses.ndim != 4:
            raise BadLayer(f"{self._layer!r} has no cells; take one of the layers that `whymatch layers` lists")
        cells: Array = responses[0].permute(1, 2, 0).float().contiguous().cpu().numpy()
        return cells
