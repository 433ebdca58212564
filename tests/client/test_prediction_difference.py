"""Prediction difference through both clients, against the fake server, whose maps one can compute by hand."""

import asyncio

import numpy as np
import pytest

from whymatch.client import (
    AsyncClient,
    Box,
    ClassProbability,
    ClassScore,
    Client,
    ColorScale,
    DeadlineExceeded,
    DifferenceMap,
    Evidence,
    ImageEvidence,
    Internal,
    NotFound,
    PatchSampler,
    ResourceExhausted,
    Similarity,
    Stored,
    Unit,
    WhymatchError,
    read_target,
)

RED = Stored("red.png")
TOP1 = ClassProbability("top1")
VALUES = (np.arange(24).reshape(4, 6) - 8) / 8


def a_map(values) -> DifferenceMap:
    return DifferenceMap("class:tabby", 0.5, "bits", np.array(values, np.float32), None, None, 2, 2, Box(0, 0, 2, 2))


# Targets


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("class:top1", ClassProbability("top1")),
        ("class:tabby: a cat", ClassProbability("tabby: a cat")),
        ("score:281", ClassScore("281")),
        ("unit:features.7/12", Unit("features.7", 12)),
        ("unit:inception_3a/1x1/5@0,13", Unit("inception_3a/1x1", 5, (0, 13))),
        ("similarity:image:red.png", Similarity(Stored("red.png"))),
        ("evidence:cat", Evidence("cat")),
        ("evidence-image:red.png", ImageEvidence("red.png")),
    ],
)
def test_the_words_of_a_target_are_read_and_written(word, target):
    assert read_target(word) == target
    assert str(target) == word


def test_a_target_may_be_the_similarity_to_a_file(save):
    path = save("other.png")
    assert read_target(f"similarity:{path}") == Similarity(str(path))
    assert str(Similarity(path)) == f"similarity:{path}"
    assert str(Similarity(b"bytes")) == "similarity:picture"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("tabby", "'tabby' is no target; write class:NAME, score:NAME"),
        ("class:", "is no target"),
        ("Class:tabby", "is no target"),
        ("unit:first", r"unit:LAYER/CHANNEL@ROW,COLUMN"),
        ("unit:first/-1", "names no unit"),
        ("unit:/1", "names no unit"),
        ("unit:first/1@2", "names no unit"),
        ("unit:first/99999999999", "names no unit"),
        ("similarity:gone.png", "there is no file 'gone.png'; a stored image is written similarity:image:NAME"),
    ],
)
def test_what_is_no_target_is_told_the_forms(word, message):
    with pytest.raises(ValueError, match=message):
        read_target(word)


def test_every_target_is_sent_as_it_is_meant(colors, world, picture):
    targets = [
        TOP1,
        ClassScore("tabby"),
        Unit("first", 0),
        Unit("first", 2, (0, 3)),
        Similarity(Stored("half.png")),
        Similarity(picture("lime")),
        Evidence("red"),
        ImageEvidence("half.png"),
        ImageEvidence("leaf", gallery="other"),
    ]
    found = colors.explain_prediction_difference(RED, targets)
    sent = world.differences[0].targets
    assert sent[0].class_probability == "top1"
    assert sent[1].class_score == "tabby"
    assert (sent[2].unit.layer, sent[2].unit.channel, sent[2].unit.HasField("cell")) == ("first", 0, False)
    assert (sent[3].unit.channel, sent[3].unit.cell.row, sent[3].unit.cell.column) == (2, 0, 3)
    assert sent[4].similarity.image == "galleries/default/images/half.png"
    assert sent[5].similarity.content == picture("lime")
    assert sent[6].label_evidence == "red"
    assert sent[7].image_evidence == "galleries/default/images/half.png"
    assert sent[8].image_evidence == "galleries/other/images/leaf"
    assert [one.target for one in found.maps] == [
        "class:tabby, tabby cat",
        "score:tabby",
        "unit:first/0",
        "unit:first/2@0,3",
        "similarity:image:half.png",
        "similarity:picture",
        "evidence:red",
        "evidence-image:half.png",
        "evidence-image:leaf",
    ]


def test_one_target_is_no_sequence_and_a_word_is_no_target(colors, world):
    with pytest.raises(TypeError, match=r"write targets=\[ClassProbability"):
        colors.explain_prediction_difference(RED, TOP1)
    with pytest.raises(TypeError, match="read_target"):
        colors.explain_prediction_difference(RED, ["class:top1"])
    assert world.differences == []


# Requests and results


def test_what_is_left_out_is_left_to_the_server(colors, world):
    colors.explain_prediction_difference(RED, [TOP1])
    [request] = world.differences
    assert (request.name, request.parent) == ("", "galleries/default")
    assert {field.name for field, _ in request.ListFields()} == {"parent", "image", "targets"}
    assert (request.refit_sampler, request.with_sensitivity) == (False, False)


