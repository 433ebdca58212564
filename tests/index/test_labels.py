"""What a gallery does with labels: the best match of each, all embeddings of one, and pairs of the same."""

import numpy as np
import pytest

from whymatch.index import Selection, UnknownLabel, content_digest


@pytest.fixture(params=["Flat", "HNSW16"])
def labeled(galleries, new_image, request):
    """Forty images: most of label a, some of b and c, one of d, and some of none."""
    gallery = galleries.create("labeled", index_factory=request.param)
    labels = ["a"] * 28 + ["b", "b", "b", "c", "c", "d"] + [""] * 6
    gallery.add([new_image(seed, label=label) for seed, label in enumerate(labels)])
    return gallery


def best_by_hand(gallery, query) -> dict[str, tuple[str, float]]:
    best: dict[str, tuple[str, float]] = {}
    for match in gallery.version.search(query[None], 100)[0]:
        if match.image.label:
            best.setdefault(match.image.label, (match.image.name, match.score))
    return best


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 10])
def test_the_best_match_of_each_label_is_the_brute_force_one(labeled, new_image, limit):
    query = new_image(77).features.embedding
    found = labeled.version.best_of_labels(query, limit)
    expected = list(best_by_hand(labeled, query).items())[:limit]
    assert [(match.image.label, match.image.name) for match in found] == [
        (label, name) for label, (name, _) in expected
    ]
    assert [match.score for match in found] == pytest.approx([score for _, (_, score) in expected], abs=1e-6)


def test_only_given_labels_have_a_best_match(labeled, new_image):
    query = new_image(77).features.embedding
    assert {match.image.label for match in labeled.version.best_of_labels(query, 10, Selection(frozenset("bd")))} == {
        "b",
        "d",
    }
    with pytest.raises(UnknownLabel, match="'nothing'"):
        labeled.version.best_of_labels(query, 10, Selection(frozenset(["nothing"])))


def test_without_labels_there_is_no_best_match(gallery, new_image):
    gallery.add([new_image(1)])
    assert gallery.version.best_of_labels(new_image(1).features.embedding, 5) == []


def test_the_embeddings_of_a_label_are_those_of_its_images(labeled, new_image):
    expected = np.stack([new_image(seed).features.embedding for seed in (28, 29, 30)])
    of_label = labeled.version.label_embeddings
    assert np.allclose(np.sort(of_label("b"), axis=0), np.sort(expected, axis=0), atol=1e-6)
    own, other, last = (content_digest(new_image(seed).content) for seed in (28, 0, 33))
    assert np.allclose(of_label("b", without_content=own), expected[1:], atol=1e-6)
    assert np.allclose(of_label("b", without_content=other), of_label("b"))
    assert of_label("d", without_content=last).shape == (0, expected.shape[1])


def test_a_best_match_is_no_copy_of_the_query(labeled, new_image):
    query, own = new_image(33).features.embedding, content_digest(new_image(33).content)
    others = [match for match in labeled.version.best_of_labels(query, 9) if match.image.label != "d"]
    assert labeled.version.best_of_labels(query, 9, Selection(without_contents=frozenset([own]))) == others
    assert labeled.version.best_of_labels(query, 9, Selection(frozenset("d"), frozenset([own]))) == []


def test_pairs_are_different_images_of_one_label_and_repeatable(labeled, new_image):
    first, second = labeled.version.labeled_pairs(500, seed=3)
    assert len(first) == len(second) == 500
    embeddings = np.stack([new_image(seed).features.embedding for seed in range(34)])
    labels = np.array(list("a" * 28 + "bbbccd"))
    ours, theirs = ((side @ embeddings.T).argmax(axis=1) for side in (first, second))
    assert (labels[ours] == labels[theirs]).all()
    assert (ours != theirs).all()
    assert set(labels[ours]) == {"a", "b", "c"}
    assert len(set(ours)) == 33  # every image that shares its label comes up
    again = labeled.version.labeled_pairs(500, seed=3)
    assert np.array_equal(first, again[0])
    assert not np.array_equal(first, labeled.version.labeled_pairs(500, seed=4)[0])


def test_copies_of_one_image_are_no_pair(gallery, new_image):
    gallery.add([new_image(1, "one", "a"), new_image(1, "copy", "a"), new_image(2, "two", "b")])
    assert len(gallery.version.labeled_pairs(10, seed=0)[0]) == 0
    gallery.add([new_image(3, "other", "a")])
    scores = np.sum(np.multiply(*gallery.version.labeled_pairs(10, seed=0)), axis=1)
    assert scores == pytest.approx(new_image(1).features.embedding @ new_image(3).features.embedding, abs=1e-6)


def test_there_are_no_pairs_where_no_label_is_shared(gallery, new_image):
    gallery.add([new_image(1, label="a"), new_image(2, label="b"), new_image(3)])
    assert [len(side) for side in gallery.version.labeled_pairs(10, seed=0)] == [0, 0]


@pytest.fixture
def crowded(galleries, new_image):
    """Two hundred images, all of label a but the last ten, of which each has a label of its own."""
    gallery = galleries.create("crowded", index_factory="Flat")
    gallery.add([new_image(seed, label="a" if seed < 190 else f"label {seed}") for seed in range(200)])
    return gallery


@pytest.mark.parametrize("selection", [Selection(), Selection(frozenset(["a", "label 195", "label 199"]))])
def test_a_label_is_found_however_far_behind_it_is(crowded, new_image, selection):
    query = new_image(3).features.embedding
    ranked = crowded.version.search(query[None], 200, selection)[0]
    best = {match.image.label: match for match in reversed(ranked)}
    expected = sorted(best.values(), key=lambda match: -match.score)
    assert crowded.version.best_of_labels(query, 11, selection) == expected
    crowded.update("199.jpg", label="a")
    assert len(crowded.version.best_of_labels(query, 11)) == 10
