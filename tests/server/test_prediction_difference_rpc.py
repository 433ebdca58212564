"""ExplainPredictionDifference over the wire, with a network so small that a map takes a fraction of a second."""

import dataclasses
import io
import itertools
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import numpy as np
import pytest
from PIL import Image
from sample_pictures import png
from server_harness import Api, api_of, connected, done_of, eventually, failure, reason, serving, total_of
from small_networks import small

from whymatch.embed import NO_HEAD, DecodeLimits, Geometry, LayerMaps, Model, Pooling, linear_head
from whymatch.explain import (
    ConditionalSampler,
    MarginalSampler,
    MeanSampler,
    PredictionDifference,
    PredictionDifferenceSetting,
    class_probability_target,
    class_score_target,
    evidence_target,
    fit_cells,
    fit_patches,
    similarity_target,
    unit_target,
)
from whymatch.server import ServerConfig, differences, running_difference, streams
from whymatch.v1 import explain_service_pb2 as pb
from whymatch.v1.gallery_service_pb2 import DeleteGalleryRequest, DeleteImageRequest, SetHeadRequest
from whymatch.v1.search_service_pb2 import SearchRequest

COUNT = 12
K, CONTEXT, SAMPLES, STRIDE = 4, 6, 3, 3
WINDOWS = 13 * 8
"""Places of a window of 4 px, every 3 px and at the end, along 40 and along 24 px."""
WIDTH, HEIGHT = 40, 24
"""Of the network's input for an image of 96 x 64."""
TOP = {"class_probability": "top1"}
SLOW = {"window_px": 3, "context_px": 4, "stride_px": 1, "sample_count": 100, "batch_size": 1}
"""38 x 22 windows: minutes of work."""


@pytest.fixture(scope="module")
def small_model() -> Model:
    model = small()
    return dataclasses.replace(model, geometry=Geometry("keep", 32, 8, 16), classes=("ant", "bee", "cat", "dog"))


@pytest.fixture(scope="module")
def server(small_model, tmp_path_factory):
    with serving(ServerConfig(data=tmp_path_factory.mktemp("data"), port=0), small_model) as server:
        yield server


@pytest.fixture(scope="module")
def api(server) -> Iterator[Api]:
    with connected(server) as api:
        yield api


@pytest.fixture(scope="module")
def photos(api) -> str:
    """A gallery of the pictures 0 to 11. Do not change it."""
    return api.fill("photos", range(COUNT))


@pytest.fixture
def asked(photos):
    """Ask for the map of a picture that is not in the gallery."""

    def asked(*targets: dict[str, object], **rest: object) -> pb.ExplainPredictionDifferenceRequest:
        small = {"window_px": K, "context_px": CONTEXT, "sample_count": SAMPLES, "stride_px": STRIDE}
        given = {"parent": photos, "image": {"content": png(50)}, "targets": targets or [TOP], **small} | rest
        return pb.ExplainPredictionDifferenceRequest(**{name: one for name, one in given.items() if one is not None})

    return asked


@pytest.fixture
def explain(api, asked):
    """Ask for a map, and return the last answer."""
    return lambda *targets, **rest: list(api.explain_difference(asked(*targets, **rest)))[-1]


def again(name: str, **rest: object) -> pb.ExplainPredictionDifferenceRequest:
    return pb.ExplainPredictionDifferenceRequest(name=name, **rest)


def values(one: pb.PredictionDifference, field: str = "values") -> np.ndarray:
    return np.array(getattr(one, field), np.float32).reshape(one.rows, one.columns)


def image(parent: str, number: int) -> str:
    return f"{parent}/images/{number}.png"


def prepared(model: Model, content: bytes, size: tuple[int, int] | None = None):
    return model.prepare(content, DecodeLimits(), size=size)


def embedding(model: Model, content: bytes) -> np.ndarray:
    return model.features([prepared(model, content)])[0].embedding


def fitted(model: Model, numbers: range = range(COUNT), context: int = CONTEXT):
    *_, last = fit_patches((prepared(model, png(n)).pixels for n in numbers), len(numbers), context)
    return last.result


def computed(model, targets, sampler, **setting):
    """What the library makes of it."""
    chosen = PredictionDifferenceSetting(K, CONTEXT, SAMPLES, STRIDE, **setting)
    difference = PredictionDifference(model, prepared(model, png(50)), targets, sampler, chosen)
    for _ in difference.steps():
        pass
    return difference


def scores(model: Model, content: bytes = png(50)) -> np.ndarray:
    return model.class_scores(np.stack([prepared(model, content).pixels]))[0]


def assert_same(found, expected, tolerance=1e-5):
    """Compare maps of an answer with maps of the library."""
    for one, other in zip(found, expected, strict=True):
        assert one.value == pytest.approx(other.plain, abs=1e-5)
        scale = max(1.0, np.abs(other.values).max())
        np.testing.assert_allclose(values(one), other.values, rtol=0, atol=tolerance * scale)
        assert np.abs(other.values).max() > 1e-6
        if other.standard_errors is None:
            assert not one.standard_errors
        else:
            np.testing.assert_allclose(
                values(one, "standard_errors"), other.standard_errors, rtol=0, atol=tolerance * scale
            )


def maps(answer) -> list[list[float]]:
    return [list(one.values) for one in answer.maps]


# Maps


