"""Why A before B, where an image stands, and the labels around a query, through a channel."""

import numpy as np
import pytest
from sample_pictures import png
from server_harness import failure

from whymatch.v1.explain_service_pb2 import (
    ExplainLabelRequest,
    ExplainMatchRequest,
    ExplainNeighborsRequest,
    ExplainRankingRequest,
    ExplainRankRequest,
)
from whymatch.v1.gallery_service_pb2 import SetHeadRequest
from whymatch.v1.search_service_pb2 import SearchRequest

LEFT = {"box": {"right_px": 0.5, "bottom_px": 1}, "relative": True}


def stored(parent: str, seed: int) -> dict[str, str]:
    return {"image": f"{parent}/images/{seed}.png"}


def image(parent: str, seed: int) -> dict[str, dict[str, str]]:
    return {"image": stored(parent, seed)}


@pytest.fixture(scope="session")
def centered(api):
    """The pictures 0 to 11 behind a head, so that maps are signed. Do not change it."""
    parent = api.fill("centered", range(12))
    assert list(api.galleries.SetHead(SetHeadRequest(name=parent, centering={})))
    return parent


@pytest.mark.parametrize("regions", [[], [LEFT]])
@pytest.mark.parametrize("gallery", ["photos", "lean", "centered"])
def test_a_difference_is_that_of_two_explained_matches(api, gallery, regions, request):
    parent, query = request.getfixturevalue(gallery), {"content": png(30)}
    one, other = (
        api.explain(ExplainMatchRequest(query=query, match=stored(parent, seed), query_regions=regions))
        for seed in (4, 7)
    )
    why = api.explain_ranking(
        ExplainRankingRequest(
            query=query, first=image(parent, 4), second=image(parent, 7), query_regions=regions, channel_limit=2000
        )
    )
    expected = np.subtract(one.query_map.values, other.query_map.values)
    np.testing.assert_allclose(why.difference_map.values, expected, atol=1e-5)
    assert why.gap == why.first.score - why.second.score
    assert why.gap == pytest.approx(one.score - other.score, abs=1e-5)
    assert why.difference_map.total == pytest.approx(why.gap, abs=1e-5)
    assert sum(channel.score for channel in why.channels) == pytest.approx(why.gap, abs=1e-5)
    assert why.residual == pytest.approx(abs(why.difference_map.total - why.gap), abs=1e-6)
    np.testing.assert_allclose(why.first.match_map.values, one.match_map.values, atol=1e-5)
    np.testing.assert_allclose(why.second.match_map.values, other.match_map.values, atol=1e-5)
    assert why.provenance.gallery == parent


def test_all_cells_add_up_to_the_gap_and_the_first_differs_most(api, photos):
    why = api.explain_ranking(
        ExplainRankingRequest(
            query=stored(photos, 1), first=image(photos, 2), second=image(photos, 3), cell_limit=1000, channel_limit=3
        )
    )
    values = [cell.score for cell in why.cells]
    assert sum(values) == pytest.approx(why.gap, abs=1e-5)
    assert np.abs(values).tolist() == sorted(np.abs(values).tolist(), reverse=True)
    assert abs(why.cells[0].score) == pytest.approx(np.abs(why.difference_map.values).max())
    assert len(why.channels) == 3
    assert why.channels[0].HasField("unit")


def test_labels_differ_by_the_difference_of_their_maps(api, photos):
    even, odd = (
        api.explain_label(ExplainLabelRequest(parent=photos, query=stored(photos, 2), label=label))
        for label in ("even", "odd")
    )
    why = api.explain_ranking(
        ExplainRankingRequest(
            parent=photos, query=stored(photos, 2), first={"label": "even"}, second={"label": "odd"}, overlays={}
        )
    )
    np.testing.assert_allclose(
        why.difference_map.values, np.subtract(even.query_map.values, odd.query_map.values), atol=1e-5
    )
    assert why.difference_map.total == pytest.approx(even.score - odd.score, abs=1e-5)
    assert (why.first.image_count, why.second.image_count) == (5, 6)  # the query itself does not count
    assert not why.first.HasField("match_map")
    assert not why.HasField("match_color_scale")


