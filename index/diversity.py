"""Fewer matches that are alike: maximal marginal relevance, and folding near duplicates into one."""

from dataclasses import dataclass

import numpy as np

from whymatch.embed import Array
from whymatch.index.duplicates import ROUNDING
from whymatch.index.vector_index import Ids

CANDIDATES = 10
"""So many times the limit are the best matches that are chosen from."""


@dataclass(frozen=True)
class Variety:
    """How the matches of a search shall differ from each other; not at all, unless something is given."""

    diversity: float = 0.0
    """As in `diverse`."""
    fold_above: float | None = None
    """As in `folded`; None to fold nothing."""

    def __bool__(self) -> bool:
        return self.diversity > 0 or self.fold_above is not None

    def candidates(self, limit: int) -> int:
        """Return from how many of the best matches to choose."""
        return CANDIDATES * limit if self else limit

    def chosen(self, scores: Array, vectors: Array, limit: int) -> list[Ids]:
        """Return for each match that is chosen its place and those of the ones that are folded into it.

        scores: (n,), best first. vectors: (n, D) float32 of length 1, the embeddings.
        """
        alone = [np.array([place]) for place in range(len(scores))]
        groups = alone if self.fold_above is None else folded(vectors, self.fold_above)
        first = np.array([group[0] for group in groups], np.int64)
        return [groups[number] for number in diverse(scores[first], vectors[first], limit, self.diversity)]


def diverse(scores: Array, vectors: Array, limit: int, diversity: float) -> Ids:
    """Choose up to `limit` of some vectors by maximal marginal relevance, and return their places in that order.

    scores: (n,), best first. vectors: (n, D) float32 of length 1.
    diversity: 0 to 1, which is 1 - lambda; 0 keeps the order of the scores.

    Each time that one is chosen which has the largest lambda * score - (1 - lambda) * s, with s its similarity to the
    most similar one that is chosen already; the first is the best match (Carbonell and Goldstein, SIGIR 1998).
    """
    chosen: list[int] = []
    nearest = np.full(len(scores), -np.inf, np.float32)
    worth = scores.astype(np.float32)
    for _ in range(min(limit, len(scores))):
        chosen.append(int(np.argmax(worth)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
        worth = (1 - diversity) * scores - diversity * nearest
        worth[chosen] = -np.inf
    return np.array(chosen, np.int64)


def folded(vectors: Array, above: float) -> list[Ids]:
    """Fold each vector into the first one before it that stays and has a similarity to it of at least `above`.

    vectors: (n, D) float32 of length 1, best match first. above: -1 to 1.
    Returns for each that stays, in order, its own place and those of the ones that are folded into it.
    """
    groups = []
    left = np.arange(len(vectors))
    while len(left):
        alike = vectors[left] @ vectors[left[0]] >= above - ROUNDING
        alike[0] = True  # also if the vector is 0
        groups.append(left[alike])
        left = left[~alike]
    return groups
