import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sample_features import PLACEMENT, features, pairs

from whymatch.embed import Geometry, Pooling, normalized
from whymatch.explain import (
    SimilarityMap,
    best_box,
    component_shares,
    correspondences,
    explain_match,
    leading,
    leading_channels,
)


def map_of(values, placement=PLACEMENT) -> SimilarityMap:
    return SimilarityMap(np.array(values, np.float32), placement)


# Channels


def test_leading_channels_by_hand():
    query, match = np.array([0.6, 0, 0.8], np.float32), np.array([0.8, 0.6, 0], np.float32)
    [first, second, third] = leading_channels(query, match, 10)
    assert (first.channel, first.score) == (0, pytest.approx(0.48))
    assert [(second.channel, second.score), (third.channel, third.score)] == [(1, 0), (2, 0)]  # ties in order
    assert leading_channels(query, match, 0) == []


def test_channels_that_speak_against_a_match_come_last():
    query, match = np.array([1, -2, 3], np.float32), np.array([1, 1, 1], np.float32)
    assert [one.channel for one in leading_channels(query, match, 3)] == [2, 0, 1]
    assert leading_channels(query, match, 3)[-1].score == -2


@given(pairs(), st.integers(0, 8))
def test_all_channels_add_up_to_the_score_and_the_first_are_the_largest(pair, limit):
    query, match = pair[0].embedding, pair[1].embedding
    channels = leading_channels(query, match, 100)
    assert sorted(one.channel for one in channels) == list(range(len(query)))
    assert sum(one.score for one in channels) == pytest.approx(float(query @ match), abs=1e-6)
    assert all(one.score >= other.score for one, other in itertools.pairwise(channels))
    assert leading_channels(query, match, limit) == channels[:limit]


def test_component_shares_by_hand():
    queries = np.array([[0.6, 0.8], [1, 0]], np.float32)
    matches = np.array([[0.8, 0.6 * 0.5], [1, 0]], np.float32)  # parts 0.48, 0.24 and 1, 0
    shares, mean = component_shares(queries, matches)
    assert np.allclose(shares, [[2 / 3, 1], [1, 1]])
    assert np.allclose(mean, [1.48 / 1.72, 1])


def test_signed_component_shares_pass_1_on_their_way():
    shares, _ = component_shares(np.array([[1, -1, 3]], np.float32), np.ones((1, 3), np.float32))  # 3 + 1 - 1
    assert np.allclose(shares, [[1, 4 / 3, 1]])


def test_a_pair_that_is_hardly_similar_does_not_carry_the_mean_away():
    queries = np.array([[0.6, 0.8], [1, -0.9999]], np.float32)  # scores 1.4 and 0.0001
    shares, mean = component_shares(queries, np.ones((2, 2), np.float32))
    assert shares[1, 0] > 5000
    assert np.allclose(mean, [1.8 / 1.4001, 1], atol=1e-5)


def test_pairs_without_a_positive_score_have_no_shares():
    queries = np.array([[0, 0], [-1, 0], [1, -1], [1, 3]], np.float32)
    assert component_shares(queries, np.ones((4, 2), np.float32))[0].tolist() == [[0.75, 1]]
    assert component_shares(queries[:3], np.ones((3, 2), np.float32))[0].shape == (0, 2)


@given(arrays(np.float32, (2, 6, 5), elements=st.floats(0, 1, width=32)))
def test_component_shares_rise_to_exactly_1(vectors):
    queries, matches = normalized(vectors)
    shares, _ = component_shares(queries, matches)
    assert len(shares) == ((queries * matches).sum(axis=1) > leading.TINY).sum()
    assert (shares[:, -1:] == 1).all()
    assert (np.diff(shares, axis=1) >= 0).all()
    assert (shares[:, 0] >= 0.2 - 1e-6).all()  # the largest of five is at least their mean


@given(arrays(np.float32, (2, 6, 5), elements=st.floats(-1, 1, width=32)))
def test_signed_component_shares_end_in_1_and_are_never_nan(vectors):
    shares, _ = component_shares(*vectors)
    assert np.isfinite(shares).all()
    assert (shares[:, -1:] == 1).all()


# Cells


def test_correspondences_by_hand():
    query = features([[[8, 0], [0, 8]]])  # contributions (4, 0) (0, 4), length sqrt(32); cells of 10 x 10
    match = features([[[6, 0]], [[0, 8]]])  # contributions (3, 0) (0, 4), length 5; cells of 20 x 5
    first, second, *none = correspondences(query, match, 10)
    norm = 5 * 32**0.5
    assert (first.query_cell, first.match_cell) == ((10, 0, 20, 10), (0, 5, 20, 10))
    assert (second.query_cell, second.match_cell) == ((0, 0, 10, 10), (0, 0, 20, 5))
    assert [first.score, second.score] == pytest.approx([16 / norm, 12 / norm])
    assert [pair.score for pair in none] == [0, 0]
    assert correspondences(query, match, 0) == []


def test_weights_of_regions_count_in_correspondences():
    query, match = features([[[8, 0], [0, 8]]]), features([[[6, 0]], [[0, 8]]])
    [first, *_, last] = correspondences(query, match, 4, np.array([[1, 1]]), np.array([[0.5], [-1]]))
    norm = 5 * 32**0.5
    assert (first.match_cell, first.score) == ((0, 0, 20, 5), pytest.approx(6 / norm))
    assert (last.match_cell, last.score) == ((0, 5, 20, 10), pytest.approx(-16 / norm))


