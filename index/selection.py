"""Which images of a gallery a search may find."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Selection:
    """Which images a search may find: all, unless something is given. Searches with equal ones go together."""

    labels: frozenset[str] = frozenset()
    """Only images with one of these labels; empty for all."""
    without_content: str = ""
    """No image with this content, a `content_digest`: that of the query leaves out the query's own copies. Empty for
    none."""


EVERYTHING = Selection()
