"""Parts of images as weights of their cells."""

import asyncio
from collections.abc import Sequence

from whymatch.embed import Array, Features
from whymatch.explain import BadRegion, EmptyRegion, Region, cell_weights


async def weights_of(features: Features, regions: Sequence[Region]) -> Array | None:
    """Return the cell weights of regions, (H, W) float32, None without regions. Raises the errors of `cell_weights`."""
    return await asyncio.to_thread(_weights, features, regions) if regions else None


class MatchWeights:
    """The cell weights of the same regions in each of many matches."""

    def __init__(self, regions: Sequence[Region]) -> None:
        self._regions = regions
        self._known: dict[object, Array] = {}
        """By what they depend on, for most matches have the shape of another one."""

    def __bool__(self) -> bool:
        return bool(self._regions)

    def of(self, name: str, features: Features) -> Array | None:
        """Return the weights in one match, (H, W) float32, None without regions. Raises BadRegion, EmptyRegion."""
        if not self._regions:
            return None
        shape = (features.placement, *features.feature_map.shape[:2])
        if shape not in self._known:
            self._known[shape] = self._weights(name, features)
        return self._known[shape]

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
