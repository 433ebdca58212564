"""Searches among some images, as of a generation, and several in one call, through a channel."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct
from sample_pictures import png
from server_harness import failure

from whymatch.v1.explain_service_pb2 import (
    ExplainComponentsRequest,
    ExplainLabelRequest,
    ExplainMatchRequest,
    ExplainNeighborsRequest,
    ExplainRankingRequest,
    ExplainRankRequest,
)
from whymatch.v1.gallery_service_pb2 import (
    AddImageRequest,
    DeleteImagesRequest,
    GetGalleryRequest,
    Image,
    SetHeadRequest,
    UpdateImageRequest,
)
from whymatch.v1.search_service_pb2 import BatchSearchRequest, FindDuplicatesRequest, RerankRequest, SearchRequest

HALF = {"box": {"right_px": 0.5, "bottom_px": 1}, "relative": True}


def names(answer):
    return [match.image.name.rpartition("/")[2] for match in answer.matches]


def query(parent, seed=50, **options):
    return SearchRequest(parent=parent, image={"content": png(seed)}, **options)


def reranking(parent, seed=50, **options):
    return RerankRequest(parent=parent, query={"content": png(seed)}, query_regions=[HALF], **options)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"filter": "label = even"}, range(0, 12, 2)),
        ({"filter": 'label = odd AND NOT name = "3.png"'}, [1, 5, 7, 9, 11]),
        ({"filter": "label = even", "labels": ["odd"]}, []),
        ({"filter": "metadata.year : *"}, []),
        ({"exclude": [3, 4]}, [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]),
        ({"exclude": [4], "filter": "label = even", "labels": ["even"]}, [0, 2, 6, 8, 10]),
    ],
)
def test_only_what_is_asked_for_is_found_and_in_the_order_of_all(api, photos, options, left):
    options = options | {"exclude": [f"{photos}/images/{n}.png" for n in options.get("exclude", [])]}
    order = {
        "search": names(api.search(query(photos, limit=12))),
        "rerank": names(api.rerank(reranking(photos, limit=12))),
    }
    wanted = {f"{n}.png" for n in left}
    assert names(api.search(query(photos, limit=12, **options))) == [one for one in order["search"] if one in wanted]
    assert names(api.rerank(reranking(photos, limit=12, **options))) == [
        one for one in order["rerank"] if one in wanted
    ]
    few = api.search(query(photos, limit=3, **options))
    assert names(few) == [one for one in order["search"] if one in wanted][:3]


def test_no_match_lies_below_the_least_score(api, photos):
    for call, asked in ((api.search, query), (api.rerank, reranking)):
        every = [(match.image.name, match.score) for match in call(asked(photos, limit=12)).matches]
        for least in (every[4][1], every[4][1] + 1e-6, 2.0, -2.0):
            found = call(asked(photos, limit=12, min_score=least)).matches
            assert [(match.image.name, match.score) for match in found] == [one for one in every if one[1] >= least]


def test_candidates_that_are_named_can_be_left_out_but_not_filtered(api, photos):
    candidates = [f"{photos}/images/{n}.png" for n in (1, 2, 3)]
    found = api.rerank(reranking(photos, candidates=candidates, exclude=candidates[:1]))
    assert sorted(names(found)) == ["2.png", "3.png"]
    filtered = reranking(photos, candidates=candidates, filter="label = odd")
    assert failure(lambda: api.rerank(filtered)) == ("INVALID_ARGUMENT", "BAD_REQUEST")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"filter": "color = red"}, "BAD_FILTER"),
        ({"filter": "(" * 50}, "BAD_FILTER"),
        ({"filter": f'label = "{"x" * 10_000}"'}, "BAD_FILTER"),
        ({"min_score": float("nan")}, "BAD_REQUEST"),
        ({"min_score": float("-inf")}, "BAD_REQUEST"),
        ({"exclude": ["galleries/other/images/a"]}, "BAD_REQUEST"),
        ({"exclude": ["a"]}, "BAD_NAME"),
        ({"exclude": ["galleries/photos/images/a"] * 1001}, "BAD_LIMIT"),
    ],
)
def test_selections_that_cannot_be_are_refused(api, photos, options, reason):
    assert failure(lambda: api.search(query(photos, **options))) == ("INVALID_ARGUMENT", reason)
    assert failure(lambda: api.rerank(reranking(photos, **options))) == ("INVALID_ARGUMENT", reason)


def asked_of(api, parent, **at):
    """Return all that is asked of a gallery of one generation, but for the provenance."""
    stored, image = {"image": f"{parent}/images/1.png"}, {"image": {"image": f"{parent}/images/3.png"}}
    answers = [
        api.search(query(parent, limit=20, filter="label = even", **at)),
        api.search(SearchRequest(parent=parent, image=stored, limit=20, exclude_itself=True, with_maps=True, **at)),
        api.search(query(parent, limit=5, overlays={"size_px": 60}, regions=[HALF], **at)),
        api.search(query(parent, best_per_label=True, labels=["even", "odd"], **at)),
        api.rerank(reranking(parent, with_maps=True, match_regions=[HALF], **at)),
        api.explain(ExplainMatchRequest(query=stored, match=image["image"], overlays={}, **at)),
        api.explain(ExplainMatchRequest(parent=parent, query=stored, match={"content": png(8)}, **at)),
        api.explain_label(
            ExplainLabelRequest(parent=parent, query=stored, label="odd", filter='name != "5.png"', **at)
        ),
        api.explain_components(ExplainComponentsRequest(parent=parent, pair_count=50, **at)),
        api.explain_ranking(
            ExplainRankingRequest(query=stored, first=image, second={"label": "odd"}, overlays={}, **at)
        ),
        api.explain_ranking(
            ExplainRankingRequest(query={"content": png(8)}, first=image, second={"image": stored}, **at)
        ),
        api.explain_rank(ExplainRankRequest(query=stored, image=image["image"]["image"], limit=3, **at)),
        api.explain_neighbors(ExplainNeighborsRequest(parent=parent, query=stored, limit=4, **at)),
    ]
    begun, *groups = api.find_duplicates(FindDuplicatesRequest(parent=parent, above=0.9, **at))
    answers.append(begun)
    origins = [(one.provenance.generation, one.provenance.image_count, one.provenance.model) for one in answers]
    answers += groups
    for one in answers:
        one.ClearField("provenance")
        if hasattr(one, "next_page_token"):
            one.ClearField("next_page_token")
    return answers, origins


def generation(api, parent):
    return api.galleries.GetGallery(GetGalleryRequest(name=parent)).generation


def test_a_generation_answers_to_the_last_bit_as_it_did_then(api, fresh):
    parent = fresh()
    for n in range(8):
        added = {"image_id": f"{n}.png", "content": png(n), "label": ("even", "odd")[n % 2]}
        api.galleries.AddImage(AddImageRequest(parent=parent, **added))
    changes = [
        lambda: api.galleries.UpdateImage(
            UpdateImageRequest(
                image=Image(name=f"{parent}/images/2.png", label="odd"), update_mask=FieldMask(paths=["label"])
            )
        ),
        lambda: api.galleries.AddImage(
            AddImageRequest(parent=parent, image_id="1.png", content=png(30), label="odd", replace=True)
        ),
        lambda: api.galleries.DeleteImages(DeleteImagesRequest(parent=parent, names=[f"{parent}/images/4.png"])),
        lambda: list(api.galleries.SetHead(SetHeadRequest(name=parent, centering={}))),
        lambda: api.add(parent, {"8.png": png(20)}, label="even"),
    ]
    then = {generation(api, parent): asked_of(api, parent)}
    for change in changes:
        change()
        then[generation(api, parent)] = asked_of(api, parent)
    assert len(then) == 6
    for number, (answers, origins) in then.items():
        again, from_where = asked_of(api, parent, at_generation=number)
        assert again == answers
        assert from_where == origins
        assert {one[0] for one in origins} == {number}


def test_a_generation_that_is_not_there_is_not_found(api, photos):
    for call, request in (
        (api.search, query(photos, at_generation=99)),
        (api.rerank, reranking(photos, at_generation=-1)),
        (api.explain_components, ExplainComponentsRequest(parent=photos, at_generation=99)),
        (api.explain_neighbors, ExplainNeighborsRequest(parent=photos, at_generation=99, query={"content": png(1)})),
    ):
        assert failure(lambda call=call, request=request: call(request)) == ("NOT_FOUND", "UNKNOWN_GENERATION")


def test_two_files_alone_have_no_generation(api):
    alone = ExplainMatchRequest(query={"content": png(1)}, match={"content": png(2)}, at_generation=1)
    assert failure(lambda: api.explain(alone)) == ("INVALID_ARGUMENT", "BAD_REQUEST")


def test_explanations_of_labels_count_what_a_filter_holds_for(api, parent):
    for n in range(6):
        metadata = Struct()
        metadata.update({"year": 2020 + n})
        api.add(parent, {f"{n}": png(n)}, label="x", metadata=metadata)
    asked = {"parent": parent, "query": {"content": png(50)}, "label": "x"}
    assert api.explain_label(ExplainLabelRequest(**asked, filter="metadata.year >= 2023")).image_count == 3
    three = api.explain_label(ExplainLabelRequest(**asked, filter="metadata.year >= 2023"))
    found = api.search(query(parent, filter="metadata.year >= 2023"))
    assert three.score == pytest.approx(sum(match.score for match in found.matches) / 3, abs=1e-5)
    nothing = ExplainLabelRequest(**asked, filter="metadata.year > 2030")
    assert failure(lambda: api.explain_label(nothing)) == ("FAILED_PRECONDITION", "NO_LABELED_PAIRS")
    one = ExplainComponentsRequest(parent=parent, filter="metadata.year > 2024")
    assert failure(lambda: api.explain_components(one)) == ("FAILED_PRECONDITION", "NO_LABELED_PAIRS")
    assert api.explain_components(ExplainComponentsRequest(parent=parent, filter="metadata.year > 2023")).pair_count


def test_several_searches_are_answered_as_each_alone(api, photos, lean):
    requests = [query(photos, seed, limit=3, with_maps=seed == 1) for seed in range(20)]
    requests += [query(lean, labels=["odd"]), query(photos, 50, limit=2, best_per_label=True)]
    together = api.search_several(BatchSearchRequest(requests=requests)).responses
    assert [names(one) for one in together] == [names(api.search(one)) for one in requests]
    assert [one.matches[0].HasField("match_map") for one in together] == [n == 1 for n in range(22)]


def test_the_first_search_that_fails_is_named(api, photos):
    good, bad, worse = query(photos), query("galleries/no"), query(photos, limit=-1)
    with pytest.raises(Exception, match=r"`requests\[1\]`: .*'no'") as caught:
        api.search_several(BatchSearchRequest(requests=[good, bad, worse]))
    assert caught.value.code().name == "NOT_FOUND"


def test_searches_that_fail_for_one_reason_together_are_named_apart(api, photos):
    wrong = query(photos, labels=["nothing"])
    with pytest.raises(Exception, match="nothing") as caught:
        api.search_several(BatchSearchRequest(requests=[wrong] * 5))
    assert caught.value.details().startswith("`requests[0]`: no image")


def test_one_to_a_hundred_searches_go_together(api, photos):
    for count, reason in ((0, "BAD_REQUEST"), (101, "BAD_LIMIT")):
        batch = BatchSearchRequest(requests=[query(photos)] * count)
        assert failure(lambda batch=batch: api.search_several(batch)) == ("INVALID_ARGUMENT", reason)
