"""Heads over the wire: galleries that are centered, whitened, or behind a given layer."""

import asyncio
import functools
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import numpy as np
import pytest
from sample_pictures import png
from server_harness import api_of, failure, outcome
from small_weights import DIMENSIONS

from whymatch.embed import fit_centering, fit_whitening, linear_head
from whymatch.index import Galleries, NewImage
from whymatch.server import ServerConfig, streams
from whymatch.server.gallery_servicer import GalleryServicer
from whymatch.server.metrics import Metrics
from whymatch.server.search_batcher import SearchBatcher
from whymatch.server.search_servicer import SearchServicer
from whymatch.server.sources import Images
from whymatch.v1.embed_service_pb2 import EmbedImageRequest, GetModelRequest
from whymatch.v1.explain_service_pb2 import ExplainComponentsRequest, ExplainLabelRequest, ExplainMatchRequest
from whymatch.v1.gallery_service_pb2 import (
    DeleteGalleryRequest,
    GetGalleryRequest,
    ListGalleriesRequest,
    SetHeadRequest,
)
from whymatch.v1.search_service_pb2 import RerankRequest, SearchRequest

COUNT = 12
WEIGHT = np.random.default_rng(0).normal(size=(16, DIMENSIONS)).astype(np.float32)
BIAS = np.linspace(-1, 1, 16, dtype=np.float32)
NONE = {"none": {}}
HEADS = {
    "centering": {"centering": {}},
    "whitening": {"whitening": {"dimensions": 8}},
    "linear": {"linear": {"weight": WEIGHT.ravel(), "bias": BIAS}},
}
HEAD_DIMENSIONS = {"centering": DIMENSIONS, "whitening": 8, "linear": 16}
LEFT = {"box": {"left_px": 0, "top_px": 0, "right_px": 48, "bottom_px": 64}}
RIGHT = {"box": {"left_px": 48, "top_px": 0, "right_px": 96, "bottom_px": 64}}
RELATIVE_LEFT = {"box": {"right_px": 0.5, "bottom_px": 1}, "relative": True}


def set_head(api, parent, head, **options):
    """Set a head and return all answers."""
    return list(api.galleries.SetHead(SetHeadRequest(name=parent, **head), **options))


def gallery(api, parent):
    return api.galleries.GetGallery(GetGalleryRequest(name=parent))


def names(response) -> list[str]:
    return [match.image.name.rpartition("/")[2] for match in response.matches]


def scores(response) -> dict[str, float]:
    return {match.image.name: match.score for match in response.matches}


def values(similarity_map) -> np.ndarray:
    return np.array(similarity_map.values).reshape(similarity_map.rows, similarity_map.columns)


