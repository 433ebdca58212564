import functools
import io

import numpy as np
import pytest
from PIL import Image
from sample_pictures import encoded, picture, png
from server_harness import failure

from whymatch.embed import Features
from whymatch.v1.explain_service_pb2 import ExplainComponentsRequest, ExplainLabelRequest, ExplainMatchRequest
from whymatch.v1.search_service_pb2 import RerankRequest, SearchRequest

WIDTH, HEIGHT = 96, 64
LEFT = {"box": {"left_px": 0, "top_px": 0, "right_px": 48, "bottom_px": 64}}
RIGHT = {"box": {"left_px": 48, "top_px": 0, "right_px": 96, "bottom_px": 64}}
RELATIVE_LEFT = {"box": {"left_px": 0, "top_px": 0, "right_px": 0.5, "bottom_px": 1}, "relative": True}


def polygon(*points: tuple[float, float], **options: object) -> dict[str, object]:
    return {"polygon": {"points": [{"x_px": x, "y_px": y} for x, y in points]}, **options}


def names(response) -> list[str]:
    return [match.image.name.rpartition("/")[2] for match in response.matches]


def search(parent: str, seed: int, **options: object) -> SearchRequest:
    return SearchRequest(parent=parent, image={"content": png(seed)}, limit=12, **options)


def rerank(parent: str, seed: int, **options: object) -> RerankRequest:
    return RerankRequest(parent=parent, query={"content": png(seed)}, **options)


def explain(query: int, match: int, **options: object) -> ExplainMatchRequest:
    return ExplainMatchRequest(query={"content": png(query)}, match={"content": png(match)}, **options)


def contributions(features: Features) -> np.ndarray:
    return features.contributions().astype(float)


def left_half(features: Features) -> np.ndarray:
    """What the left half has in an embedding: the grid has an even number of columns."""
    columns = features.feature_map.shape[1]
    assert columns % 2 == 0
    return contributions(features)[:, : columns // 2].sum(axis=(0, 1))


def test_a_search_by_region_orders_the_gallery_as_the_summed_maps_do(api, photos, embed):
    part = left_half(embed(png(50)))
    expected = {f"{n}.png": float(part @ embed(png(n)).embedding) for n in range(12)}
    found = api.search(search(photos, 50, regions=[LEFT]))
    assert names(found) == sorted(expected, key=expected.__getitem__, reverse=True)
    for match, name in zip(found.matches, names(found), strict=True):
        assert match.score == pytest.approx(expected[name], abs=1e-5)


def test_the_parts_of_an_image_add_up_to_its_score(api, photos, embed):
    left, right, whole = (
        {match.image.name: match for match in api.search(search(photos, 50, **options)).matches}
        for options in ({"regions": [LEFT]}, {"regions": [RIGHT]}, {})
    )
    for name, match in whole.items():
        assert left[name].score + right[name].score == pytest.approx(match.score, abs=1e-5)
        assert left[name].image_score == pytest.approx(match.score, abs=1e-5)
        assert match.image_score == match.score


def test_a_negative_region_counts_against_a_match(api, photos):
    both = {match.image.name: match.score for match in api.search(search(photos, 50, regions=[LEFT])).matches}
    right = {match.image.name: match.score for match in api.search(search(photos, 50, regions=[RIGHT])).matches}
    found = api.search(search(photos, 50, regions=[LEFT, {**RIGHT, "weight": -0.5}]))
    for match in found.matches:
        assert match.score == pytest.approx(both[match.image.name] - 0.5 * right[match.image.name], abs=1e-5)


def test_a_lone_negative_region_counts_against_the_rest_of_the_image(api, photos):
    alone = api.search(search(photos, 50, regions=[{**RIGHT, "weight": -0.5}]))
    stated = api.search(search(photos, 50, regions=[LEFT, {**RIGHT, "weight": -0.5}]))
    assert names(alone) == names(stated)
    assert [m.score for m in alone.matches] == pytest.approx([m.score for m in stated.matches], abs=1e-6)


def test_a_region_of_weight_0_is_left_out(api, photos):
    left_out = api.search(search(photos, 50, regions=[{**RIGHT, "weight": 0}]))
    left = api.search(search(photos, 50, regions=[LEFT]))
    assert names(left_out) == names(left)
    assert [m.score for m in left_out.matches] == pytest.approx([m.score for m in left.matches], abs=1e-6)


@pytest.mark.parametrize("regions", [[LEFT], [LEFT, {**RIGHT, "weight": -0.5}], [{**RIGHT, "weight": -1}]])
def test_maps_of_a_search_by_region_add_up_to_its_score_and_are_those_of_the_explanation(api, photos, regions):
    for match in api.search(search(photos, 50, regions=regions, with_maps=True)).matches[:3]:
        assert match.query_map.total == pytest.approx(match.score, abs=1e-5)
        assert match.match_map.total == pytest.approx(match.score, abs=1e-3)  # of the stored half-precision map
        explained = api.explain(
            ExplainMatchRequest(
                query={"content": png(50)}, match={"image": match.image.name}, query_regions=regions, channel_limit=0
            )
        )
        for ours, theirs in [(match.query_map, explained.query_map), (match.match_map, explained.match_map)]:
            assert ours.values == pytest.approx(theirs.values, abs=1e-3)


def test_all_shapes_of_the_same_part_give_the_same_scores(api, photos):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, :48] = 255
    shapes = [
        LEFT,
        RELATIVE_LEFT,
        polygon((0, 0), (48, 0), (48, 64), (0, 64)),
        {"mask": encoded(Image.fromarray(mask))},
        {"mask": encoded(Image.fromarray(mask[:2])), "relative": True},
    ]
    answers = [api.search(search(photos, 50, regions=[shape])) for shape in shapes]
    for answer in answers[1:]:
        assert names(answer) == names(answers[0])
        assert [m.score for m in answer.matches] == pytest.approx([m.score for m in answers[0].matches], abs=1e-5)


