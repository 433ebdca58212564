"""Parts of images, as weights of their cells and as vectors."""

import asyncio
from collections.abc import Sequence

from whymatch.embed import Array, Features
from whymatch.explain import BadRegion, EmptyRegion, Region, cell_weights, region_vector


async def weights_of(features: Features, regions: Sequence[Region]) -> Array | None:
    """Return the cell weights of regions, (H, W) float32, None without regions. Raises the errors of `cell_weights`."""
    return await asyncio.to_thread(_weights, features, regions) if regions else None


async def vector_of(features: Features, regions: Sequence[Region]) -> Array:
    """Return what regions of an image have in its embedding, (C,) float32; without regions the embedding."""
    weights = await weights_of(features, regions)
    return features.embedding if weights is None else await asyncio.to_thread(region_vector, features, weights)


class CandidateScores:
    """How much of the similarity of candidates to one vector lies in the same regions of each candidate."""

    def __init__(self, regions: Sequence[Region], vector: Array) -> None:
        """Take what all candidates share; vector: (C,) float32."""
        self._regions = regions
        self._vector = vector
        self._known: dict[object, Array] = {}
        """Weights by what they depend on, for most candidates have the shape of another one."""

    def of(self, names: Sequence[str], candidates: Sequence[Features]) -> list[float]:
        """Return the scores of candidates. Raises BadRegion, EmptyRegion."""
        return [self._one(name, features) for name, features in zip(names, candidates, strict=True)]

    def _one(self, name: str, features: Features) -> float:
        rows, columns, _ = features.feature_map.shape
        shape = (features.placement, rows, columns)
        if shape not in self._known:
            self._known[shape] = self._weights(name, features)
        return float((features.spread(self._vector) * self._known[shape]).sum(dtype=float))

    def _weights(self, name: str, features: Features) -> Array:
        try:
            return _weights(features, self._regions)
        except (BadRegion, EmptyRegion) as err:
            hint = (
                ""
                if all(region.relative for region in self._regions)
                else "; shares of the image (`relative`) fit all sizes"
            )
            raise type(err)(f"candidate {name!r}: {err}{hint}") from err


def _weights(features: Features, regions: Sequence[Region]) -> Array:
    rows, columns, _ = features.feature_map.shape
    return cell_weights(regions, features.placement, rows, columns)