def left_sum(similarity_map) -> float:
    """What lies in the left half: the grid has an even number of columns."""
    assert similarity_map.columns % 2 == 0
    return float(values(similarity_map)[:, : similarity_map.columns // 2].sum())


def stored(parent, seed):
    return {"image": f"{parent}/images/{seed}.png"}


def sent(seed):
    return {"content": png(seed)}


def search(parent, image, **options):
    return SearchRequest(parent=parent, image=image, limit=COUNT, **options)


@pytest.fixture(scope="module")
def headed(api):
    """Galleries of the pictures 0 to 11, one for each kind of head. Do not change them."""
    parents = {kind: api.fill(f"head-{kind}", range(COUNT)) for kind in HEADS}
    for kind, parent in parents.items():
        set_head(api, parent, HEADS[kind])
    return parents


@pytest.fixture(params=HEADS)
def kind(request):
    return request.param


@pytest.fixture
def behind(headed, kind):
    """A gallery behind a head."""
    return headed[kind]


@pytest.fixture(scope="module")
def heads(embed):
    """What the heads ought to be, fitted to the same pictures."""
    pooled = np.stack([embed(png(n)).pooled for n in range(COUNT)])
    *_, centering = fit_centering([pooled])
    *_, whitening = fit_whitening([pooled], DIMENSIONS, 8)
    return {
        "centering": centering.result,
        "whitening": whitening.result,
        "linear": linear_head(WEIGHT, BIAS, DIMENSIONS),
    }


@pytest.fixture
def twelve(api, fresh):
    """A gallery of the pictures 0 to 11, without a head, to be changed."""
    parent = fresh()
    api.add(parent, {f"{n}.png": png(n) for n in range(COUNT)}, label="all")
    return parent


# InterActiveSetting


@pytest.mark.parametrize("kind", HEADS)
def test_setting_a_head_says_how_far_it_is_and_then_what_the_gallery_became(api, twelve, model, kind):
    *progress, last = set_head(api, twelve, HEADS[kind])
    fitted = 0 if kind == "linear" else COUNT
    assert progress
    assert not any(answer.HasField("gallery") for answer in progress)
    done = [answer.progress.done for answer in progress]
    assert done == sorted(done)
    assert done[-1] == fitted
    assert {(answer.progress.counted, answer.progress.total) for answer in progress} == {("images", COUNT)}
    head = last.gallery.head
    assert (head.kind, head.dimensions, head.version) == (kind, HEAD_DIMENSIONS[kind], 1)
    assert (head.image_count, head.model) == (fitted, model.fingerprint)
    assert head.create_time.seconds >= last.gallery.create_time.seconds > 1.7e9
    assert last.gallery.image_count == COUNT
    assert gallery(api, twelve) == last.gallery
    assert last.gallery in api.galleries.ListGalleries(ListGalleriesRequest(page_size=1000)).galleries


def test_none_takes_the_head_away_and_the_next_one_counts_on(api, twelve, model):
    before = api.search(search(twelve, sent(50))).matches
    assert set_head(api, twelve, HEADS["whitening"])[-1].gallery.head.version == 1
    bare = set_head(api, twelve, NONE)[-1].gallery
    assert (bare.model, bare.HasField("head")) == (model.fingerprint, False)
    assert api.search(search(twelve, sent(50))).matches == before
    again = set_head(api, twelve, {"whitening": {}})[-1].gallery
    assert (again.head.version, again.head.dimensions) == (2, 3)  # one for every four images


def test_a_head_is_there_after_a_restart(model, tmp_path):
    config = ServerConfig(data=tmp_path / "data", port=0)
    with api_of(config, model) as api:
        parent = api.fill("kept", range(4))
        set_head(api, parent, {"whitening": {"dimensions": 2}})
        before, found = gallery(api, parent), api.search(search(parent, sent(50)))
    with api_of(config, model) as api:
        assert gallery(api, parent) == before
        assert scores(api.search(search(parent, sent(50)))) == pytest.approx(scores(found), abs=1e-6)


# One head in all answers


def test_every_answer_about_a_gallery_names_the_same_new_fingerprint(api, headed, behind, model):
    image = stored(behind, 3)
    answers = [
        gallery(api, behind),
        api.search(search(behind, sent(50))),
        api.search(search(behind, sent(50), best_per_label=True)),
        api.rerank(RerankRequest(parent=behind, query=sent(50), query_regions=[LEFT])),
        api.explain(ExplainMatchRequest(query=sent(50), match=image)),
        api.explain_label(ExplainLabelRequest(parent=behind, query=sent(50), label="odd")),
        api.explain_components(ExplainComponentsRequest(parent=behind, pair_count=10)),
        api.embed(EmbedImageRequest(image=image)),
        api.embed(EmbedImageRequest(image=sent(50), parent=behind)),
        api.embed(EmbedImageRequest(image=sent(50), parent=behind, with_feature_map=True)),
    ]
    [fingerprint] = {answer.model for answer in answers}
    below = api.model(GetModelRequest())
    assert below.fingerprint == gallery(api, behind).head.model == model.fingerprint != fingerprint
    assert below.dimensions == DIMENSIONS
    assert len({gallery(api, parent).model for parent in headed.values()}) == 3


def test_the_embedding_is_the_pooled_vector_through_the_head(api, photos, behind, kind, heads, embed):
    expected = embed(png(5)).through(heads[kind]).embedding
    for source, options in [
        (sent(5), {"parent": behind}),
        (stored(photos, 5), {"parent": behind}),
        (stored(behind, 5), {}),
        (stored(behind, 5), {"with_feature_map": True}),
    ]:
        answer = api.embed(EmbedImageRequest(image=source, **options))
        assert np.allclose(answer.embedding, expected, atol=1e-3)
        assert len(answer.feature_map.values) == (
            embed(png(5)).feature_map.size if options.get("with_feature_map") else 0
        )
    assert len(expected) == HEAD_DIMENSIONS[kind]


def test_an_embedding_finds_its_image_and_one_of_another_head_is_refused(api, headed, behind, kind):
    for source in (sent(5), stored(behind, 5)):
        made = api.embed(EmbedImageRequest(image=source, parent=behind))
        for model in (made.model, ""):
            vector = {"values": made.embedding, "model": model}
            found = api.search(SearchRequest(parent=behind, embedding=vector, limit=2))
            assert names(found)[0] == "5.png"
            assert found.matches[0].score == pytest.approx(1, abs=1e-5)
    stale = [gallery(api, parent).model for other, parent in headed.items() if other != kind]
    for model in (*stale, gallery(api, behind).head.model, "nonsense"):
        asked = SearchRequest(parent=behind, embedding={"values": made.embedding, "model": model})
        assert failure(functools.partial(api.search, asked)) == ("FAILED_PRECONDITION", "OTHER_EMBEDDING")


def test_an_embedding_that_was_made_before_the_head_is_refused_after_it(api, twelve):
    before = api.embed(EmbedImageRequest(image=stored(twelve, 5)))
    asked = SearchRequest(parent=twelve, embedding={"values": before.embedding, "model": before.model})
    assert names(api.search(asked))[0] == "5.png"
    set_head(api, twelve, HEADS["centering"])  # it has as many dimensions
    assert failure(lambda: api.search(asked)) == ("FAILED_PRECONDITION", "OTHER_EMBEDDING")
    set_head(api, twelve, NONE)
    assert names(api.search(asked))[0] == "5.png"


@pytest.mark.parametrize("length", [1, 9, 513])
def test_an_embedding_of_another_length_is_refused(api, behind, kind, length):
    asked = SearchRequest(parent=behind, embedding={"values": [1.0] * length})
    assert failure(lambda: api.search(asked)) == ("INVALID_ARGUMENT", "BAD_VECTOR")
    with pytest.raises(grpc.RpcError, match=f"has {length} values; those of the gallery have {HEAD_DIMENSIONS[kind]}"):
        api.search(asked)


def test_a_stored_image_of_another_gallery_goes_through_the_head_of_the_searched_one(api, photos, lean, headed, behind):
    answers = [
        api.search(search(behind, image, with_maps=True))
        for image in (sent(5), stored(behind, 5), stored(photos, 5), stored(lean, 5), stored(headed["centering"], 5))
    ]
    for answer in answers:
        assert names(answer) == names(answers[0])
        assert answer.model == gallery(api, behind).model
        assert answer.matches[0].score == pytest.approx(1, abs=1e-5)
        assert list(scores(answer).values()) == pytest.approx(list(scores(answers[0]).values()), abs=1e-3)
    assert names(answers[0])[0] == "5.png"


# Maps behind a head


def check_signed_maps(found) -> None:
    assert len(found) == COUNT
    for match in found:
        for one in (match.query_map, match.match_map):
            assert one.total == pytest.approx(match.score, abs=1e-4)
            assert values(one).sum() == pytest.approx(one.total, abs=1e-5)
    assert any((values(match.query_map) < 0).any() and (values(match.match_map) < 0).any() for match in found)


def test_maps_behind_a_head_are_signed_and_add_up(api, behind):
    check_signed_maps(api.search(search(behind, sent(50), with_maps=True)).matches)


def test_a_gallery_without_feature_maps_can_have_a_head_and_makes_the_maps_anew(api, headed):
    parent = api.fill("head-lean", range(COUNT), omit_feature_maps=True)
    set_head(api, parent, HEADS["whitening"])
    asked = [search(one, sent(50), with_maps=True) for one in (parent, headed["whitening"])]
    made, kept = (api.search(one).matches for one in asked)
    check_signed_maps(made)
    for one, other in zip(made, kept, strict=True):
        assert values(one.match_map) == pytest.approx(values(other.match_map), abs=1e-3)


def test_the_parts_of_an_image_add_up_to_its_score(api, behind):
    left, right, whole = (
        {match.image.name: match for match in api.search(search(behind, sent(50), **options)).matches}
        for options in ({"regions": [LEFT]}, {"regions": [RIGHT]}, {})
    )
    assert len(whole) == COUNT
    for name, match in whole.items():
        assert left[name].score + right[name].score == pytest.approx(match.score, abs=1e-4)
        assert left[name].image_score == pytest.approx(match.score, abs=1e-5)


def test_a_search_by_region_orders_the_gallery_as_the_summed_maps_do(api, behind):
    expected = {
        match.image.name: left_sum(match.query_map)
        for match in api.search(search(behind, sent(50), with_maps=True)).matches
    }
    found = scores(api.search(search(behind, sent(50), regions=[LEFT])))
    assert list(found) == sorted(expected, key=expected.__getitem__, reverse=True)
    assert found == pytest.approx(expected, abs=1e-4)


def test_reranking_by_parts_of_the_match_is_the_order_of_their_summed_maps(api, behind):
    whole = api.search(search(behind, sent(50), with_maps=True)).matches
    expected = {match.image.name: left_sum(match.match_map) for match in whole}
    asked = RerankRequest(parent=behind, query=sent(50), match_regions=[RELATIVE_LEFT], limit=COUNT, with_maps=True)
    found = api.rerank(asked)
    assert list(scores(found)) == sorted(expected, key=expected.__getitem__, reverse=True)
    assert scores(found) == pytest.approx(expected, abs=1e-4)
    image_scores = {match.image.name: match.score for match in whole}
    for match in found.matches:
        assert match.image_score == pytest.approx(image_scores[match.image.name], abs=1e-5)
        assert match.match_map.total == pytest.approx(match.score, abs=1e-4)


def test_reranking_by_parts_of_both_adds_up_over_a_partition(api, behind):
    totals: dict[str, float] = {}
    for ours in (LEFT, RIGHT):
        for theirs in (LEFT, RIGHT):
            asked = RerankRequest(
                parent=behind, query=sent(50), query_regions=[ours], match_regions=[theirs], limit=COUNT
            )
            for name, score in scores(api.rerank(asked)).items():
                totals[name] = totals.get(name, 0) + score
    assert totals == pytest.approx(scores(api.search(search(behind, sent(50)))), abs=1e-4)


# Explanations


def test_an_explanation_goes_through_the_head_of_the_named_gallery_else_of_the_match_else_of_the_query(api, headed):
    centered, whitened = headed["centering"], headed["whitening"]
    fingerprints = {"": api.model(GetModelRequest()).fingerprint}
    fingerprints |= {parent: gallery(api, parent).model for parent in headed.values()}
    for query, match, parent, expected in [
        (sent(50), sent(4), "", ""),
        (sent(50), stored(centered, 4), "", centered),
        (stored(whitened, 3), sent(4), "", whitened),
        (stored(whitened, 3), stored(centered, 4), "", centered),
        (stored(whitened, 3), stored(centered, 4), headed["linear"], headed["linear"]),
        (sent(50), sent(4), whitened, whitened),
    ]:
        answer = api.explain(ExplainMatchRequest(query=query, match=match, parent=parent))
        assert answer.model == fingerprints[expected]
        assert answer.residual < 1e-4
        assert answer.image_score == answer.score
        if expected:
            one = query if "content" in query else sent(3)
            assert answer.score == pytest.approx(
                scores(api.search(search(expected, one)))[f"{expected}/images/4.png"], abs=1e-3
            )


def test_the_channels_and_cells_of_an_explanation_are_those_behind_the_head(api, behind, kind, heads, embed):
    query, match = (embed(png(n)).through(heads[kind]) for n in (50, 4))
    cells = query.feature_map[..., 0].size * match.feature_map[..., 0].size
    answer = api.explain(
        ExplainMatchRequest(
            query=sent(50), match=stored(behind, 4), channel_limit=1000, correspondence_limit=min(cells, 1000)
        )
    )
    assert sorted(one.channel for one in answer.channels) == list(range(HEAD_DIMENSIONS[kind]))
    assert sum(one.score for one in answer.channels) == pytest.approx(answer.score, abs=1e-5)
    ours, theirs = (one.contributions().reshape(-1, HEAD_DIMENSIONS[kind]) for one in (query, match))
    assert answer.correspondences[0].score == pytest.approx((ours @ theirs.T).max(), abs=1e-3)


def test_a_point_of_the_query_has_its_signed_map_in_the_match(api, behind, kind, heads, embed):
    point = {"point": {"x_px": 1, "y_px": 1}}
    answer = api.explain(ExplainMatchRequest(query=sent(50), match=stored(behind, 4), query_regions=[point]))
    query, match = (embed(png(n)).through(heads[kind]).contributions() for n in (50, 4))
    assert values(answer.match_map) == pytest.approx(match @ query[0, 0], abs=1e-3)
    assert answer.match_map.total == pytest.approx(answer.score, abs=1e-4)
    assert answer.residual < 1e-4


def test_a_class_map_scores_the_mean_of_the_searches(api, behind):
    found = scores(api.search(search(behind, sent(50), labels=["odd"])))
    answer = api.explain_label(ExplainLabelRequest(parent=behind, query=sent(50), label="odd"))
    assert answer.image_count == len(found) == COUNT // 2
    assert answer.score == pytest.approx(np.mean(list(found.values())), abs=1e-5)
    assert answer.query_map.total == pytest.approx(answer.score, abs=1e-4)


def test_the_curve_of_components_has_a_value_for_each_dimension(api, behind, kind):
    answer = api.explain_components(ExplainComponentsRequest(parent=behind, pair_count=50))
    for shares in (answer.mean_shares, answer.low_shares, answer.high_shares):
        assert len(shares) == HEAD_DIMENSIONS[kind]
        assert np.isfinite(shares).all()
    assert answer.mean_shares[-1] == pytest.approx(1)


def test_the_mean_curve_is_the_share_of_the_mean_score(api, behind, heads, kind, embed):
    answer = api.explain_components(ExplainComponentsRequest(parent=behind, pair_count=10_000))
    images = {n: embed(png(n)).through(heads[kind]).embedding for n in range(COUNT)}
    pairs = [(n, m) for n in images for m in images if n != m and n % 2 == m % 2]  # labeled even and odd
    parts = np.array([np.sort(images[n] * images[m])[::-1] for n, m in pairs]).astype(float)
    similar = parts[parts.sum(axis=1) > 0].cumsum(axis=1)  # drawn equally often, nearly
    expected = similar.sum(axis=0) / similar[:, -1].sum()
    assert np.allclose(answer.mean_shares, expected, rtol=0.1)


def test_pictures_of_signed_maps_have_a_scale_with_0_in_the_middle(api, behind):
    asked = [
        api.search(search(behind, sent(50), overlays={"size_px": 32})),
        api.rerank(RerankRequest(parent=behind, query=sent(50), query_regions=[LEFT], overlays={"size_px": 32})),
        api.explain(ExplainMatchRequest(query=sent(50), match=stored(behind, 4), overlays={"size_px": 32})),
        api.explain_label(ExplainLabelRequest(parent=behind, query=sent(50), label="odd", overlays={"size_px": 32})),
    ]
    for answer in asked:
        assert answer.color_scale.low == -answer.color_scale.high < 0
        assert answer.color_scale.color_map == "RdBu_r"
    shown = [one for match in asked[0].matches for one in (match.query_map, match.match_map)]
    assert all(one.overlay_png.startswith(b"\x89PNG") for one in shown)
    assert max(np.abs(values(one)).max() for one in shown) == pytest.approx(asked[0].color_scale.high)


# What cannot be


MISTAKES = {
    "nothing": ({}, "BAD_REQUEST"),
    "-1 dimensions": ({"whitening": {"dimensions": -1}}, "BAD_HEAD"),
    "513 dimensions": ({"whitening": {"dimensions": 513}}, "BAD_HEAD"),
    "no weight": ({"linear": {}}, "BAD_HEAD"),
    "no weight but a bias": ({"linear": {"bias": [1.0]}}, "BAD_HEAD"),
    "513 weights": ({"linear": {"weight": [1.0] * 513}}, "BAD_HEAD"),
    "two biases": ({"linear": {"weight": [1.0] * DIMENSIONS, "bias": [1.0, 2.0]}}, "BAD_HEAD"),
    "nan": ({"linear": {"weight": [1.0] * 511 + [float("nan")]}}, "BAD_HEAD"),
    "infinite": ({"linear": {"weight": [1.0] * DIMENSIONS, "bias": [float("-inf")]}}, "BAD_HEAD"),
    "zeros": ({"linear": {"weight": [0.0] * DIMENSIONS, "bias": [1.0]}}, "BAD_HEAD"),
}


@pytest.mark.parametrize(("head", "reason"), MISTAKES.values(), ids=MISTAKES.keys())
def test_what_is_no_head_is_refused_and_the_old_one_stays(api, headed, head, reason):
    before = gallery(api, headed["whitening"])
    assert failure(lambda: set_head(api, headed["whitening"], head)) == ("INVALID_ARGUMENT", reason)
    assert gallery(api, headed["whitening"]) == before


@pytest.mark.parametrize("head", [HEADS["centering"], HEADS["whitening"], {"whitening": {}}], ids=str)
def test_an_empty_gallery_has_too_few_images(api, parent, head):
    assert failure(lambda: set_head(api, parent, head)) == ("FAILED_PRECONDITION", "TOO_FEW_IMAGES")
    assert not gallery(api, parent).HasField("head")


def test_more_dimensions_than_the_images_span_are_refused_with_the_numbers(api, twelve):
    with pytest.raises(grpc.RpcError, match="12 images span 11 directions, not 12"):
        set_head(api, twelve, {"whitening": {"dimensions": 12}})
    assert failure(lambda: set_head(api, twelve, {"whitening": {"dimensions": 12}})) == (
        "FAILED_PRECONDITION",
        "TOO_FEW_IMAGES",
    )


def test_an_empty_gallery_can_have_a_given_layer_and_images_later(api, parent):
    assert set_head(api, parent, HEADS["linear"])[-1].gallery.head.dimensions == 16
    assert names(api.search(search(parent, sent(1)))) == []
    api.add(parent, {"1.png": png(1)})
    assert api.search(search(parent, sent(1))).matches[0].score == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("name", ["galleries/nowhere", "nowhere", ""])
def test_a_gallery_that_is_not_there_gets_no_head(api, name):
    expected = ("NOT_FOUND", "UNKNOWN_GALLERY") if "/" in name else ("INVALID_ARGUMENT", "BAD_NAME")
    assert failure(lambda: set_head(api, name, HEADS["centering"])) == expected
    if name:
        assert failure(lambda: api.embed(EmbedImageRequest(image=sent(1), parent=name))) == expected
        explain = ExplainMatchRequest(query=sent(1), match=sent(2), parent=name)
        assert failure(lambda: api.explain(explain)) == expected


def test_a_factory_that_does_not_fit_the_dimensions_is_refused(api, fresh):
    parent = api.create("codes", index_factory="PQ8")
    set_head(api, parent, HEADS["linear"])  # 16 dimensions
    weight = {"linear": {"weight": [1.0] * DIMENSIONS * 12}}
    assert failure(lambda: set_head(api, parent, weight)) == ("INVALID_ARGUMENT", "BAD_INDEX_FACTORY")
    assert gallery(api, parent).head.dimensions == 16


@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_an_image_finds_itself_through_a_layer_of_any_size(api, twelve, size):
    set_head(api, twelve, {"linear": {"weight": (WEIGHT * size).ravel()}})
    assert names(api.search(search(twelve, sent(5))))[0] == "5.png"
    assert api.search(search(twelve, sent(5))).matches[0].score == pytest.approx(1, abs=1e-5)


# At the same time


def test_a_call_that_ends_early_leaves_a_gallery_that_works(api, twelve):
    known = {gallery(api, twelve).model, set_head(api, twelve, HEADS["whitening"])[-1].gallery.model}
    for taken in range(6):
        set_head(api, twelve, NONE)
        call = api.galleries.SetHead(SetHeadRequest(name=twelve, **HEADS["whitening"]))
        for _ in range(taken // 2):
            next(call)
        call.cancel()
        found = api.search(search(twelve, stored(twelve, 5)))
        assert found.model in known
        assert (names(found)[0], found.matches[0].score) == ("5.png", pytest.approx(1, abs=1e-5))
    with suppress(grpc.RpcError):  # too late, or just in time
        set_head(api, twelve, HEADS["whitening"], timeout=0.01)
    assert set_head(api, twelve, HEADS["centering"])[-1].gallery.head.kind == "centering"


def test_a_call_that_ends_before_it_fails_leaves_no_trace_in_the_log(api, twelve, caplog):
    """The principal directions, which take a moment, come before the error that there are too few."""
    for _ in range(3):
        call = api.galleries.SetHead(SetHeadRequest(name=twelve, whitening={"dimensions": 12}))
        next(call)
        call.cancel()
        assert failure(lambda: set_head(api, twelve, {"whitening": {"dimensions": 12}}))[1] == "TOO_FEW_IMAGES"
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_call_that_ends_while_the_index_is_built_leaves_the_old_version(model, embedder, embed, tmp_path):
    """The API promises it; for a large gallery that last step takes a while."""

    async def scenario(servicer: GalleryServicer, building: threading.Lock) -> None:
        answers = servicer.SetHead(SetHeadRequest(name="galleries/slow", centering={}), None)
        assert [(await anext(answers)).progress.done for _ in range(2)] == [3, 3]
        with building:
            last = asyncio.ensure_future(anext(answers))
            await asyncio.sleep(0.1)
            last.cancel()
            with pytest.raises(asyncio.CancelledError):
                await last

    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.create("slow")
        gallery.add([NewImage(str(n), png(n), embed(png(n))) for n in range(3)])
        servicer = GalleryServicer(galleries, embedder, Metrics(), stream_idle_s=1, stopping=asyncio.Event())
        asyncio.run(scenario(servicer, gallery._adding))  # at the end it waits for the thread that builds
        assert gallery.facts().head is None


def test_heads_that_are_set_again_and_again_disturb_no_search(api, twelve):
    heads = [*HEADS.values(), NONE]
    known = {set_head(api, twelve, head)[-1].gallery.model for head in heads}
    assert len(known) == 4
    done = threading.Event()

    def ask(seed: int) -> set[str]:
        image, seen = stored(twelve, seed), set()
        while not done.is_set():
            found = api.search(search(twelve, image, with_maps=True))
            itself = found.matches[0]
            assert (names(found)[0], itself.score) == (f"{seed}.png", pytest.approx(1, abs=1e-5))
            for match in found.matches:
                assert match.query_map.total == pytest.approx(match.score, abs=1e-4)
                assert match.match_map.total == pytest.approx(match.score, abs=1e-4)
            reranked = api.rerank(RerankRequest(parent=twelve, query=image, match_regions=[LEFT]))
            why = api.explain(ExplainMatchRequest(query=image, match=stored(twelve, 0)))
            assert why.residual < 1e-4
            label = api.explain_label(ExplainLabelRequest(parent=twelve, query=image, label="all"))
            assert label.query_map.total == pytest.approx(label.score, abs=1e-4)
            made = api.embed(EmbedImageRequest(image=image))
            vector = SearchRequest(parent=twelve, embedding={"values": made.embedding, "model": made.model})
            assert outcome(functools.partial(api.search, vector)) in [
                ("OK", ""),
                ("FAILED_PRECONDITION", "OTHER_EMBEDDING"),
            ]
            seen |= {answer.model for answer in (found, reranked, why, label, made)}
        return seen

    with ThreadPoolExecutor(3) as pool:
        asking = [pool.submit(ask, seed) for seed in (3, 4, 5)]
        try:
            for head in heads * 3:
                assert set_head(api, twelve, head)[-1].HasField("gallery")
        finally:
            done.set()
        assert set.union(*[one.result() for one in asking]) <= known


def test_a_gallery_that_is_deleted_while_its_head_is_set_is_unknown(api):
    for attempt in range(4):
        parent = api.fill(f"doomed{attempt}", range(3))
        call = api.galleries.SetHead(SetHeadRequest(name=parent, **HEADS["centering"]))
        api.galleries.DeleteGallery(DeleteGalleryRequest(name=parent))
        assert outcome(lambda call=call: list(call)) in [("OK", ""), ("NOT_FOUND", "UNKNOWN_GALLERY")]
        assert failure(lambda parent=parent: gallery(api, parent)) == ("NOT_FOUND", "UNKNOWN_GALLERY")


def test_a_step_that_takes_long_gives_signs_of_life(monkeypatch):
    monkeypatch.setattr(streams, "SIGN_OF_LIFE_S", 0.02)
    may_go_on = threading.Event()

    def steps():
        yield 3
        assert may_go_on.wait(10)
        yield 5

    async def seen() -> list[int | None]:
        found = []
        async for step in streams.steps(steps()):
            found.append(step)
            if 3 in found and found[found.index(3) :].count(None) == 3:
                may_go_on.set()
        return found

    found = asyncio.run(seen())
    assert [step for step in found if step is not None] == [3, 5]
    assert found.index(5) - found.index(3) >= 4


def test_an_answer_names_the_version_that_it_is_from_though_another_has_come(model, embedder, embed, tmp_path):
    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.create("g")
        gallery.add([NewImage(f"{n}.png", png(n), embed(png(n))) for n in range(4)])
        old = gallery.version

        class Late(Images):
            """Asks for the version just before a head is set."""

            async def version(self, gallery, at=None):
                return old

        for _ in gallery.set_head(lambda batches, channels: fit_centering(batches)):
            pass
        servicer = SearchServicer(Late(galleries, embedder), SearchBatcher(), max_limit=10)
        request = SearchRequest(parent="galleries/g", image={"image": "galleries/g/images/1.png"}, with_maps=True)
        answer = asyncio.run(servicer.Search(request, None))
    assert answer.model == old.fingerprint != gallery.version.fingerprint
    best = answer.matches[0]
    assert best.image.name == "galleries/g/images/1.png"
    assert best.match_map.total == pytest.approx(1, abs=1e-5)
    assert min(best.match_map.values) >= 0  # no head