def test_cells_of_a_layer_are_removed_instead_of_pixels(explain, small_model):
    """Equation 6: the answer is what the library makes of the layer, drawn over the image."""
    targets = [{"unit": {"layer": "conv2", "channel": 2}}, {"class_score": "ant"}]
    unset = {"window_px": None, "context_px": None, "stride_px": None}
    answer = explain(*targets, layer="conv1", with_sensitivity=True, overlays={}, **unset)
    cells = [LayerMaps(small_model, "conv1")(prepared(small_model, png(n)).pixels) for n in range(COUNT)]
    *_, last = fit_cells(cells, COUNT, 3)
    setting = PredictionDifferenceSetting(1, 3, SAMPLES, 1)
    wanted = [unit_target("conv2", 2), class_score_target(small_model, "ant", scores(small_model))]
    sampler = ConditionalSampler(last.result, 1, 0)
    whole = prepared(small_model, png(50))
    difference = PredictionDifference(small_model, whole, wanted, sampler, setting, layer="conv1")
    for _ in difference.steps():
        pass
    assert_same(answer.maps, difference.maps())
    assert [(one.rows, one.columns) for one in answer.maps] == [(HEIGHT // 2, WIDTH // 2)] * 2
    assert (answer.setting.window_px, answer.setting.context_px, answer.setting.stride_px) == (1, 3, 1)
    assert answer.setting.layer == "conv1"
    assert (answer.sampler.channel_count, answer.sampler.variance_share) == (6, pytest.approx(1))
    steep = difference.sensitivities()
    for one, expected in zip(answer.maps, steep, strict=True):
        np.testing.assert_allclose(values(one, "sensitivities"), expected, rtol=1e-5)
        assert Image.open(io.BytesIO(one.overlay_png)).size == (96, 64)


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ({"layer": "conv7"}, "'conv7' is no layer of this network"),
        ({"layer": "fc"}, "'conv1' does not depend on 'fc'"),
        ({"layer": "conv1", "context_px": 9, "window_px": 1, "stride_px": 1}, "of 20 x 12 cells; at most 7"),
        ({"layer": "conv2", "context_px": 3, "window_px": 1, "stride_px": 1}, "'conv1' does not depend on 'conv2'"),
    ],
)
def test_layers_that_do_not_fit_are_refused(api, asked, rest, message):
    answers: list[pb.ExplainPredictionDifferenceResponse] = []
    with pytest.raises(grpc.RpcError, match=message):
        answers.extend(api.explain_difference(asked({"unit": {"layer": "conv1"}}, **rest)))
    assert not any(answer.progress.done for answer in answers)  # no image has been read for a sampler in vain


@pytest.mark.parametrize("kind", ["", "conditional", "marginal", "mean"])
def test_the_maps_are_those_of_the_library(explain, small_model, kind):
    targets = [class_probability_target(small_model, "top1", scores(small_model)), unit_target("conv2", 2)]
    others = np.stack([prepared(small_model, png(n)).pixels for n in range(COUNT)])
    sampler = {
        "": lambda: ConditionalSampler(fitted(small_model), K, 7),
        "conditional": lambda: ConditionalSampler(fitted(small_model), K, 7),
        "marginal": lambda: MarginalSampler(others, K, 7),
        "mean": lambda: MeanSampler(fitted(small_model), K),
    }[kind]()
    answer = explain(TOP, {"unit": {"layer": "conv2", "channel": 2}}, seed=7, sampler=kind)
    assert_same(answer.maps, computed(small_model, targets, sampler, seed=7).maps())
    samples = 1 if kind == "mean" else SAMPLES
    assert (done_of(answer), total_of(answer)) == (WINDOWS * samples, WINDOWS * samples)
    assert (answer.complete, answer.seconds_left) == (True, 0)
    assert (answer.model, list(answer.computed_whole)) == (small_model.fingerprint, [])
    assert answer.name.startswith("explanations/")
    assert 0 < answer.multiplied_share < 1
    assert (answer.sampler.kind, answer.sampler.image_count) == (kind or "conditional", COUNT)
    assert (answer.sampler.patch_count > 0, answer.sampler.seed) == (kind != "marginal", 7)
    for one in answer.maps:
        assert (one.columns, one.rows, one.width_px, one.height_px) == (WIDTH, HEIGHT, 96, 64)
        assert (one.overlay_png, one.HasField("color_scale"), list(one.sensitivities)) == (b"", False, [])


@pytest.mark.parametrize(("width", "height", "columns", "rows"), [(30, 90, 16, 56), (64, 64, 32, 32), (200, 5, 64, 16)])
def test_a_map_has_the_shape_of_its_image(explain, width, height, columns, rows):
    [one] = explain(image={"content": png(51, width, height)}, sampler="marginal", sample_count=1).maps
    assert (one.columns, one.rows, one.width_px, one.height_px) == (columns, rows, width, height)
    assert len(one.values) == columns * rows


def test_the_seed_decides_the_map(api, asked, explain):
    first, other = explain(seed=21), explain(seed=22)
    assert maps(first) != maps(other)
    assert first.name != other.name
    # the same map again, from nothing: another target makes it another explanation
    assert maps(explain(TOP, TOP, seed=21))[0] == pytest.approx(maps(first)[0], abs=1e-6)


def test_the_size_of_batches_changes_no_map(explain):
    first, *rest = [explain(*[TOP] * n, batch_size=size, seed=3) for n, size in ((1, 1), (2, 17), (3, 1000))]
    for other in rest:
        np.testing.assert_allclose(values(other.maps[0]), values(first.maps[0]), atol=1e-5)
    assert {done_of(one) for one in (first, *rest)} == {WINDOWS * SAMPLES}


