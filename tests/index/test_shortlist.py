"""What a shortlist promises, against brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whymatch.index.shortlist import Shortlist


def vectors(count: int, dimensions: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


@settings(deadline=None, max_examples=50)
@given(
    count=st.integers(1, 200),
    dimensions=st.sampled_from([1, 3, 16, 20, 64]),
    length=st.sampled_from([1e-3, 1.0, 40.0]),
    seed=st.integers(0, 1000),
    share=st.floats(0.01, 1),
)
def test_no_vector_scores_more_than_its_bound(count, dimensions, length, seed, share):
    stored = vectors(count, dimensions, seed)
    stored[:: seed % 5 + 2] *= 0  # an image that the network does not respond to
    query = vectors(1, dimensions, seed + 1) * np.float32(length)
    wanted = max(1, round(share * count))
    places, bounds = Shortlist(stored).nearest(query, wanted)
    scores = stored @ query[0]
    assert len(set(places.tolist())) == wanted
    assert (np.diff(bounds) <= 0).all()
    assert (scores[places] <= bounds).all()
    assert (np.delete(scores, places) <= bounds[-1]).all()


def test_the_bound_is_as_tight_as_a_byte_for_each_value_allows():
    """One in a hundred of 64 random values is a step: half a step in each of 64 values, for query and vector."""
    stored, query = vectors(1000, 64, seed=0), vectors(1, 64, seed=1)
    places, bounds = Shortlist(stored).nearest(query, 1000)
    excess = bounds - stored[places] @ query[0]
    step = 1.1 * (stored.max() - stored.min()) / 255
    assert excess.min() > 0
    assert excess.max() < 2 * 2 * step * np.sqrt(64 / 12) * 1.2  # distances are at most 2, errors near their mean


def test_removed_vectors_make_room():
    stored = vectors(50, 16, seed=0)
    shortlist = Shortlist(stored)
    shortlist.remove(np.array([0, 10]))
    shortlist.add(stored[:1])
    places, _ = shortlist.nearest(stored[:1], 1)
    assert places.tolist() == [48]
    assert shortlist.nearest(stored[11:12], 1)[0].tolist() == [9]


@pytest.mark.parametrize(("value", "fits"), [(0.5, True), (-0.5, True), (0.52, True), (0.6, False), (-0.6, False)])
def test_only_values_near_those_that_are_there_fit(value, fits):
    shortlist = Shortlist(np.array([[0.5, -0.5]], np.float32))
    assert shortlist.fits(np.array([[0, value]], np.float32)) == fits


def test_values_that_are_all_alike_are_a_range_too():
    places, bounds = Shortlist(np.full((20, 4), 0.5, np.float32)).nearest(np.full((1, 4), 0.5, np.float32), 5)
    assert len(places) == 5
    assert (bounds >= 1).all()
