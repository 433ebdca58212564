import asyncio
import io
import threading

import numpy as np
import pytest
from PIL import Image
from sample_pictures import png
from server_harness import failure
from small_weights import DIMENSIONS

from whymatch.index import EVERYTHING, Galleries, GalleryVersion, NewImage, Selection, UnknownImage
from whymatch.server.search_batcher import SearchBatcher
from whymatch.server.search_servicer import SearchServicer
from whymatch.server.sources import Images
from whymatch.v1.search_service_pb2 import RerankRequest, SearchRequest


def names(response) -> list[str]:
    return [match.image.name.rpartition("/")[2] for match in response.matches]


def by_content(parent: str, seed: int, **options: object) -> SearchRequest:
    return SearchRequest(parent=parent, image={"content": png(seed)}, **options)


def by_vector(parent: str, values: object, **options: object) -> SearchRequest:
    return SearchRequest(parent=parent, embedding={"values": values}, **options)


def values(similarity_map) -> np.ndarray:
    return np.array(similarity_map.values).reshape(similarity_map.rows, similarity_map.columns)


def test_an_image_finds_itself_first_however_it_is_given(api, photos, embed, model):
    queries = [
        by_content(photos, 3),
        SearchRequest(parent=photos, image={"image": f"{photos}/images/3.png"}),
        by_vector(photos, 7 * embed(png(3)).embedding),
    ]
    for query in queries:
        found = api.search(query)
        assert names(found)[0] == "3.png"
        assert found.matches[0].score == pytest.approx(1, abs=1e-5)
        assert found.model == model.fingerprint


def test_matches_are_ordered_by_the_cosine_of_the_embeddings(api, photos, embed):
    query = embed(png(50)).embedding
    cosines = {f"{n}.png": float(query @ embed(png(n)).embedding) for n in range(12)}
    found = api.search(by_content(photos, 50, limit=12))
    assert names(found) == sorted(cosines, key=cosines.__getitem__, reverse=True)
    for match, name in zip(found.matches, names(found), strict=True):
        assert match.score == pytest.approx(cosines[name], abs=1e-5)


def test_ten_matches_come_unless_told(api, photos):
    assert len(api.search(by_content(photos, 1)).matches) == 10
    assert len(api.search(by_content(photos, 1, limit=3)).matches) == 3
    assert len(api.search(by_content(photos, 1, limit=1000)).matches) == 12


def test_labels_filter(api, photos):
    found = api.search(by_content(photos, 1, labels=["even"], limit=12))
    assert sorted(names(found)) == sorted(f"{n}.png" for n in range(0, 12, 2))


@pytest.fixture
def doubled(api, parent):
    """Six pictures, of which one is stored twice."""
    api.add(parent, {f"{n}.png": png(n) for n in range(6)}, label="any")
    api.add(parent, {"copy.png": png(3)}, label="any")
    return parent


def test_a_query_finds_neither_itself_nor_its_copies_where_they_are_excluded(api, doubled, photos):
    others = [name for name in names(api.search(by_content(doubled, 3))) if name not in ("3.png", "copy.png")]
    stored = [{"image": f"{doubled}/images/copy.png"}, {"image": f"{photos}/images/3.png"}]
    for image in ({"content": png(3)}, *stored):
        for options in ({}, {"labels": ["any"]}, {"regions": [{"box": {"right_px": 96, "bottom_px": 64}}]}):
            asked = SearchRequest(parent=doubled, image=image, exclude_itself=True, limit=3, **options)
            assert names(api.search(asked)) == others[:3]
    best = SearchRequest(parent=doubled, image=stored[0], exclude_itself=True, best_per_label=True)
    assert names(api.search(best)) == others[:1]


def test_nothing_is_excluded_where_the_query_is_not_stored(api, doubled):
    asked = [by_content(doubled, 50, exclude_itself=excluded) for excluded in (True, False)]
    assert len({tuple(names(api.search(one))) for one in asked}) == 1


def test_candidates_are_no_copies_of_the_query_where_they_are_excluded(api, doubled):
    whole = {"box": {"right_px": 1, "bottom_px": 1}, "relative": True}
    asked = RerankRequest(
        parent=doubled, query={"content": png(3)}, query_regions=[whole], exclude_itself=True, candidate_limit=5
    )
    found = names(api.rerank(asked))
    assert sorted(found) == [f"{n}.png" for n in (0, 1, 2, 4, 5)]
    asked.candidates.extend(f"{doubled}/images/{name}.png" for name in ("copy", 3, 5))
    assert names(api.rerank(asked)) == ["5.png"]
    del asked.candidates[2]
    assert names(api.rerank(asked)) == []


