"""A tap names the layers whose responses a model pools instead of its last feature map, as they are or weighed."""

from dataclasses import dataclass
from itertools import starmap

import torch

from whymatch.embed.activeness import InterActive, InterActiveSetting
from whymatch.embed.errors import BadLayer
from whymatch.embed.layers import Layers

LEAST_COHERENCE = 1e-3
"""A map whose cells cancel out is scaled as if its mean were that long, relative to a cell; float16 ends at 65504."""


@dataclass(frozen=True)
class Tap:
    """Makes the feature map to pool from the responses of one or several layers."""

    text: str
    """`LAYER[,SUPERVISION[,NORM]]`, several joined by `+`: `layer3` as it is, `layer3,last,2` by InterActive."""
    layers: Layers
    terms: tuple[str | InterActiveSetting, ...]
    """Each a layer as it is, or how to weigh one."""
    channels: int

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the feature maps (B, C, H, W) float32 of inputs (B, 3, h, w).

        Maps of several layers are brought to the coarsest of their grids, which keeps their means, and their channels
        put one behind the other. Each is divided by the length of its mean over the cells, so that all layers count
        alike, whatever the size of their responses.
        """
        weigher = InterActive(self.layers)
        weighed = iter(
            weigher.weigh_together(inputs, [term for term in self.terms if isinstance(term, InterActiveSetting)])
        )
        plain = iter(weigher.responses(inputs, [term for term in self.terms if isinstance(term, str)]))
        maps = [next(plain) if isinstance(term, str) else torch.mul(*next(weighed)) for term in self.terms]
        rows, columns = (min(one.shape[side] for one in maps) for side in (2, 3))
        return torch.cat([scaled(_on_grid(one, rows, columns)) for one in maps], dim=1)


def parse_tap(text: str, layers: Layers) -> Tap:
    """Read `LAYER[,SUPERVISION[,NORM]]+...`.

    Raises:
        BadLayer: it cannot be read, or the network has no such layers.
    """
    terms = tuple(map(_term, text.split("+")))
    for term in terms:
        if isinstance(term, InterActiveSetting):
            InterActive(layers).check(term)
    names = [term if isinstance(term, str) else term.layer for term in terms]
    return Tap(text, layers, terms, sum(layers.find(name).channels for name in names))


def _term(text: str) -> str | InterActiveSetting:
    layer, *rest = text.split(",")
    if not layer or len(rest) > 2:
        raise BadLayer(f"{text!r} is no layer to pool; write LAYER, or LAYER,SUPERVISION,NORM: layer3,last,2")
    try:
        return InterActiveSetting(layer, rest[0], *map(float, rest[1:])) if rest else layer
    except ValueError:
        raise BadLayer(f"the norm {rest[1]!r} of {text!r} is no number; take 1 or more, or inf") from None


def scaled(maps: torch.Tensor) -> torch.Tensor:
    """Divide maps (B, C, H, W) by the length of their mean over the cells; zeros stay."""
    peak = maps.abs().amax((1, 2, 3), keepdim=True)
    maps = maps / torch.where(peak > 0, peak, 1)  # the squares of very small and very large values would vanish
    mean = maps.mean((2, 3), keepdim=True).norm(dim=1, keepdim=True)
    cell = maps.norm(dim=1, keepdim=True).mean((2, 3), keepdim=True)
    length = torch.maximum(mean, LEAST_COHERENCE * cell)
    return maps / torch.where(length > 0, length, 1)


def _on_grid(maps: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Average maps (B, C, H, W) over the cells of a coarser grid, a cell that lies in two shared by area."""
    over_rows, over_columns = starmap(_shares, [(maps.shape[2], rows), (maps.shape[3], columns)])
    return torch.einsum("bchw,rh,kw->bcrk", maps, over_rows.to(maps), over_columns.to(maps))


def _shares(fine: int, coarse: int) -> torch.Tensor:
    """Return how much of each coarse interval each fine one fills, (coarse, fine); rows sum to 1."""
    edges = torch.arange(fine + 1) / fine * coarse
    starts = torch.arange(coarse)[:, None]
    return (torch.minimum(edges[1:], starts + 1) - torch.maximum(edges[:-1], starts)).clamp(min=0)
