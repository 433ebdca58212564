from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from whymatch.embed import BadRequest, load_model
from whymatch.embed.pooling import Pooling
from whymatch.index import (
    Added,
    BadIndexFactory,
    BadName,
    Galleries,
    GalleryExists,
    ImageExists,
    ModelMismatch,
    Selection,
    UnknownGallery,
    UnknownImage,
    UnknownLabel,
    content_digest,
)


def names(matches):
    return [match.image.name for match in matches]


def test_an_added_image_comes_back_whole(gallery, new_image):
    image = new_image(1, "cat.jpg", "cat", source="camera")
    [added] = gallery.add([image])
    stored = gallery.get("cat.jpg")
    assert added == Added(stored)
    assert (stored.label, stored.metadata, stored.width_px, stored.height_px) == ("cat", {"source": "camera"}, 40, 30)
    assert stored.size_bytes == len(image.content)
    assert gallery.content("cat.jpg") == image.content
    assert gallery.facts().image_count == 1


def test_stored_features_are_the_added_ones_to_half_precision(gallery, new_image):
    image = new_image(1)
    gallery.add([image])
    [features] = gallery.features(["1.jpg"])
    assert np.array_equal(features.pooled, image.features.pooled)
    assert np.allclose(features.feature_map, image.features.feature_map, rtol=1e-3, atol=1e-6)
    assert np.allclose(features.contributions().sum(axis=(0, 1)), image.features.embedding, atol=1e-6)
    assert features.placement == image.features.placement


