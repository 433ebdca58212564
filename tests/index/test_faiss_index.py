"""The index against brute force, for one query and for many, in several parts."""

import numpy as np
import pytest

from whymatch.index import faiss_index, scan, shortlist
from whymatch.index.faiss_index import FaissIndex

DIMENSIONS = 8


@pytest.fixture(params=[1, 2, 3, 4, 5])
def threads(request, monkeypatch):
    monkeypatch.setattr(scan, "PART", 4 * DIMENSIONS)
    monkeypatch.setattr(scan, "THREADS", request.param)


@pytest.fixture(params=["all", "shortlist"])
def compared(request, monkeypatch):
    """Whether one query is compared with all vectors, or with those on a shortlist."""
    if request.param == "shortlist":
        use_short_lists(monkeypatch)


def use_short_lists(monkeypatch) -> None:
    for name, value in {"PAYS_FROM": 1, "LENGTH": 20, "TIMES": 1, "SHARE": 1, "LONGEST_PAUSE": 0}.items():
        monkeypatch.setattr(shortlist, name, value)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return random / np.linalg.norm(random, axis=1, keepdims=True)


def brute_force(stored: dict[int, np.ndarray], queries: np.ndarray, limit: int) -> tuple[np.ndarray, np.ndarray]:
    ids = np.array(list(stored))
    scores = queries @ np.stack(list(stored.values())).T
    best = np.argsort(-scores, axis=1)[:, :limit]
    return np.take_along_axis(scores, best, 1), ids[best]


@pytest.mark.parametrize("query_count", [1, 2, 5, 8, 9, 20])
@pytest.mark.parametrize("limit", [1, 7, 40])
def test_what_is_found_is_what_brute_force_finds(tmp_path, threads, compared, query_count, limit):
    index = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    ids = np.random.default_rng(1).permutation(1000)[:50]  # in no order
    stored = dict(zip(ids.tolist(), vectors(50), strict=True))
    index.add(ids, np.stack(list(stored.values())))
    for gone in ids[::7].tolist():
        index.remove(np.array([gone]))
        del stored[gone]
    queries = vectors(query_count, seed=2)
    scores, found, final = index.search(queries, limit)
    expected_scores, expected = brute_force(stored, queries, limit)
    assert final
    assert np.array_equal(found, expected)
    assert np.allclose(scores, expected_scores, atol=1e-6)


@pytest.mark.parametrize("query_count", [1, 5])
def test_only_what_is_allowed_is_found(tmp_path, threads, query_count):
    index = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    index.add(np.arange(40), vectors(40))
    queries = vectors(query_count, seed=2)
    _, found, _ = index.search(queries, 5, allowed=np.arange(0, 40, 3))
    allowed = {number: vectors(40)[number] for number in range(0, 40, 3)}
    assert np.array_equal(found, brute_force(allowed, queries, 5)[1])


def test_more_than_there_are_are_all(tmp_path, threads):
    index = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    index.add(np.arange(10), vectors(10))
    _, found, _ = index.search(vectors(1, seed=2), 99)
    assert sorted(found[0].tolist()) == list(range(10))


def test_a_saved_index_finds_the_same(tmp_path, threads, compared):
    index = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    index.add(np.arange(30), vectors(30))
    index.save(generation=4)
    again = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    assert again.load(generation=4)
    query = vectors(1, seed=2)
    assert np.array_equal(again.search(query, 5)[1], index.search(query, 5)[1])


def test_an_empty_index_finds_nothing(tmp_path, threads, compared):
    index = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    assert index.search(vectors(1), 3)[1].tolist() == [[-1]]


def test_no_query_finds_nothing(tmp_path):
    index = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    index.add(np.arange(10), vectors(10))
    assert index.search(vectors(0), 3)[1].shape == (0, 3)


def test_a_shortlist_is_found_out_to_be_too_short(tmp_path, compared):
    """A vector that is there thirty times fills the shortlist; the one that is a little worse must be found, too."""
    index = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    query, other = vectors(1), vectors(60, seed=2)
    index.add(np.arange(60), other)
    index.add(np.arange(60, 90), np.repeat(query, 30, axis=0))
    scores, found, _ = index.search(query, 40)
    expected_scores, expected = brute_force(dict(enumerate(np.concatenate([other, *[query] * 30]))), query, 40)
    assert set(found[0].tolist()) == set(expected[0].tolist())
    assert np.allclose(scores, expected_scores, atol=1e-6)


