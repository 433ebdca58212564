"""The command `explain prediction-difference`, and the pictures that it writes."""

import dataclasses
import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import pytest

from whymatch.client import Box, InvalidArgument, Stored, read_target
from whymatch.client.apps import documents
from whymatch.client.apps.difference_runs import PlannedRun, follow
from whymatch.client.draw.differences import TILE, _pictures, colored, gray, load_picture, sheet, write_live
from whymatch.client.draw.runs import DifferenceRun, each_map

COMMAND = ["explain", "prediction-difference"]
RED = [*COMMAND, "image:red.png", "--target", "class:top1"]
VALUES = [[(6 * row + column - 8) / 8 for column in range(6)] for row in range(4)]
ERRORS = [[0.25] * 6 for _ in range(3)] + [[0.25] * 5 + [0.5]]
NAMES = [
    *(
        "image",
        "target",
        "value",
        "unit",
        "map",
        "standard_error",
        "evaluations",
        "planned_evaluations",
        "seed",
        "sampler",
    ),
    *("window_px", "context_px", "sample_count", "stride_px", "name", "model", "complete"),
    *("multiplied_share", "computed_whole"),
]


def read(path) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(path.read_bytes()))


def words(text: str) -> str:
    """Return what a frame of error or help says, on one line."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


@pytest.fixture
def finished(colors) -> DifferenceRun:
    """A run with all that can be drawn."""
    found = colors.explain_prediction_difference(
        Stored("red.png"), [read_target("class:top1")], with_sensitivity=True, overlays=True
    )
    return DifferenceRun("red.png", PIL.Image.new("RGB", (4, 2), "red"), found, 1.0)


# What it prints


def test_one_map_is_one_document(ask, colors):
    found = ask(*RED, "--seed", "3")
    assert list(found) == NAMES
    assert (found["image"], found["target"], found["value"]) == ("image:red.png", "class:tabby, tabby cat", 0.75)
    assert found["map"] == {"rows": 4, "columns": 6, "values": VALUES}
    assert found["standard_error"] == {"rows": 4, "columns": 6, "values": ERRORS}
    assert (found["evaluations"], found["planned_evaluations"], found["seed"]) == (400, 400, 3)
    assert found["sampler"] == {"kind": "conditional", "image_count": 2, "patch_count": 50, "seed": 3}
    assert [found[name] for name in NAMES[10:14]] == [10, 14, 20, 4]
    assert (found["name"], found["model"], found["complete"]) == ("abc", "fake", True)
    assert (found["multiplied_share"], found["computed_whole"]) == (0.25, ["avgpool"])


def test_images_samplers_windows_and_targets_are_all_combined(ask, colors, world, save):
    file = save("query.png")
    arguments = ["--target", "score:tabby", "--window", "1", "--window", "8", "--sampler", "marginal"]
    found = ask(*RED, file, *arguments, "--sampler", "mean", "--samples", "7", "--stride", "1", "--refit")
    rows = [(one["image"], one["sampler"]["kind"], one["window_px"], one["target"][:5]) for one in found]
    assert rows == [
        (image, sampler, window, target)
        for image in ("image:red.png", str(file))
        for sampler in ("marginal", "mean")
        for window in (1, 8)
        for target in ("class", "score")
    ]
    assert [(one["context_px"], one["sample_count"]) for one in found[:8:2]] == [(5, 7), (12, 7), (5, 1), (12, 1)]
    assert [one["standard_error"] is None for one in found[:8:2]] == [False, False, True, True]
    sent = world.differences
    assert [(one.window_px, one.HasField("context_px"), one.sample_count) for one in sent[:2]] == [
        (1, False, 7),
        (8, False, 7),
    ]
    assert [one.refit_sampler for one in sent] == [True] * 4 + [False] * 4
    assert sent[4].image.content == file.read_bytes()


def test_several_servers_are_told_apart_by_their_networks(ask, colors, address, tmp_path):
    other = address.replace("127.0.0.1", "localhost")
    found = ask(*RED, "--also", other, "--maps", tmp_path)
    assert [one["network"].partition(" at ")[2] for one in found] == [address, other]
    assert len({one["overlay"] for one in found}) == 2


def test_all_options_are_sent(ask, colors, world):
    options = ["--context", "12", "--max-standard-error", "0.5", "--batch-size", "9", "--training-images", "1000"]
    found = ask(*RED, *options, "--sensitivity", "--layer", "conv1")
    assert found["sensitivity"]["values"][3][5] == 23
    [request] = world.differences
    assert (request.context_px, request.max_standard_error, request.batch_size) == (12, 0.5, 9)
    assert (request.training_image_count, request.HasField("overlays"), request.layer) == (1000, False, "conv1")


def test_a_range_of_channels_is_a_target_each(ask, colors, world):
    ask(*COMMAND, "image:red.png", "--target", "unit:layer2-3/7-9", "--target", "unit:layer2-3/1")
    assert [(one.unit.layer, one.unit.channel) for one in world.differences[0].targets] == [
        ("layer2-3", channel) for channel in (7, 8, 9, 1)
    ]


def test_a_class_that_only_one_of_several_servers_names_is_asked_for_by_number():
    def ask(progress) -> None:
        raise InvalidArgument("the network has no class 'tusker'", reason="BAD_TARGET")

    with pytest.raises(InvalidArgument, match=r"resnet50: the network has no class 'tusker'.*its number, or top1"):
        follow(PlannedRun("a.png", None, ask, "resnet50"), [], None)
    with pytest.raises(InvalidArgument, match=r"^the network has no class 'tusker'$"):
        follow(PlannedRun("a.png", None, ask), [], None)


def test_a_file_is_named_where_it_is_compared_with(ask, colors, save):
    other = save("other.png", "lime")
    found = ask(*COMMAND, "image:red.png", "--target", f"similarity:{other}", "--maps", other.parent / "maps")
    assert found["target"] == f"similarity:{other}"
    assert found["overlay"].endswith("/image_red.png-similarity_other.png-k10-conditional.png")


def test_people_read_a_line_for_each_map(run, colors):
    result = run(*RED, "--target", "score:tabby")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "image:red.png: conditional, k = 10, l = 14, S = 20, stride = 4, seed = 0",
        "class:tabby, tabby cat = 0.75; map -1 to 1.875 bits, median standard error 0.25",
        "score:tabby = 0.75; map -2 to 3.75 score, median standard error 0.25",
    ]
    assert re.fullmatch(r"400 of 400 evaluations in \d+\.\d s, 25\.0% of the multiplications of whole images", lines[3])
    assert lines[4:] == ["computed whole: avgpool"]
    assert "400/400" in result.stderr


def test_one_sample_has_no_error_to_print(run, colors):
    lines = run(*RED, "--sampler", "mean").stdout.splitlines()
    assert lines[0] == "image:red.png: mean, k = 10, l = 14, S = 1, stride = 4, seed = 0"
    assert lines[1].endswith("map -1 to 1.875 bits")


# Pictures


def test_pictures_go_into_a_folder(ask, colors, tmp_path, save):
    folder = tmp_path / "maps"
    [found, again] = ask(*RED, save("query.png"), "--window", "8", "--maps", folder)
    assert found["overlay"] == str(folder / "image_red.png-class_tabby__tabby_cat-k8-conditional.png")
    assert again["overlay"] == str(folder / "query.png-class_tabby__tabby_cat-k8-conditional.png")
    assert read(folder / "query.png-class_tabby__tabby_cat-k8-conditional.png").size == (8, 4)
    assert len(list(folder.glob("*.png"))) == 3
    assert read(folder / "sheet.png").width > 4 * TILE[0]


def test_maps_of_the_same_words_have_files_of_their_own(ask, colors, tmp_path, save):
    target = ["--target", "score:" + "x" * 300, "--target", "score:" + "x" * 301]
    found = ask(*COMMAND, save("a/q.png"), save("b/q.png"), *target, "--maps", tmp_path / "maps")
    files = [one["overlay"] for one in found]
    assert len(set(files)) == 4
    assert all(map(os.path.isfile, files))


def test_a_sheet_has_a_row_for_each_map_and_a_column_for_all_there_is(finished):
    both = sheet([finished, finished])
    one = sheet([finished])
    assert one.width > 7 * TILE[0]
    assert both.height > 1.8 * (one.height - 80)
    bare = sheet([DifferenceRun(None, None, finished.explanation, 1.0)])
    assert bare.width == one.width - TILE[0] - 12


def test_all_panels_have_the_shape_of_the_image(finished):
    """Whatever the shape of the map: here 4 x 6 values of an image of 60 x 40 pixels."""
    [one] = finished.explanation.maps
    shown = _pictures(finished, one, 1.0, 0.5)
    captions = [caption for _, caption in shown]
    assert {picture.size for picture, _ in shown} == {(TILE[0], TILE[0] * one.height_px // one.width_px)}
    assert captions[-3:-1] == ["steepest 50%", "strongest 50%"]
    masks = [np.asarray(picture)[:, :, 0] for picture, caption in shown if caption in captions[-3:-1]]
    assert [round((mask == 255).mean(), 2) for mask in masks] == [0.5, 0.5]
    assert not np.array_equal(*masks)


def test_what_the_network_does_not_see_stays_empty(finished):
    [one] = finished.explanation.maps
    cropped = dataclasses.replace(one, area=Box(2, 0, 6, 4), width_px=8, height_px=4)
    pictures = {caption: picture for picture, caption in _pictures(finished, cropped, 1.0, 1.0)}
    row = np.asarray(pictures["strongest 100%"])[60]
    assert [row[x].tolist() for x in (59, 60, 179, 180)] == [[236, 239, 243], *[[255] * 3] * 2, [236, 239, 243]]


def test_a_row_says_of_which_cells_it_is(finished):
    found = finished.explanation
    setting = dataclasses.replace(found.setting, layer="conv1")
    sampler = dataclasses.replace(found.sampler, channel_count=21, variance_share=0.834)
    explanation = dataclasses.replace(found, setting=setting, sampler=sampler)
    run = dataclasses.replace(finished, explanation=explanation)
    assert str(run).startswith("cells of conv1, 21 principal channels (83% of the variance), conditional, k = 10, ")
    document = documents.prediction_difference(run, found.maps[0], None)
    assert (document["layer"], document["sampler"]["channel_count"]) == ("conv1", 21)


def test_rows_go_by_image_or_by_target(finished):
    one = finished.explanation.maps[0]
    maps = tuple(dataclasses.replace(one, target=name) for name in ("first", "second"))
    run = dataclasses.replace(finished, explanation=dataclasses.replace(finished.explanation, maps=maps))
    other = dataclasses.replace(run, image="blue.png")
    rows = [(each.image, one.target) for each, one in each_map([run, other], by_target=True)]
    assert rows == [(image, target) for target in ("first", "second") for image in ("red.png", "blue.png")]
    assert [one.target for _, one in each_map([run, other])] == ["first", "second"] * 2


def test_red_is_for_blue_against_and_white_nothing():
    pixels = np.asarray(colored(np.array([[2, 0, -1, -2, 9]], np.float32), 2))
    assert pixels[0, 0].tolist() == [178, 24, 43]
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert pixels[0, 2].tolist() == [144, 178, 214]
    assert pixels[0, 3].tolist() == [33, 102, 172]
    assert pixels[0, 4].tolist() == pixels[0, 0].tolist()
    assert np.asarray(colored(np.zeros((1, 1), np.float32), 0)).tolist() == [[[255, 255, 255]]]


def test_gray_ends_with_the_limit():
    assert np.asarray(gray(np.array([[0, 1, 2, 9]], np.float32), 2)).tolist() == [[0, 128, 255, 255]]
    assert np.asarray(gray(np.zeros((1, 2), np.float32), 0)).tolist() == [[0, 0]]


def test_an_image_is_drawn_upright_or_not_at_all():
    turned = PIL.Image.new("RGB", (2, 4), "red")
    turned.getexif()[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, "JPEG", exif=turned.getexif())
    assert load_picture(file.getvalue()).size == (4, 2)
    assert load_picture(b"only the server can read this") is None


def test_the_live_picture_is_replaced_at_once(finished, tmp_path):
    file = tmp_path / "new" / "live.png"
    for _ in range(2):
        write_live(finished, file)
        assert read(file).size == sheet([finished]).size
    assert [path.name for path in file.parent.iterdir()] == ["live.png"]


# Stopped, and resumed


def test_a_failure_shows_the_partial_maps_and_exits_with_4(run, colors, world, tmp_path):
    world.answers_before_refusal = 6
    folder, live = tmp_path / "maps", tmp_path / "live.png"
    result = run(*RED, "--maps", folder, "--live", live, "--json")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-1].startswith("whymatch: others want the server, too; ")
    assert result.stderr.splitlines()[-1].endswith("--resume abc")
    found = json.loads(result.stdout)
    assert (found["complete"], found["evaluations"]) == (False, 200)
    assert found["map"]["values"][0][0] == -0.5
    assert len(list(folder.glob("*.png"))) == 2
    assert read(live).width > 4 * TILE[0]
    assert "partial, 200 of 400 evaluations" in run(*RED).stdout


def test_a_deadline_is_a_failure(run, colors, world):
    world.answers_before_silence = 6
    result = run(*RED, "--deadline", "1")
    assert result.exit_code == 4
    assert "whymatch: the call was not done after the 1 s of its deadline" in result.stderr
    assert "partial, 200 of 400 evaluations" in result.stdout


def test_a_failure_without_maps_leaves_stdout_empty(run, colors, world, tmp_path):
    world.answers_before_refusal = 3
    result = run(*RED, "--maps", tmp_path / "maps", "--json")
    assert (result.exit_code, result.stdout) == (4, "")
    assert "resume abc" in result.stderr
    assert not (tmp_path / "maps").exists()


def test_of_several_calls_those_before_the_failure_are_shown_as_a_list(run, colors):
    result = run(*RED, "--json", "image:missing")
    assert result.exit_code == 3
    assert [one["complete"] for one in json.loads(result.stdout)] == [True]


def test_what_was_stopped_goes_on(run, ask, colors, world, tmp_path):
    world.answers_before_refusal = 5
    assert run(*RED, "--seed", "4").exit_code == 4
    world.answers_before_refusal = 10**9
    found = ask(*COMMAND, "--resume", "abc", "--maps", tmp_path / "maps", "--deadline", "60")
    assert list(found) == [*NAMES, "overlay"]
    assert (found["complete"], found["seed"]) == (True, 4)
    assert [found[name] for name in ("image", *NAMES[10:14])] == [None, 10, 14, 20, 4]
    assert found["overlay"] == str(tmp_path / "maps" / "abc-class_tabby__tabby_cat-k10-conditional.png")
    assert run(*COMMAND, "--resume", "abc").stdout.startswith(
        "abc: conditional, k = 10, l = 14, S = 20, stride = 4, seed = 4\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_an_interrupted_command_shows_what_there_is(world, address, colors, tmp_path):
    world.answers_before_silence = 6
    live = tmp_path / "live.png"
    command = [sys.executable, "-m", "whymatch.client", *RED, "--address", address, "--live", str(live), "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline_s = time.monotonic() + 30
    while not live.exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=20)
    assert process.returncode not in (0, 2)
    assert "stopped early; --resume abc continues from here" in stderr
    assert json.loads(stdout)["evaluations"] == 200
    assert world.difference_call_ended.wait(5)


# Misuse


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give at least one IMAGE and one --target, or --resume NAME"),
        (["image:red.png"], "give at least one IMAGE and one --target"),
        (["--target", "class:top1"], "give at least one IMAGE and one --target"),
        (["image:red.png", "--target", "tabby"], "--target 'tabby' is no target; write class:NAME, score:NAME,"),
        (["image:red.png", "--target", "similarity:gone.png"], "there is no file 'gone.png'"),
        (["gone.png", "--target", "class:top1"], "there is no file 'gone.png'"),
        (["image:red.png", "--resume", "abc"], "leave out images, targets and their settings"),
        (["--resume", "abc", "--seed", "0"], "leave out images, targets and their settings"),
        (["--resume", "abc", "--refit"], "leave out images, targets and their settings"),
        (["image:red.png", "--target", "class:top1", "--window", "0"], "'--window'"),
        (["image:red.png", "--target", "class:top1", "--samples", "1001"], "'--samples'"),
        (["image:red.png", "--target", "class:top1", "--sampler", "median"], "take conditional, marginal, mean"),
        (["image:red.png", "--target", "class:top1", "--max-standard-error", "nan"], "nan; take more than 0"),
        (["image:red.png", "--target", "class:top1", "--deadline", "0"], "0; take more than 0"),
        (["image:red.png", "--target", "class:top1", "--live", "live.jpg"], "for example live.png"),
        (["image:red.png", "--target", "class:top1", "--share", "0"], "0; take more than 0 and at most 1"),
        (["image:red.png", "--target", "unit:conv/5-40"], "'unit:conv/5-40': give 1 to 32 channels, the first one"),
        (["image:red.png", "--target", "unit:conv/5-4"], "'unit:conv/5-4': give 1 to 32 channels, the first one first"),
        (["--resume", "abc", "--layer", "conv"], "leave out images, targets and their settings"),
    ],
)
def test_misuse_is_named_before_any_call(run, colors, world, arguments, message):
    result = run(*COMMAND, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in words(result.stderr)
    assert world.differences == []


def test_help_shows_the_forms_of_a_target(run):
    text = words(run(*COMMAND, "--help").stdout)
    assert all(form in text for form in ("class:NAME", "score:NAME", "unit:LAYER/CHANNEL", "similarity:IMAGE"))
    assert "default: (window + 4)" in text
    assert "prediction-difference" in run("explain", "--help").stdout