def test_a_stored_image_searches_by_region_with_or_without_stored_maps(api, photos, lean):
    answers = [
        api.search(SearchRequest(parent=photos, image={"image": f"{parent}/images/3.png"}, regions=[LEFT], limit=4))
        for parent in (photos, lean)
    ]
    assert names(answers[0]) == names(answers[1])


def test_the_best_match_of_each_label_comes_once(api, photos):
    everything = api.search(search(photos, 50)).matches
    best = {label: next(m for m in everything if m.image.label == label) for label in ("even", "odd")}
    found = api.search(search(photos, 50, best_per_label=True)).matches
    assert [match.image.name for match in found] == [
        match.image.name for match in sorted(best.values(), key=lambda match: -match.score)
    ]


def test_every_map_comes_with_the_smallest_box_of_its_share(api, photos):
    some, everything = (
        api.search(search(photos, 50, with_maps=True, box_share=share)).matches[0].query_map for share in (0.3, 1)
    )
    assert 0 <= some.best_box.left_px < some.best_box.right_px <= WIDTH
    assert some.best_box.right_px - some.best_box.left_px <= everything.best_box.right_px - everything.best_box.left_px


def test_candidates_are_ordered_by_a_part_of_themselves(api, photos, embed):
    query = embed(png(50)).embedding
    expected = {f"{n}.png": float(left_half(embed(png(n))) @ query) for n in range(12)}
    found = api.rerank(rerank(photos, 50, match_regions=[RELATIVE_LEFT], limit=12))
    assert names(found) == sorted(expected, key=expected.__getitem__, reverse=True)
    for match, name in zip(found.matches, names(found), strict=True):
        assert match.score == pytest.approx(expected[name], abs=1e-4)
        assert match.image_score == pytest.approx(float(query @ embed(png(int(name[:-4]))).embedding), abs=1e-4)


def test_both_sides_give_the_sum_over_all_pairs_of_cells(api, photos, embed):
    ours = left_half(embed(png(50)))
    found = api.rerank(rerank(photos, 50, query_regions=[LEFT], match_regions=[LEFT], limit=3))
    for match, name in zip(found.matches, names(found), strict=True):
        theirs = left_half(embed(png(int(name[:-4]))))
        assert match.score == pytest.approx(float(ours @ theirs), abs=1e-4)


