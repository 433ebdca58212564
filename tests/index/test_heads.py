"""Heads: new versions of a gallery's embeddings, made of what it stores, while the version before goes on serving."""

import gc
import sqlite3
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from small_weights import DIMENSIONS

from whymatch.embed import (
    NO_HEAD,
    BadHead,
    Progress,
    TooFewImages,
    fit_centering,
    fit_whitening,
    linear_head,
    load_model,
)
from whymatch.embed.pooling import Pooling
from whymatch.index import (
    EVERYTHING,
    BadIndexFactory,
    Galleries,
    ModelMismatch,
    NewImage,
    Selection,
    StorageFull,
    UnknownGallery,
)

CHANNELS = DIMENSIONS


def none(batches, channels):
    return iter([Progress("vectors", 0, 0, NO_HEAD)])


def centering(batches, channels):
    return fit_centering(batches)


def whitening(dimensions=None):
    return lambda batches, channels: fit_whitening(batches, channels, dimensions)


def linear(weight, bias=None):
    return lambda batches, channels: iter([Progress("vectors", 0, 0, linear_head(weight, bias, channels))])


def random_layer(dimensions, seed=0):
    """A layer that leaves no two images alike."""
    random = np.random.default_rng(seed)
    return linear(random.normal(size=(dimensions, CHANNELS)).astype(np.float32), np.ones(dimensions, np.float32))


FITTINGS = {"none": none, "centering": centering, "whitening": whitening(12), "linear": random_layer(12)}


@pytest.fixture(params=FITTINGS.values(), ids=FITTINGS.keys())
def fitting(request):
    return request.param


@pytest.fixture
def images(new_image):
    return [new_image(seed, label=("even", "odd")[seed % 2]) for seed in range(20)]


@pytest.fixture
def filled(gallery, images):
    """A gallery of 20 images."""
    gallery.add(images)
    return gallery


@pytest.fixture
def image_of(new_image):
    """Make an image whose first pooled values are given; the others are 0."""

    def make(name: str, *first: float) -> NewImage:
        feature_map = np.zeros((1, 1, CHANNELS), np.float32)
        feature_map[..., : len(first)] = first
        image = new_image(0, name)
        features = replace(image.features, feature_map=feature_map, pooled=Pooling().pool(feature_map))
        return replace(image, content=name.encode(), features=features)

    return make


def set_head(gallery, fitting) -> list[int]:
    return list(gallery.set_head(fitting))


def pooled(images):
    return np.stack([image.features.pooled for image in images]).astype(float)


def scaled(vectors):
    """The slow, obvious way to length 1, in double precision."""
    return np.stack([vector / np.sqrt((vector**2).sum()) for vector in vectors])


def names(images) -> list[str]:
    return [image.name for image in images]


def found(version, queries, limit, selection=EVERYTHING):
    """Names and scores of the matches of each query."""
    return [
        [(match.image.name, match.score) for match in matches] for matches in version.search(queries, limit, selection)
    ]


def assert_same(these, those) -> None:
    """Compare what was found; the scores to rounding."""
    for some, others in zip(these, those, strict=True):
        assert [name for name, _ in some] == [name for name, _ in others]
        assert np.allclose([score for _, score in some], [score for _, score in others], atol=1e-6)


def finds_each(version, images) -> bool:
    """Whether each image finds itself, and nothing else, with the score 1."""
    matches = version.search(version.embeddings(names(images)), 1)
    scores = [match.score for [match] in matches]
    return [match.image.name for [match] in matches] == names(images) and np.allclose(scores, 1, atol=1e-5)


def facts_of_head(gallery):
    """What must not change when a head is not set."""
    stored = gallery.facts().head
    return gallery.version, gallery.facts().fingerprint, stored and (stored.version, stored.image_count)


# What a head makes of the embeddings


def test_centered_embeddings_are_the_pooled_vectors_less_their_mean(filled, images):
    assert set_head(filled, centering)[-1] == 20
    vectors = pooled(images)
    expected = scaled(vectors - sum(vectors) / 20)
    assert np.allclose(filled.version.embeddings(names(images)), expected, atol=1e-5)
    assert filled.version.dimensions == CHANNELS