def test_a_bound_on_the_standard_error_stops_sooner(explain):
    free = explain(seed=1, sample_count=20)
    bound = 1.6 * max(free.maps[0].standard_errors)  # a quarter of the samples doubles it
    soon = explain(seed=1, sample_count=20, max_standard_error=bound)
    assert soon.complete
    assert WINDOWS * 5 <= done_of(soon) == total_of(soon) < done_of(free)
    assert done_of(soon) % WINDOWS == 0
    assert max(soon.maps[0].standard_errors) <= bound


def test_a_single_sample_has_no_standard_errors(explain):
    assert not explain(sample_count=1).maps[0].standard_errors
    assert len(explain(sample_count=2).maps[0].standard_errors) == WIDTH * HEIGHT


# Targets


def test_classes_are_answered_by_name(explain, small_model):
    expected = scores(small_model)
    best, second = (small_model.classes[n] for n in np.argsort(-expected)[:2])
    found = explain(TOP, {"class_score": "top2"}, {"class_score": "3"}, {"class_probability": "bee"}).maps
    assert [one.target.WhichOneof("target") for one in found] == [
        "class_probability",
        "class_score",
        "class_score",
        "class_probability",
    ]
    assert [one.target.class_probability or one.target.class_score for one in found] == [best, second, "dog", "bee"]
    assert [one.measure for one in found] == ["bits", "score", "score", "bits"]
    odds = np.exp(expected - expected.max())
    assert found[0].value == pytest.approx((odds / odds.sum()).max(), abs=1e-5)
    assert found[1].value == pytest.approx(np.sort(expected)[-2], abs=1e-5)
    assert found[2].value == pytest.approx(expected[3], abs=1e-5)


def test_the_number_of_training_images_bounds_the_evidence(explain, small_model):
    few = explain({"class_probability": "bee"}, training_image_count=1).maps[0]
    many = explain({"class_probability": "bee"}).maps[0]
    assert few.value == many.value
    assert 0 < np.abs(values(few)).max() < np.abs(values(many)).max()
    laplace = class_probability_target(small_model, "bee", scores(small_model), instances=1)
    expected = computed(small_model, [laplace], ConditionalSampler(fitted(small_model), K, 0))
    assert_same([few], expected.maps())


def test_a_unit_and_a_feature_map_are_answered_as_they_were_asked_for(explain, small_model):
    whole, one = {"layer": "conv1", "channel": 1}, {"layer": "conv1", "channel": 1, "cell": {"row": 2, "column": 3}}
    found = explain({"unit": whole}, {"unit": one}).maps
    expected = [unit_target("conv1", 1), unit_target("conv1", 1, (2, 3))]
    assert_same(found, computed(small_model, expected, ConditionalSampler(fitted(small_model), K, 0)).maps())
    assert [each.target for each in found] == [pb.PredictionTarget(unit=each) for each in (whole, one)]
    assert {each.measure for each in found} == {"response of conv1"}
    far = values(found[1])[14:, 18:]  # nothing so far off reaches the unit
    assert not far.any()


def test_a_similarity_comes_back_without_the_bytes(explain, photos, small_model):
    sent, stored = {"content": png(4)}, {"image": image(photos, 4)}
    found = explain({"similarity": sent}, {"similarity": stored}).maps
    expected = similarity_target("", embedding(small_model, png(4)), NO_HEAD)
    sampler = ConditionalSampler(fitted(small_model), K, 0)
    assert_same(found, computed(small_model, [expected, expected], sampler).maps())
    assert [one.measure for one in found] == ["cosine", "cosine"]
    assert found[0].target.WhichOneof("target") == "similarity"
    assert found[0].target.similarity.WhichOneof("source") is None
    assert found[1].target.similarity == pb.PredictionTarget(similarity=stored).similarity


def test_evidence_is_among_the_neighbors(explain, photos, small_model):
    labels, one = {"label_evidence": "odd"}, {"image_evidence": image(photos, 5)}
    found = explain(labels, one).maps
    neighbors = np.stack([embedding(small_model, png(n)) for n in range(COUNT)])
    odd, five = np.arange(COUNT) % 2 == 1, np.arange(COUNT) == 5
    expected = [
        evidence_target("", neighbors, odd, 2, COUNT, NO_HEAD),
        evidence_target("", neighbors, five, COUNT, COUNT, NO_HEAD),
    ]
    sampler = ConditionalSampler(fitted(small_model), K, 0)
    assert_same(found, computed(small_model, expected, sampler).maps(), tolerance=1e-4)
    assert [each.target for each in found] == [pb.PredictionTarget(**each) for each in (labels, one)]
    assert [each.measure for each in found] == ["bits", "bits"]


def test_a_stored_image_is_no_neighbor_of_its_own(api, asked, explain, photos, small_model):
    own = {"image": {"image": image(photos, 5)}}
    [found] = explain({"label_evidence": "odd"}, **own).maps
    others = [n for n in range(COUNT) if n != 5]
    similar = np.stack([embedding(small_model, png(n)) for n in others]) @ embedding(small_model, png(5))
    odds = np.exp((similar - similar.max()) / 0.05)
    assert found.value == pytest.approx(odds[np.array(others) % 2 == 1].sum() / odds.sum(), abs=1e-4)
    request = asked({"image_evidence": image(photos, 5)}, **own)
    with pytest.raises(grpc.RpcError, match=r"nothing of '5\.png' is among the 11 most similar"):
        list(api.explain_difference(request))
    assert failure(lambda: list(api.explain_difference(request))) == ("INVALID_ARGUMENT", "BAD_TARGET")


