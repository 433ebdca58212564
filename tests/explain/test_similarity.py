import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_pictures import png

from whymatch.embed import Features, Geometry, Pooling
from whymatch.explain import explain_match, similarity_map

PLACEMENT = Geometry().placement(20, 10)
POOLINGS = [Pooling("average"), Pooling("max"), Pooling("gem")]


def features(feature_map, pooling=POOLINGS[0]) -> Features:
    feature_map = np.asarray(feature_map, np.float32)
    return Features(feature_map, pooling.pool(feature_map), pooling, PLACEMENT)


def test_average_maps_by_hand():
    query = features([[[8, 0], [0, 8]]])  # beta (4, 4)
    match = features([[[6, 0]], [[0, 8]]])  # beta (3, 4), of length 5
    explained = explain_match(query, match)
    assert explained.score == pytest.approx(7 / (5 * 2**0.5))
    assert np.allclose(explained.query_map.values, np.array([[3, 4]]) / (5 * 2**0.5))
    assert np.allclose(explained.match_map.values, np.array([[3], [4]]) / (5 * 2**0.5))


def test_max_maps_by_hand():
    query = features([[[3, 1], [3, 4]]], Pooling("max"))  # beta (3, 4); channel 0 is a tie
    match = features([[[1, 0]]], Pooling("max"))
    explained = explain_match(query, match)
    assert explained.score == pytest.approx(0.6)
    assert np.allclose(explained.query_map.values, [[0.3, 0.3]])


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(seed=st.integers(0, 10**6), shapes=st.tuples(*[st.integers(1, 6)] * 4))
def test_maps_sum_to_the_score(pooling, seed, shapes):
    random = np.random.default_rng(seed)
    query = features(random.gamma(0.3, size=(*shapes[:2], 8)), pooling)
    match = features(random.gamma(0.3, size=(*shapes[2:], 8)), pooling)
    explained = explain_match(query, match)
    assert explained.residual < 1e-6
    assert explained.query_map.values.shape == shapes[:2]
    assert explained.match_map.values.shape == shapes[2:]


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_maps_are_the_published_sum_over_channels(pooling):
    random = np.random.default_rng(1)
    query, match = (features(random.random((2, 3, 4)), pooling) for _ in range(2))
    contributions = pooling.contributions(query.feature_map, query.pooled)
    norm = np.linalg.norm(query.pooled) * np.linalg.norm(match.pooled)
    for row in range(2):
        for column in range(3):
            expected = sum(contributions[row, column, c] * match.pooled[c] for c in range(4)) / norm
            assert explain_match(query, match).query_map.values[row, column] == pytest.approx(expected, rel=1e-4)


def test_maps_of_features_without_negative_values_have_none():
    random = np.random.default_rng(2)
    explained = explain_match(features(random.random((3, 3, 5))), features(random.random((3, 3, 5))))
    assert (explained.query_map.values >= 0).all()


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_a_blank_image_matches_nothing_and_nothing_is_nan(pooling):
    explained = explain_match(features(np.zeros((2, 2, 3)), pooling), features(np.ones((2, 2, 3)), pooling))
    assert (explained.score, explained.residual) == (0, 0)
    assert not explained.query_map.values.any()
    assert not explained.match_map.values.any()


def test_an_image_matches_itself_with_score_1(embed):
    explained = explain_match(embed(png(1)), embed(png(1)))
    assert explained.score == pytest.approx(1, abs=1e-6)
    assert np.array_equal(explained.query_map.values, explained.match_map.values)


def test_the_map_of_a_pasted_photograph_lies_on_the_paste(embed):
    from PIL import Image
    from sample_pictures import encoded, picture

    pasted = Image.new("RGB", (192, 96), (127, 127, 127))
    pasted.paste(picture(7, 96, 96), (96, 0))
    values = similarity_map(embed(encoded(pasted)), embed(png(7, 96, 96)).embedding).values
    half = values.shape[1] // 2
    assert values[:, half:].sum() > 2 * values[:, :half].sum()
