"""Says where and why images match: similarity maps that add up to the score, and their pictures."""

from whymatch.explain.rendering import ColorScale, load_picture, render_overlay, shared_scale
from whymatch.explain.similarity import MatchExplanation, SimilarityMap, explain_match, similarity_map

__all__ = [
    "ColorScale",
    "MatchExplanation",
    "SimilarityMap",
    "explain_match",
    "load_picture",
    "render_overlay",
    "shared_scale",
    "similarity_map",
]