def test_an_image_may_be_compared_with_a_label(api, photos):
    why = api.explain_ranking(
        ExplainRankingRequest(query=stored(photos, 1), first=image(photos, 2), second={"label": "odd"})
    )
    assert why.difference_map.total == pytest.approx(why.first.score - why.second.score, abs=1e-5)


def test_nothing_speaks_for_an_image_before_itself(api, photos):
    same = image(photos, 3)
    why = api.explain_ranking(ExplainRankingRequest(query=stored(photos, 1), first=same, second=same, overlays={}))
    assert (why.gap, why.difference_map.total) == (0, 0)
    assert not np.any(why.difference_map.values)
    assert not why.difference_map.HasField("best_box")


def test_pictures_of_a_difference_are_signed_and_both_matches_share_a_scale(api, photos):
    why = api.explain_ranking(
        ExplainRankingRequest(
            query=stored(photos, 1), first=image(photos, 2), second=image(photos, 3), overlays={"size_px": 32}
        )
    )
    maps = (why.difference_map, why.first.match_map, why.second.match_map)
    assert all(one.overlay_png.startswith(b"\x89PNG") for one in maps)
    assert why.color_scale.high == pytest.approx(np.abs(why.difference_map.values).max())
    assert (why.color_scale.low, why.color_scale.color_map) == (-why.color_scale.high, "RdBu_r")
    assert why.match_color_scale.high == pytest.approx(max(*maps[1].values, *maps[2].values))


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        ({"label": "gray"}, {"label": "odd"}, ("NOT_FOUND", "UNKNOWN_LABEL")),
        ({"label": ""}, {"label": "odd"}, ("INVALID_ARGUMENT", "BAD_REQUEST")),
        ({}, {"label": "odd"}, ("INVALID_ARGUMENT", "BAD_REQUEST")),
        ({"image": {"image": "galleries/photos/images/none.png"}}, {"label": "odd"}, ("NOT_FOUND", "UNKNOWN_IMAGE")),
        ({"image": {"image": "none.png"}}, {"label": "odd"}, ("INVALID_ARGUMENT", "BAD_NAME")),
        ({"image": {"content": b"no"}}, {"label": "odd"}, ("INVALID_ARGUMENT", "NOT_AN_IMAGE")),
    ],
)
def test_what_cannot_be_compared_is_refused(api, photos, first, second, status):
    asked = ExplainRankingRequest(parent=photos, query=stored(photos, 1), first=first, second=second)
    assert failure(lambda: api.explain_ranking(asked)) == status


def test_a_label_is_refused_without_a_gallery_and_without_other_images(api, fresh):
    query, label = {"content": png(1)}, {"label": "one"}
    asked = ExplainRankingRequest(query=query, first=label, second=label)
    assert failure(lambda: api.explain_ranking(asked)) == ("INVALID_ARGUMENT", "BAD_REQUEST")
    parent = fresh()
    api.add(parent, {"1.png": png(1)}, label="one")
    asked.parent = parent
    assert failure(lambda: api.explain_ranking(asked)) == ("FAILED_PRECONDITION", "NO_LABELED_PAIRS")


@pytest.mark.parametrize("regions", [[], [LEFT]])
@pytest.mark.parametrize("gallery", ["photos", "centered"])
def test_every_image_stands_where_a_search_finds_it(api, gallery, regions, request):
    parent = request.getfixturevalue(gallery)
    content = png(30)
    found = api.search(SearchRequest(parent=parent, image={"content": content}, regions=regions, limit=12)).matches
    for place, match in enumerate(found, start=1):
        asked = ExplainRankRequest(query={"content": content}, image=match.image.name, query_regions=regions, limit=3)
        standing = api.explain_rank(asked)
        assert (standing.rank, standing.image_count, standing.rival) == (place, 12, found[2].image.name)
        assert standing.score == pytest.approx(match.score, abs=1e-5)
        assert standing.needed_score == pytest.approx(found[2].score, abs=1e-5)


