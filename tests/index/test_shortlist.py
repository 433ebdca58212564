"""A shortlist against brute force: it says what is best of all, or that it cannot know."""

import faiss
import numpy as np
import pytest
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from whymatch.index import shortlist
from whymatch.index.shortlist import Shortlist, pays

DIMENSIONS = 64
COUNT = 10_000


def vectors(count: int, dimensions: int = DIMENSIONS, seed: int = 0) -> np.ndarray:
    return unit(np.random.default_rng(seed).standard_normal((count, dimensions)))


def unit(values: np.ndarray) -> np.ndarray:
    return (values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def flat_index(stored: np.ndarray) -> faiss.IndexFlatIP:
    index = faiss.IndexFlatIP(stored.shape[1])
    index.add(stored)
    return index


@pytest.fixture
def short(monkeypatch):
    """Lists short enough for a hundred vectors."""
    monkeypatch.setattr(shortlist, "LENGTH", 10)
    monkeypatch.setattr(shortlist, "TIMES", 2)
    monkeypatch.setattr(shortlist, "SHARE", 1)


@settings(deadline=None, max_examples=examples(200))
@given(
    count=st.integers(10, 300),
    dimensions=st.sampled_from([1, 3, 16, 20, 64]),
    length=st.sampled_from([0.0, 1e-45, 1e-44, 1e-42, 3e-22, 1e-3, 1.0, 1e3, 1e30]),
    limit=st.integers(1, 20),
    seed=st.integers(0, 1000),
    made=st.sampled_from(["signed", "positive", "repeated", "with zeros", "with a spike"]),
)
def test_what_is_said_to_be_best_is_best(count, dimensions, length, limit, seed, made):
    stored = vectors(count, dimensions, seed)
    if made == "positive":
        stored = unit(np.abs(stored))
    if made == "repeated":
        stored = stored[np.arange(count) // 4]
    if made == "with zeros":
        stored[:: seed % 5 + 2] = 0
    if made == "with a spike":
        stored[seed % count] = np.eye(1, dimensions)
    query = vectors(1, dimensions, seed + 1) * np.float32(length)  # signed, so often outside what is stored
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LENGTH": 10, "TIMES": 2, "SHARE": 1}.items():
            patch.setattr(shortlist, name, value)
        found = Shortlist(stored).best(flat_index(stored), query, limit)
    if found is None:
        return
    scores, places = found
    expected = stored.astype(float) @ query[0].astype(float)
    assert len(set(places[0].tolist())) == limit
    assert np.allclose(scores[0], np.sort(expected)[::-1][:limit], rtol=1e-5, atol=max(1e-44, 1e-6 * length))
    assert np.allclose(scores[0], expected[places[0]], rtol=1e-5, atol=max(1e-44, 1e-6 * length))


@pytest.mark.parametrize("value", [1e-45, -1e-45, 3e-45, 1e-42, 1e-39])
def test_a_query_of_denormal_length_finds_what_its_direction_finds(short, value):
    """1e-45 is the smallest float32; the length of such a query is between two of them."""
    stored = vectors(500, 3)
    query = np.float32([[value, 0, value]])
    scores, places = Shortlist(stored).best(flat_index(stored), query, 5)
    expected, expected_places = Shortlist(stored).best(flat_index(stored), unit(np.sign(query)), 5)
    assert places.tolist() == expected_places.tolist()
    assert np.allclose(scores, expected * np.linalg.norm(query.astype(float)), atol=2e-45)


@pytest.mark.parametrize("seed", range(20))
def test_no_vector_scores_more_than_its_bound(seed):
    stored, query = vectors(200, 3, seed), vectors(1, 3, seed + 100)
    places, bounds = Shortlist(stored)._nearest(query, 50)
    scores = stored @ query[0]
    assert (np.diff(bounds) <= 0).all()
    assert (scores[places] <= bounds).all()
    assert (np.delete(scores, places) <= bounds[-1]).all()


@pytest.mark.parametrize("kind", ["signed", "positive"])
def test_a_shortlist_is_mostly_long_enough(kind):
    """Also for a region that takes something off, whose vector has values beyond all that is stored."""
    stored = vectors(COUNT + 40)
    if kind == "positive":
        stored = unit(np.maximum(stored, 0))
    queries, stored = stored[:40], stored[40:]
    if kind == "positive":
        queries = unit(queries[::2] - 0.3 * queries[1::2])
    made, index = Shortlist(stored), flat_index(stored)
    assert all(made.best(index, query[None], 10) is not None for query in queries)


def test_a_shortlist_that_is_too_short_is_left_out_for_a_while(short):
    """A vector that is there a hundred times fills it; then 1, 2, 4 queries pass by, and a better one ends that."""
    repeated, other = vectors(1), vectors(900, seed=1)
    stored = np.concatenate([np.repeat(repeated, 100, axis=0), other])
    made, index = Shortlist(stored), flat_index(stored)
    compared = []
    made._copies = Spy(made._copies, compared)
    for _ in range(12):
        assert made.best(index, repeated, 5) is None
    assert len(compared) == 4  # the 1st, 3rd, 6th and 11th
    assert [made.best(index, other[:1], 1) is None for _ in range(9)] == [*[True] * 7, False, False]


class Spy:
    """An index that notes its searches."""

    def __init__(self, index, searches: list) -> None:
        self._index = index
        self._searches = searches

    def __getattr__(self, name: str):
        return getattr(self._index, name)

    def search(self, *arguments, **settings):
        self._searches.append(arguments)
        return self._index.search(*arguments, **settings)


def test_removed_vectors_make_room(short):
    stored = vectors(50, 16)
    made = Shortlist(stored)
    made.remove(np.array([0, 10]))
    made.add(stored[:1])
    index = flat_index(np.concatenate([np.delete(stored, [0, 10], axis=0), stored[:1]]))
    assert made.best(index, stored[:1], 1)[1].tolist() == [[48]]
    assert made.best(index, stored[11:12], 1)[1].tolist() == [[9]]


@pytest.mark.parametrize(("value", "fits"), [(0.5, True), (-0.5, True), (0.52, True), (0.6, False), (-0.6, False)])
def test_only_values_near_those_that_are_there_fit(value, fits):
    made = Shortlist(np.array([[0.5, -0.5]], np.float32))
    assert made.fits(np.array([[0, value]], np.float32)) == fits


@pytest.mark.parametrize(("count", "dimensions", "answer"), [(8192, 512, True), (8191, 512, False), (9000, 64, False)])
def test_copies_of_few_numbers_do_not_pay(count, dimensions, answer):
    assert pays(count, dimensions) == answer
