"""The parts of images that a request names, as weights of their cells and as vectors."""

import asyncio
from collections.abc import Sequence

from whymatch.embed import Array, DecodeLimits, Features
from whymatch.explain import BadRegion, EmptyRegion, Region, cell_weights, region_vector


async def weights_of(features: Features, regions: Sequence[Region], limits: DecodeLimits) -> Array | None:
    """Return the cell weights of regions, (H, W) float32, None without regions. Raises the errors of `cell_weights`."""
    return await asyncio.to_thread(_weights, features, regions, limits) if regions else None


async def vector_of(features: Features, regions: Sequence[Region], limits: DecodeLimits) -> Array:
    """Return what regions of an image have in its embedding, (C,) float32; without regions the embedding."""
    weights = await weights_of(features, regions, limits)
    return features.embedding if weights is None else await asyncio.to_thread(region_vector, features, weights)


def region_scores(
    names: Sequence[str], candidates: Sequence[Features], regions: Sequence[Region], vector: Array, limits: DecodeLimits
) -> list[float]:
    """Return how much of each candidate's similarity to a vector (C,) lies in regions of the candidate."""
    scores = []
    for name, features in zip(names, candidates, strict=True):
        try:
            weights = _weights(features, regions, limits)
        except (BadRegion, EmptyRegion) as err:
            hint = "" if all(region.relative for region in regions) else "; `relative` regions fit images of all sizes"
            raise type(err)(f"candidate {name!r}: {err}{hint}") from err
        scores.append(float((features.spread(vector) * weights).sum(dtype=float)))
    return scores


def _weights(features: Features, regions: Sequence[Region], limits: DecodeLimits) -> Array:
    rows, columns, _ = features.feature_map.shape
    return cell_weights(regions, features.placement, rows, columns, limits)
