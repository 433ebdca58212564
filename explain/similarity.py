"""Similarity maps: where in two images their similarity lies, exactly.

The method of Stylianou et al., "Visualizing Deep Similarity Networks", section 3.
"""

from dataclasses import dataclass

from whymatch.embed import Array, Features, Placement


@dataclass(frozen=True, eq=False)
class SimilarityMap:
    """One value for each cell of an image's feature map; they add up to the score."""

    values: Array
    """(H, W) float32, each a share of the cosine score; positive speaks for the match, negative against it."""
    placement: Placement
    """Where the cells lie in the image."""

    @property
    def total(self) -> float:
        """The sum of the values: the score, up to rounding."""
        return float(self.values.sum(dtype=float))


@dataclass(frozen=True, eq=False)
class MatchExplanation:
    """Why two images match."""

    score: float
    """Cosine similarity of the two embeddings, -1 to 1."""
    query_map: SimilarityMap
    match_map: SimilarityMap

    @property
    def residual(self) -> float:
        """How far the maps are from adding up: the larger |total - score|."""
        return max(abs(self.query_map.total - self.score), abs(self.match_map.total - self.score))


def similarity_map(features: Features, other: Array) -> SimilarityMap:
    """Spread the similarity of one image to another over the cells of the first.

    map(x, y) = a(x, y) . beta_other / (|beta| |beta_other|), where the contributions a sum to beta (equations 3 and 6).

    other: (C,) float32, the embedding of the other image, of length 1.
    """
    return SimilarityMap(features.spread(other), features.placement)


def explain_match(query: Features, match: Features) -> MatchExplanation:
    """Spread the similarity of two images over the cells of both."""
    return MatchExplanation(
        score=float(query.embedding @ match.embedding),
        query_map=similarity_map(query, match.embedding),
        match_map=similarity_map(match, query.embedding),
    )