def test_all_settings_are_sent(colors, world):
    colors.create_gallery("other")
    colors.explain_prediction_difference(
        Stored("red.png", "default"),
        [TOP1],
        window_px=1,
        context_px=5,
        sample_count=3,
        stride_px=1,
        sampler="marginal",
        seed=7,
        max_standard_error=0.5,
        batch_size=10,
        training_image_count=1000,
        refit_sampler=True,
        with_sensitivity=True,
        overlays=300,
        gallery="other",
    )
    [request] = world.differences
    assert (request.parent, request.image.image) == ("galleries/other", "galleries/default/images/red.png")
    assert (request.window_px, request.context_px, request.sample_count, request.stride_px) == (1, 5, 3, 1)
    assert (request.sampler, request.seed, request.max_standard_error) == ("marginal", 7, 0.5)
    assert (request.batch_size, request.training_image_count) == (10, 1000)
    assert request.refit_sampler
    assert request.with_sensitivity
    assert request.overlays.size_px == 300


def test_the_final_answer_is_returned(colors):
    found = colors.explain_prediction_difference(RED, [TOP1, ClassScore("tabby")], seed=3)
    assert (found.name, found.model, found.complete) == ("abc", "fake", True)
    assert (found.evaluations, found.planned_evaluations, found.evaluations_per_second) == (400, 400, 50)
    assert found.sampler == PatchSampler("conditional", image_count=2, patch_count=50, seed=3)
    assert (found.multiplied_share, found.computed_whole) == (0.25, ("avgpool",))
    first, second = found.maps
    assert (first.measure, second.measure) == ("bits", "score")
    assert (first.target, first.value, first.width_px, first.height_px) == ("class:tabby, tabby cat", 0.75, 60, 40)
    np.testing.assert_array_equal(first.values, VALUES)
    np.testing.assert_array_equal(second.values, 2 * VALUES)
    assert first.values.dtype == np.float32
    assert (first.standard_errors.shape, first.standard_errors.max()) == ((4, 6), 0.5)
    assert (first.sensitivities, first.color_scale) == (None, None)
    with pytest.raises(ValueError, match="overlays=True"):
        first.overlay()


def test_pictures_and_sensitivities_come_on_request_and_one_sample_has_no_error(colors):
    found = colors.explain_prediction_difference(RED, [TOP1], sampler="mean", with_sensitivity=True, overlays=True)
    [one] = found.maps
    assert one.overlay().size == (8, 4)
    assert one.color_scale == ColorScale(-4, 4, "RdBu_r")
    np.testing.assert_array_equal(one.sensitivities, np.arange(24).reshape(4, 6))
    assert one.standard_errors is None


def test_the_strongest_pixels_are_those_farthest_from_0():
    values = np.zeros((4, 5))
    values[1, 2], values[3, 4], values[0, 0] = -3, 2, 1
    assert np.argwhere(a_map(values).strongest()).tolist() == [[1, 2]]
    assert np.argwhere(a_map(values).strongest(0.1)).tolist() == [[1, 2], [3, 4]]
    assert a_map(values).strongest(1).sum() == 3
    assert not a_map(np.zeros((2, 2))).strongest().any()


@pytest.mark.parametrize("share", [0, -1, 1.5, float("nan")])
def test_a_share_is_above_0_and_at_most_1(share):
    with pytest.raises(ValueError, match="share="):
        a_map([[1]]).strongest(share)


def test_progress_is_told_with_partial_maps(colors):
    seen = []
    found = colors.explain_prediction_difference(RED, [TOP1], progress=seen.append)
    assert [(one.fitted_count, one.fit_count) for one in seen[:3]] == [(0, 2), (1, 2), (0, 0)]
    assert [(one.evaluations, len(one.maps), one.complete) for one in seen[2:]] == [
        (0, 0, False),
        (100, 0, False),
        (200, 1, False),
        (300, 0, False),
        (400, 1, True),
    ]
    np.testing.assert_array_equal(seen[4].maps[0].values, VALUES / 2)
    assert (seen[3].sampler, seen[3].seconds_left) == (None, 6)
    assert seen[-1] is found


# What ends too early


def test_a_deadline_leaves_the_partial_maps_and_the_way_to_go_on(colors, world):
    world.answers_before_silence = 6
    with pytest.raises(DeadlineExceeded, match=r"1 s of its deadline; resume_prediction_difference\('abc'\)") as caught:
        colors.explain_prediction_difference(RED, [TOP1], deadline_s=1)
    assert "--resume abc" in str(caught.value)
    partial = caught.value.partial
    assert (partial.evaluations, partial.complete) == (200, False)
    np.testing.assert_array_equal(partial.maps[0].values, VALUES / 2)
    assert world.difference_call_ended.wait(5)


def test_it_may_last_longer_than_an_answer(colors, world, address):
    world.answer_delay_s = 0.3
    with Client(address, timeout_s=1.5) as patient:
        assert patient.explain_prediction_difference(RED, [TOP1]).complete


