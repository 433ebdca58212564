"""What a gallery was at each generation, and how it changes."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whymatch.embed import BadRequest, TooFewImages, fit_centering
from whymatch.index import (
    BadName,
    Galleries,
    TagExists,
    TaggedGeneration,
    UnknownGeneration,
    UnknownImage,
    UnknownTag,
)

NAMES = ["a", "b", "c", "d"]


def center(gallery):
    for _ in gallery.set_head(lambda vectors, _: fit_centering(vectors)):
        pass


def replacing(image):
    return replace(image, replace=True)


def described(gallery, query):
    """All that can be read of a gallery, with scores to the last bit."""
    images = gallery.list_images()
    vector = gallery.version.head.embed(query)
    return (
        images,
        [gallery.content(image.name) for image in images],
        gallery.label_counts(),
        [(match.image.name, match.score) for match in gallery.version.search(vector[None], 10)[0]],
        [match.image.name for match in gallery.version.best_of_labels(vector, 10)],
        gallery.version.fingerprint,
        gallery.facts().image_count,
        gallery.facts().head,
    )


class Changes:
    """What can be done to a gallery, each by a name and a number."""

    def __init__(self, gallery, new_image):
        self._gallery, self._new_image = gallery, new_image

    def add(self, name, number):
        self._gallery.add([self._new_image(number, name, f"label {number % 2}")])

    def replace(self, name, number):
        self._gallery.add([replacing(self._new_image(number, name, f"label {number % 3}"))])

    def update(self, name, number):
        self._gallery.update(name, label=f"label {number}", metadata={"number": number})

    def delete(self, name, number):
        self._gallery.delete(name)

    def center(self, name, number):
        center(self._gallery)


@pytest.mark.hypothesis
@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "replace", "update", "delete", "center"]),
            st.sampled_from(NAMES),
            st.integers(0, 5),
        ),
        max_size=12,
    )
)
def test_every_generation_answers_as_it_did_then(tmp_path_factory, model, new_image, steps):
    query = new_image(77).features.pooled
    with Galleries(tmp_path_factory.mktemp("data"), model) as galleries:
        gallery = galleries.create("default")
        seen = {gallery.generation(): described(gallery, query)}
        for step, name, number in steps:
            with suppress(UnknownImage, TooFewImages):
                getattr(Changes(gallery, new_image), step)(name, number)
            seen[gallery.generation()] = described(gallery, query)
        for generation, then in seen.items():
            assert described(gallery.at(generation), query) == then
        kept = max(seen) // 2
        gallery.purge(kept)
        for generation, then in seen.items():
            if generation >= kept:
                assert described(gallery.at(generation), query) == then
        contents = {image.content_sha256 for then in seen for image in seen[then][0] if then >= kept}
        assert {path.name for path in (gallery._store.folder / "contents").glob("*/*")} == contents


def test_what_changes_nothing_makes_no_generation(gallery, new_image):
    gallery.add([new_image(1, label="x")])
    generation = gallery.generation()
    gallery.add([new_image(1, label="x"), new_image(2, "1.jpg")])
    gallery.update("1.jpg", label="x", metadata={})
    with pytest.raises(UnknownImage):
        gallery.delete("1.jpg", "nothing")
    assert gallery.generation() == generation
    assert gallery.get("1.jpg").label == "x"


def test_the_history_says_what_made_each_generation(gallery, new_image):
    gallery.add([new_image(1), new_image(2)])
    gallery.update("1.jpg", label="x")
    center(gallery)
    gallery.set_tag("audited", 3)
    gallery.delete("1.jpg")
    assert [(one.number, one.change, one.tags) for one in gallery.generations()] == [
        (4, "delete", ()),
        (3, "head", ("audited",)),
        (2, "update", ()),
        (1, "add", ()),
        (0, "create", ()),
    ]
    assert [one.number for one in gallery.generations(before=3, limit=2)] == [2, 1]


def test_an_update_keeps_the_vector_and_the_time_of_adding(gallery, new_image):
    gallery.add([new_image(1, label="x", year="2020")])
    before = gallery.get("1.jpg")
    after = gallery.update("1.jpg", metadata={"year": 2021, "draft": True, "weight": 0.5})
    assert (after.label, after.metadata) == ("x", {"year": 2021, "draft": True, "weight": 0.5})
    assert after.create_time == before.create_time < after.update_time
    assert gallery._images.ids_of((), ["1.jpg"]).tolist() == [1]
    assert gallery.get("1.jpg") == after


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1], 2**53 + 1])
def test_metadata_that_cannot_be_kept_is_refused_by_name(gallery, new_image, value):
    gallery.add([new_image(1)])
    with pytest.raises(BadRequest, match="'year'"):
        gallery.update("1.jpg", metadata={"year": value})
    assert gallery.get("1.jpg").metadata == {}


def test_true_is_no_one(gallery, new_image):
    gallery.add([new_image(1)])
    gallery.update("1.jpg", metadata={"draft": True})
    assert gallery.update("1.jpg", metadata={"draft": 1}).metadata["draft"] is not True
    assert gallery.generation() == 3


def test_an_image_takes_the_place_of_another(gallery, new_image):
    gallery.add([new_image(1, "a", "x"), new_image(2, "b")])
    changed, same, new = gallery.add(
        [replacing(image) for image in (new_image(3, "a", "y"), new_image(2, "b"), new_image(4, "c"))]
    )
    assert (changed.replaced, changed.image.label) == (True, "y")
    assert (same.unchanged, same.replaced, new.replaced) == (True, False, False)
    [[match]] = gallery.version.search(new_image(3).features.embedding[None], 1)
    assert match.image == gallery.get("a")
    assert gallery.version.search(new_image(1).features.embedding[None], 1)[0][0].score < 0.999
    assert gallery.content("a") == new_image(3).content
    assert gallery.facts().image_count == 3


def test_a_name_that_comes_twice_in_one_call_ends_as_the_last(gallery, new_image):
    gallery.add([replacing(new_image(seed, "a")) for seed in (1, 2, 3)])
    assert gallery.content("a") == new_image(3).content
    assert gallery._version._index._index.ntotal == 1


def test_deleting_several_is_one_generation(gallery, new_image):
    gallery.add([new_image(seed) for seed in range(4)])
    gallery.delete("1.jpg", "2.jpg", "1.jpg")
    assert [image.name for image in gallery.list_images()] == ["0.jpg", "3.jpg"]
    assert gallery.generation() == 2


def test_generations_that_are_not_kept_are_named(gallery, new_image):
    gallery.add([new_image(1)])
    gallery.add([new_image(2)])
    gallery.purge(1)
    for generation in (-1, 0, 3):
        with pytest.raises(UnknownGeneration, match="1 to 2"):
            gallery.at(generation)
    with pytest.raises(UnknownGeneration):
        gallery.purge(3)


def test_a_tag_keeps_its_generation(gallery, new_image):
    gallery.add([new_image(1)])
    gallery.set_tag("audited", 0)
    gallery.set_tag("audited", 0)
    assert gallery.tagged("audited") == 0
    with pytest.raises(TagExists, match="generation 0"):
        gallery.set_tag("audited", 1)
    with pytest.raises(TaggedGeneration, match="'audited'"):
        gallery.purge(1)
    gallery.remove_tag("audited")
    gallery.purge(1)
    with pytest.raises(UnknownTag):
        gallery.tagged("audited")
    for name in ("7", "", "Audit"):
        with pytest.raises(BadName):
            gallery.set_tag(name, 1)


@pytest.mark.parametrize("factory", ["auto", "HNSW16", "IVF2,Flat"])
def test_what_is_erased_is_nowhere(galleries, new_image, tmp_path, factory):
    gallery = galleries.create("default", index_factory=factory)
    gallery.add([new_image(seed) for seed in range(200, 280)])
    secret = new_image(1, "secret.jpg", "person", note="very secret")
    gallery.add([secret, new_image(2)])
    gallery.add([new_image(1, "copy.jpg")])
    gallery.delete("secret.jpg")
    gallery.derived_file("something").write_bytes(b"made of it")
    gallery.at(1).version.search(secret.features.embedding[None], 1)
    assert gallery.erase("secret.jpg") == ["copy.jpg", "secret.jpg"]
    for generation in range(gallery.generation() + 1):
        then = gallery.at(generation)
        assert "secret.jpg" not in [image.name for image in then.list_images()]
        [found] = then.version.search(secret.features.embedding[None], 3)
        assert all(match.score < 0.999 for match in found)
    with pytest.raises(UnknownImage):
        gallery.erase("secret.jpg")
    gallery.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    vectors = secret.features.pooled.tobytes(), secret.features.embedding.tobytes()
    for trace in (b"secret", b"bytes 1", b"made of it", *vectors):
        assert trace not in kept
    assert new_image(2).features.pooled.tobytes() in kept
    assert new_image(2).features.embedding.tobytes() in kept


def test_a_search_among_older_ones_follows_what_is_added_since(gallery, new_image):
    gallery.add([new_image(1)])
    assert len(gallery.at(1).version.search(np.ones((1, 512), np.float32), 9)[0]) == 1
    gallery.add([new_image(2), new_image(3)])
    gallery.delete("1.jpg")
    assert [len(gallery.at(one).version.search(np.ones((1, 512), np.float32), 9)[0]) for one in (1, 2, 3)] == [1, 3, 2]


def test_concurrent_updates_all_happen_and_fail_alone(gallery, new_image):
    gallery.add([new_image(number) for number in range(8)])

    def update(number: int) -> str:
        try:
            return gallery.update(f"{number % 9}.jpg", metadata={f"key {number}": number}).name
        except UnknownImage:
            return "unknown"

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(update, range(90)))
    assert done == ["unknown" if number % 9 == 8 else f"{number % 9}.jpg" for number in range(90)]
    assert gallery.generation() <= 1 + 80
    for number in range(8):
        [(key, value)] = gallery.get(f"{number}.jpg").metadata.items()
        assert key == f"key {value}"
        assert value % 9 == number
    gallery.update("0.jpg", label="new")
    before = gallery.at(gallery.generation() - 1)
    assert before.get("0.jpg").label == ""