def test_a_head_is_between_the_image_and_its_similarity(api, asked, small_model):
    parent = api.fill("headed", range(COUNT))
    weight = np.random.default_rng(0).normal(size=(3, 6)).astype(np.float32)
    *_, last = api.galleries.SetHead(SetHeadRequest(name=parent, linear={"weight": weight.ravel()}))
    answer = list(api.explain_difference(asked({"similarity": {"image": image(parent, 4)}}, parent=parent)))[-1]
    assert answer.model == last.gallery.model != small_model.fingerprint
    head = linear_head(weight, None, 6)
    other = small_model.features([prepared(small_model, png(4))])[0].through(head).embedding
    sampler = ConditionalSampler(fitted(small_model), K, 0)
    assert_same(
        answer.maps, computed(small_model, [similarity_target("", other, head)], sampler).maps(), tolerance=1e-4
    )


def test_thirty_two_targets_are_explained_together(explain):
    names = ["ant", "bee", "cat", "dog"] * 8
    found = explain(*[{"class_score": name} for name in names], sample_count=1)
    assert [one.target.class_score for one in found.maps] == names
    assert done_of(found) == WINDOWS


# Progress


def test_progress_comes_first_then_partial_maps_then_the_final_ones(api, asked, monkeypatch):
    monkeypatch.setattr(running_difference, "PARTIAL_S", 0.0)
    parent = api.fill("progressing", range(COUNT))
    answers = list(api.explain_difference(asked(TOP, TOP, parent=parent, batch_size=30)))
    fitting = [one for one in answers if total_of(one, "images")]
    assert [done_of(one, "images") for one in fitting] == [*range(1, COUNT + 1)]
    assert {total_of(one, "images") for one in fitting} == {COUNT}
    assert answers[: len(fitting)] == fitting
    work = answers[len(fitting) :]
    done = [done_of(one) for one in work]
    assert done == sorted(done)
    assert {total_of(one) for one in work} == {WINDOWS * SAMPLES}
    assert 0 < done[0] <= 30 <= done[1]
    assert all(len(one.maps) == 2 for one in work if one.complete or done_of(one) < WINDOWS * SAMPLES)
    assert [one.complete for one in answers] == [False] * (len(answers) - 1) + [True]
    for one in work[:-1]:
        assert one.evaluations_per_second > 0
        left = (total_of(one) - done_of(one)) / one.evaluations_per_second
        assert one.seconds_left == pytest.approx(left)
    assert {one.name for one in answers} == {answers[0].name}
    assert maps(work[0]) != maps(work[-1])
    assert not any(math.isnan(value) for one in maps(work[0]) for value in one)


def test_partial_maps_do_not_come_with_each_batch(api, asked):
    answers = [one for one in api.explain_difference(asked(batch_size=6, seed=31)) if total_of(one)]
    assert len(answers) > 20
    assert sum(len(one.maps) > 0 for one in answers[:-1]) < len(answers) / 2
    assert answers[0].maps


def test_a_long_batch_gives_signs_of_life(api, asked, monkeypatch):
    monkeypatch.setattr(streams, "SIGN_OF_LIFE_S", 0.02)
    answers = list(api.explain_difference(asked(batch_size=1000, sample_count=100, stride_px=1, seed=32)))
    evaluations = [done_of(one) for one in answers]
    assert any(a == b for a, b in itertools.pairwise(evaluations))
    assert [one.complete for one in answers] == [False] * (len(answers) - 1) + [True]
    assert answers[-1].maps


# One that is there already


def test_a_finished_explanation_answers_at_once(api, asked, explain):
    first = explain(seed=41)
    for request in (asked(seed=41), again(first.name), asked(seed=41, batch_size=7)):
        [answer] = api.explain_difference(request)
        assert (answer.complete, answer.name, done_of(answer)) == (True, first.name, WINDOWS * SAMPLES)
        assert (answer.maps, answer.sampler) == (first.maps, first.sampler)
        assert (answer.seconds_left, total_of(answer, "images")) == (0, 0)


def test_a_finished_explanation_waits_for_the_thread_and_then_has_its_maps(api, asked, explain, monkeypatch):
    """While the thread works for another explanation, signs of life are no final answers."""
    first = explain(seed=42)
    monkeypatch.setattr(streams, "SIGN_OF_LIFE_S", 0.001)
    busy = api.explain_difference(asked(batch_size=1000, sample_count=1000, stride_px=1, seed=43))
    eventually(lambda: total_of(next(busy)))
    answers = eventually(lambda: list(api.explain_difference(again(first.name))), lambda found: len(found) > 1)
    busy.cancel()
    assert [one.complete for one in answers] == [False] * (len(answers) - 1) + [True]
    assert answers[-1].maps == first.maps


def test_pictures_come_on_request_with_a_scale_for_each_unit(api, asked, explain):
    targets = [{"class_score": "ant"}, {"class_score": "bee"}, TOP]
    first = explain(*targets, seed=44, overlays={"size_px": 48})
    opened = [Image.open(io.BytesIO(one.overlay_png)) for one in first.maps]
    assert {(one.size, one.format) for one in opened} == {((48, 32), "PNG")}
    ant, bee, top = first.maps
    assert ant.color_scale == bee.color_scale != top.color_scale
    assert ant.color_scale.high == pytest.approx(max(np.abs(values(one)).max() for one in (ant, bee)))
    assert ant.color_scale.low == -ant.color_scale.high
    assert top.color_scale.high == pytest.approx(np.abs(values(top)).max())
    [bare] = api.explain_difference(again(first.name))
    assert not any(one.overlay_png or one.HasField("color_scale") for one in bare.maps)
    [large] = api.explain_difference(again(first.name, overlays={}))
    assert Image.open(io.BytesIO(large.maps[0].overlay_png)).size == (96, 64)
    assert maps(first) == maps(bare) == maps(large)


