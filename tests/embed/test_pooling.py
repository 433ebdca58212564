import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from whymatch.embed import Pooling

CORNER = np.array([[[1, 0], [2, 0]], [[3, 0], [2, 4]]], np.float32)  # 2 x 2 cells, 2 channels
POOLINGS = [Pooling("average"), Pooling("max"), Pooling("gem", 3.0), Pooling("gem", 1.0)]


def activations(low: float = 0.0):
    shapes = st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))
    values = st.floats(low, 100, width=32).map(lambda value: np.float32(0) if abs(value) < 1e-3 else value)
    return shapes.flatmap(lambda shape: arrays(np.float32, shape, elements=values))


def test_average_by_hand():
    assert Pooling("average").pool(CORNER).tolist() == [2, 1]
    assert Pooling("average").contributions(CORNER, np.array([2, 1], np.float32)).tolist() == (CORNER / 4).tolist()


def test_max_by_hand_divides_ties():
    tied = np.array([[[3, 0], [3, 0]], [[1, 0], [2, 5]]], np.float32)
    assert Pooling("max").pool(tied).tolist() == [3, 5]
    shares = Pooling("max").contributions(tied, np.array([3, 5], np.float32))
    assert shares.tolist() == [[[1.5, 0], [1.5, 0]], [[0, 0], [0, 5]]]


def test_gem_by_hand():
    pooling = Pooling("gem", 2.0)
    pooled = pooling.pool(CORNER)
    assert np.allclose(pooled, [np.sqrt(18 / 4), 2])
    assert np.allclose(pooling.contributions(CORNER, pooled)[0, 0], [np.sqrt(4.5) / 18, 0])


def test_gem_clamps_negative_activations():
    assert Pooling("gem").pool(np.full((2, 2, 1), -1, np.float32)).tolist() == [0]


def test_gem_tends_to_max_and_does_not_overflow():
    assert np.allclose(Pooling("gem", 200.0).pool(CORNER), [3, 4], rtol=0.01)


@given(activations())
def test_gem_with_power_1_is_average(feature_map):
    assert np.allclose(Pooling("gem", 1.0).pool(feature_map), Pooling("average").pool(feature_map), rtol=1e-4)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(feature_map=activations())
def test_contributions_sum_to_the_pooled_vector(pooling, feature_map):
    pooled = pooling.pool(feature_map)
    contributions = pooling.contributions(feature_map, pooled)
    assert np.allclose(contributions.sum(axis=(0, 1)), pooled, rtol=1e-5, atol=1e-5)
    assert (contributions >= 0).all()


@pytest.mark.parametrize("pooling", [Pooling("average"), Pooling("max")], ids=str)
@given(feature_map=activations(low=-100))
def test_contributions_of_signed_activations_sum_too(pooling, feature_map):
    pooled = pooling.pool(feature_map)
    assert np.allclose(pooling.contributions(feature_map, pooled).sum(axis=(0, 1)), pooled, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(feature_map=activations())
def test_a_rounded_feature_map_still_sums_to_the_vector_of_the_exact_one(pooling, feature_map):
    pooled = pooling.pool(feature_map)
    rounded = feature_map.astype(np.float16).astype(np.float32)
    assert np.allclose(pooling.contributions(rounded, pooled).sum(axis=(0, 1)), pooled, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(feature_map=activations(), seed=st.integers(0, 9))
def test_the_fast_spread_is_the_contributions_times_the_vector(pooling, feature_map, seed):
    pooled = pooling.pool(feature_map)
    vector = np.random.default_rng(seed).standard_normal(len(pooled)).astype(np.float32)
    expected = pooling.contributions(feature_map, pooled) @ vector
    assert np.allclose(pooling.spread(feature_map, pooled, vector), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pooling", [Pooling("average"), Pooling("max")], ids=str)
@given(feature_map=activations(low=-100))
def test_the_fast_spread_holds_for_negative_activations(pooling, feature_map):
    pooled = pooling.pool(feature_map)
    vector = np.ones(len(pooled), np.float32)
    expected = pooling.contributions(feature_map, pooled) @ vector
    assert np.allclose(pooling.spread(feature_map, pooled, vector), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_dead_channels_contribute_nothing(pooling):
    feature_map = np.zeros((3, 3, 2), np.float32)
    assert not pooling.contributions(feature_map, pooling.pool(feature_map)).any()


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_a_batch_is_pooled_like_its_images(pooling):
    batch = np.random.default_rng(0).random((3, 4, 5, 6), dtype=np.float32)
    assert np.allclose(pooling.pool(batch), [pooling.pool(image) for image in batch], rtol=1e-5)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@given(feature_map=activations(-50), seed=st.integers(0, 99), rounding=st.booleans())
def test_a_part_is_the_weighted_sum_of_the_contributions(pooling, feature_map, seed, rounding):
    pooled = pooling.pool(feature_map)
    if rounding:
        feature_map = feature_map.astype(np.float16).astype(np.float32)
    weights = np.random.default_rng(seed).uniform(-1, 1, feature_map.shape[:2]).astype(np.float32)
    expected = np.tensordot(weights, pooling.contributions(feature_map, pooled).astype(float), axes=2)
    found = pooling.part(feature_map, pooled, weights)
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * max(1, np.abs(feature_map).max()))