def test_a_silent_server_is_given_up(colors, world, address):
    world.answers_before_silence = 5
    with Client(address, timeout_s=1.5) as client, pytest.raises(DeadlineExceeded, match=r"1\.5 s.*--resume") as caught:
        client.explain_prediction_difference(RED, [TOP1])
    assert caught.value.partial.evaluations == 200
    assert world.difference_call_ended.wait(5)


def test_a_failure_without_maps_has_no_partial_ones(colors, world):
    world.answers_before_refusal = 3
    with pytest.raises(ResourceExhausted, match=r"others want the server, too; .*resume abc") as caught:
        colors.explain_prediction_difference(RED, [TOP1])
    assert (caught.value.reason, caught.value.partial) == ("TOO_BUSY", None)


def test_there_is_nothing_to_go_on_with_before_the_first_evaluation(colors, world):
    world.answers_before_refusal = 2
    with pytest.raises(ResourceExhausted, match=r"too$"):
        colors.explain_prediction_difference(RED, [TOP1])


def test_a_refusal_leaves_nothing_to_go_on_with(colors):
    with pytest.raises(NotFound) as caught:
        colors.explain_prediction_difference(Stored("missing"), [TOP1])
    assert (caught.value.reason, caught.value.partial) == ("UNKNOWN_IMAGE", None)
    assert "resume" not in str(caught.value)
    assert WhymatchError("any").partial is None


def test_a_stream_that_is_never_complete_is_an_error(colors, world):
    world.answers_before_end = 6
    with pytest.raises(Internal, match=r"before the explanation was complete; .*--resume abc") as caught:
        colors.explain_prediction_difference(RED, [TOP1])
    assert caught.value.partial.evaluations == 200
    world.answers_before_end = 0
    with pytest.raises(Internal, match=r"complete$"):
        colors.explain_prediction_difference(RED, [TOP1])


def test_an_error_of_the_caller_ends_the_call(colors, world):
    world.answers_before_silence = 4

    def give_up(explanation) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colors.explain_prediction_difference(RED, [TOP1], progress=give_up)
    assert world.difference_call_ended.wait(5)


def test_what_was_stopped_goes_on_by_its_name_alone(colors, world):
    world.answers_before_refusal = 5
    with pytest.raises(ResourceExhausted) as caught:
        colors.explain_prediction_difference(RED, [TOP1], seed=5)
    world.answers_before_refusal = 10**9
    seen = []
    found = colors.resume_prediction_difference(caught.value.partial.name, overlays=True, progress=seen.append)
    assert (found.complete, found.sampler.seed, len(seen)) == (True, 5, 7)
    assert found.maps[0].overlay().size == (8, 4)
    request = world.differences[1]
    assert (request.name, request.overlays.size_px) == ("explanations/abc", 0)
    assert {field.name for field, _ in request.ListFields()} == {"name", "overlays"}
    assert colors.resume_prediction_difference("explanations/abc").complete
    with pytest.raises(NotFound) as caught:
        colors.resume_prediction_difference("gone")
    assert caught.value.reason == "UNKNOWN_EXPLANATION"


# The other client


def test_the_async_client_does_the_same(colors, world, address):
    async def scenario():
        seen = []
        async with AsyncClient(address) as client:
            found = await client.explain_prediction_difference(RED, [TOP1], progress=seen.append)
            resumed = await client.resume_prediction_difference(found.name)
            world.answers_before_end = 6
            with pytest.raises(Internal, match="complete") as unfinished:
                await client.explain_prediction_difference(RED, [TOP1])
            world.answers_before_end, world.answers_before_silence = 10**9, 6
            with pytest.raises(DeadlineExceeded, match=r"1 s of its deadline.*--resume abc") as late:
                await client.explain_prediction_difference(RED, [TOP1], deadline_s=1)
            with pytest.raises(NotFound):
                await client.resume_prediction_difference("gone")
        return found, resumed, seen, unfinished.value.partial, late.value.partial

    found, resumed, seen, *partials = asyncio.run(scenario())
    np.testing.assert_array_equal(found.maps[0].values, VALUES)
    np.testing.assert_array_equal(resumed.maps[0].values, VALUES)
    assert (len(seen), seen[-1] is found) == (7, True)
    assert [partial.evaluations for partial in partials] == [200, 200]


def test_the_async_client_gives_up_and_is_canceled_like_the_other(colors, world, address):
    world.answers_before_silence = 5

    async def scenario():
        async with AsyncClient(address, timeout_s=1.5) as client:
            with pytest.raises(DeadlineExceeded, match=r"1\.5 s") as caught:
                await client.explain_prediction_difference(RED, [TOP1])
            assert caught.value.partial.evaluations == 200
        async with AsyncClient(address) as client:
            world.difference_call_ended.clear()
            task = asyncio.create_task(client.explain_prediction_difference(RED, [TOP1]))
            while len(world.differences) < 2:
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await asyncio.to_thread(world.difference_call_ended.wait, 5)

    asyncio.run(scenario())