def test_whitened_vectors_have_the_mean_0_and_the_variance_1_in_every_direction(filled, images):
    set_head(filled, whitening(12))
    projected = filled.version.head.project(pooled(images).astype(np.float32)).astype(float)
    assert projected.shape == (20, 12)
    assert np.allclose(projected.mean(axis=0), 0, atol=1e-4)
    assert np.allclose(projected.T @ projected / 20, np.eye(12), atol=1e-3)  # the ridge takes up to 1e-4 / share
    assert np.allclose(filled.version.embeddings(names(images)), scaled(projected), atol=1e-5)


def test_whitening_turns_to_the_directions_in_which_images_vary(gallery, image_of):
    """Four images at 5 +- 3 and 5 +- 1: the variances are 9 and 1, so the ridge is 0.0009."""
    corners = {"++": (8, 6), "+-": (8, 4), "-+": (2, 6), "--": (2, 4)}
    gallery.add([image_of(name, *values) for name, values in corners.items()])
    set_head(gallery, whitening(2))
    projected = gallery.version.head.project(np.stack(gallery.pooled(list(corners))))
    first, second = 3 / 9.0009**0.5, 1 / 1.0009**0.5
    expected = [[first, second], [first, -second], [-first, second], [-first, -second]]
    assert np.allclose(projected, expected, atol=1e-5)


def test_a_given_layer_is_applied_as_it_is(filled, images):
    weight = np.random.default_rng(1).normal(size=(3, CHANNELS)).astype(np.float32)
    bias = np.array([1, -2, 3], np.float32)
    assert set_head(filled, linear(weight, bias)) == [0]
    expected = scaled(pooled(images) @ weight.T.astype(float) + bias)
    assert np.allclose(filled.version.embeddings(names(images)), expected, atol=1e-5)
    assert filled.facts().head.image_count == 0


def test_none_goes_back_to_the_embeddings_before(filled, images, model):
    before = filled.version.embeddings(names(images))
    set_head(filled, whitening(5))
    assert filled.version.embeddings(names(images)).shape == (20, 5)
    set_head(filled, none)
    assert np.array_equal(filled.version.embeddings(names(images)), before)
    assert filled.version.fingerprint == filled.facts().fingerprint == model.fingerprint
    assert filled.facts().head is None


@pytest.mark.parametrize(
    ("image_count", "asked", "dimensions"),
    [(2, None, 1), (3, None, 1), (20, None, 5), (512, None, 128), (20, 7, 7), (20, 19, 19)],
)
def test_whitening_keeps_a_direction_for_four_images_unless_told(galleries, new_image, image_count, asked, dimensions):
    gallery = galleries.create("counted", omit_feature_maps=True)
    gallery.add([new_image(seed) for seed in range(image_count)])
    set_head(gallery, whitening(asked))
    stored = gallery.facts().head
    assert (stored.kind, stored.dimensions, stored.image_count) == ("whitening", dimensions, image_count)
    assert gallery.version.dimensions == dimensions


def test_the_fingerprint_tells_heads_apart_and_knows_the_same_one_again(filled, model):
    seen = []
    for one in (centering, whitening(5), whitening(6), random_layer(5), random_layer(5, seed=1), centering):
        set_head(filled, one)
        assert filled.version.fingerprint == filled.facts().fingerprint
        assert filled.facts().model == model.fingerprint
        seen.append(filled.version.fingerprint)
    assert seen[0] == seen[-1]
    assert len({model.fingerprint, *seen}) == 6


# Search through a head


@pytest.mark.parametrize("factory", ["auto", "HNSW16", "IVF2,Flat"])
def test_search_is_the_brute_force_order_behind_the_head(galleries, new_image, fitting, factory):
    images = [new_image(seed) for seed in range(80)]  # 78 train two cells
    gallery = galleries.create("ordered", index_factory=factory, omit_feature_maps=True)
    gallery.add(images)
    set_head(gallery, fitting)
    assert gallery.version._index._kind == ("Flat" if factory == "auto" else factory)
    queries = gallery.version.head.embed(np.stack([new_image(seed).features.pooled for seed in range(80, 85)]))
    scores = queries @ gallery.version.embeddings(names(images)).T
    for count in (1, 5):  # one by one, and as one matrix product
        for matches, row in zip(found(gallery.version, queries[:count], 5), scores, strict=False):
            best = np.argsort(-row)[:5]
            assert [name for name, _ in matches] == [images[place].name for place in best]
            assert np.allclose([score for _, score in matches], row[best], atol=1e-6)