def test_partial_maps_have_pictures_too(api, asked):
    stream = api.explain_difference(asked(TOP, seed=45, batch_size=5, overlays={}))
    partial = eventually(lambda: next(stream), lambda one: len(one.maps) > 0)
    stream.cancel()
    assert not partial.complete
    assert Image.open(io.BytesIO(partial.maps[0].overlay_png)).size == (96, 64)


def test_sensitivities_come_on_request(api, explain, small_model):
    answer = explain(TOP, {"class_score": "ant"}, with_sensitivity=True)
    targets = [
        class_probability_target(small_model, "top1", scores(small_model)),
        class_score_target(small_model, "ant", np.zeros(4)),
    ]
    expected = computed(small_model, targets, ConditionalSampler(fitted(small_model), K, 0)).sensitivities()
    for one, sensitivity in zip(answer.maps, expected, strict=True):
        np.testing.assert_allclose(values(one, "sensitivities"), sensitivity, atol=1e-5 * sensitivity.max())
    [once_more] = api.explain_difference(again(answer.name))
    assert once_more.maps == answer.maps
    assert maps(explain(TOP, {"class_score": "ant"})) == maps(answer)


# Going on


@pytest.mark.parametrize("by_name", [False, True])
def test_a_call_that_is_cancelled_stops_and_another_goes_on(api, asked, explain, by_name):
    targets = [TOP] * (2 + by_name)  # so that each has an explanation of its own
    whole = explain(TOP, seed=53)
    request = asked(*targets, seed=53, batch_size=3)
    first = api.explain_difference(request)
    before = eventually(lambda: next(first), lambda one: done_of(one) > 30)
    first.cancel()
    answers = list(api.explain_difference(again(before.name) if by_name else request))
    work = [one for one in answers if total_of(one)]
    assert done_of(before) < done_of(work[0])
    assert len(work) < WINDOWS * SAMPLES / 3 - 10
    assert (work[-1].complete, work[-1].name, done_of(work[-1])) == (True, before.name, WINDOWS * SAMPLES)
    assert maps(work[-1])[0] == pytest.approx(maps(whole)[0], abs=1e-6)


def test_nothing_is_computed_for_a_call_that_was_cancelled(api, asked):
    name, request = "", asked(seed=56, **SLOW)

    def begin() -> int:
        """Return how many evaluations there are."""
        nonlocal name
        stream = api.explain_difference(again(name) if name else request)
        found = eventually(lambda: next(stream), lambda one: done_of(one) > 0)
        stream.cancel()
        name = found.name
        return done_of(found)

    begin()
    before, started = begin(), time.monotonic()
    assert begin() - before < 60  # what was sent and not read yet, and one of each call
    soon, seconds = begin() - before, time.monotonic() - started
    time.sleep(20 * seconds)
    assert begin() - before < 3 * soon + 60


def test_two_calls_for_one_explanation_get_the_same_maps(api, asked, monkeypatch):
    monkeypatch.setattr(running_difference, "SIGN_OF_LIFE_S", 0.02)
    requests = [asked(seed=54, batch_size=1), asked(seed=54, batch_size=50)]
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda request: list(api.explain_difference(request)), requests)
    assert one[-1].maps == other[-1].maps
    assert one[-1].complete
    assert done_of(one[-1]) == WINDOWS * SAMPLES  # not twice
    waiting = min(one, other, key=lambda answers: sum(len(each.maps) > 0 for each in answers))
    assert max(done_of(each) for each in waiting[:-1]) > 0  # and it says how far the other one is


def test_a_call_that_waits_takes_over_from_one_that_is_cancelled(api, asked):
    first = api.explain_difference(asked(seed=55, batch_size=2))
    name = eventually(lambda: next(first), lambda one: done_of(one) > 0).name
    second = api.explain_difference(again(name))
    threading.Timer(0.1, first.cancel).start()
    assert list(second)[-1].complete


def test_before_its_deadline_a_call_sends_what_there_is_and_another_goes_on(api, asked, monkeypatch):
    monkeypatch.setattr(running_difference, "PARTIAL_S", 0.2)
    monkeypatch.setattr(differences, "LAST_WORDS_S", 1)
    answers = []
    with pytest.raises(grpc.RpcError, match="the deadline came after") as caught:
        answers.extend(api.explain_difference(asked(**SLOW), timeout=3))  # extends as they come
    assert (caught.value.code().name, reason(caught.value)) == ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
    last = answers[-1]
    assert last.maps
    assert not last.complete
    assert sum(len(one.maps) > 0 for one in answers) >= 3
    assert f"the deadline came after {done_of(last)} of {total_of(last)}" in caught.value.details()
    assert last.name in caught.value.details()
    stream = api.explain_difference(again(last.name))
    onward = eventually(lambda: done_of(next(stream)))
    stream.cancel()
    assert done_of(last) < onward <= done_of(last) + 2


def test_a_deadline_within_the_first_batch_is_no_fault_of_the_server(api, asked, explain, monkeypatch):
    explain(seed=57, stride_px=1)  # fits the sampler
    monkeypatch.setattr(streams, "SIGN_OF_LIFE_S", 0.01)
    long = asked(batch_size=1000, sample_count=1000, stride_px=1, seed=58)
    assert failure(lambda: list(api.explain_difference(long, timeout=3))) == ("DEADLINE_EXCEEDED",) * 2