@given(pairs(), st.integers(0, 99), st.integers(1, 40))
def test_all_pairs_of_cells_add_up_and_the_first_are_the_largest(pair, seed, limit):
    query, match = pair
    random = np.random.default_rng(seed)
    weights = [random.uniform(-1, 1, image.feature_map.shape[:2]).astype(np.float32) for image in pair]
    found = correspondences(query, match, 10_000, *weights)
    assert len(found) == weights[0].size * weights[1].size
    assert sum(one.score for one in found) == pytest.approx(explain_match(query, match, *weights).score, abs=2e-6)
    assert all(one.score >= other.score for one, other in itertools.pairwise(found))
    assert correspondences(query, match, limit, *weights) == found[:limit]


@given(pairs(longest=3))
def test_each_pair_of_cells_has_its_own_score(pair):
    query, match = pair
    ours, theirs = query.contributions(), match.contributions()
    grids = ours.shape[:2], theirs.shape[:2]
    expected = {
        (query.placement.cell_box(x, y, *grids[0]), match.placement.cell_box(u, v, *grids[1])): ours[x, y]
        @ theirs[u, v]
        for x, y in np.ndindex(grids[0])
        for u, v in np.ndindex(grids[1])
    }
    found = {(one.query_cell, one.match_cell): one.score for one in correspondences(query, match, 10_000)}
    assert found == pytest.approx(expected, abs=1e-6)


def test_pairs_of_large_grids_are_looked_at_in_parts():
    random = np.random.default_rng(0)
    query, match = (features(random.random((50, 45, 2)), Pooling("max")) for _ in range(2))  # 5 million pairs
    all_scores = query.contributions().reshape(-1, 2) @ match.contributions().reshape(-1, 2).T
    found = correspondences(query, match, 3)
    assert [pair.score for pair in found] == pytest.approx(np.sort(all_scores, axis=None)[:-4:-1].tolist())


# Boxes


def test_the_best_box_by_hand():
    values = map_of([[1, 0, 0, 0], [0, 0, 3, 4]])  # cells of 5 x 5
    assert best_box(values, 0.5) == (15, 5, 20, 10)
    assert best_box(values, 0.8) == (10, 5, 20, 10)
    assert best_box(values, 1) == (0, 0, 20, 10)


def test_negative_values_are_left_out_of_the_best_box():
    assert best_box(map_of([[-9, 1], [-9, -9]]), 1) == (10, 0, 20, 5)


@pytest.mark.parametrize("values", [[[0, 0]], [[-1, -2]], [[-0.0]]])
def test_a_map_without_positive_values_has_no_best_box(values):
    assert best_box(map_of(values)) is None


def test_of_boxes_of_one_size_the_best_holds_most_and_then_comes_first():
    assert best_box(map_of([[5, 6, 0, 0]]), 0.4) == (5, 0, 10, 10)
    assert best_box(map_of([[0, 5, 5, 5]]), 0.5) == (5, 0, 15, 10)
    assert best_box(map_of([[1, 1], [1, 1]]), 0.5) == (0, 0, 20, 5)


def test_a_best_box_lies_in_what_the_network_sees():
    cropped = Geometry("center-crop").placement(20, 10)
    assert best_box(map_of([[0, 1]], cropped), 1) == (10, 0, 15, 10)


def all_boxes(rows, columns):
    heights = itertools.combinations(range(rows + 1), 2)
    return itertools.product(heights, itertools.combinations(range(columns + 1), 2))


@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)).flatmap(
        lambda shape: arrays(np.int64, shape, elements=st.integers(-3, 9))
    ),
    st.sampled_from([0.01, 0.25, 0.5, 0.9, 1]),
)
def test_the_best_box_is_the_best_of_all_boxes(values, share):
    rows, columns = values.shape
    positive = values.clip(min=0)
    wanted, best = positive.sum() * share, []
    for (top, bottom), (left, right) in all_boxes(rows, columns):
        held = positive[top:bottom, left:right].sum()
        if held >= wanted > 0:
            best.append(((bottom - top) * (right - left), -held, (left, top, right, bottom)))
    found = best_box(map_of(values, Geometry().placement(columns, rows)), share)  # a pixel is a cell
    if not best:
        assert found is None
        return
    fewest = min(best)[:2]
    assert tuple(map(round, found)) in [bounds for *key, bounds in best if tuple(key) == fewest]
    assert found == pytest.approx(tuple(map(round, found)))


@given(pairs())
def test_the_best_box_of_everything_holds_every_positive_value(pair):
    query, match = pair
    found = explain_match(query, match).query_map
    box = best_box(found, 1)
    if box is None:
        assert not (found.values > 0).any()
        return
    rows, columns = found.values.shape
    held = 0.0
    for row, column in np.ndindex(rows, columns):
        left, top, right, bottom = found.placement.cell_box(row, column, rows, columns)
        middle = ((left + right) / 2, (top + bottom) / 2)
        if box[0] < middle[0] < box[2] and box[1] < middle[1] < box[3]:
            held += max(0, found.values[row, column])
    assert held == pytest.approx(found.values.clip(min=0).sum(), rel=2e-6)


def test_large_grids_are_searched_in_parts():
    values = np.full((60, 80), 1e-6)
    values[20:25, 70:77] = 1
    assert best_box(map_of(values, Geometry().placement(80, 60)), 0.999) == pytest.approx((70, 20, 77, 25))
