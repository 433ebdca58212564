from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from sample_features import features, pairs

from whymatch.explain import (
    Box,
    EmptyRegion,
    Example,
    ExampleQuery,
    ExamplesCancel,
    Region,
    cell_weights,
    region_vector,
)

A, B, C = np.eye(3, dtype=np.float32)


def test_the_query_is_the_mean_of_what_is_liked_less_half_the_mean_of_what_is_not():
    query = ExampleQuery([Example(A), Example(B), Example(C, unlike=True)])
    assert np.allclose(query.vector, np.array([0.5, 0.5, -0.5]) / 0.75**0.5)
    assert np.allclose(query.shares(np.array([B, C])), np.array([[0, 0.5, 0], [0, 0, -0.5]]) / 0.75**0.5)


def test_weights_count_and_so_do_the_defaults_beside_them():
    query = ExampleQuery([Example(A, weight=3), Example(B), Example(C, unlike=True, weight=2)])
    assert np.allclose(query.vector, np.array([3, 0.5, -2]) / 13.25**0.5)


def test_an_example_counts_by_its_weight_however_short_its_vector_is():
    assert np.allclose(ExampleQuery([Example(A / 1000), Example(B)]).vector, np.array([1, 1, 0]) / 2**0.5)


def test_one_example_is_a_plain_query():
    query = ExampleQuery([Example(A, weight=7)])
    assert np.array_equal(query.vector, A)
    assert query.shares(np.array([A]))[0, 0] == 1


def test_what_speaks_against_alone_finds_the_least_similar():
    assert np.array_equal(ExampleQuery([Example(A, unlike=True)]).vector, -A)


@pytest.mark.parametrize(
    "examples",
    [
        [Example(A, weight=1), Example(A, unlike=True, weight=1)],
        [Example(A), Example(-A)],
        [Example(A), Example(A + 1e-6 * B, unlike=True, weight=1)],
        [Example(0 * A)],
    ],
)
def test_examples_that_cancel_are_refused(examples):
    with pytest.raises(ExamplesCancel, match="leave out what is on both sides"):
        ExampleQuery(examples)


def test_an_embedding_has_no_map():
    image = features([[[8, 0], [0, 8]]])
    query = ExampleQuery([Example(image.embedding, features=image), Example(np.array([1, 0], np.float32))])
    of_image, of_embedding = query.maps(np.array([0, 1], np.float32))
    assert of_embedding is None
    assert np.allclose(of_image.values, [[0, query.shares(np.array([[0, 1]]))[0, 0]]])


@given(
    pairs(),
    st.floats(0.1, 1),
    st.lists(st.one_of(st.none(), st.floats(0.01, 100)), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_shares_and_maps_are_those_of_brute_force_and_add_up_to_the_score(pair, right, weights, unlike):
    first, match = pair
    assume(first.embedding.any() and match.embedding.any())
    region = Region(Box(0, 0, right, 1), relative=True)
    try:
        box = cell_weights([region], first.placement, *first.feature_map.shape[:2])
    except EmptyRegion:  # center-crop left nothing of it
        return
    whole = [Example(one.embedding, features=one) for one in (first, replace(match, head=first.head))]
    part = Example(region_vector(first, box), features=first, cell_weights=box)
    examples = [
        replace(one, weight=weight, unlike=against)
        for one, weight, against in zip([*whole, part], weights, unlike, strict=True)
    ]
    try:
        query = ExampleQuery(examples)
    except ExamplesCancel:
        return
    shares = query.shares(match.embedding[None])[0]
    assert np.allclose(shares, by_hand(examples, match.embedding), atol=1e-5)
    assert shares.sum() == pytest.approx(float(query.vector @ match.embedding), abs=1e-5)
    size = np.abs(shares).max() + 1
    for share, one in zip(shares, query.maps(match.embedding), strict=True):
        assert one.total == pytest.approx(share, abs=1e-5 * size)


def by_hand(examples, embedding) -> list[float]:
    """The definition, example by example."""
    liked = sum(not one.unlike for one in examples)
    signed = []
    for one in examples:
        default = 0.5 / (len(examples) - liked) if one.unlike else 1 / liked
        weight = default if one.weight is None else one.weight
        length = np.linalg.norm(one.vector.astype(float))
        signed.append((-weight if one.unlike else weight) * one.vector.astype(float) / (length or 1))
    total = np.linalg.norm(sum(signed))
    return [float(one @ embedding / total) for one in signed]