def test_an_embedding_has_no_copies_to_exclude(api, photos, embed):
    asked = by_vector(photos, embed(png(3)).embedding, exclude_itself=True)
    assert failure(lambda: api.search(asked)) == ("INVALID_ARGUMENT", "BAD_REQUEST")


@pytest.mark.parametrize("gallery", ["photos", "lean"])
def test_both_maps_of_a_match_add_up_to_its_score(api, gallery, request):
    found = api.search(by_content(request.getfixturevalue(gallery), 40, with_maps=True, limit=5))
    assert len(found.matches) == 5
    for match in found.matches:
        for one in (match.query_map, match.match_map):
            assert values(one).sum() == pytest.approx(match.score, abs=1e-3)
            assert (one.width_px, one.height_px, one.area.right_px, one.area.bottom_px) == (96, 64, 96, 64)
            assert one.overlay_png == b""
    assert not found.HasField("color_scale")


def test_maps_are_the_same_whether_the_gallery_keeps_feature_maps_or_not(api, photos, lean):
    kept, made = (api.search(by_content(parent, 40, with_maps=True)) for parent in (photos, lean))
    for one, other in zip(kept.matches, made.matches, strict=True):
        np.testing.assert_allclose(values(one.match_map), values(other.match_map), atol=1e-4)


def test_a_search_by_embedding_has_no_query_map(api, photos, embed):
    found = api.search(by_vector(photos, embed(png(3)).embedding, with_maps=True, limit=2))
    assert all(match.HasField("match_map") and not match.HasField("query_map") for match in found.matches)


def test_maps_come_only_when_asked_for(api, photos):
    assert not any(match.HasField("match_map") for match in api.search(by_content(photos, 1)).matches)