def test_a_server_that_stops_ends_the_stream_with_partial_maps(small_model, asked, tmp_path):
    config = ServerConfig(data=tmp_path / "data", port=0)
    with serving(config, small_model) as server, connected(server) as api:
        stream = api.explain_difference(asked(parent=api.fill("photos", range(4)), **SLOW))
        eventually(lambda: done_of(next(stream)))
        server.stop()
        answers = []
        with pytest.raises(grpc.RpcError) as caught:
            answers.extend(stream)
        assert (caught.value.code().name, reason(caught.value)) == ("UNAVAILABLE", "SHUTTING_DOWN")
        server.join()


def test_a_server_that_stops_does_not_wait_for_the_sampler(small_model, asked, tmp_path, monkeypatch):
    config = ServerConfig(data=tmp_path / "data", port=0)
    with serving(config, small_model) as server, connected(server) as api:
        api.fill("photos", range(100))
        stream = api.explain_difference(asked(window_px=8, context_px=16))
        assert total_of(next(stream), "images") == 100
        server.stop()
        assert failure(lambda: list(stream)) == ("UNAVAILABLE", "SHUTTING_DOWN")


def test_searches_are_answered_while_an_explanation_runs(api, asked, photos):
    stream = api.explain_difference(asked(seed=59, **SLOW))
    before = eventually(lambda: done_of(next(stream)))
    for number in range(5):
        started = time.monotonic()
        query = SearchRequest(parent=photos, image={"content": png(60 + number)}, limit=3)
        assert len(api.search(query).matches) == 3
        assert time.monotonic() - started < 1
    assert eventually(lambda: done_of(next(stream)), lambda done: done > before)
    stream.cancel()


def test_an_explanation_is_of_the_gallery_as_it_is(api, asked):
    parent = api.fill("growing", range(4))
    first, same = (list(api.explain_difference(asked(parent=parent, sampler="marginal")))[-1] for _ in range(2))
    assert (same.name, same.maps) == (first.name, first.maps)
    api.add(parent, {"4.png": png(4)})
    grown = list(api.explain_difference(asked(parent=parent, sampler="marginal")))[-1]
    assert (first.sampler.image_count, grown.sampler.image_count) == (4, 5)
    assert maps(first) != maps(grown)


def test_a_gallery_that_is_made_again_has_other_explanations(api, asked):
    """Though as many changes lie behind it."""
    found = []
    for numbers in (range(4), range(4, 8)):
        parent = api.create("twice")
        for n in numbers:  # one change each
            api.add(parent, {f"{n}.png": png(n)})
        found.append(list(api.explain_difference(asked(parent=parent, sampler="marginal")))[-1])
        api.galleries.DeleteGallery(DeleteGalleryRequest(name=parent))
    assert found[0].name != found[1].name
    assert maps(found[0]) != maps(found[1])


def test_a_stored_image_to_be_similar_to_is_the_one_that_is_there_now(api, asked):
    other = api.create("elsewhere")
    found = []
    for n in (1, 2):
        api.add(other, {"x.png": png(n)})
        similar = {"similarity": {"image": f"{other}/images/x.png"}}
        found.append(list(api.explain_difference(asked(similar)))[-1])
        api.galleries.DeleteImage(DeleteImageRequest(name=f"{other}/images/x.png"))
    assert found[0].name != found[1].name
    assert maps(found[0]) != maps(found[1])


def test_an_explanation_outlives_its_image(api, asked):
    parent = api.fill("leaving", range(5))
    request = asked(parent=parent, image={"image": image(parent, 4)}, batch_size=3)
    stream = api.explain_difference(request)
    name = eventually(lambda: next(stream), lambda one: done_of(one) > 0).name
    stream.cancel()
    api.galleries.DeleteImage(DeleteImageRequest(name=image(parent, 4)))
    assert list(api.explain_difference(again(name, overlays={})))[-1].complete
    assert failure(lambda: list(api.explain_difference(request))) == ("NOT_FOUND", "UNKNOWN_IMAGE")


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("explanations/0123", "NOT_FOUND", "UNKNOWN_EXPLANATION"),
        ("explanations/a/b", "NOT_FOUND", "UNKNOWN_EXPLANATION"),
        ("explanations/" + "x" * 5000, "NOT_FOUND", "UNKNOWN_EXPLANATION"),
        ("explanations/", "INVALID_ARGUMENT", "BAD_REQUEST"),
        ("explanations", "INVALID_ARGUMENT", "BAD_REQUEST"),
        ("galleries/photos", "INVALID_ARGUMENT", "BAD_REQUEST"),
        ("0123", "INVALID_ARGUMENT", "BAD_REQUEST"),
    ],
)
def test_an_explanation_that_is_not_there_is_named(api, name, code, reason):
    with pytest.raises(grpc.RpcError, match=name.removeprefix("explanations/")[:40] or "names no explanation"):
        next(api.explain_difference(again(name)))
    assert failure(lambda: next(api.explain_difference(again(name)))) == (code, reason)


@pytest.mark.parametrize(
    "rest",
    [
        {"targets": [TOP]},
        {"image": {"content": png(1)}},
        {"parent": "galleries/photos"},
        {"seed": 3},
        {"with_sensitivity": True},
        {"sample_count": 20},
    ],
    ids=str,
)
def test_a_name_goes_with_overlays_alone(api, explain, rest):
    name = explain().name
    with pytest.raises(grpc.RpcError, match=f"leave out `{next(iter(rest))}`"):
        next(api.explain_difference(again(name, **rest)))
    assert failure(lambda: next(api.explain_difference(again(name, **rest)))) == ("INVALID_ARGUMENT", "BAD_REQUEST")


