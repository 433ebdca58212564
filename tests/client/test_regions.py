"""Searches and explanations by region, computed by hand: `half.png` is red at its left and green at its right."""

import asyncio
import io

import numpy as np
import PIL.Image
import pytest

from whymatch.client import (
    AsyncClient,
    Box,
    ChannelShare,
    Correspondence,
    Mask,
    NotFound,
    Point,
    Polygon,
    Region,
    Stored,
)
from whymatch.client.wire import requests_shapes

HALF = 0.5**0.5
LEFT, RIGHT = Box(0, 0, 2, 2), Box(2, 0, 4, 2)
LEFT_OF_ALL, RIGHT_OF_ALL = (
    Region(Box(0, 0, 0.5, 1), relative=True),
    Region(Box(0.5, 0, 1, 1), relative=True),
)
HALF_PNG = Stored("half.png")


def facts(result):
    return [(match.name, round(match.score, 4), round(match.region_share, 4)) for match in result]


def test_a_region_alone_decides_the_order(colors):
    assert facts(colors.search(HALF_PNG, regions=[LEFT])) == [
        ("red.png", 0.7071, 1.0),
        ("half.png", 0.5, 0.5),
        ("green.png", 0.0, 0.0),
    ]


def test_a_negative_region_counts_against(colors):
    result = colors.search(HALF_PNG, regions=[LEFT, Region(RIGHT, weight=-0.5)])
    assert facts(result) == [("red.png", 0.7071, 1.0), ("half.png", 0.25, 0.25), ("green.png", -0.3536, -0.5)]


def test_a_lone_negative_region_counts_against_the_rest(colors):
    alone = colors.search(HALF_PNG, regions=[Region(RIGHT, weight=-0.5)], with_maps=True)
    assert facts(alone) == facts(colors.search(HALF_PNG, regions=[LEFT, Region(RIGHT, weight=-0.5)]))
    for match in alone:
        assert match.query_map.total == pytest.approx(match.score)
        assert match.match_map.total == pytest.approx(match.score)


def test_what_is_ignored_is_a_region_of_weight_0(colors):
    left = facts(colors.search(HALF_PNG, regions=[LEFT]))
    assert facts(colors.search(HALF_PNG, ignore=[RIGHT])) == left
    assert facts(colors.search(HALF_PNG, regions=[Region(RIGHT, weight=0)])) == left
    assert facts(colors.search(HALF_PNG, regions=[LEFT_OF_ALL, RIGHT_OF_ALL], ignore=[RIGHT])) == left
    with pytest.raises(TypeError, match=r"ignore is a sequence of regions, not one; write ignore=\["):
        colors.search(HALF_PNG, ignore=RIGHT)


def test_without_regions_all_of_the_similarity_counts(colors):
    assert {match.region_share for match in colors.search(HALF_PNG)} == {1.0}


def test_a_match_without_similarity_has_a_share_of_nothing(colors, picture):
    [match] = colors.search(picture("blue"), labels=["red"])
    assert (match.image_score, match.region_share) == (0, 0.0)


def test_the_best_match_of_each_label_alone(colors, picture):
    colors.add_image(picture("red", "blue"), name="purple.png", label="red")
    result = colors.search(picture("red"), best_per_label=True)
    assert [(match.label, match.name) for match in result] == [
        ("red", "red.png"),
        ("half", "half.png"),
        ("green", "green.png"),
    ]


def test_reranking_by_a_part_of_the_match(colors, picture):
    result = colors.rerank(picture("red"), match_regions=[LEFT_OF_ALL])
    assert facts(result) == [("half.png", 0.7071, 1.0), ("red.png", 0.5, 0.5), ("green.png", 0.0, 0.0)]


def test_reranking_by_parts_of_both(colors):
    result = colors.rerank(HALF_PNG, query_regions=[LEFT], match_regions=[RIGHT_OF_ALL])
    assert facts(result)[0] == ("red.png", 0.3536, 0.5)


def test_candidates_are_the_most_similar_images_or_those_that_are_named(colors, picture):
    few = colors.rerank(picture("red"), match_regions=[LEFT_OF_ALL], candidate_limit=1)
    named = colors.rerank(picture("red"), match_regions=[LEFT_OF_ALL], candidates=["green.png", "red.png"])
    labeled = colors.rerank(picture("red"), match_regions=[LEFT_OF_ALL], labels=["half"], limit=1, with_maps=True)
    assert [match.name for match in few] == ["red.png"]
    assert [match.name for match in named] == ["red.png", "green.png"]
    assert labeled[0].match_map.total == pytest.approx(HALF)


def test_an_explanation_has_its_leading_channels_and_cells(colors):
    explanation = colors.explain_match(HALF_PNG, HALF_PNG, channel_limit=2, correspondence_limit=2)
    half = pytest.approx(0.5)
    assert explanation.channels == (ChannelShare(0, half, half), ChannelShare(1, half, half))
    assert explanation.correspondences == (Correspondence(LEFT, LEFT, half), Correspondence(RIGHT, RIGHT, half))
    assert explanation.image_score == pytest.approx(1)


