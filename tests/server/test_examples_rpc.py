"""Search by examples, through a channel."""

import functools
import io

import numpy as np
import pytest
from PIL import Image
from sample_pictures import png
from server_harness import failure

from whymatch.v1.search_service_pb2 import SearchRequest

LEFT = {"box": {"right_px": 48, "bottom_px": 64}}


def names(response) -> list[str]:
    return [match.image.name.rpartition("/")[2] for match in response.matches]


def values(similarity_map) -> np.ndarray:
    return np.array(similarity_map.values).reshape(similarity_map.rows, similarity_map.columns)


def image(seed: int, **options: object) -> dict[str, object]:
    return {"image": {"content": png(seed)}, **options}


def search(parent: str, *examples: object, **options: object) -> SearchRequest:
    return SearchRequest(parent=parent, examples=examples, **options)


@pytest.mark.parametrize("gallery", ["photos", "lean"])
def test_shares_add_up_to_the_score_and_maps_to_the_shares(api, gallery, embed, request):
    parent = request.getfixturevalue(gallery)
    examples = [
        image(40),
        {"image": {"image": f"{parent}/images/4.png"}, "weight": 0.3},
        image(41, regions=[LEFT]),
        {"embedding": {"values": embed(png(42)).embedding}},
        {"image": {"image": f"{parent}/images/7.png"}, "unlike": True},
    ]
    found = api.search(search(parent, *examples, with_maps=True, limit=12))
    assert [match.score for match in found.matches] == sorted((match.score for match in found.matches), reverse=True)
    for match in found.matches:
        assert sum(match.shares) == pytest.approx(match.score, abs=1e-5)
        assert match.image_score == match.score
        assert values(match.match_map).sum() == pytest.approx(match.score, abs=1e-3)
        assert [one.rows > 0 for one in match.example_maps] == [True, True, True, False, True]
        for one, share in zip(match.example_maps, match.shares, strict=True):
            assert not one.rows or values(one).sum() == pytest.approx(share, abs=1e-3)
        assert not match.HasField("query_map")
    of_region = values(found.matches[0].example_maps[2])
    assert not of_region[:, of_region.shape[1] // 2 + 1 :].any()


def test_the_order_is_that_of_the_combined_embeddings(api, photos, embed):
    vectors = {n: embed(png(n)).embedding for n in (*range(12), 40, 41, 42)}
    combined = (vectors[40] + vectors[41]) / 2 - vectors[42] / 2
    combined /= np.linalg.norm(combined)
    found = api.search(search(photos, image(40), image(41), image(42, unlike=True), limit=12))
    scores = {f"{n}.png": float(vectors[n] @ combined) for n in range(12)}
    assert names(found) == sorted(scores, key=scores.__getitem__, reverse=True)
    assert [match.score for match in found.matches] == pytest.approx(sorted(scores.values(), reverse=True), abs=1e-5)


def test_one_example_is_a_plain_search(api, photos):
    plain = api.search(SearchRequest(parent=photos, image={"content": png(40)}))
    found = api.search(search(photos, image(40)))
    assert names(found) == names(plain)
    for match, other in zip(found.matches, plain.matches, strict=True):
        assert match.score == pytest.approx(other.score, abs=1e-5) == pytest.approx(match.shares[0], abs=1e-5)
        assert not match.example_maps


def test_labels_own_copies_and_the_best_of_labels_are_as_in_any_search(api, photos, embed):
    both = [image(4), {"image": {"image": f"{photos}/images/7.png"}, "unlike": True}]
    found = api.search(search(photos, *both, exclude_itself=True, limit=12))
    assert sorted(names(found)) == sorted(f"{n}.png" for n in range(12) if n not in (4, 7))
    even = api.search(search(photos, *both, labels=["even"], limit=12))
    assert set(names(even)) == {f"{n}.png" for n in range(0, 12, 2)}
    best = api.search(search(photos, *both, best_per_label=True))
    assert [match.image.label for match in best.matches] == ["even", "odd"]
    assert all(sum(match.shares) == pytest.approx(match.score, abs=1e-5) for match in best.matches)


def test_pictures_of_all_maps_share_one_signed_scale(api, photos, embed):
    examples = [image(40), {"embedding": {"values": embed(png(42)).embedding}}, image(41, regions=[LEFT], unlike=True)]
    found = api.search(search(photos, *examples, overlays={"size_px": 48}, limit=2))
    assert found.color_scale.low == -found.color_scale.high < 0
    for match in found.matches:
        first, of_embedding, last = match.example_maps
        assert of_embedding.overlay_png == b""
        for one in (match.match_map, first, last):
            assert Image.open(io.BytesIO(one.overlay_png)).size == (48, 32)


def test_an_empty_gallery_has_no_matches(api, parent):
    assert not api.search(search(parent, image(1), image(2), overlays={})).matches


@pytest.mark.parametrize(
    ("examples", "options", "reason", "said"),
    [
        ([image(1)] * 33, {}, "BAD_REQUEST", "there are 33 `examples`; give at most 32"),
        ([image(1), image(2, weight=0)], {}, "BAD_REQUEST", r"`examples\[1\].weight` is 0"),
        ([image(1, weight=-1)], {}, "BAD_REQUEST", "set `unlike`"),
        ([image(1, weight=float("nan"))], {}, "BAD_REQUEST", "`examples.0..weight` is nan"),
        ([image(1, weight=float("inf"))], {}, "BAD_REQUEST", "finite"),
        ([image(1, weight=1), image(1, weight=1, unlike=True)], {}, "EXAMPLES_CANCEL", "on both sides"),
        ([image(1)], {"image": {"content": png(1)}}, "BAD_REQUEST", "one of the examples"),
        ([image(1)], {"regions": [LEFT]}, "BAD_REQUEST", "one of the examples"),
        ([{}], {}, "BAD_REQUEST", r"`examples\[0\]` is empty"),
        ([{"image": {}}], {}, "BAD_REQUEST", r"`examples\[0\].image` is missing"),
        ([{"embedding": {"values": [1, 2]}}], {}, "BAD_VECTOR", r"`examples\[0\]`: the embedding has 2 values"),
        ([{"embedding": {"values": [1]}, "regions": [LEFT]}], {}, "BAD_REQUEST", "an embedding, which has no regions"),
        ([{"embedding": {"values": [1]}}], {"exclude_itself": True}, "BAD_REQUEST", "embeddings have no copies"),
        ([image(1), {"image": {"content": b"?"}}], {}, "NOT_AN_IMAGE", r"`examples\[1\]`: "),
        ([image(1, regions=[{"mask": b"?"}] * 2)] * 17, {}, "BAD_REGION", "34 masks in all"),
        ([image(1, regions=[LEFT, {**LEFT, "weight": -1}])], {}, "EMPTY_REGION", r"`examples\[0\]`: "),
        ([image(1)] * 30, {"overlays": {}}, "BAD_LIMIT", "310 pictures of maps, more than 200; lower the limit to 6"),
        ([image(1)] * 3, {"with_maps": True, "limit": 501}, "BAD_LIMIT", "lower the limit to 500"),
    ],
)
def test_bad_examples_are_refused_by_name(api, photos, examples, options, reason, said):
    call = functools.partial(api.search, search(photos, *examples, **options))
    assert failure(call) == ("INVALID_ARGUMENT", reason)
    with pytest.raises(Exception, match=said):
        call()


def test_an_example_that_is_not_stored_is_named(api, photos):
    gone = search(photos, image(1), {"image": {"image": f"{photos}/images/no"}})
    assert failure(lambda: api.search(gone)) == ("NOT_FOUND", "UNKNOWN_IMAGE")
    with pytest.raises(Exception, match=r"`examples\[1\]`: "):
        api.search(gone)