def test_a_query_is_not_counted_before_others_if_it_is_left_out(api, photos):
    search = SearchRequest(parent=photos, image=stored(photos, 1), limit=3)
    name = api.search(search).matches[1].image.name
    asked = ExplainRankRequest(query=stored(photos, 1), image=name, limit=100)
    assert (api.explain_rank(asked).rank, api.explain_rank(asked).image_count) == (2, 12)
    asked.exclude_itself = True
    assert (api.explain_rank(asked).rank, api.explain_rank(asked).image_count) == (1, 11)
    asked.image = stored(photos, 1)["image"]
    assert (api.explain_rank(asked).rank, api.explain_rank(asked).image_count) == (1, 12)


def test_equal_images_share_a_place(api, parent):
    api.add(parent, {"a.png": png(1), "b.png": png(1), "c.png": png(2)})
    ranks = [
        api.explain_rank(ExplainRankRequest(query={"content": png(1)}, image=f"{parent}/images/{name}.png")).rank
        for name in "abc"
    ]
    assert ranks == [1, 1, 3]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"image": "galleries/photos/images/none.png"}, ("NOT_FOUND", "UNKNOWN_IMAGE")),
        ({"image": "none.png"}, ("INVALID_ARGUMENT", "BAD_NAME")),
        ({"image": "galleries/photos/images/1.png", "limit": 0}, ("INVALID_ARGUMENT", "BAD_LIMIT")),
    ],
)
def test_a_place_that_there_is_not_is_refused(api, photos, fields, status):
    asked = ExplainRankRequest(query=stored(photos, 1), **fields)
    assert failure(lambda: api.explain_rank(asked)) == status


def test_neighbors_vote_for_their_labels(api, photos):
    asked = ExplainNeighborsRequest(parent=photos, query=stored(photos, 2), limit=5)
    answer = api.explain_neighbors(asked)
    search = SearchRequest(parent=photos, image=stored(photos, 2), limit=5, exclude_itself=True)
    found = api.search(search).matches
    total = sum(match.score for match in found)
    for one in answer.neighbors:
        scores = [match.score for match in found if match.image.label == one.label]
        assert (one.neighbor_count, one.share) == (len(scores), pytest.approx(len(scores) / 5))
        assert one.score_share == pytest.approx(sum(scores) / total)
    counts = [one.neighbor_count for one in answer.neighbors]
    assert (answer.neighbor_count, sum(counts), counts) == (5, 5, sorted(counts, reverse=True))


def test_labels_have_the_mean_scores_that_explaining_each_gives(api, photos):
    answer = api.explain_neighbors(ExplainNeighborsRequest(parent=photos, query=stored(photos, 2), label_limit=1))
    [best], [worst] = answer.best_labels, answer.worst_labels
    assert answer.label_count == 2
    assert best.score > worst.score
    for one in (best, worst):
        why = api.explain_label(ExplainLabelRequest(parent=photos, query=stored(photos, 2), label=one.label))
        assert (one.image_count, one.score) == (why.image_count, pytest.approx(why.score, abs=1e-5))


def test_a_region_has_neighbors_of_its_own(api, photos):
    asked = ExplainNeighborsRequest(parent=photos, query={"content": png(30)}, query_regions=[LEFT], limit=3)
    search = SearchRequest(parent=photos, image={"content": png(30)}, regions=[LEFT], limit=12)
    scores = {}
    for match in api.search(search).matches:
        scores.setdefault(match.image.label, []).append(match.score)
    answer = api.explain_neighbors(asked)
    assert {one.label: one.score for one in answer.best_labels} == {
        label: pytest.approx(np.mean(some), abs=1e-5) for label, some in scores.items()
    }
    assert not answer.worst_labels  # both are among the best


def test_an_empty_gallery_has_no_neighbors(api, parent):
    answer = api.explain_neighbors(ExplainNeighborsRequest(parent=parent, query={"content": png(1)}))
    assert (answer.neighbor_count, list(answer.neighbors), answer.label_count) == (0, [], 0)


@pytest.mark.parametrize("fields", [{"limit": 0}, {"limit": 1001}, {"label_limit": -1}])
def test_numbers_out_of_range_are_refused(api, photos, fields):
    asked = ExplainNeighborsRequest(parent=photos, query=stored(photos, 1), **fields)
    assert failure(lambda: api.explain_neighbors(asked)) == ("INVALID_ARGUMENT", "BAD_LIMIT")
