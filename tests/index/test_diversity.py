"""Maximal marginal relevance and folding, against the obvious loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whymatch.index import Variety
from whymatch.index.diversity import diverse, folded

SEEDS = st.integers(0, 2**32 - 1)


def matches(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores, best first, and vectors."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((count, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = vectors @ vectors[0] if count else np.zeros(0, np.float32)
    order = np.argsort(-scores, kind="stable")
    return scores[order], vectors[order]


@pytest.mark.hypothesis
@given(seed=SEEDS, count=st.integers(0, 20), limit=st.integers(1, 12), diversity=st.floats(0, 1))
def test_each_next_one_has_the_largest_marginal_relevance(seed, count, limit, diversity):
    scores, vectors = matches(seed, count)
    chosen: list[int] = []
    for place in diverse(scores, vectors, limit, diversity).tolist():
        worth = {
            other: (1 - diversity) * float(scores[other])
            - diversity * max(float(vectors[other] @ vectors[one]) for one in chosen)
            for other in range(count)
            if other not in chosen and chosen
        }
        assert place == 0 if not chosen else worth[place] >= max(worth.values()) - 1e-5
        chosen.append(place)
    assert len(set(chosen)) == len(chosen) == min(limit, count)


def test_without_diversity_the_order_stays():
    scores, vectors = matches(1, 9)
    assert diverse(scores, vectors, 5, 0).tolist() == [0, 1, 2, 3, 4]


def test_two_alike_make_way_for_another():
    vectors = np.array([[1, 0], [0.999, 0.045], [0.6, 0.8]], np.float32)
    scores = vectors @ np.array([1, 0], np.float32)
    assert diverse(scores, vectors, 3, 0.7).tolist() == [0, 2, 1]


@pytest.mark.hypothesis
@given(seed=SEEDS, count=st.integers(0, 20), above=st.floats(-1, 1))
def test_each_is_folded_into_the_first_that_stays_and_is_alike(seed, count, above):
    _, vectors = matches(seed, count)
    groups: dict[int, list[int]] = {}
    for place in range(count):
        alike = [first for first in groups if float(vectors[place] @ vectors[first]) >= above - 1e-6]
        groups.setdefault(alike[0] if alike else place, []).append(place)
    assert [group.tolist() for group in folded(vectors, above)] == list(groups.values())


def test_what_is_folded_goes_with_the_one_that_is_chosen():
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.9, 0.436]], np.float32)
    scores = np.array([1, 1, 0.9, 0.8], np.float32)
    variety = Variety(diversity=0.5, fold_above=0.99)
    assert [group.tolist() for group in variety.chosen(scores, vectors, 2)] == [[0, 1], [2]]
    assert variety.candidates(2) == 20
    assert Variety().candidates(2) == 2
    assert not Variety()
