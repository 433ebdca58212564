import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_features import features, heads, last, pairs

from whymatch.embed import NO_HEAD, BadHead, Head, TooFewImages, fit_centering, fit_whitening, linear_head
from whymatch.explain import explain_match

CORNERS = np.array([[0, 0], [4, 0], [0, 2], [4, 2]], np.float32)  # mean (2, 1), variances 4 and 1


def gallery(seed=0, count=300, channels=6):
    random = np.random.default_rng(seed)
    mixed = random.gamma(0.5, size=(count, channels)) @ random.normal(size=(channels, channels))
    return (mixed + 3).astype(np.float32)


def in_batches(vectors, size):
    return [vectors[start : start + size] for start in range(0, len(vectors), size)]


def test_centering_by_hand():
    head = last(fit_centering([CORNERS]))
    assert head.bias.tolist() == [-2, -1]
    assert head.project(CORNERS).tolist() == [[-2, -1], [2, -1], [-2, 1], [2, 1]]
    assert np.allclose(head.embed(CORNERS[3]), [2 / 5**0.5, 1 / 5**0.5])


def test_whitening_by_hand():
    head = last(fit_whitening([CORNERS], 2, 2))
    assert np.allclose(np.abs(head.project(CORNERS)), 1, atol=1e-3)  # but for the ridge
    one = last(fit_whitening([CORNERS], 2, 1))  # the direction of the larger variance
    assert np.allclose(one.project(CORNERS).ravel(), [-1, 1, -1, 1], atol=1e-3)


def test_a_map_behind_centering_shows_evidence_against_the_match():
    centering = Head("centering", None, np.array([-1, -1], np.float32))
    query = features([[[4, 0], [0, 2]]]).through(centering)  # beta (2, 1) becomes (1, 0); cells (1.5, -.5) (-.5, .5)
    match = features([[[3, 1]]]).through(centering)  # becomes (2, 0), of length 2
    explained = explain_match(query, match)
    assert explained.score == pytest.approx(1)
    assert np.allclose(explained.query_map.values, [[1.5, -0.5]])
    assert np.allclose(explained.match_map.values, [[1]])


def test_whitened_vectors_have_no_mean_no_correlation_and_one_variance():
    vectors = gallery()
    whitened = last(fit_whitening([vectors], 6, 6)).project(vectors)
    assert np.allclose(whitened.mean(axis=0), 0, atol=1e-3)
    covariance = np.cov(whitened.T, bias=True)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)
    variances = np.linalg.eigvalsh(np.cov(vectors.T, bias=True))[::-1]
    assert np.allclose(np.diag(covariance), variances / (variances + 1e-4 * variances[0]), atol=1e-3)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_fit_does_not_depend_on_the_batches(size):
    vectors = gallery() + 1000  # where sums of squares would lose all digits in float32
    for fit in (lambda batches: last(fit_centering(batches)), lambda batches: last(fit_whitening(batches, 6, 4))):
        whole, parts = fit([vectors]), fit(in_batches(vectors, size))
        assert np.allclose(whole.project(vectors), parts.project(vectors), atol=1e-3)
    assert np.allclose(
        last(fit_centering(in_batches(vectors, size))).bias, -vectors.mean(axis=0, dtype=float), rtol=1e-6
    )


def test_a_fit_says_how_far_it_is():
    assert [fit.done for fit in fit_centering(in_batches(gallery(), 100))] == [100, 200, 300, 300]
    assert [fit.done for fit in fit_whitening(in_batches(gallery(), 150), 6)] == [150, 300, 300]


@pytest.mark.parametrize(("count", "kept"), [(300, 6), (12, 3), (5, 1), (2, 1)])
def test_by_default_there_are_four_images_for_each_dimension(count, kept):
    assert last(fit_whitening([gallery(count=count)], 6)).dimensions(6) == kept


def test_by_default_whitening_keeps_128_dimensions():
    vectors = np.random.default_rng(0).random((600, 200), np.float32)
    assert last(fit_whitening([vectors], 200)).dimensions(200) == 128


@pytest.mark.parametrize("dimensions", [0, 7, -1])
def test_whitening_to_more_dimensions_than_there_are_is_refused(dimensions):
    with pytest.raises(BadHead, match=f"{dimensions} dimensions cannot be kept; take from 1 to the model's 6"):
        last(fit_whitening([gallery()], 6, dimensions))


def test_images_that_span_too_little_say_how_much():
    with pytest.raises(TooFewImages, match="4 images span 3 directions, not 5; keep at most 3"):
        last(fit_whitening([gallery(count=4)], 6, 5))


