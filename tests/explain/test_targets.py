"""Targets by hand: probabilities, odds and similarities that a reader can check."""

import numpy as np
import pytest
import torch

from whymatch.embed import NO_HEAD, Features, Head, Model, Placement, PooledVector, Pooling
from whymatch.explain import (
    BadTarget,
    class_probability_target,
    class_score_target,
    evidence_target,
    similarity_target,
    unit_target,
)
from whymatch.explain.targets import Laplace, find_class

NAMES = ("tabby", "crane", "tiger cat", "crane")
SCORES = np.array([1.0, 3.0, 2.0, 0.0], np.float32)


class TwoClasses:
    """All of a model that its classes need."""

    classes = ("cat", "dog")


def test_the_weight_of_evidence_by_hand():
    """Of 98 images of 2 classes 0.75 becomes 0.745 and 0.5 stays: log2(0.745 / 0.255) - log2(1) bits."""
    target = class_probability_target(TwoClasses(), "cat", SCORES[:2], instances=98)  # type: ignore[arg-type]
    assert target.difference(0.75, np.array([0.5, 0.75])) == pytest.approx([np.log2(0.745 / 0.255), 0])


def test_certainty_is_no_infinite_evidence():
    laplace = Laplace(98, 2)
    assert laplace.log_odds(np.array([0.0, 1.0])) == pytest.approx([np.log2(0.01 / 0.99), np.log2(0.99 / 0.01)])


def test_the_slope_of_the_odds_is_their_derivative():
    laplace, p = Laplace(98, 2), np.array([0.1, 0.5, 0.9])
    steps = (laplace.log_odds(p + 1e-6) - laplace.log_odds(p - 1e-6)) / 2e-6
    assert laplace.slope(p) == pytest.approx(steps, rel=1e-5)


def test_a_probability_is_the_softmax_of_the_scores():
    target = class_probability_target(TwoClasses(), "dog", SCORES[:2])  # type: ignore[arg-type]
    assert target.of(torch.tensor([[0.0, np.log(3.0)]])).item() == pytest.approx(0.75)
    assert target.name == "dog"


def test_a_score_is_worth_its_difference():
    target = class_score_target(TwoClasses(), "1", SCORES[:2])  # type: ignore[arg-type]
    assert target.of(torch.tensor([[5.0, -2.0]])).item() == -2
    assert target.difference(3.0, np.array([1.0, 4.0])) == pytest.approx([2, -1])


@pytest.mark.parametrize(("word", "number"), [("tabby", 0), ("2", 2), ("top1", 1), ("top2", 2), ("top4", 3)])
def test_classes_are_found_by_name_number_and_rank(word, number):
    assert find_class(NAMES, word, SCORES) == number


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("dog", "no class 'dog'"),
        ("cat", "such as 'tiger cat'"),
        ("4", "from 0 to 3"),
        ("top0", "no class"),
        ("top5", "no class"),
        ("crane", "numbers 1, 3"),
        ("-1", "no class"),
        ("", "no class"),
    ],
)
def test_other_words_are_no_classes(word, message):
    with pytest.raises(BadTarget, match=message):
        find_class(NAMES, word, SCORES)


def test_a_unit_is_a_channel_of_its_layer():
    target = unit_target("conv1", 1, (2, 3))
    assert target.name == "conv1/1 at 2,3"
    assert target.of(torch.tensor([[4.0, 7.0]])).item() == 7
    with pytest.raises(BadTarget, match="no channel 2; take one from 0 to 1"):
        unit_target("conv1", 2).of(torch.zeros(1, 2))


def some_features(head: Head, seed: int) -> Features:
    feature_map = np.random.default_rng(seed).random((2, 3, 4), np.float32)
    return Features(feature_map, Pooling().pool(feature_map), Pooling(), Placement(3, 2, (0, 0, 3, 2)), head)


@pytest.mark.parametrize("matrix", [None, np.arange(8, dtype=np.float32).reshape(2, 4) - 3])
def test_a_similarity_is_the_cosine_of_the_embeddings(matrix):
    bias = None if matrix is None else np.array([0.5, -0.25], np.float32)
    head = NO_HEAD if matrix is None else Head("linear", matrix, bias)
    query, match = some_features(head, 0), some_features(head, 1)
    target = similarity_target("cat.png", match.embedding, head)
    assert target.end == PooledVector()
    assert target.of(torch.from_numpy(query.pooled[None])).item() == pytest.approx(query.embedding @ match.embedding)


def test_nothing_is_similar_to_a_zero_vector():
    target = similarity_target("cat.png", np.array([1.0, 0], np.float32), NO_HEAD)
    assert target.of(torch.zeros(1, 2)).item() == 0


def test_evidence_is_a_softmax_over_neighbors_by_hand():
    """Similarities 1, 0 and 0 at temperature 1/log 2 count 2, 1 and 1: the first two have 3 of 4."""
    neighbors = np.array([[1, 0], [0, 1], [0, 1]], np.float32)
    belongs = np.array([True, True, False])
    target = evidence_target("cat", neighbors, belongs, 2, 98, NO_HEAD, temperature=1 / np.log(2))
    vector = torch.tensor([[7.0, 0.0]], requires_grad=True)
    assert target.of(vector).item() == pytest.approx(0.75)
    assert target.slope(vector).item() == pytest.approx(np.log(3))  # the log of the odds
    assert target.difference(0.75, np.array([0.5])) == pytest.approx([np.log2(0.745 / 0.255)])


def test_evidence_is_finite_where_all_neighbors_have_one_label():
    target = evidence_target("cat", np.eye(2, dtype=np.float32), np.array([True, True]), 1, 98, NO_HEAD)
    assert target.difference(1.0, np.array([1.0])) == pytest.approx([0])
    assert np.isfinite(target.slope(torch.ones(1, 2)).item())


def test_evidence_for_what_is_not_near_is_refused():
    with pytest.raises(BadTarget, match="nothing of 'cat' is among the 1 most similar"):
        evidence_target("cat", np.ones((1, 2), np.float32), np.array([False]), 1, 9, NO_HEAD)


def test_the_classes_of_imagenet_have_names(shared):
    from whymatch.embed import load_model

    model: Model = load_model("mobilenet_v2", weights=shared / "weights" / "mobilenet_v2_imagenet.safetensors")
    assert model.classes[281] == "tabby"


def test_the_slope_of_a_probability_is_the_score():
    target = class_probability_target(TwoClasses(), "dog", SCORES[:2])  # type: ignore[arg-type]
    assert target.slope(torch.tensor([[5.0, -2.0]])).item() == -2


def test_a_probability_of_many_neighbors_is_never_more_than_1():
    target = evidence_target("cat", np.eye(100, 2, dtype=np.float32), np.ones(100, bool), 1, 5_000_000, NO_HEAD)
    p = target.of(torch.rand(64, 2)).numpy()
    assert np.isfinite(target.difference(1.0, p)).all()
