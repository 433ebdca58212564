"""What an answer says of where it comes from is true."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

import pytest
from google.protobuf.empty_pb2 import Empty
from sample_pictures import png
from server_harness import Api, api_of

from whymatch.embed import Model
from whymatch.server import ServerConfig
from whymatch.v1.embed_service_pb2 import EmbedImageRequest
from whymatch.v1.explain_service_pb2 import (
    ExplainComponentsRequest,
    ExplainInterActiveRequest,
    ExplainLabelRequest,
    ExplainMatchRequest,
    ExplainNeighborsRequest,
    ExplainPredictionDifferenceRequest,
    ExplainRankingRequest,
    ExplainRankRequest,
)
from whymatch.v1.gallery_service_pb2 import DeleteGalleryRequest, GetGalleryRequest, SetHeadRequest
from whymatch.v1.search_service_pb2 import RerankRequest, SearchRequest, SearchResponse
from whymatch.v1.shapes_pb2 import Provenance
from whymatch.v1.unit_service_pb2 import (
    DecodeFiltersRequest,
    DescribeLayerColorsRequest,
    DescribeUnitsRequest,
    FindMinimalImageRequest,
    FindReceptiveFieldRequest,
    SegmentUnitsRequest,
)

QUERY = png(50)
DIGEST = sha256(QUERY).hexdigest()
LAYER = "features.0"
Answer = TypeVar("Answer")


def search(api: Api, parent: str, **options: object) -> SearchResponse:
    return api.search(SearchRequest(parent=parent, image={"content": QUERY}, **options))


def provenance(api: Api, parent: str) -> Provenance:
    return search(api, parent).provenance


def test_a_search_says_which_gallery_model_index_and_files_it_is_from(api, photos, model):
    found, gallery = search(api, photos), api.galleries.GetGallery(GetGalleryRequest(name=photos))
    origin = found.provenance
    assert (origin.gallery, origin.gallery_create_time) == (photos, gallery.create_time)
    assert (origin.generation, origin.image_count) == (gallery.generation, 12)
    assert origin.model == origin.headless_model == found.model == model.fingerprint
    assert (origin.backbone, origin.head, origin.head_version) == (model.backbone, "none", 0)
    assert (origin.index, origin.exact) == ("Flat", True)
    assert origin.query_sha256 == sha256(QUERY).hexdigest()
    assert found.matches[0].image.content_sha256 in {sha256(png(seed)).hexdigest() for seed in range(12)}
    assert origin.server_version == version("whymatch")


def test_the_request_id_is_that_of_the_call(api, photos):
    request = SearchRequest(parent=photos, image={"image": f"{photos}/images/3.png"})
    found = api.search(request, metadata=[("x-request-id", "mine-1")])
    assert found.provenance.request_id == "mine-1"
    assert found.provenance.query_sha256 == sha256(png(3)).hexdigest()


def test_a_search_by_embedding_has_no_file(api, photos, embed):
    found = api.search(SearchRequest(parent=photos, embedding={"values": embed(png(3)).embedding}))
    assert found.provenance.query_sha256 == ""


def test_a_search_by_examples_names_the_file_of_each(api, photos, embed):
    examples = [
        {"image": {"content": QUERY}},
        {"embedding": {"values": embed(png(4)).embedding}},
        {"image": {"image": f"{photos}/images/3.png"}, "unlike": True},
    ]
    origin = api.search(SearchRequest(parent=photos, examples=examples)).provenance
    assert origin.example_sha256 == [DIGEST, "", sha256(png(3)).hexdigest()]
    assert origin.query_sha256 == ""
    assert not provenance(api, photos).example_sha256


def test_the_generation_tells_that_a_gallery_grew(api, parent):
    api.add(parent, {"1.png": png(1)})
    before = provenance(api, parent)
    assert provenance(api, parent).generation == before.generation
    api.add(parent, {"2.png": png(2)})
    after = provenance(api, parent)
    assert after.generation > before.generation
    assert (before.image_count, after.image_count) == (1, 2)


def test_a_head_changes_the_fingerprint_and_counts_but_not_the_model_below(api, fresh, model):
    parent = fresh()
    api.add(parent, {f"{seed}.png": png(seed) for seed in range(4)})
    seen = []
    for head in ("centering", "centering", "none"):
        *_, last = api.galleries.SetHead(SetHeadRequest(name=parent, **{head: Empty()}))
        origin = provenance(api, parent)
        assert (origin.model, origin.generation) == (last.gallery.model, last.gallery.generation)
        assert origin.headless_model == model.fingerprint
        seen.append((origin.head, origin.head_version, origin.model == model.fingerprint))
    assert seen == [("centering", 1, False), ("centering", 2, False), ("none", 0, True)]


def test_an_approximate_index_says_so(api):
    parent = api.fill("approximate", range(4), index_factory="HNSW4")
    origin = provenance(api, parent)
    assert (origin.index, origin.exact) == ("HNSW4", False)


def test_a_gallery_that_was_made_again_is_another_one(api, fresh):
    parent = fresh()
    before = provenance(api, parent)
    api.galleries.DeleteGallery(DeleteGalleryRequest(name=parent))
    api.create(parent.removeprefix("galleries/"))
    after = provenance(api, parent)
    assert before.generation == after.generation
    assert before.gallery_create_time.ToNanoseconds() < after.gallery_create_time.ToNanoseconds()


def about_a_gallery(api: Api, parent: str) -> dict[str, object]:
    """Return an answer of each call that rests on a gallery."""
    query = {"content": QUERY}
    match = {"image": f"{parent}/images/3.png"}
    difference = ExplainPredictionDifferenceRequest(
        parent=parent,
        image=query,
        targets=[{"similarity": match}],
        sampler="marginal",
        sample_count=1,
        window_px=32,
        stride_px=32,
    )
    units = api.units
    rerank = RerankRequest(parent=parent, query=query, query_regions=[{"point": {"x_px": 1, "y_px": 1}}])
    segment = SegmentUnitsRequest(parent=parent, image=query, layer=LAYER, channels=[1], match_limit=1)
    minimal = FindMinimalImageRequest(parent=parent, image=query, match=True, segment_count=2)
    colors = DescribeLayerColorsRequest(parent=parent, layer=LAYER, with_selectivity=True)
    field = FindReceptiveFieldRequest(parent=parent, unit={"layer": LAYER, "channel": 1}, image_count=1)
    return {
        "search": search(api, parent),
        "rerank": api.rerank(rerank),
        "embed": api.embed(EmbedImageRequest(parent=parent, image=query)),
        "match": api.explain(ExplainMatchRequest(query=query, match=match)),
        "label": api.explain_label(ExplainLabelRequest(parent=parent, query=query, label="even")),
        "ranking": api.explain_ranking(
            ExplainRankingRequest(parent=parent, query=query, first={"image": match}, second={"label": "even"})
        ),
        "rank": api.explain_rank(ExplainRankRequest(query=query, image=match["image"])),
        "neighbors": api.explain_neighbors(ExplainNeighborsRequest(parent=parent, query=query)),
        "components": api.explain_components(ExplainComponentsRequest(parent=parent, pair_count=4)),
        "difference": result(api.explain_difference(difference)),
        "units": result(units.DescribeUnits(DescribeUnitsRequest(parent=parent, layer=LAYER, channels=[1]))),
        "field": result(units.FindReceptiveField(field)),
        "segment": result(units.SegmentUnits(segment)),
        "minimal": result(units.FindMinimalImage(minimal)),
        "colors": result(units.DescribeLayerColors(colors)),
    }


def result(answers: Iterable[Answer]) -> Answer:
    """Return the last answer of a stream that is not mere progress."""
    return [answer for answer in answers if answer.HasField("provenance")][-1]


def test_every_answer_about_a_gallery_says_which_one_and_in_which_generation(api, photos):
    expected = provenance(api, photos)
    answers = about_a_gallery(api, photos)
    for name, answer in answers.items():
        origin = answer.provenance
        facts = (origin.gallery, origin.generation, origin.model, origin.index)
        assert facts == (photos, expected.generation, expected.model, "Flat"), name
        has_query = name not in ("components", "units", "field", "colors")
        assert origin.query_sha256 == (DIGEST if has_query else ""), name
        assert origin.request_id, name
    assert answers["match"].provenance.match_sha256 == sha256(png(3)).hexdigest()


def test_an_answer_of_the_model_alone_rests_on_no_gallery(api, model):
    query = {"content": QUERY}
    layer = model.layers.all[0].name
    match = api.explain(ExplainMatchRequest(query=query, match={"content": png(51)})).provenance
    assert (match.query_sha256, match.match_sha256) == (DIGEST, sha256(png(51)).hexdigest())
    answers = [
        match,
        api.embed(EmbedImageRequest(image=query)).provenance,
        api.explain_interactive(ExplainInterActiveRequest(image=query, settings=[{"layer": layer}])).provenance,
        result(api.units.DecodeFilters(DecodeFiltersRequest(layer=LAYER, channels=[1]))).provenance,
    ]
    for origin in answers:
        assert (origin.gallery, origin.generation, origin.index) == ("", 0, "")
        assert (origin.model, origin.server_version) == (model.fingerprint, version("whymatch"))


def test_the_same_search_repeats_alone_after_a_restart_and_among_others(model: Model, tmp_path: Path):
    config = ServerConfig(data=tmp_path, port=0)
    with api_of(config, model) as api:
        parent = api.fill("some", range(12))
        alone = [matches(search(api, parent)) for _ in range(2)]
    with api_of(config, model) as api:
        again = search(api, parent)
        with ThreadPoolExecutor(8) as threads:
            crowd = [*threads.map(lambda number: (number, embedded(api, parent, number)), range(40))]
    assert alone[0] == alone[1] == matches(again)
    for _, found in crowd[::4]:
        assert [name for name, _ in found] == [name for name, _ in alone[0]]
        assert [score for _, score in found] == pytest.approx([score for _, score in alone[0]], abs=1e-6)


def matches(found: SearchResponse) -> list[tuple[str, float]]:
    return [(match.image.name, match.score) for match in found.matches]


def embedded(api: Api, parent: str, number: int) -> list[tuple[str, float]]:
    """Search with the query if the number is a multiple of 4, else with another image."""
    content = png(60 + number) if number % 4 else QUERY
    return matches(api.search(SearchRequest(parent=parent, image={"content": content})))