def test_labels_are_searched_and_drawn_behind_the_head(filled, images, fitting):
    set_head(filled, fitting)
    version = filled.version
    odd = images[1::2]
    [matches] = found(version, version.embeddings(["3.jpg"]), 20, Selection(frozenset(["odd"])))
    assert sorted(name for name, _ in matches) == sorted(names(odd))
    best = version.best_of_labels(version.embeddings(["3.jpg"])[0], 2)
    assert best[0].image.name == "3.jpg"
    assert best[1].image.label == "even"
    assert np.allclose(version.label_embeddings("odd"), version.embeddings(names(odd)), atol=1e-6)
    first, second = version.labeled_pairs(30, seed=1)
    assert first.shape == second.shape == (30, version.dimensions)
    assert np.allclose(np.linalg.norm(first, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("factory", ["PQ8", "IVF2,PQ8"])
def test_a_factory_that_cannot_be_built_for_the_dimensions_leaves_the_old_version(galleries, images, factory):
    gallery = galleries.create("codes", index_factory=factory)
    gallery.add(images)
    set_head(gallery, whitening(16))
    before = facts_of_head(gallery)
    with pytest.raises(BadIndexFactory, match=f"'{factory}' for 12 dimensions"):
        set_head(gallery, whitening(12))
    assert facts_of_head(gallery) == before
    assert finds_each(gallery.version, images)


def test_images_are_added_to_and_deleted_from_the_new_version(filled, images, new_image, fitting):
    set_head(filled, fitting)
    more = [new_image(seed) for seed in range(20, 25)]
    filled.add(more)
    assert finds_each(filled.version, images + more)
    vectors = filled.version.embeddings(["3.jpg", "22.jpg"])
    for name in ("3.jpg", "22.jpg"):
        filled.delete(name)
    assert not {"3.jpg", "22.jpg"} & {name for matches in found(filled.version, vectors, 30) for name, _ in matches}
    assert filled.facts().image_count == 23
    assert filled.facts().head is None or filled.facts().head.image_count in (0, 20)  # it was fitted before


@pytest.mark.parametrize("factory", ["auto", "HNSW16"])
def test_the_old_version_answers_as_ever_but_for_what_is_deleted(galleries, images, new_image, fitting, factory):
    gallery = galleries.create("older", index_factory=factory)
    gallery.add(images)
    set_head(gallery, fitting)
    old, queries = gallery.version, gallery.version.embeddings(["3.jpg", "4.jpg"])
    fingerprint, before = old.fingerprint, found(old, queries, 10)
    set_head(gallery, whitening(7))
    assert gallery.version is not old
    assert_same(found(old, queries, 10), before)
    gallery.add([new_image(seed) for seed in range(20, 25)])
    assert_same(found(old, queries, 10), before)
    gallery.delete("4.jpg")
    for now, then in zip(found(old, queries, 10), before, strict=True):
        kept = [match for match in then if match[0] != "4.jpg"]
        assert_same([now[: len(kept)]], [kept])
        assert not {name for name, _ in now} & {"4.jpg", *(f"{seed}.jpg" for seed in range(20, 25))}
    assert old.fingerprint == fingerprint
    assert np.allclose(old.embeddings(["3.jpg"]), queries[:1], atol=1e-6)


def test_an_index_of_other_dimensions_does_not_change_how_one_vector_is_searched(galleries, images, new_image):
    """A scan, which is faster for one query than a matrix product; their roundings differ."""
    plain, short = galleries.create("plain"), galleries.create("short")
    for gallery in (plain, short):
        gallery.add(images)
    queries = [new_image(seed).features.embedding[None] for seed in range(20)]
    before = [found(plain.version, query, 20) for query in queries]
    set_head(short, random_layer(7))
    assert [found(plain.version, query, 20) for query in queries] == before


def test_an_old_version_is_let_go_when_nobody_holds_it(filled):
    old = weakref.ref(filled.version)
    set_head(filled, centering)
    gc.collect()
    assert old() is None


# While it is fitted


def in_pieces(fitting):
    """Fit to the same vectors, a quarter at a time, so that there are several steps."""
    return lambda batches, channels: fitting(np.array_split(next(iter(batches)), 4), channels)


def test_the_old_version_serves_until_the_last_step_and_what_is_added_meanwhile_is_in_the_new_one(
    filled, images, new_image, model
):
    old, more = filled.version, [new_image(seed) for seed in range(20, 23)]
    steps = filled.set_head(in_pieces(whitening(7)))
    for number, added in enumerate(more):
        assert next(steps) == 5 * (number + 1)
        filled.add([added])
        assert filled.version is old
        assert finds_each(filled.version, images + more[: number + 1])
    filled.delete("0.jpg")
    assert list(steps) == [20, 20]
    assert filled.facts().head.image_count == 20
    assert filled.version.dimensions == 7
    assert finds_each(filled.version, images[1:] + more)
    assert len(filled.version.search(filled.version.embeddings(["1.jpg"]), 30)[0]) == 22


def test_a_head_that_is_given_up_changes_nothing(filled, images):
    set_head(filled, centering)
    before, generation = facts_of_head(filled), filled._store.generation()
    for taken in range(1, 6):  # 4 pieces, and the head itself
        steps = filled.set_head(in_pieces(whitening(7)))
        assert len([next(steps) for _ in range(taken)]) == taken
        steps.close()
    filled.set_head(whitening(7))  # never begun
    assert facts_of_head(filled) == before
    assert filled._store.generation() == generation
    assert finds_each(filled.version, images)


def test_a_fit_that_breaks_changes_nothing(filled):
    def breaking(batches, channels):
        yield Progress("vectors", count := len(next(iter(batches))), count)
        raise MemoryError

    before = facts_of_head(filled)
    with pytest.raises(MemoryError):
        set_head(filled, breaking)
    assert facts_of_head(filled) == before


def test_of_two_heads_at_once_the_last_to_end_stays(filled, images):
    slow, fast = filled.set_head(in_pieces(centering)), filled.set_head(in_pieces(whitening(7)))
    next(slow)
    assert list(fast)[-1] == list(slow)[-1] == 20
    assert (filled.facts().head.kind, filled.facts().head.version) == ("centering", 2)
    assert finds_each(filled.version, images)


def test_a_gallery_that_is_deleted_while_a_head_is_fitted_is_unknown(galleries, filled):
    steps = filled.set_head(in_pieces(centering))
    next(steps)
    galleries.delete("default")
    with pytest.raises(UnknownGallery):
        list(steps)


def test_searching_and_adding_go_on_while_heads_are_set(filled, images, new_image):
    more = [new_image(seed) for seed in range(20, 40)]
    done = threading.Event()

    def search() -> int:
        count = 0
        while not done.is_set():
            assert finds_each(filled.version, images)
            count += 1
        return count

    def add() -> None:
        for image in more:
            filled.add([image])

    with ThreadPoolExecutor(3) as pool:
        searching = [pool.submit(search) for _ in range(2)]
        adding = pool.submit(add)
        try:
            for one in FITTINGS.values():
                set_head(filled, one)
            adding.result()
        finally:
            done.set()
        assert all(search.result() for search in searching)
    assert finds_each(filled.version, images + more)
    assert len(filled.version.search(filled.version.embeddings(["0.jpg"]), 99)[0]) == 40


# What cannot be


TOO_FEW = {
    "no image": ([], centering, "two images that differ; the gallery has 0"),
    "no image to whiten": ([], whitening(), "two images that differ; the gallery has 0"),
    "one image": ([1], centering, "two images that differ; the gallery has 1"),
    "one image to whiten": ([1], whitening(1), "two images that differ; the gallery has 1"),
    "the same image": ([1, 1, 1], centering, "has 3 that are the same to the model"),
    "the same image to whiten": ([1, 1, 1], whitening(), "has 3 that are the same to the model"),
    "as many dimensions as images": ([1, 2, 3, 4, 5, 6], whitening(6), "6 images span 5 directions, not 6"),
    "twins": ([1, 1, 2, 2, 3, 3], whitening(3), "6 images span 2 directions, not 3"),
}


@pytest.mark.parametrize(("seeds", "fitting", "said"), TOO_FEW.values(), ids=TOO_FEW.keys())
def test_too_few_images_leave_the_old_head(gallery, new_image, seeds, fitting, said):
    gallery.add([new_image(seed, f"image {number}") for number, seed in enumerate(seeds)])
    set_head(gallery, random_layer(12))
    before = facts_of_head(gallery)
    with pytest.raises(TooFewImages, match=said):
        set_head(gallery, fitting)
    assert facts_of_head(gallery) == before


NO_HEADS = {
    "too many dimensions": (whitening(CHANNELS + 1), f"{CHANNELS + 1} dimensions .* {CHANNELS}"),
    "too few channels": (
        linear(np.ones((2, CHANNELS - 1), np.float32)),
        f"2 rows of {CHANNELS - 1} values.* needs {CHANNELS}",
    ),
    "no rows": (linear(np.ones((0, CHANNELS), np.float32)), "0 rows"),
    "too many rows": (linear(np.ones((4097, CHANNELS), np.float32)), "4097 rows .* 4096"),
    "bias": (linear(np.ones((2, CHANNELS), np.float32), np.ones(3, np.float32)), "3 values and the weight 2 rows"),
    "nan": (linear(np.full((2, CHANNELS), np.nan, np.float32)), "not finite"),
    "infinite": (linear(np.ones((2, CHANNELS), np.float32), np.full(2, np.inf, np.float32)), "not finite"),
    "zeros": (linear(np.zeros((2, CHANNELS), np.float32)), "all zeros"),
}


@pytest.mark.parametrize(("fitting", "said"), NO_HEADS.values(), ids=NO_HEADS.keys())
def test_a_bad_head_leaves_the_old_one(filled, fitting, said):
    set_head(filled, centering)
    before = facts_of_head(filled)
    with pytest.raises(BadHead, match=said):
        set_head(filled, fitting)
    assert facts_of_head(filled) == before


@pytest.mark.parametrize("size", [1e-30, 1e-18, 1e18, 1e30])
def test_the_size_of_a_layer_does_not_matter_to_the_embeddings(filled, images, size):
    weight = np.random.default_rng(1).normal(size=(3, CHANNELS))
    set_head(filled, linear((weight * size).astype(np.float32), np.array([size] * 3, np.float32)))
    expected = scaled(pooled(images) @ weight.T + 1)
    assert np.allclose(filled.version.embeddings(names(images)), expected, atol=1e-5)


def test_black_images_are_found_without_any_nan(filled, images, image_of, fitting):
    filled.add([image_of("black"), image_of("black too")])
    set_head(filled, fitting)
    everything = [*names(images), "black", "black too"]
    embeddings = filled.version.embeddings(everything)
    lengths = np.linalg.norm(embeddings, axis=1)
    assert np.allclose(lengths[:20], 1, atol=1e-5)
    assert np.allclose(lengths[20:], 0 if filled.version.head.kind == "none" else 1, atol=1e-5)
    for matches in found(filled.version, embeddings, 30):
        assert len(matches) == 22
        assert np.isfinite([score for _, score in matches]).all()
    for features in filled.features(everything):
        contributions = features.through(filled.version.head).contributions()
        assert np.allclose(contributions.sum(axis=(0, 1)), features.through(filled.version.head).embedding, atol=1e-4)


def test_an_image_that_is_the_mean_itself_has_no_direction(gallery, image_of):
    gallery.add([image_of("low", 1, 3), image_of("mean", 2, 2), image_of("high", 3, 1)])
    set_head(gallery, centering)
    low, mean, high = gallery.version.embeddings(["low", "mean", "high"])
    assert not mean.any()
    assert np.allclose(low, -high)
    assert [match.score for match in gallery.version.search(mean[None], 3)[0]] == [0, 0, 0]
    [features] = gallery.features(["mean"])
    assert not features.through(gallery.version.head).contributions().any()


# What is stored


def test_a_full_disk_leaves_the_old_version(filled, images):
    set_head(filled, centering)
    before = facts_of_head(filled)
    filled._store._writer.execute("PRAGMA max_page_count = 1")  # SQLite takes the pages in use as the least
    with pytest.raises(StorageFull, match="free some space"):
        set_head(filled, random_layer(500))
    assert facts_of_head(filled) == before
    assert finds_each(filled.version, images)
    filled._store._writer.execute("PRAGMA max_page_count = 1000000")
    set_head(filled, random_layer(500))
    assert filled.facts().head.dimensions == 500


def test_a_head_is_there_when_the_gallery_is_opened_again(tmp_path, model, images, fitting):
    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.create("default")
        gallery.add(images)
        set_head(gallery, fitting)
        before = gallery.facts()
        embeddings = gallery.version.embeddings(names(images))
    index = tmp_path / "galleries/default/index.faiss"
    written = index.stat().st_mtime_ns
    with Galleries(tmp_path, model) as galleries:
        [described] = galleries.list_galleries()
        gallery = galleries.open("default")
        assert gallery.version._saved_generation >= 0  # the index file was taken up
        assert gallery.version.fingerprint == described.fingerprint == gallery.facts().fingerprint == before.fingerprint
        assert np.allclose(gallery.version.embeddings(names(images)), embeddings, atol=1e-6)
        assert finds_each(gallery.version, images)
        assert before.head == described.head == gallery.facts().head
    assert index.stat().st_mtime_ns == written


def test_the_index_file_of_another_head_is_not_taken_up(tmp_path, model, images):
    """Both heads have 12 dimensions."""
    folder = tmp_path / "galleries/default"
    with Galleries(tmp_path, model) as galleries:
        galleries.create("default").add(images)
        set_head(galleries.open("default"), whitening(12))
    saved = {name: (folder / name).read_bytes() for name in ("index.faiss", "index.json")}
    with Galleries(tmp_path, model) as galleries:
        set_head(galleries.open("default"), random_layer(12))
    for name, content in saved.items():
        (folder / name).write_bytes(content)
    with Galleries(tmp_path, model) as galleries:
        assert galleries.open("default").version._saved_generation == -1
        assert finds_each(galleries.open("default").version, images)


def test_versions_count_up_through_none_errors_and_restarts(tmp_path, model, images):
    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.create("default")
        gallery.add(images)
        set_head(gallery, centering)
        assert gallery.facts().head.version == 1
        set_head(gallery, none)
        with pytest.raises(BadHead):
            set_head(gallery, whitening(513))
        set_head(gallery, whitening(5))
        assert gallery.facts().head.version == 2
        set_head(gallery, none)
    with Galleries(tmp_path, model) as galleries:
        gallery = galleries.open("default")
        set_head(gallery, centering)
        assert gallery.facts().head.version == 3


def test_a_gallery_with_a_head_of_another_model_is_refused_but_listed(tmp_path, model, images):
    with Galleries(tmp_path, model) as galleries:
        galleries.create("default").add(images)
        set_head(galleries.open("default"), centering)
        fingerprint = galleries.open("default").version.fingerprint
    with Galleries(tmp_path, load_model(pooling=Pooling("max"))) as galleries:
        with pytest.raises(ModelMismatch, match=model.fingerprint):
            galleries.open("default")
        [facts] = galleries.list_galleries()
    assert (facts.model, facts.fingerprint, facts.head.kind) == (model.fingerprint, fingerprint, "centering")


def test_a_gallery_of_format_1_keeps_its_images_and_can_have_a_head(tmp_path, model, images):
    with Galleries(tmp_path, model) as galleries:
        galleries.create("default").add(images)
    with sqlite3.connect(tmp_path / "galleries/default/gallery.sqlite") as connection:
        connection.execute("DROP TABLE heads")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    for number in range(2):  # opened after it was only listed, and once more
        with Galleries(tmp_path, model) as galleries:
            assert [(facts.image_count, facts.fingerprint) for facts in galleries.list_galleries()] == [
                (20, model.fingerprint if number == 0 else galleries.open("default").version.fingerprint)
            ]
            gallery = galleries.open("default")
            assert gallery.version._saved_generation >= 0
            assert finds_each(gallery.version, images)
            set_head(gallery, centering)
            assert gallery.facts().head.version == number + 1


@pytest.mark.parametrize("omit_feature_maps", [False, True])
def test_no_image_file_is_read_to_set_a_head_and_search_by_it(tmp_path, galleries, images, omit_feature_maps):
    gallery = galleries.create("bare", omit_feature_maps=omit_feature_maps)
    gallery.add(images)
    for path in (tmp_path / "data/galleries/bare/contents").iterdir():
        path.unlink()
    set_head(gallery, whitening(7))
    assert finds_each(gallery.version, images)
    for image, features in zip(images, gallery.features(names(images)), strict=True):
        assert (features is None) == omit_feature_maps
        if features:
            embedding = features.through(gallery.version.head).embedding
            assert np.allclose(embedding, gallery.version.embeddings([image.name])[0], atol=1e-5)