def test_no_channels_and_cells_if_none_are_wanted(colors):
    explanation = colors.explain_match(HALF_PNG, HALF_PNG, channel_limit=0, correspondence_limit=0)
    assert (explanation.channels, explanation.correspondences) == ((), ())


def test_a_point_of_the_query_has_its_map_in_the_match(colors):
    explanation = colors.explain_match(HALF_PNG, HALF_PNG, query_regions=[Point(3.5, 0.5)])
    np.testing.assert_allclose(explanation.match_map.values, [[0, 0.5]], atol=1e-6)
    assert explanation.match_map.best_box == RIGHT
    assert (explanation.score, explanation.image_score) == (pytest.approx(0.5), pytest.approx(1))


def test_a_map_without_positive_values_has_no_best_box(colors, picture):
    assert colors.explain_match(picture("red"), picture("lime")).query_map.best_box is None


def test_a_label_is_explained_by_its_images(colors):
    explanation = colors.explain_label(HALF_PNG, "red")
    np.testing.assert_allclose(explanation.query_map.values, [[HALF, 0]], atol=1e-6)
    assert (explanation.score, explanation.image_count) == (pytest.approx(HALF), 1)
    assert (explanation.model, explanation.color_scale) == ("fake", None)
    with pytest.raises(NotFound, match="labeled 'half'"):
        colors.explain_label(HALF_PNG, "half")


def test_component_shares_are_curves_over_the_channels(colors):
    shares = colors.explain_components(pair_count=7, seed=3)
    assert (shares.mean.tolist(), shares.low.tolist(), shares.high.tolist()) == (
        [0.5, 0.75, 1],
        [0.25, 0.5, 1],
        [0.75, 1, 1],
    )
    assert (shares.pair_count, shares.model) == (7, "fake, seed 3")


def test_the_asyncio_client_answers_the_same(colors, address):
    async def scenario():
        async with AsyncClient(address) as client:
            return (
                await client.search(HALF_PNG, regions=[LEFT]),
                await client.rerank(HALF_PNG, query_regions=[LEFT], match_regions=[RIGHT_OF_ALL]),
                await client.explain_match(HALF_PNG, HALF_PNG, query_regions=[Point(0, 0)]),
                await client.explain_label(HALF_PNG, "red"),
                await client.explain_components(),
            )

    searched, reranked, explained, labeled, components = asyncio.run(scenario())
    assert facts(searched) == facts(colors.search(HALF_PNG, regions=[LEFT]))
    assert facts(reranked)[0] == ("red.png", 0.3536, 0.5)
    assert explained.score == pytest.approx(0.5)
    assert labeled.score == pytest.approx(HALF)
    assert components.pair_count == 1000


def test_each_shape_is_sent_as_it_is(picture, tmp_path):
    file = tmp_path / "mask.png"
    file.write_bytes(picture("white", "black"))
    assert requests_shapes.region(LEFT).box.right_px == 2
    assert [(p.x_px, p.y_px) for p in requests_shapes.region(Polygon([(0, 0), (4, 0), (2, 2)])).polygon.points] == [
        (0, 0),
        (4, 0),
        (2, 2),
    ]
    assert requests_shapes.region(Point(1.5, 0.5)).point.x_px == 1.5
    assert (
        requests_shapes.region(Mask(file)).mask
        == requests_shapes.region(Mask(file.read_bytes())).mask
        == file.read_bytes()
    )


def test_a_mask_may_be_a_pillow_picture():
    sent = requests_shapes.region(Mask(PIL.Image.new("L", (4, 2), 128))).mask
    assert PIL.Image.open(io.BytesIO(sent)).getpixel((3, 1)) == 128


def test_a_bare_shape_weighs_1_and_is_in_pixels():
    assert requests_shapes.region(LEFT) == requests_shapes.region(Region(LEFT, weight=1, relative=False))
    assert requests_shapes.region(Region(LEFT, weight=0.25, relative=True)).weight == 0.25
    assert requests_shapes.region(Region(LEFT, relative=True)).relative


def test_an_empty_polygon_is_still_a_polygon():
    assert requests_shapes.region(Polygon([])).WhichOneof("shape") == "polygon"


def test_one_thing_in_place_of_several_is_a_mistake(colors):
    with pytest.raises(TypeError, match=r"write regions=\[Box\("):
        colors.search(HALF_PNG, regions=LEFT)
    with pytest.raises(TypeError, match=r"write candidates=\['red.png'\]"):
        colors.rerank(HALF_PNG, query_regions=[LEFT], candidates="red.png")
    with pytest.raises(TypeError, match="not tuple"):
        colors.search(HALF_PNG, regions=[(0, 0, 2, 2)])