@pytest.mark.parametrize(
    "vectors", [[], [CORNERS[1:2]], [np.repeat(gallery()[:1], 5, axis=0)]], ids=["no", "one", "same"]
)
@pytest.mark.parametrize("kind", ["centering", "whitening"])
def test_a_fit_needs_two_images_that_differ(kind, vectors):
    fits = fit_centering(vectors) if kind == "centering" else fit_whitening(vectors, 6)
    with pytest.raises(TooFewImages, match="at least two images that differ"):
        last(fits)


def test_refitting_to_the_same_images_gives_the_same_embeddings():
    first, second = (last(fit_whitening([gallery()], 6, 4)).fingerprint("model") for _ in range(2))
    assert first == second != last(fit_whitening([gallery(1)], 6, 4)).fingerprint("model")


def test_the_fingerprint_changes_with_model_and_head_and_not_without_a_head():
    centering = last(fit_centering([CORNERS]))
    linear = linear_head(np.eye(2, dtype=np.float32), None, 2)
    heads = [
        NO_HEAD,
        centering,
        last(fit_whitening([CORNERS], 2, 1)),
        linear,
        Head("centering", None, linear.matrix[0]),
    ]
    prints = {head.fingerprint(model) for head in heads for model in ("one", "other")}
    assert len(prints) == 10
    assert NO_HEAD.fingerprint("one") == "one"
    assert all(len(one) == 32 for one in prints - {"one", "other"})


def test_a_layer_by_hand():
    head = linear_head(np.array([[1, 2], [0, 1], [1, 0]], np.float32), np.array([0, 0, -3], np.float32), 2)
    assert head.project(np.array([1, 2], np.float32)).tolist() == [5 / 4, 2 / 4, -2 / 4]  # scaled to at most 1
    assert head.dimensions(2) == 3


@pytest.mark.parametrize(
    ("weight", "bias", "message"),
    [
        (np.ones((2, 3)), None, "2 rows of 3 values; this model needs 2 values"),
        (np.ones((0, 2)), None, "0 rows"),
        (np.ones((4097, 2)), None, "4097 rows"),
        (np.ones((2, 2)), np.ones(3), "bias has 3 values and the weight 2 rows of 2"),
        (np.full((2, 2), np.nan), None, "not finite"),
        (np.ones((2, 2)), np.array([0, np.inf]), "not finite"),
        (np.zeros((2, 2)), np.ones(2), "all zeros"),
    ],
)
def test_a_layer_that_does_not_fit_says_why(weight, bias, message):
    with pytest.raises(BadHead, match=message):
        linear_head(weight, bias, 2)


def test_zeros_are_no_bias():
    weight = np.eye(2, dtype=np.float32)
    same = linear_head(weight, np.zeros(2, np.float32), 2)
    assert same.fingerprint("model") == linear_head(weight, None, 2).fingerprint("model")


@given(heads(), st.integers(0, 99))
def test_the_parts_of_a_projection_add_up(head, seed):
    random = np.random.default_rng(seed)
    cells, shares = random.normal(size=(5, 8)).astype(np.float32), random.dirichlet(np.ones(5))
    parts = sum(head.project(cell, share) for cell, share in zip(cells, shares, strict=True))
    assert np.allclose(parts, head.project(cells.sum(axis=0)), rtol=1e-4, atol=1e-3)


@given(heads(), st.integers(0, 99))
def test_a_product_behind_the_head_can_be_taken_before_it(head, seed):
    random = np.random.default_rng(seed)
    cells = random.normal(size=(5, 8)).astype(np.float32)
    vector = random.normal(size=head.dimensions(8)).astype(np.float32)
    back, constant = head.pull_back(vector)
    assert np.allclose(cells @ back + 0.25 * constant, head.project(cells, 0.25) @ vector, rtol=1e-4, atol=1e-3)


def test_an_image_whose_vector_the_head_makes_zero_has_zero_maps():
    mean = Head("centering", None, np.array([-2, -1], np.float32))
    blank = features([[[4, 0], [0, 2]]]).through(mean)
    explained = explain_match(blank, features([[[3, 1]]]).through(mean))
    assert (explained.score, explained.residual) == (0, 0)
    assert not explained.query_map.values.any()
    assert not blank.contributions().any()
    assert not blank.part(np.ones((1, 2), np.float32)).any()


@given(pairs())
def test_features_go_through_a_head_and_back(pair):
    image = pair[0]
    assert np.array_equal(image.through(NO_HEAD).through(image.head).embedding, image.embedding)
    assert np.array_equal(image.through(NO_HEAD).embedding, NO_HEAD.embed(image.pooled))