def test_a_read_that_fails_lets_the_next_one_go_on(gallery, new_image, monkeypatch):
    gallery.add([new_image(1)])
    monkeypatch.setattr("whymatch.index.stored_images.expand", lambda stored: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught, ThreadPoolExecutor(1) as pool:
        pool.submit(gallery.features, ["1.jpg"]).result()
    assert gallery.get("1.jpg").name == "1.jpg"
    assert caught.value  # is kept until here, and its frames with it


def test_search_is_the_brute_force_order(gallery, new_image):
    images = [new_image(seed) for seed in range(50)]
    gallery.add(images)
    queries = np.stack([new_image(seed).features.embedding for seed in (100, 101, 102, 103, 104)])
    embeddings = np.stack([image.features.embedding for image in images])
    for count in (1, 5):  # one by one, and as one matrix product
        for query, matches in zip(queries[:count], gallery.version.search(queries[:count], 10), strict=True):
            scores = embeddings @ query
            assert names(matches) == [images[i].name for i in np.argsort(-scores)[:10]]
            assert np.allclose([match.score for match in matches], np.sort(scores)[::-1][:10], atol=1e-6)


@pytest.mark.parametrize("factory", ["auto", "Flat", "HNSW16", "IVF2,Flat", "PQ8"])
def test_every_kind_of_index_finds_labels_exactly_and_forgets_what_is_deleted(galleries, new_image, factory):
    gallery = galleries.create("other", index_factory=factory)
    images = [new_image(seed, label="even" if seed % 2 == 0 else "odd") for seed in range(100)]
    gallery.add(images)
    query = images[10].features.embedding[None]
    assert names(gallery.version.search(query, 1)[0]) == ["10.jpg"]
    odd = [image for image in images if image.label == "odd"]
    best = max(odd, key=lambda image: float(image.features.embedding @ query[0]))
    [matches] = gallery.version.search(query, 3, Selection(frozenset(["odd"])))
    assert matches[0].image.name == best.name
    assert {match.image.label for match in matches} == {"odd"}
    gallery.delete("10.jpg")
    assert "10.jpg" not in names(gallery.version.search(query, 99)[0])


@pytest.mark.parametrize("factory", ["auto", "Flat", "HNSW16", "IVF2,Flat", "PQ8"])
@pytest.mark.parametrize("copies", [1, 30])
@pytest.mark.parametrize("labels", [frozenset(), frozenset(["odd"])])
def test_every_kind_of_index_leaves_out_all_copies_of_an_image(galleries, new_image, factory, copies, labels):
    gallery = galleries.create("other", index_factory=factory)
    own, others = new_image(0), [new_image(seed, label=("even", "odd")[seed % 2]) for seed in range(1, 80)]
    gallery.add([*others, *(replace(own, name=f"copy {n}", label="odd") for n in range(copies))])
    queries = np.stack([own.features.embedding, others[7].features.embedding])
    selection = Selection(labels, frozenset([content_digest(own.content)]))
    for limit in (1, 5, 200):
        for query, found in zip(queries, gallery.version.search(queries, limit, selection), strict=True):
            expected = [one for one in others if one.label in (labels or ("even", "odd"))]
            expected.sort(key=lambda one: -float(one.features.embedding @ query))
            assert names(found) == [one.name for one in expected[:limit]]


@pytest.mark.parametrize("factory", ["HNSW16", "IVF2,Flat", "PCA8,IVF2,Flat", "Flat"])
def test_every_survivor_of_many_deletions_finds_itself(tmp_path, model, new_image, factory):
    images = [new_image(seed) for seed in range(120)]
    gone = {image.name for image in images[:3] + images[40:90]}
    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.create("other", index_factory=factory)
        gallery.add(images)
        for name in gone:
            gallery.delete(name)
    for _ in range(2):  # after the changes, and after the saved file was read
        with Galleries(tmp_path, model) as galleries:
            gallery = galleries.open("other")
            for image in images:
                if image.name not in gone:
                    assert names(gallery.version.search(image.features.embedding[None], 1)[0]) == [image.name]
            assert len(gallery.version.search(images[0].features.embedding[None], 67)[0]) == 67


class OutOfMemory:
    """An index that has no memory for some of its methods."""

    def __init__(self, index, *failing):
        self._index = index
        self._failing = failing

    def __getattr__(self, name):
        return self._fail if name in self._failing else getattr(self._index, name)

    def _fail(self, *_):
        raise MemoryError


def test_an_index_that_fails_is_built_anew_and_nothing_is_lost(gallery, new_image):
    gallery.add([new_image(1)])
    gallery.version._index = OutOfMemory(gallery.version._index, "add")
    [added] = gallery.add([new_image(2)])
    assert isinstance(added, Added)
    assert names(gallery.version.search(new_image(2).features.embedding[None], 1)[0]) == ["2.jpg"]


def test_an_index_that_could_not_be_built_is_neither_searched_nor_saved(tmp_path, model, new_image):
    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.create("default", index_factory="Flat")
        gallery.add([new_image(1)])
        gallery.version._index = OutOfMemory(gallery.version._index, "add", "rebuild")
        with pytest.raises(MemoryError):
            gallery.add([new_image(2)])
        with pytest.raises(MemoryError):
            gallery.version.search(new_image(1).features.embedding[None], 1)
    with Galleries(tmp_path, model) as galleries:
        [matches] = galleries.open("default").version.search(new_image(2).features.embedding[None], 1)
        assert names(matches) == ["2.jpg"]


def test_tiny_and_huge_activations_keep_their_precision(gallery, new_image):
    for seed, scale in enumerate([1e-12, 1e12]):
        image = new_image(seed)
        alpha = image.features.feature_map * np.float32(scale)
        features = replace(image.features, feature_map=alpha, pooled=Pooling().pool(alpha))
        gallery.add([replace(image, features=features)])
        [stored] = gallery.features([image.name])
        assert np.allclose(stored.feature_map, alpha, rtol=1e-3)


def test_approximate_scores_are_exact(galleries, new_image):
    gallery = galleries.create("graph", index_factory="HNSW16")
    images = [new_image(seed) for seed in range(60)]
    gallery.add(images)
    query = new_image(100).features.embedding
    for match in gallery.version.search(query[None], 5)[0]:
        image = next(image for image in images if image.name == match.image.name)
        assert match.score == pytest.approx(float(image.features.embedding @ query), abs=1e-6)


def test_a_factory_that_needs_training_is_flat_until_there_is_enough(galleries, new_image):
    gallery = galleries.create("lists", index_factory="IVF2,Flat")
    gallery.add([new_image(seed) for seed in range(77)])
    assert gallery.version._index._kind == "Flat"
    gallery.add([new_image(77)])
    assert gallery.version._index._kind == "IVF2,Flat"  # 78 = 39 x 2
    assert names(gallery.version.search(new_image(5).features.embedding[None], 1)[0]) == ["5.jpg"]


def test_several_labels_are_any_of_them(gallery, new_image):
    gallery.add([new_image(seed, label=label) for seed, label in enumerate("abc")])
    query = new_image(0).features.embedding[None]
    assert {match.image.label for match in gallery.version.search(query, 10, Selection(frozenset("ac")))[0]} == {
        "a",
        "c",
    }


def test_an_unknown_label_says_so(gallery, new_image):
    gallery.add([new_image(1, label="cat")])
    with pytest.raises(UnknownLabel, match="'dog'"):
        gallery.version.search(new_image(1).features.embedding[None], 1, Selection(frozenset(["cat", "dog"])))


def test_an_empty_gallery_finds_nothing(gallery, new_image):
    assert gallery.version.search(new_image(1).features.embedding[None], 5) == [[]]


def test_the_same_image_again_changes_nothing(gallery, new_image):
    image = new_image(1, label="cat")
    gallery.add([image])
    [again] = gallery.add([image])
    assert again.unchanged
    assert gallery.unchanged(image.name, image.content, "cat", {}) == again
    assert gallery.unchanged(image.name, image.content, "dog", {}) is None
    assert len(gallery.version.search(image.features.embedding[None], 5)[0]) == 1


def test_a_name_is_not_given_to_another_image(gallery, new_image):
    gallery.add([new_image(1, "cat.jpg")])
    [error] = gallery.add([new_image(2, "cat.jpg")])
    assert isinstance(error, ImageExists)
    assert gallery.content("cat.jpg") == new_image(1).content


def test_two_images_of_one_name_in_one_batch(gallery, new_image):
    first, second, third = gallery.add([new_image(1, "a"), new_image(2, "a"), new_image(3, "b")])
    assert isinstance(first, Added)
    assert isinstance(second, ImageExists)
    assert isinstance(third, Added)
    assert [image.name for image in gallery.list_images()] == ["a", "b"]


def test_duplicate_content_is_recognized_and_stored_once(gallery, new_image, tmp_path):
    gallery.add([new_image(1, "a.jpg")])
    [twin] = gallery.add([new_image(1, "b.jpg")])
    assert twin.duplicate_of == "a.jpg"
    assert len(list((tmp_path / "data/galleries/default/contents").glob("*/*"))) == 1
    gallery.delete("a.jpg")
    gallery.purge(gallery.generation())
    assert gallery.content("b.jpg") == new_image(1).content
    gallery.delete("b.jpg")
    gallery.purge(gallery.generation())
    assert not list((tmp_path / "data/galleries/default/contents").glob("*/*"))


def test_a_deleted_name_can_be_used_again(gallery, new_image):
    gallery.add([new_image(1, "a")])
    gallery.delete("a")
    with pytest.raises(UnknownImage, match="'a'"):
        gallery.get("a")
    gallery.add([new_image(2, "a")])
    assert names(gallery.version.search(new_image(2).features.embedding[None], 5)[0]) == ["a"]


def test_an_unknown_image_among_others_says_so(gallery, new_image):
    gallery.add([new_image(1)])
    with pytest.raises(UnknownImage, match="nothing"):
        gallery.features(["1.jpg", "nothing"])


@pytest.mark.parametrize("ask", ["get", "delete", "content"])
def test_an_unknown_image_says_so(gallery, ask):
    with pytest.raises(UnknownImage, match="whymatch list"):
        getattr(gallery, ask)("nothing")


def test_the_embedding_of_an_unknown_image_says_so(gallery):
    with pytest.raises(UnknownImage, match="whymatch list"):
        gallery.version.embeddings(["nothing"])


def test_images_are_listed_by_name_in_pages(gallery, new_image):
    gallery.add([new_image(seed, name) for seed, name in enumerate("dbca")])
    page = gallery.list_images(limit=3)
    assert [image.name for image in page] == ["a", "b", "c"]
    assert [image.name for image in gallery.list_images(after="c", limit=3)] == ["d"]


NO_NAMES = ["", ".", "..", "a/b", "../a", "a\\b", "a\nb", "a\u202eb", "a\u2028", "\x00", "\x7f", "x" * 256, "é" * 128]
NAMES = ["a", "a b.jpg", "é.png", "x" * 255, "..a", "panda~image_1.jpg", "日本.jpg", "9\u202fAM.png", "👩\u200d🚀"]


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_no_image_can_have(gallery, new_image, name):
    image = replace(new_image(1), name=name)
    [error] = gallery.add([image])
    assert isinstance(error, BadName)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_images_can_have(gallery, new_image, name):
    assert isinstance(gallery.add([new_image(1, name)])[0], Added)
    assert gallery.get(name).name == name


@pytest.mark.parametrize("image", [{"label": "x" * 256}, {"label": "a\nb"}, {"metadata": {"k": "x" * 20_000}}], ids=str)
def test_labels_and_metadata_have_limits(gallery, new_image, image):
    assert isinstance(gallery.add([replace(new_image(1), **image)])[0], BadRequest)


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", ".new-x", "a b", "é", "x" * 64, "-a"])
def test_names_that_no_gallery_can_have(galleries, name):
    with pytest.raises(BadName):
        galleries.create(name)
    with pytest.raises(BadName):
        galleries.open(name)


def test_galleries_are_made_listed_and_deleted(galleries, new_image):
    galleries.create("b", omit_feature_maps=True).add([new_image(1)])
    galleries.create("a", index_factory="HNSW8")
    facts = galleries.list_galleries()
    assert [(one.name, one.index_factory, one.omit_feature_maps, one.image_count) for one in facts] == [
        ("a", "HNSW8", False, 0),
        ("b", "auto", True, 1),
    ]
    with pytest.raises(GalleryExists):
        galleries.create("a")
    galleries.delete("a")
    with pytest.raises(UnknownGallery):
        galleries.open("a")
    with pytest.raises(UnknownGallery):
        galleries.delete("a")


def test_a_gallery_that_is_deleted_while_in_use_is_unknown(galleries, gallery, new_image):
    gallery.add([new_image(1)])
    galleries.delete("default")
    with pytest.raises(UnknownGallery):
        gallery.version.search(new_image(1).features.embedding[None], 1)
    with pytest.raises(UnknownGallery):
        gallery.add([new_image(2)])


NO_FACTORIES = ["Flatt", "", "IVF0,Flat", "HNSW0", "HNSW1", "HNSW100000000", "NSG16", "IDMap,Flat"]


@pytest.mark.parametrize("factory", NO_FACTORIES)
def test_an_impossible_factory_is_refused_and_leaves_nothing(galleries, factory):
    with pytest.raises(BadIndexFactory, match=repr(factory)):
        galleries.create("bad", index_factory=factory)
    assert galleries.list_galleries() == []


def test_feature_maps_can_be_left_out(galleries, new_image):
    gallery = galleries.create("slim", omit_feature_maps=True)
    gallery.add([new_image(1)])
    assert gallery.features(["1.jpg"]) == [None]
    assert np.allclose(gallery.version.embeddings(["1.jpg"])[0], new_image(1).features.embedding)


def test_another_model_is_refused_but_its_gallery_is_listed(tmp_path, model, new_image):
    with Galleries(tmp_path, model) as galleries:
        galleries.create("old").add([new_image(1)])
    with Galleries(tmp_path, load_model(pooling=Pooling("max"))) as galleries:
        with pytest.raises(ModelMismatch, match=model.fingerprint):
            galleries.open("old")
        assert [facts.model for facts in galleries.list_galleries()] == [model.fingerprint]
        galleries.create("new")


def test_rounding_makes_no_new_ties_in_a_max_pooled_map(tmp_path, new_image):
    model = load_model(pooling=Pooling("max"))
    feature_map = np.full((1, 2, model.dimensions), 1000, np.float32)
    feature_map[0, 1] = 1000.1  # both are 1000 in float16
    image = new_image(1)
    features = replace(image.features, feature_map=feature_map, pooled=feature_map[0, 1], pooling=model.pooling)
    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.create("max")
        gallery.add([replace(image, features=features)])
        [features] = gallery.features([image.name])
        contributions = features.contributions()
    assert not contributions[0, 0].any()
    assert np.allclose(contributions[0, 1], features.embedding)


def test_deleting_a_gallery_that_is_busy_keeps_no_other_waiting(galleries, gallery, new_image):
    galleries.create("other").add([new_image(1)])
    with ThreadPoolExecutor() as threads:
        with gallery._adding:  # as while an index is built
            deleting = threads.submit(galleries.delete, "default")
            assert threads.submit(galleries.describe, "other").result(10).image_count == 1
            assert threads.submit(galleries.create, "third").result(10).name == "third"
            assert threads.submit(lambda: len(galleries.list_galleries())).result(10) == 3
            assert not deleting.done()
        deleting.result(10)
    assert [facts.name for facts in galleries.list_galleries()] == ["other", "third"]
    with pytest.raises(UnknownGallery):
        galleries.open("default")
