from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sample_features import POOLINGS, features, pairs, stored
from sample_pictures import encoded, picture, png

from whymatch.embed import Pooling
from whymatch.explain import (
    Box,
    EmptyRegion,
    Point,
    Polygon,
    Region,
    cell_weights,
    explain_match,
    explain_ranking,
    leading_cells,
    leading_channels,
    read_mask,
    region_vector,
    similarity_map,
)
from whymatch.index import Galleries, NewImage


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


@given(pairs())
def test_contributions_sum_to_the_pooled_vector_and_maps_to_the_score(pair):
    query, match = pair
    assert np.allclose(query.contributions().sum(axis=(0, 1)), query.embedding, atol=1e-6)
    explained = explain_match(query, match)
    assert explained.score == explained.image_score == pytest.approx(float(query.embedding @ match.embedding), abs=1e-6)
    assert explained.residual < 1e-6
    assert explained.query_map.values.shape == query.feature_map.shape[:2]
    assert explained.match_map.values.shape == match.feature_map.shape[:2]


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
    pasted = Image.new("RGB", (192, 96), (127, 127, 127))
    pasted.paste(picture(7, 96, 96), (96, 0))
    values = similarity_map(embed(encoded(pasted)), embed(png(7, 96, 96)).embedding).values
    half = values.shape[1] // 2
    assert values[:, half:].sum() > 2 * values[:, :half].sum()


# Regions


def region_weights(image, *regions) -> np.ndarray:
    rows, columns, _ = image.feature_map.shape
    return cell_weights(regions, image.placement, rows, columns)


def random_weights(image, seed) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, image.feature_map.shape[:2]).astype(np.float32)


def test_a_region_vector_by_hand():
    query = features([[[8, 0], [0, 8]]])  # beta (4, 4); each cell is 10 pixels wide
    weights = region_weights(query, Region(Box(0, 0, 15, 10)))
    assert weights.tolist() == [[1, 0.5]]
    assert np.allclose(region_vector(query, weights), np.array([4, 2]) / 32**0.5)


def test_regions_of_both_images_by_hand():
    query = features([[[8, 0], [0, 8]]])  # contributions (4, 0) (0, 4), length sqrt(32)
    match = features([[[6, 0]], [[0, 8]]])  # contributions (3, 0) (0, 4), length 5
    whole, left, top = np.ones((1, 2)), np.array([[1, 0]]), np.array([[1], [-0.5]])
    norm = 5 * 32**0.5
    explained = explain_match(query, match, whole, top)
    assert explained.score == pytest.approx((12 - 8) / norm)
    assert explained.image_score == pytest.approx(28 / norm)
    assert np.allclose(explained.query_map.values, np.array([[12, -8]]) / norm)
    assert np.allclose(explained.match_map.values, np.array([[12], [-8]]) / norm)
    assert explain_match(query, match, left, top).score == pytest.approx(12 / norm)
    assert explain_match(query, match, left).match_map.values == pytest.approx(np.array([[12], [0]]) / norm)


@given(pairs())
def test_the_vector_of_the_whole_image_is_its_embedding(pair):
    query, match = pair
    whole = region_weights(query, Region(Box(0, 0, 1, 1), relative=True))
    assert np.allclose(region_vector(query, whole), query.embedding, atol=1e-6)
    explained = explain_match(query, match, whole)
    assert explained.score == pytest.approx(explained.image_score, abs=1e-6)


@given(pairs(exact=True), st.integers(0, 99))
def test_the_product_with_a_region_vector_is_the_weighted_sum_of_the_map(pair, seed):
    query, match = pair
    weights = random_weights(query, seed)
    product = region_vector(query, weights) @ match.embedding
    assert product == pytest.approx(float((weights * similarity_map(query, match.embedding).values).sum()), abs=1e-5)


@given(pairs(), st.integers(0, 99))
def test_one_product_orders_images_as_their_maps_do(pair, seed):
    query, _ = pair
    others = np.random.default_rng(seed).normal(size=(200, len(query.embedding))).astype(np.float32)
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    weights = random_weights(query, seed)
    by_map = np.array([(weights * (query.contributions() @ other)).sum(dtype=float) for other in others])
    scores = others @ region_vector(query, weights)
    assert np.allclose(scores, by_map, atol=1e-6)
    order = np.argsort(-scores)
    assert (np.diff(by_map[order]) < 1e-6).all()


