"""Which images of a gallery a search may find."""

from dataclasses import dataclass

from whymatch.index.stored_images import ALL_IMAGES, Where


@dataclass(frozen=True)
class Selection:
    """Which images a search may find: all, unless something is given. Searches with equal ones go together."""

    labels: frozenset[str] = frozenset()
    """Only images with one of these labels; empty for all."""
    without_contents: frozenset[str] = frozenset()
    """No image with one of these contents, each a `content_digest`: that of a query leaves out its own copies."""
    where: Where = ALL_IMAGES
    """Only images that meet this condition; see `parse_filter`."""
    without_names: frozenset[str] = frozenset()
    """No image of these names; there need not be one."""


EVERYTHING = Selection()
