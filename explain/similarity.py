"""Similarity maps: where in two images their similarity lies, exactly.

The method of Stylianou et al., "Visualizing Deep Similarity Networks", section 3. Every map here spreads an inner
product of two vectors over the cells of one image; a region, a point or a set of images is only another vector.
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
    """Why two images, or regions of them, match."""

    score: float
    """What is explained: the cosine similarity of the two embeddings, -1 to 1, or its part in the regions."""
    image_score: float
    """Cosine similarity of the whole images, -1 to 1."""
    query_map: SimilarityMap
    match_map: SimilarityMap
    query_vector: Array
    """(C,) float32, what the explained part of the query has in its embedding: all of it without regions."""
    match_vector: Array
    """(C,) float32, the same of the match; the inner product of both is the score."""

    @property
    def residual(self) -> float:
        """How far the maps are from adding up: the larger |total - score|."""
        return max(abs(self.query_map.total - self.score), abs(self.match_map.total - self.score))


@dataclass(frozen=True, eq=False)
class RankingExplanation:
    """Why a query is more similar to one vector than to another."""

    first_score: float
    """Inner product of the query with the first vector, or its part in the regions; a cosine for an embedding."""
    second_score: float
    """The same of the second."""
    difference_map: SimilarityMap
    """The query's map with the first minus that with the second; it adds up to the gap."""
    query_vector: Array
    """(C,) float32, what the regions have in the query's embedding: all of it without regions."""
    difference: Array
    """(C,) float32, the first vector minus the second; its inner product with the query's is the gap."""

    @property
    def gap(self) -> float:
        """By how much the first scores more."""
        return self.first_score - self.second_score

    @property
    def residual(self) -> float:
        """How far the map is from adding up: |total - gap|."""
        return abs(self.difference_map.total - self.gap)


def similarity_map(features: Features, other: Array, weights: Array | None = None) -> SimilarityMap:
    """Spread the similarity of one image to another over the cells of the first.

    map(x, y) = a(x, y) . beta_other / (|beta| |beta_other|), where the contributions a sum to beta (equations 3 and 6).

    other: (C,) float32, the embedding of the other image, of length 1. It is linear in `other`: the mean of several
    embeddings gives the mean of their maps, which is the map of a class.

    weights: (H, W) float32 of the cells of a region, as `cell_weights` returns them; None for the whole image.
    """
    values = features.spread(other) if weights is None else weights * (features.contributions() @ other)
    return SimilarityMap(values, features.placement)


def region_vector(features: Features, weights: Array) -> Array:
    """Return what a part of an image has in its embedding: sum_xy w(x, y) a(x, y) / |beta|, (C,) float32.

    Its inner product with the embedding of another image is the sum of the weighted similarity map, so a search for
    this vector orders a whole gallery by the region, exactly.

    weights: (H, W) float32, as `cell_weights` returns them.
    """
    return features.part(weights)


def explain_match(
    query: Features, match: Features, query_weights: Array | None = None, match_weights: Array | None = None
) -> MatchExplanation:
    """Spread the similarity of two images, or of parts of them, over the cells of both.

    With regions R of the query and S of the match the score is sum_{xy in R, uv in S} a_q(x, y) . a_m(u, v) /
    (|beta_q| |beta_m|), each pair of cells weighted by both; each map sums this over the cells of the other image.

    query_weights, match_weights: (H, W) float32 of each image's grid, None for the whole image.
    """
    query_vector, match_vector = _vector(query, query_weights), _vector(match, match_weights)
    return MatchExplanation(
        score=float(query_vector @ match_vector),
        image_score=float(query.embedding @ match.embedding),
        query_map=similarity_map(query, match_vector, query_weights),
        match_map=similarity_map(match, query_vector, match_weights),
        query_vector=query_vector,
        match_vector=match_vector,
    )


def explain_ranking(query: Features, first: Array, second: Array, weights: Array | None = None) -> RankingExplanation:
    """Spread the difference of two scores over the cells of the query.

    D(x, y) = a(x, y) . (e_A - e_B) / |beta|. A map is linear in the other image, so this is the map with A minus the
    map with B.

    first, second: (C,) float32, e_A and e_B: embeddings of images, or their means over the images of a label.
    weights: (H, W) float32 of the cells of the query's regions; None for the whole image.
    """
    query_vector, difference = _vector(query, weights), first - second
    return RankingExplanation(
        first_score=float(query_vector @ first),
        second_score=float(query_vector @ second),
        difference_map=similarity_map(query, difference, weights),
        query_vector=query_vector,
        difference=difference,
    )


def _vector(features: Features, weights: Array | None) -> Array:
    return features.embedding if weights is None else region_vector(features, weights)