# Mistakes

LIMIT, WINDOW, TARGET, REQUEST = "BAD_LIMIT", "BAD_WINDOW", "BAD_TARGET", "BAD_REQUEST"
MISTAKES = [
    ([], {"targets": []}, REQUEST, "there are 0 `targets`; give 1 to 32"),
    ([TOP] * 33, {}, REQUEST, "there are 33 `targets`; give 1 to 32"),
    ([{}], {}, REQUEST, "a target is empty; give it one of `class_probability`, .*`image_evidence`"),
    ([TOP, {}], {}, REQUEST, "a target is empty"),
    ([TOP], {"window_px": 7}, WINDOW, "the window of 7 px is larger than its context of 6 px"),
    ([TOP], {"window_px": 25, "context_px": 25}, WINDOW, "window of 25 px is too large for an input of 40 x 24"),
    ([TOP], {"window_px": 25, "context_px": None}, WINDOW, "window of 25 px is too large for an input of 40 x 24"),
    ([TOP], {"window_px": 2**31 - 4, "context_px": 2**31 - 1}, WINDOW, "2147483644 px is too large"),
    ([TOP], {"window_px": 4, "context_px": 13}, WINDOW, "the context of 13 px is too wide for a window of 4 px"),
    ([TOP], {"window_px": 0}, WINDOW, "the window is 0; take 1 or more"),
    ([TOP], {"window_px": -3}, WINDOW, "the window is -3; take 1 or more"),
    ([TOP], {"stride_px": 0}, WINDOW, "the stride is 0; take 1 or more"),
    ([TOP], {"stride_px": -1}, WINDOW, "the stride is -1; take 1 or more"),
    ([TOP], {"stride_px": 5}, WINDOW, "a stride of 5 px leaves pixels between windows of 4 px"),
    ([TOP], {"sample_count": 0}, LIMIT, "`sample_count` is 0, not from 1 to 1000"),
    ([TOP], {"sample_count": -1}, LIMIT, "`sample_count` is -1, not from 1 to 1000"),
    ([TOP], {"sample_count": 1001}, LIMIT, "`sample_count` is 1001, not from 1 to 1000"),
    ([TOP], {"seed": -1}, REQUEST, "the seed -1 is negative"),
    ([TOP], {"batch_size": 0}, LIMIT, "`batch_size` is 0, not from 1 to 1000"),
    ([TOP], {"batch_size": 1001}, LIMIT, "`batch_size` is 1001"),
    ([TOP], {"max_standard_error": 0}, WINDOW, "the bound 0.0 on the standard error must be above 0"),
    ([TOP], {"max_standard_error": -0.5}, WINDOW, "the bound -0.5 on the standard error"),
    ([TOP], {"max_standard_error": math.nan}, WINDOW, "the bound nan on the standard error"),
    ([TOP], {"max_standard_error": 1, "sample_count": 1}, WINDOW, "needs more than one sample"),
    ([TOP], {"sampler": "gaussian"}, REQUEST, "`sampler` is 'gaussian'; take conditional, marginal, mean"),
    ([TOP], {"training_image_count": 0}, REQUEST, "`training_image_count` is 0; take 1 or more"),
    ([TOP], {"training_image_count": -5}, REQUEST, "`training_image_count` is -5"),
    ([TOP], {"overlays": {"size_px": 3000}}, REQUEST, "`overlays.size_px` is 3000"),
    ([TOP], {"parent": ""}, "BAD_NAME", "names no gallery"),
    ([TOP], {"parent": "photos"}, "BAD_NAME", "'photos' names no gallery"),
    ([TOP], {"parent": "galleries/UP"}, "BAD_NAME", "UP"),
    ([TOP], {"image": None}, REQUEST, "`image` is missing"),
    ([TOP], {"image": {"content": b"no image"}}, "NOT_AN_IMAGE", "image"),
    ([TOP], {"image": {"content": png(1)[:100]}}, "BROKEN_IMAGE", "image"),
    ([TOP], {"image": {"image": "images/1"}}, "BAD_NAME", "'images/1' names no image"),
    ([{"class_probability": "unicorn"}], {}, TARGET, "no class 'unicorn'; take a name such as 'ant'"),
    ([{"class_score": "unicorn"}], {}, TARGET, "no class 'unicorn'"),
    ([{"class_score": "4"}], {}, TARGET, "no class '4'; .* a number from 0 to 3"),
    ([{"class_score": "top5"}], {}, TARGET, "no class 'top5'"),
    ([{"class_score": "top0"}], {}, TARGET, "no class 'top0'"),
    ([{"class_score": ""}], {}, TARGET, "no class ''"),
    ([{"unit": {"layer": "conv9", "channel": 0}}], {}, "BAD_LAYER", "'conv9' is no layer"),
    ([{"unit": {"channel": 0}}], {}, "BAD_LAYER", "'' is no layer"),
    ([{"unit": {"layer": "conv2", "channel": 6}}], {}, TARGET, "layer 'conv2' has no channel 6; take one from 0 to 5"),
    ([{"unit": {"layer": "conv2", "channel": -1}}], {}, TARGET, "layer 'conv2' has no channel -1"),
    ([{"unit": {"layer": "conv2", "cell": {"row": 12}}}], {}, "BAD_LAYER", "'conv2' has no cell in row 12, column 0"),
    ([{"unit": {"layer": "conv2", "cell": {"column": -1}}}], {}, "BAD_LAYER", "no cell in row 0, column -1"),
    ([{"similarity": {}}], {}, REQUEST, "`similarity` is missing"),
    ([{"similarity": {"content": b"no image"}}], {}, "NOT_AN_IMAGE", "image"),
    ([{"similarity": {"image": "nowhere"}}], {}, "BAD_NAME", "'nowhere' names no image"),
    ([{"label_evidence": ""}], {}, REQUEST, "`label` is missing"),
    ([{"label_evidence": "zebra"}], {}, TARGET, "nothing of 'zebra' is among the 12 most similar images"),
    ([TOP], {"window_px": 20, "context_px": 25}, WINDOW, "context of 25 px is too large for an input of 40 x 24"),
    ([{"image_evidence": "galleries/other/images/1.png"}], {}, TARGET, "'1.png' is of gallery 'other'; .* 'photos'"),
    ([{"image_evidence": "1.png"}], {}, "BAD_NAME", "'1.png' names no image"),
]