def test_vectors_that_come_later_are_found_whatever_their_values(tmp_path, compared):
    index = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat")
    flat = vectors(60) * [0.1, 1, 1, 1, 1, 1, 1, 1]
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    index.add(np.arange(60), flat.astype(np.float32))
    spike = np.eye(1, DIMENSIONS, dtype=np.float32)  # 1 and -1 are beyond all that was there
    index.add(np.array([60]), spike)
    index.add(np.array([61]), -spike)
    assert index.search(spike, 1)[1].tolist() == [[60]]
    assert index.search(-spike, 1)[1].tolist() == [[61]]


def test_a_shortlist_is_used_and_follows_every_change(tmp_path, threads, monkeypatch):
    use_short_lists(monkeypatch)
    monkeypatch.setattr(faiss_index, "scan", None)  # nothing is compared with all vectors
    index, stored = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat"), vectors(500)

    def found(number: int) -> int:
        return int(index.search(stored[number : number + 1], 1)[1][0, 0])

    index.add(np.arange(400), stored[:400])
    assert [found(n) for n in range(0, 400, 10)] == list(range(0, 400, 10))
    inside = [n for n in range(400, 500) if np.abs(stored[n]).max() < 0.8]
    for number in inside:
        index.add(np.array([number]), stored[number : number + 1])
    assert [found(n) for n in inside] == inside
    index.remove(np.array([7]))
    assert found(7) != 7
    assert found(8) == 8
    index.save(generation=1)
    index.rebuild(100, [(np.arange(1000, 1100), stored[:100])])
    assert found(8) == 1008
    assert index.load(generation=1)
    assert found(8) == 8


@pytest.mark.parametrize("length", [0.0, 1e-42, 3e-22, 1e-6, 1e6, 1e18])
def test_scores_are_right_for_queries_of_any_length(tmp_path, compared, length):
    index, stored = FaissIndex(tmp_path / "index.faiss", DIMENSIONS, "Flat"), vectors(300)
    index.add(np.arange(300), stored)
    query = vectors(1, seed=2) * np.float32(length)
    scores, found, _ = index.search(query, 5)
    expected = np.sort(stored @ query[0])[::-1][:5]
    assert found.shape == (1, 5)
    assert len(set(found[0].tolist())) == 5
    assert np.allclose(scores[0], expected, rtol=1e-4, atol=1e-44)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.5, 0.99])
def test_what_is_found_among_chosen_ids_is_to_the_last_bit_what_is_found_without(tmp_path, monkeypatch, share):
    monkeypatch.setattr(shortlist, "PAYS_FROM", 1)
    random = np.random.default_rng(0)
    vectors = random.standard_normal((9000, 16), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    index = FaissIndex(tmp_path / "index.faiss", 16, "Flat")
    index.add(np.arange(9000) * 3, vectors)
    index.remove(np.array([6, 60]))
    queries = random.standard_normal((3, 16), dtype=np.float32)
    chosen = np.flatnonzero(random.random(9000) < share) * 3
    for _ in range(2):  # looked up, and remembered
        scores, ids, final = index.search(queries, 10, chosen)
        _, all_ids, _ = index.search(queries, 8998)
        assert final
        for row in range(3):
            among = np.isin(all_ids[row], chosen)
            assert ids[row].tolist() == all_ids[row][among][:10].tolist()
            alone = index.search(queries[row : row + 1], 10, chosen)[0]
            assert np.array_equal(alone[0], scores[row])
        whole = index.search(queries[:1], 10)
        assert np.array_equal(index.search(queries[:1], 10, np.arange(27000))[0], whole[0])


def test_one_query_has_the_same_scores_to_the_last_bit_whatever_was_searched_before(tmp_path):
    random = np.random.default_rng(1)
    wide, narrow = FaissIndex(tmp_path / "wide", 512, "Flat"), FaissIndex(tmp_path / "narrow", 2, "Flat")
    wide.add(np.arange(18), random.standard_normal((18, 512), dtype=np.float32))
    narrow.add(np.arange(3), random.standard_normal((3, 2), dtype=np.float32))
    query = random.standard_normal((1, 512), dtype=np.float32)
    before = wide.search(query, 18)[0]
    narrow.search(random.standard_normal((8, 2), dtype=np.float32), 3)
    assert np.array_equal(wide.search(query, 18)[0], before)
    assert np.array_equal(wide.search(query, 18, np.arange(18))[0], before)
