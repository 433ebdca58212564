"""Search by examples: one vector made of several images and regions, and each one's exact share in every score.

Rocchio, "Relevance feedback in information retrieval": the query is a weighted mean of what is liked, less one of what
is not. As the score is linear in the query, it divides among the examples, and each share among the example's cells.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array, Features
from whymatch.explain.errors import ExamplesCancel
from whymatch.explain.similarity import SimilarityMap, similarity_map

UNLIKE = 0.5
"""What the examples to be unlike weigh together, if those to be like weigh 1."""
CANCELED = 1e-4
"""Less than this share of the summed weights is mostly the rounding of the network, and no direction."""


@dataclass(frozen=True, eq=False)
class Example:
    """What matches are to be like or unlike."""

    vector: Array
    """(D,) float32, an embedding, or what a region has in it."""
    unlike: bool = False
    weight: float | None = None
    """Above 0; None for 1 or, to be unlike, `UNLIKE`, divided by the number of examples on the same side."""
    features: Features | None = None
    """None if no map is wanted, or only an embedding is known."""
    cell_weights: Array | None = None
    """(H, W) float32 of the cells of a region; None for the whole image."""


class ExampleQuery:
    """What to search for by examples: v = sum_i f_i e_i, where f_i = +-w_i / (|e_i| |sum_j +-w_j e_j / |e_j||).

    Each example's vector e_i counts as one of length 1, whatever region it is of, and v has length 1. The score v . e
    of a match, whose embedding is e, is the sum of the shares f_i e_i . e. The weights w_i are subtracted for what
    matches are to be unlike.
    """

    def __init__(self, examples: Sequence[Example]) -> None:
        """Combine examples, at least one. Raises ExamplesCancel."""
        self.examples = examples
        weights = _signed_weights(examples)
        vectors = np.array([one.vector for one in examples], np.float64)
        lengths = np.linalg.norm(vectors, axis=1)
        factors = np.divide(weights, lengths, out=np.zeros_like(weights), where=lengths > 0)
        combined = factors @ vectors
        length = np.linalg.norm(combined)
        if length <= CANCELED * np.abs(weights).sum():
            raise ExamplesCancel
        self._factors: NDArray[np.float64] = factors / length
        self._vectors = vectors
        self.vector: Array = (combined / length).astype(np.float32)
        """(D,) float32 of length 1."""

    def shares(self, embeddings: Array) -> NDArray[np.float64]:
        """Return what each example contributes to the score of each match, (matches, examples).

        embeddings: (matches, D) float32 of length 1.
        """
        shares: NDArray[np.float64] = (embeddings @ self._vectors.T) * self._factors
        return shares

    def maps(self, embedding: Array) -> list[SimilarityMap | None]:
        """Return where in each example its share in the score of a match lies; None where there are no features.

        embedding: (D,) float32 of length 1, that of the match.
        """
        return [
            similarity_map(one.features, np.float32(factor) * embedding, one.cell_weights) if one.features else None
            for one, factor in zip(self.examples, self._factors, strict=True)
        ]


def _signed_weights(examples: Sequence[Example]) -> NDArray[np.float64]:
    """Return the weight of each example, negative for what matches are to be unlike."""
    unlike = np.array([one.unlike for one in examples])
    by_default = np.where(unlike, UNLIKE / max(1, unlike.sum()), 1 / max(1, (~unlike).sum()))
    weights = [default if one.weight is None else one.weight for one, default in zip(examples, by_default, strict=True)]
    return np.where(unlike, -1, 1) * np.array(weights, np.float64)