@pytest.mark.parametrize(("targets", "rest", "reason", "message"), MISTAKES)
def test_what_cannot_be_explained_is_refused_with_a_reason(api, asked, targets, rest, reason, message):
    request = asked(*targets, **rest)
    with pytest.raises(grpc.RpcError, match=message):
        list(api.explain_difference(request))
    assert failure(lambda: list(api.explain_difference(request))) == ("INVALID_ARGUMENT", reason)


@pytest.mark.parametrize(
    ("rest", "reason", "message"),
    [
        ({"parent": "galleries/nowhere"}, "UNKNOWN_GALLERY", "nowhere"),
        ({"image": {"image": "galleries/nowhere/images/1"}}, "UNKNOWN_GALLERY", "nowhere"),
        ({"image": {"image": "galleries/photos/images/no.png"}}, "UNKNOWN_IMAGE", "no.png"),
        ({"targets": [{"similarity": {"image": "galleries/photos/images/no.png"}}]}, "UNKNOWN_IMAGE", "no.png"),
        ({"targets": [{"image_evidence": "galleries/photos/images/no.png"}]}, "UNKNOWN_IMAGE", "no.png"),
    ],
)
def test_what_is_not_there_is_named(api, asked, rest, reason, message):
    with pytest.raises(grpc.RpcError, match=message):
        next(api.explain_difference(asked(**rest)))
    assert failure(lambda: next(api.explain_difference(asked(**rest)))) == ("NOT_FOUND", reason)


def test_nothing_is_kept_of_what_failed(api, asked):
    parent = api.fill("failing", range(COUNT))
    stream = api.explain_difference(asked({"unit": {"layer": "conv2", "channel": 6}}, parent=parent))
    name = next(stream).name
    assert failure(lambda: list(stream)) == ("INVALID_ARGUMENT", "BAD_TARGET")
    assert failure(lambda: next(api.explain_difference(again(name)))) == ("NOT_FOUND", "UNKNOWN_EXPLANATION")


def test_a_network_without_a_class_head_explains_all_else(asked, tmp_path):
    headless = dataclasses.replace(small(lacking="fc"), geometry=Geometry("keep", 32, 8, 16))
    with api_of(ServerConfig(data=tmp_path / "data", port=0), headless) as api:
        api.fill("photos", range(COUNT))
        for target in (TOP, {"class_score": "0"}):
            with pytest.raises(grpc.RpcError, match="small has no class scores here"):
                next(api.explain_difference(asked(target)))
            expected = ("FAILED_PRECONDITION", "NO_CLASS_SCORES")
            assert failure(lambda target=target: next(api.explain_difference(asked(target)))) == expected
        others = [{"label_evidence": "odd"}, {"unit": {"layer": "conv2"}}, {"similarity": {"content": png(1)}}]
        assert len(list(api.explain_difference(asked(*others, sample_count=1)))[-1].maps) == 3


@pytest.mark.parametrize("pooling", [Pooling("max"), Pooling("gem", 2.5)], ids=str)
def test_other_poolings_are_explained(asked, tmp_path, pooling):
    model = dataclasses.replace(small(pooling=pooling), geometry=Geometry("keep", 32, 8, 16))
    with api_of(ServerConfig(data=tmp_path / "data", port=0), model) as api:
        api.fill("photos", range(COUNT))
        answer = list(api.explain_difference(asked({"similarity": {"content": png(4)}})))[-1]
    expected = similarity_target("", embedding(model, png(4)), NO_HEAD)
    assert_same(answer.maps, computed(model, [expected], ConditionalSampler(fitted(model), K, 0)).maps(), 1e-4)


def test_a_model_that_crops_says_what_the_map_covers(asked, tmp_path):
    model = dataclasses.replace(small(), geometry=Geometry("center-crop", 32, 1, 1))
    with api_of(ServerConfig(data=tmp_path / "data", port=0), model) as api:
        api.fill("photos", range(COUNT))
        asks = asked(image={"content": png(51, 60, 40)}, sample_count=1)
        [one] = list(api.explain_difference(asks))[-1].maps
    assert (one.width_px, one.height_px, one.rows, one.columns) == (60, 40, 32, 32)
    assert [one.area.left_px, one.area.top_px, one.area.right_px, one.area.bottom_px] == [10, 0, 50, 40]


def test_a_call_without_reading_its_answers_can_be_dropped(api, asked):
    stream = api.explain_difference(asked(seed=99, **SLOW))
    with suppress(grpc.RpcError):
        next(stream)
    del stream  # cancels
    assert list(api.explain_difference(asked(seed=98)))[-1].complete