@pytest.mark.parametrize(("size_px", "width"), [(0, 96), (48, 48), (2048, 96)])
def test_pictures_have_the_size_that_was_asked_for_and_share_one_scale(api, photos, size_px, width):
    found = api.search(by_content(photos, 40, overlays={"size_px": size_px}, limit=2))
    for match in found.matches:
        for one in (match.query_map, match.match_map):
            assert Image.open(io.BytesIO(one.overlay_png)).size == (width, width * 64 // 96)
            assert values(one).max() <= found.color_scale.high + 1e-7
    assert found.color_scale.color_map == "inferno"


def test_a_stored_image_of_another_gallery_can_be_the_query(api, photos, lean):
    query = {"image": f"{lean}/images/4.png"}
    found = api.search(SearchRequest(parent=photos, image=query, overlays={}, limit=1))
    assert names(found) == ["4.png"]
    assert found.matches[0].query_map.total == pytest.approx(1, abs=1e-3)


def test_an_empty_gallery_has_no_matches(api, parent):
    found = api.search(by_content(parent, 1, overlays={}))
    assert len(found.matches) == 0
    assert not found.HasField("color_scale")


@pytest.mark.parametrize("limit", [0, -1, 1001, 2**31 - 1])
def test_a_limit_out_of_range_is_refused(api, photos, limit):
    assert failure(lambda: api.search(by_content(photos, 1, limit=limit))) == ("INVALID_ARGUMENT", "BAD_LIMIT")


def test_more_than_a_hundred_matches_cannot_have_pictures(api, photos):
    request = by_content(photos, 1, limit=101, overlays={})
    assert failure(lambda: api.search(request)) == ("INVALID_ARGUMENT", "BAD_LIMIT")


@pytest.mark.parametrize(
    "vector",
    [
        [],
        [1.0],
        [0.0] * DIMENSIONS,
        [float("nan")] + [1.0] * (DIMENSIONS - 1),
        [float("inf")] * DIMENSIONS,
        [1.0] * (DIMENSIONS + 1),
    ],
)
def test_a_bad_vector_is_refused(api, photos, vector):
    assert failure(lambda: api.search(by_vector(photos, vector))) == ("INVALID_ARGUMENT", "BAD_VECTOR")


def test_an_unknown_label_is_not_found_however_long(api, photos):
    for label in ("neither", "ä" * 10_000):
        assert failure(lambda label=label: api.search(by_content(photos, 1, labels=[label]))) == (
            "NOT_FOUND",
            "UNKNOWN_LABEL",
        )


def test_a_thousand_labels_are_enough(api, photos):
    many = by_content(photos, 1, labels=["even"] * 1001)
    assert failure(lambda: api.search(many)) == ("INVALID_ARGUMENT", "BAD_REQUEST")
    assert len(api.search(by_content(photos, 1, labels=["even"] * 1000)).matches) == 6


def test_a_query_that_vanishes_ends_the_search_though_a_match_has_its_name(model, embedder, embed, tmp_path):
    class Vanishing(Images):
        """The query, a stored image of another gallery, is deleted before its picture is drawn."""

        async def content(self, source):
            raise UnknownImage(source.image, "default")

    with Galleries(tmp_path, model) as galleries:
        for name in ("queries", "matches"):
            galleries.create(name).add([NewImage("a", png(1), embed(png(1)))])
        servicer = SearchServicer(Vanishing(galleries, embedder), SearchBatcher(), max_limit=10)
        query = {"image": "galleries/queries/images/a"}
        request = SearchRequest(parent="galleries/matches", image=query, overlays={})
        with pytest.raises(UnknownImage):
            asyncio.run(asyncio.wait_for(servicer.Search(request, None), 20))


@pytest.mark.parametrize("query", [{}, {"image": {}}, {"overlays": {"size_px": 2049}, "image": {"content": b"x"}}])
def test_a_request_without_a_query_or_with_huge_pictures_is_refused(api, photos, query):
    assert failure(lambda: api.search(SearchRequest(parent=photos, **query))) == ("INVALID_ARGUMENT", "BAD_REQUEST")


def test_what_is_not_there_is_not_found(api, photos):
    unknown = SearchRequest(parent=photos, image={"image": f"{photos}/images/no"})
    assert failure(lambda: api.search(unknown)) == ("NOT_FOUND", "UNKNOWN_IMAGE")
    assert failure(lambda: api.search(by_content("galleries/no", 1))) == ("NOT_FOUND", "UNKNOWN_GALLERY")


def test_searches_at_the_same_time_find_what_each_finds_alone(api, photos, embed):
    requests = [by_vector(photos, embed(png(n)).embedding, limit=4) for n in range(40)]
    alone = [api.search(request) for request in requests]
    together = [future.result() for future in [api.search.future(request) for request in requests]]
    for one, other in zip(alone, together, strict=True):
        assert names(one) == names(other)
        np.testing.assert_allclose(
            [match.score for match in one.matches], [match.score for match in other.matches], atol=1e-6
        )


class CountingGallery:
    """Answers each query with its first value, after the test has let it."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.may_answer = threading.Event()

    def search(self, embeddings, limit, labels):
        self.batches.append(len(embeddings))
        assert self.may_answer.wait(10)
        return [[float(row[0]), limit] for row in embeddings]


def test_searches_that_wait_go_together_and_each_gets_its_own_answer():
    gallery = CountingGallery()

    async def search_all() -> list[list[float]]:
        batcher = SearchBatcher()
        searches = asyncio.gather(
            *[batcher.search(gallery, np.full(2, n, np.float32), 5, EVERYTHING) for n in range(20)]
        )
        await asyncio.sleep(0)  # now all wait
        gallery.may_answer.set()
        return await searches

    assert asyncio.run(search_all()) == [[float(n), 5] for n in range(20)]
    assert sum(gallery.batches) == 20
    assert len(gallery.batches) <= 2


def test_a_cancelled_search_leaves_the_others_alone(model, tmp_path):
    gallery = CountingGallery()

    async def search() -> list[float]:
        batcher = SearchBatcher()
        tasks = [asyncio.create_task(batcher.search(gallery, np.full(2, n, np.float32), 5, ())) for n in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        gallery.may_answer.set()
        return (await asyncio.gather(*tasks, return_exceptions=True))[2]

    assert asyncio.run(search()) == [2.0, 5]


def test_searches_that_wait_when_the_batcher_closes_get_their_answers():
    gallery = CountingGallery()

    async def search() -> list[list[float]]:
        batcher = SearchBatcher()
        searches = asyncio.gather(
            *[batcher.search(gallery, np.full(2, n, np.float32), 5, EVERYTHING) for n in range(9)]
        )
        await asyncio.sleep(0)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.05)
        gallery.may_answer.set()
        await closing
        return await searches

    assert asyncio.run(search()) == [[float(n), 5] for n in range(9)]


def test_an_error_reaches_every_search_of_the_batch(model, tmp_path):
    async def search(version: GalleryVersion) -> list[str]:
        batcher = SearchBatcher()
        searches = [batcher.search(version, np.ones(2, np.float32), 5, Selection(frozenset(["no"]))) for _ in range(3)]
        return [type(err).__name__ for err in await asyncio.gather(*searches, return_exceptions=True)]

    with Galleries(tmp_path, model) as galleries:
        assert asyncio.run(search(galleries.create("g").version)) == ["UnknownLabel"] * 3