def test_by_parts_of_the_query_alone_reranking_is_a_search(api, photos):
    found = api.rerank(rerank(photos, 50, query_regions=[LEFT], limit=12))
    assert names(found) == names(api.search(search(photos, 50, regions=[LEFT])))


def test_only_named_candidates_come_back_with_their_maps(api, photos):
    named = [f"{photos}/images/{n}.png" for n in (3, 5, 7)]
    found = api.rerank(
        rerank(photos, 50, match_regions=[LEFT], candidates=named, with_maps=True, overlays={"size_px": 64})
    )
    assert sorted(match.image.name for match in found.matches) == named
    for match in found.matches:
        assert match.query_map.total == pytest.approx(match.score, abs=1e-3)
        assert match.match_map.total == pytest.approx(match.score, abs=1e-3)
        assert (
            not np.array(match.match_map.values)
            .reshape(match.match_map.rows, -1)[:, match.match_map.columns // 2 :]
            .any()
        )
        assert Image.open(io.BytesIO(match.match_map.overlay_png)).size == (64, 43)


def test_images_without_stored_maps_are_reranked_all_the_same(api, photos, lean):
    asked = {"match_regions": [LEFT], "limit": 4}
    named = [f"/images/{n}.png" for n in range(4)]
    kept = api.rerank(rerank(photos, 50, candidates=[photos + name for name in named], **asked))
    not_kept = api.rerank(rerank(lean, 50, candidates=[lean + name for name in named], **asked))
    assert names(kept) == names(not_kept)


def test_an_explanation_names_channels_and_cells_that_add_up(api, embed):
    query, match = embed(png(1)), embed(png(2))
    cells = query.feature_map[..., 0].size * match.feature_map[..., 0].size
    answer = api.explain(explain(1, 2, channel_limit=len(query.pooled), correspondence_limit=min(cells, 1000)))
    assert answer.residual < 1e-5
    assert answer.image_score == answer.score
    assert sum(one.score for one in answer.channels) == pytest.approx(answer.score, abs=1e-5)
    assert answer.channels[0].channel == int((query.embedding * match.embedding).argmax())
    assert answer.correspondences[0].score == max(one.score for one in answer.correspondences)
    pairs = contributions(query).reshape(-1, len(query.pooled)) @ contributions(match).reshape(-1, len(query.pooled)).T
    assert answer.correspondences[0].score == pytest.approx(pairs.max(), abs=1e-5)


def test_a_point_of_the_query_has_its_map_in_the_match(api, embed):
    answer = api.explain(explain(1, 2, query_regions=[{"point": {"x_px": 1, "y_px": 1}}]))
    query, match = contributions(embed(png(1))), contributions(embed(png(2)))
    expected = match @ query[0, 0]
    found = np.array(answer.match_map.values).reshape(expected.shape)
    assert found == pytest.approx(expected, abs=1e-6)
    assert answer.query_map.total == pytest.approx(answer.score, abs=1e-6)
    assert np.count_nonzero(np.array(answer.query_map.values)) == 1


def test_the_maps_of_whole_matches_set_the_scale_of_a_search_by_region(api, photos):
    found = api.search(search(photos, 50, regions=[{"point": {"x_px": 5, "y_px": 5}}], overlays={"size_px": 32}))
    largest = max(max(match.match_map.values) for match in found.matches)
    assert found.color_scale.high == pytest.approx(largest)


def test_the_map_without_regions_sets_the_scale_of_the_colors(api):
    point = {"point": {"x_px": 1, "y_px": 1}}
    answer = api.explain(explain(1, 2, query_regions=[point], overlays={}))
    assert answer.color_scale.high == pytest.approx(max(answer.match_map.values))
    assert max(answer.query_map.values) > answer.color_scale.high
    both = api.explain(explain(1, 2, query_regions=[point], match_regions=[point], overlays={}))
    assert both.color_scale.high == pytest.approx(max(*both.query_map.values, *both.match_map.values))


@pytest.mark.parametrize(
    "image", [lambda photos: {"image": f"{photos}/images/3.png"}, lambda _: {"content": png(3)}], ids=["name", "bytes"]
)
def test_a_class_map_is_the_mean_of_the_maps_with_the_other_images_of_the_label(api, photos, embed, image):
    query = embed(png(3))
    others = [embed(png(n)).embedding for n in range(1, 12, 2) if n != 3]
    answer = api.explain_label(ExplainLabelRequest(parent=photos, query=image(photos), label="odd", overlays={}))
    assert answer.image_count == 5
    assert answer.score == pytest.approx(np.mean([query.embedding @ other for other in others]), abs=1e-4)
    assert answer.query_map.total == pytest.approx(answer.score, abs=1e-4)
    assert Image.open(io.BytesIO(answer.query_map.overlay_png)).size == (WIDTH, HEIGHT)


def test_an_image_that_is_not_stored_is_compared_with_all_of_the_label(api, photos):
    asked = ExplainLabelRequest(parent=photos, query={"content": png(50)}, label="odd")
    assert api.explain_label(asked).image_count == 6


def test_few_channels_carry_most_of_a_similarity(api, photos):
    asked = ExplainComponentsRequest(parent=photos, pair_count=50, seed=1)
    answer = api.explain_components(asked)
    assert answer.pair_count == 50
    mean, low, high = (np.array(shares) for shares in (answer.mean_shares, answer.low_shares, answer.high_shares))
    assert mean[-1] == pytest.approx(1)
    assert (np.diff(mean) >= -1e-6).all()
    assert (low <= mean + 1e-6).all()
    assert (mean <= high + 1e-6).all()
    assert mean[len(mean) // 4] > 0.25
    assert api.explain_components(asked).mean_shares == answer.mean_shares


def small_png(width: int, height: int) -> bytes:
    return encoded(picture(1, width, height))


BAD = {
    "outside": (
        {"box": {"left_px": 97, "top_px": 0, "right_px": 99, "bottom_px": 64}},
        "99, 64 .* is not in the image",
    ),
    "no area": ({"box": {"left_px": 5, "top_px": 0, "right_px": 5, "bottom_px": 64}}, "no area"),
    "nan": ({"box": {"left_px": float("nan"), "right_px": 5, "bottom_px": 64}}, "nan"),
    "crossing": (polygon((0, 0), (90, 60), (90, 0), (0, 60)), "cross"),
    "two corners": (polygon((0, 0), (90, 60)), "2 corners"),
    "weight nan": ({**LEFT, "weight": float("nan")}, "weight nan"),
    "weight 2": ({**LEFT, "weight": 2}, "weight 2"),
    "mask of another size": ({"mask": small_png(95, 64)}, "95 x 64"),
    "black mask": ({"mask": encoded(Image.new("L", (96, 64)))}, "all black"),
    "no shape": ({"weight": 1}, r"no shape"),
}


@pytest.mark.parametrize(("region", "said"), BAD.values(), ids=BAD.keys())
def test_a_region_that_cannot_be_is_refused_and_says_why(api, photos, region, said):
    for call, request in [
        (api.search, search(photos, 1, regions=[region])),
        (api.rerank, rerank(photos, 1, match_regions=[region])),
        (api.explain, explain(1, 2, query_regions=[region])),
    ]:
        assert failure(functools.partial(call, request)) == ("INVALID_ARGUMENT", "BAD_REGION")
        with pytest.raises(Exception, match=said):
            call(request)


def test_weights_that_cancel_out_are_refused(api, photos):
    asked = search(photos, 1, regions=[LEFT, {**LEFT, "weight": -1}])
    assert failure(lambda: api.search(asked)) == ("INVALID_ARGUMENT", "EMPTY_REGION")


def test_a_mask_that_is_no_image_is_refused(api, photos):
    assert failure(lambda: api.search(search(photos, 1, regions=[{"mask": b"?"}]))) == (
        "INVALID_ARGUMENT",
        "NOT_AN_IMAGE",
    )


def test_other_mistakes_are_named(api, photos, lean, embed):
    vector = SearchRequest(parent=photos, embedding={"values": embed(png(1)).embedding}, regions=[LEFT])
    assert failure(lambda: api.search(vector)) == ("INVALID_ARGUMENT", "BAD_REQUEST")
    bad = "INVALID_ARGUMENT", "BAD_REQUEST"
    elsewhere = [f"{lean}/images/1.png"]
    assert failure(lambda: api.rerank(rerank(photos, 1))) == bad
    assert failure(lambda: api.rerank(rerank(photos, 1, match_regions=[LEFT], candidates=elsewhere))) == bad
    both = {"candidates": [f"{photos}/images/1.png"], "labels": ["odd"]}
    assert failure(lambda: api.rerank(rerank(photos, 1, match_regions=[LEFT], **both))) == bad
    assert failure(lambda: api.search(search(photos, 1, with_maps=True, box_share=float("nan")))) == bad
    assert failure(lambda: api.explain(explain(1, 2, channel_limit=-1))) == ("INVALID_ARGUMENT", "BAD_LIMIT")
    assert failure(lambda: api.explain(explain(1, 2, correspondence_limit=1001))) == ("INVALID_ARGUMENT", "BAD_LIMIT")
    missing = [f"{photos}/images/nothing.png"]
    gone = rerank(photos, 1, match_regions=[LEFT], candidates=missing)
    assert failure(lambda: api.rerank(gone)) == ("NOT_FOUND", "UNKNOWN_IMAGE")


def test_class_maps_and_curves_need_images_of_one_label(api):
    parent = api.create("loners")
    api.add(parent, {"1.png": png(1)}, label="a")
    api.add(parent, {"2.png": png(2)}, label="b")
    alone = ExplainLabelRequest(parent=parent, query={"image": f"{parent}/images/1.png"}, label="a")
    assert failure(lambda: api.explain_label(alone)) == ("FAILED_PRECONDITION", "NO_LABELED_PAIRS")
    unknown = ExplainLabelRequest(parent=parent, query={"content": png(1)}, label="z")
    assert failure(lambda: api.explain_label(unknown)) == ("NOT_FOUND", "UNKNOWN_LABEL")
    pairs = ExplainComponentsRequest(parent=parent)
    assert failure(lambda: api.explain_components(pairs)) == ("FAILED_PRECONDITION", "NO_LABELED_PAIRS")


@pytest.mark.parametrize(
    "content", [small_png(1, 1), encoded(Image.new("RGB", (10_000, 3))), encoded(Image.new("RGB", (64, 64)))]
)
def test_odd_images_are_searched_by_region_or_refused_clearly(api, photos, content):
    whole = {"box": {"right_px": 1, "bottom_px": 1}, "relative": True}
    found = api.search(SearchRequest(parent=photos, image={"content": content}, regions=[whole], with_maps=True))
    for match in found.matches:
        assert np.isfinite([match.score, match.image_score, *match.query_map.values]).all()
        assert match.score == pytest.approx(match.image_score, abs=1e-5)


def test_nothing_is_found_by_region_where_nothing_is(api, lean):
    empty = api.create("empty-for-regions")
    assert not api.search(search(empty, 1, regions=[LEFT])).matches
    assert not api.rerank(rerank(empty, 1, query_regions=[LEFT])).matches
    assert not api.rerank(rerank(empty, 1, match_regions=[RELATIVE_LEFT], with_maps=True)).matches
    unlabeled = api.create("unlabeled")
    api.add(unlabeled, {"1.png": png(1)})
    assert not api.search(search(unlabeled, 1, regions=[LEFT], best_per_label=True)).matches
    assert api.search(search(unlabeled, 1, regions=[LEFT])).matches


def test_too_many_regions_are_refused_before_they_are_read(api, photos):
    masks = [{"mask": b"not even read"}] * 5
    for regions in ([LEFT] * 101, masks):
        asked = search(photos, 1, regions=regions)
        assert failure(functools.partial(api.search, asked)) == ("INVALID_ARGUMENT", "BAD_REGION")