@given(pairs(), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_the_parts_of_an_image_add_up_to_the_whole(pair, cut, turn):
    query, match = pair
    whole = explain_match(query, match)
    for regions in [two_boxes(cut), two_polygons(cut, turn), two_masks(cut)]:
        try:
            weights = [region_weights(query, region) for region in regions]
        except EmptyRegion:  # center-crop left nothing of one of them
            continue
        parts = [explain_match(query, match, one) for one in weights]
        assert sum(part.score for part in parts) == pytest.approx(whole.score, abs=2e-6)
        assert np.allclose(sum(part.match_map.values for part in parts), whole.match_map.values, atol=1e-3)
        assert np.allclose(sum(part.query_map.values for part in parts), whole.query_map.values, atol=1e-3)


@given(pairs(), st.floats(0.05, 0.95), st.floats(-1, 0))
def test_a_lone_region_and_the_rest_of_the_image_add_up_to_the_whole(pair, cut, weight):
    query, match = pair
    for region, _ in [two_boxes(cut), two_polygons(cut, 0.5), two_masks(cut)]:
        try:
            maps = [
                explain_match(query, match, region_weights(query, one)).query_map.values
                for one in (region, replace(region, weight=weight))
            ]
        except EmptyRegion:  # center-crop left nothing of it, or all
            continue
        whole = explain_match(query, match).query_map.values
        assert np.allclose(maps[1] + (1 - weight) * maps[0], whole, atol=1e-3)


def two_boxes(cut) -> list[Region]:
    return [Region(Box(0, 0, cut, 1), relative=True), Region(Box(cut, 0, 1, 1), relative=True)]


def two_polygons(cut, turn) -> list[Region]:
    """The two sides of a bent line from the top to the bottom."""
    line = [(cut, 0), (turn, 0.4), (cut, 1)]
    left, right = [(0, 1), (0, 0), *line], [(1, 1), (1, 0), *line]
    return [Region(Polygon(tuple(corners)), relative=True) for corners in (left, right)]


def two_masks(cut) -> list[Region]:
    values = (np.random.default_rng(0).random((7, 5)) * 254 * cut + 1).astype(np.uint8)
    return [
        Region(read_mask(encoded(Image.fromarray(part))), relative=True)
        for part in (values, 255 - values)
        if part.any()
    ]


def slow_contributions(image) -> np.ndarray:
    """Each cell's share in the embedding, from the formulas, one number after the other."""
    alpha = image.feature_map.astype(float)
    rows, columns, channels = alpha.shape
    shares = np.zeros(alpha.shape)
    for channel in range(channels):
        values = [max(alpha[x, y, channel], 0) for x in range(rows) for y in range(columns)]
        powers = sum(value**3 for value in values)
        for x in range(rows):
            for y in range(columns):
                value = alpha[x, y, channel]
                if image.pooling.kind == "average":
                    shares[x, y, channel] = value / (rows * columns)
                elif image.pooling.kind == "max":
                    shares[x, y, channel] = value / values.count(max(values)) if value == max(values) else 0
                elif powers > 0:
                    shares[x, y, channel] = (powers / (rows * columns)) ** (1 / 3) * value**3 / powers
    shares = slow_head(image.head, shares)
    length = sum(total**2 for total in shares.sum(axis=(0, 1))) ** 0.5
    return shares / length if length else shares * 0


def slow_head(head, shares) -> np.ndarray:
    """P a + b / (H W) for the contributions a of each cell."""
    rows, columns, channels = shares.shape
    matrix = np.eye(channels) if head.matrix is None else head.matrix.astype(float)
    projected = np.zeros((rows, columns, len(matrix)))
    for x, y, dimension in np.ndindex(projected.shape):
        projected[x, y, dimension] = sum(matrix[dimension, c] * shares[x, y, c] for c in range(channels))
        if head.bias is not None:
            projected[x, y, dimension] += float(head.bias[dimension]) / (rows * columns)
    return projected


@given(pairs(exact=True, longest=3), st.integers(0, 99))
def test_regions_of_both_images_are_what_four_loops_say(pair, seed):
    query, match = pair
    ours, theirs = slow_contributions(query), slow_contributions(match)
    for_query, for_match = random_weights(query, seed), random_weights(match, seed + 1)
    score, query_map, match_map = 0.0, np.zeros(ours.shape[:2]), np.zeros(theirs.shape[:2])
    for x, y in np.ndindex(query_map.shape):
        for u, v in np.ndindex(match_map.shape):
            together = for_query[x, y] * for_match[u, v] * sum(ours[x, y] * theirs[u, v])
            score += together
            query_map[x, y] += together
            match_map[u, v] += together
    explained = explain_match(query, match, for_query, for_match)
    assert explained.score == pytest.approx(score, abs=1e-5)
    assert np.allclose(explained.query_map.values, query_map, atol=1e-5)
    assert np.allclose(explained.match_map.values, match_map, atol=1e-5)


@given(pairs(), st.integers(0, 99), st.booleans(), st.booleans())
def test_the_maps_of_regions_sum_to_the_score_of_the_regions(pair, seed, query_region, match_region):
    query, match = pair
    for_query = random_weights(query, seed) if query_region else None
    for_match = random_weights(match, seed + 1) if match_region else None
    explained = explain_match(query, match, for_query, for_match)
    assert explained.residual < 2e-6
    swapped = explain_match(match, query, for_match, for_query)
    assert swapped.score == pytest.approx(explained.score, abs=1e-6)
    assert np.allclose(swapped.query_map.values, explained.match_map.values, atol=1e-6)


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
def test_rounding_to_half_precision_hardly_moves_a_map(pooling):
    random = np.random.default_rng(3)
    query, match = (features(random.gamma(0.3, size=(7, 5, 64)), pooling) for _ in range(2))
    exact, rounded = explain_match(query, match), explain_match(stored(query), stored(match))
    assert rounded.residual < 1e-6
    assert rounded.score == exact.score
    assert np.allclose(rounded.query_map.values, exact.query_map.values, rtol=2e-3, atol=1e-6)


def test_what_a_gallery_gives_back_still_adds_up(tmp_path, model, embed):
    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.create("pictures")
        contents = [png(seed) for seed in (1, 2)]
        gallery.add([NewImage(f"{n}.png", one, embed(one), "", {}) for n, one in enumerate(contents)])
        query, match = gallery.features(["0.png", "1.png"])
    weights = [region_weights(query, region) for region in two_boxes(0.3)]
    parts = [explain_match(query, match, one) for one in weights]
    assert max(part.residual for part in parts) < 1e-6
    assert sum(part.score for part in parts) == pytest.approx(explain_match(query, match).score, abs=1e-6)


@given(pairs(), st.floats(0, 1), st.floats(0, 1))
def test_the_map_of_a_point_sums_to_the_value_of_its_cell(pair, x, y):
    query, match = pair
    try:
        weights = region_weights(query, Region(Point(x, y), relative=True))
    except EmptyRegion:
        return
    value = float((query.contributions() @ match.embedding)[weights == 1].item())
    explained = explain_match(query, match, weights)
    assert explained.match_map.total == pytest.approx(value, abs=1e-6)


@given(pairs(exact=True), st.integers(0, 99))
def test_the_map_of_a_mean_of_embeddings_is_the_mean_of_the_maps(pair, seed):
    query, match = pair
    others = [match.embedding, np.random.default_rng(seed).random(len(query.embedding), np.float32)]
    maps = [similarity_map(query, other).values for other in others]
    mean = similarity_map(query, np.mean(others, axis=0)).values
    assert np.allclose(mean, np.mean(maps, axis=0), atol=1e-6)


# Images with nothing in them


@pytest.mark.parametrize("pooling", POOLINGS, ids=str)
@pytest.mark.parametrize("value", [0, 1])
def test_regions_of_blank_and_constant_features_are_never_nan(pooling, value):
    query, match = features(np.full((2, 3, 4), value), pooling), features(np.ones((3, 2, 4)), pooling)
    weights = np.array([[1, 0.5, -1], [0, 0, 0]], np.float32)
    explained = explain_match(query, match, weights, np.ones((3, 2), np.float32))
    assert explained.score == pytest.approx(value * 0.5 / 6)
    assert np.allclose(explained.query_map.values, value * weights / 6)
    assert np.allclose(explained.match_map.values, value * 0.5 / 36)


@pytest.mark.parametrize("color", ["black", "white", (9, 80, 200)], ids=str)
@pytest.mark.parametrize("size", [(64, 64), (1, 1), (3000, 2)], ids=str)
def test_images_of_one_color_have_finite_maps_that_add_up(embed, color, size):
    blank = embed(encoded(Image.new("RGB", size, color)))
    weights = region_weights(blank, Region(Box(0, 0, 0.5, 1), relative=True))
    for explained in (explain_match(blank, embed(png(1))), explain_match(blank, blank, weights, weights)):
        assert np.isfinite(explained.query_map.values).all()
        assert np.isfinite(explained.match_map.values).all()
        assert explained.residual < 1e-6


# Why A before B


def test_a_difference_of_maps_by_hand():
    query = features([[[3, 0], [0, 4]]])  # contributions (0.6, 0) and (0, 0.8)
    first, second = np.array([1, 0], np.float32), np.array([0.6, 0.8], np.float32)
    why = explain_ranking(query, first, second)
    assert np.allclose(why.difference_map.values, [[0.6 * 0.4, 0.8 * -0.8]])
    assert (why.first_score, why.second_score) == (pytest.approx(0.6), pytest.approx(1))
    assert why.gap == pytest.approx(-0.4)
    left, right = leading_cells(why.difference_map, 2)[::-1]
    assert (left.score, right.score) == (pytest.approx(0.24), pytest.approx(-0.64))
    assert right.cell[0] == left.cell[2]
    [channel] = leading_channels(why.query_vector, why.difference, 1, either_sign=True)
    assert (channel.channel, channel.score) == (1, pytest.approx(-0.64))


@given(pairs(exact=True), st.integers(0, 99), st.booleans())
def test_a_difference_of_maps_adds_up_to_the_gap(pair, seed, by_region):
    query, match = pair
    other = np.random.default_rng(seed).normal(size=match.embedding.shape).astype(np.float32)
    other /= np.linalg.norm(other)
    weights = random_weights(query, seed) if by_region else None
    why = explain_ranking(query, match.embedding, other, weights)
    maps = [similarity_map(query, vector, weights).values for vector in (match.embedding, other)]
    assert np.allclose(why.difference_map.values, maps[0] - maps[1], atol=1e-5)
    assert why.residual < 1e-5
    assert why.gap == pytest.approx(maps[0].sum(dtype=float) - maps[1].sum(dtype=float), abs=1e-5)
    parts = leading_channels(why.query_vector, why.difference, len(other), either_sign=True)
    assert sum(part.score for part in parts) == pytest.approx(why.gap, abs=1e-5)
