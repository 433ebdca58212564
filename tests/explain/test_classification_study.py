"""Section 4.4 of the InterActive paper on small folders: crops, classes, errors, and the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from sample_pictures import picture, png
from small_weights import SMALL
from typer.testing import CliRunner, Result

from whymatch.embed import BadFolder, BadLayer, DecodeLimits, Model, load_model
from whymatch.embed.networks import Network, untrained_network
from whymatch.embed.trunk import cut_trunk
from whymatch.explain.classification_study.classes import classes_of
from whymatch.explain.classification_study.crops import Crops
from whymatch.explain.classification_study.experiment import measure, misses, posteriors
from whymatch.explain.interactive import scores_by_norm
from whymatch.explain.interactive_study.command import app

NAMES = ["crane", "tabby cat", "crane", "Tench"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    save_file(untrained_network("squeezenet1_1").module.state_dict(), path)
    return f"squeezenet1_1={path}"


@pytest.fixture(scope="module")
def classifying(weights) -> Model:
    return load_model("squeezenet1_1", weights=Path(weights.partition("=")[2]), size_px=64)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for label in ("7", "tench"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for seed in range(2):
            picture(seed, 96, 64).save(tmp_path / "photos" / label / f"{seed}.png")
    return tmp_path / "photos"


def study(photos: Path, *arguments: object) -> Result:
    flags = ("classification", photos, "--size-px", 64, *arguments)
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, flags)))


def test_a_grid_of_crops_lies_in_the_image_from_corner_to_corner():
    areas = Crops(3, (128,)).areas(400, 200, 64)  # scaled to 256 x 128, where a crop is half of the height
    assert len(areas) == 9
    assert (areas[0], areas[4], areas[8]) == ((0, 0, 100, 100), (150, 50, 250, 150), (300, 100, 400, 200))
    assert Crops(1, (64,)).areas(400, 200, 64) == [(100, 0, 300, 200)]


def test_the_papers_crops_are_150_and_half_of_them_are_mirrored(classifying):
    assert Crops(5, (256, 384, 512), mirrored=True).count == 150
    square = replace(classifying, geometry=replace(classifying.geometry, mode="warp"))
    plain, mirrored = Crops(2, (96,), mirrored=True).inputs(square, png(1, 96, 96), DecodeLimits())
    assert plain.shape == (4, 64, 64, 3)
    np.testing.assert_array_equal(mirrored, plain[:, :, ::-1])


def test_a_crop_is_cut_out_of_the_scaled_image(classifying):
    square = replace(classifying, geometry=replace(classifying.geometry, mode="warp"))
    [[crop, *_]] = Crops(2, (96,)).inputs(square, png(1, 96, 96), DecodeLimits())
    np.testing.assert_array_equal(crop, np.asarray(picture(1, 96, 96))[:64, :64])


def test_folders_are_classes_by_name_by_number_or_by_order():
    assert classes_of(["tabby_cat", "3"], NAMES) == {"tabby_cat": 1, "3": 3}
    assert classes_of(["n4", "n1", "n3", "n2"], NAMES) == {"n1": 0, "n2": 1, "n3": 2, "n4": 3}
    with pytest.raises(BadFolder, match=r"1 of 2 folders name no class of the network, first 'dog'"):
        classes_of(["dog", "tench"], NAMES)
    with pytest.raises(BadFolder, match=r"several classes are named 'crane'; name the folder by one of .* 0, 2"):
        classes_of(["crane"], NAMES)


def test_an_error_is_a_class_that_is_not_among_the_first():
    probabilities = np.array([[0.5, 0.2, 0.1, 0.1, 0.05, 0.05]])
    assert [misses(probabilities, number)[:, 0].tolist() for number in (0, 1, 4, 5)] == [
        [False, False],
        [True, False],
        [True, False],
        [True, True],
    ]


def test_the_probabilities_of_crops_and_models_are_averaged(classifying):
    pixels = np.stack([np.asarray(picture(seed, 64, 64)) for seed in (1, 2)])
    found = posteriors(classifying, [pixels[:1], pixels[1:]], [2.0])
    plain, again = (torch.from_numpy(each).softmax(1).mean(0) for each in scores_by_norm(classifying, pixels, [2.0]))
    np.testing.assert_allclose(found, [plain, again], rtol=1e-4)


def test_fc_7_is_what_is_weighed(classifying, photos):
    torch.manual_seed(0)
    module = untrained_network("alexnet").module
    trunk = cut_trunk(Network("alexnet", module, frozenset(module.state_dict())))
    fully = replace(classifying, trunk=trunk, geometry=replace(classifying.geometry, mode="warp", size_px=224))
    found = measure({"alexnet": fully}, {photos / "7" / "0.png": 7}, [1.0, 2.0], Crops())
    assert [(row.layer, row.first, len(row.errors)) for row in found.rows] == [("fc-7", 1, 3), ("fc-7", 5, 3)]
    with torch.inference_mode():
        [[pixels]] = Crops().inputs(fully, png(0, 96, 64), DecodeLimits())
        expected = module(fully.inputs(pixels[None]))
    np.testing.assert_allclose(scores_by_norm(fully, pixels[None], [2.0])[0], expected, rtol=1e-3, atol=1e-4)


def test_scores_that_are_not_of_the_last_relu_are_refused(classifying):
    module = untrained_network("efficientnet_b0").module
    module.features[8][2] = torch.nn.GELU()
    module.features[7][0].block[0][2] = torch.nn.ReLU()
    other = replace(classifying, trunk=cut_trunk(Network("efficientnet_b0", module, frozenset(module.state_dict()))))
    with pytest.raises(BadLayer, match=r"are not of its last ReLU, features\.7"):
        scores_by_norm(other, np.zeros((1, 64, 64, 3), np.uint8), [2.0])


def test_the_command_prints_both_errors_of_each_model_and_of_all(photos, weights, tmp_path):
    (tmp_path / "copy.safetensors").symlink_to(weights.partition("=")[2])
    other = f"squeezenet1_1={tmp_path / 'copy.safetensors'}"
    (photos / "7" / "bad.png").write_text("no image")
    plot = tmp_path / "plot.png"
    result = study(photos, "--model", weights, "--model", other, "--crops", 2, "--scales", "64,80", "--plot", plot)
    assert result.exit_code == 0, result.output
    header, *rows, _, facts = result.stdout.splitlines()
    assert header.split() == ["Model", "Layer", "Error", "Orig.", "p", "=", "1", "p", "=", "2"]
    assert [row.split()[-4] for row in rows] == ["top-1", "top-5"] * 3
    assert rows[-1].startswith("combined")
    assert rows[0].split()[2:] == rows[4].split()[1:]  # twice the same model is that model
    assert facts.startswith("4 images, 8 inputs for each")
    assert "no fully connected layers below its scores (fc-6 and fc-7); its last layer, features.12," in result.stderr
    assert "bad.png was left out: the 8 bytes are not an image" in result.stderr
    with Image.open(plot) as drawn:
        assert drawn.format == "PNG"


def test_json_has_each_error_as_a_share(photos, weights):
    found = json.loads(study(photos, "--model", weights, "--norms", "inf", "--json").stdout)
    assert (found["images"], found["inputs_per_image"], found["skipped"]) == (4, 1, [])
    assert [(line["top"], line["norm"]) for line in found["errors"]] == [(1, None), (1, "inf"), (5, None), (5, "inf")]
    assert all(0 <= line["error"] <= 1 and line["layer"] == "features.12" for line in found["errors"])


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--scales", "big"), 2, "not a list of sizes"),
        (("--norms", "0"), 2, "not 1 or more"),
        (("--crops", 2, "--scales", "32"), 1, "crops of 64 px do not fit into 32 px; raise --scales"),
        (("--model", "bundled"), 1, "squeezenet1_1 and bundled score different classes"),
        (("--model", SMALL), 1, "has no class scores here: its weights lack its classifier"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(photos, weights, flags, code, said):
    result = study(photos, "--model", weights, *flags)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr


def test_folders_that_are_no_classes_are_named(photos, weights):
    (photos / "tench").rename(photos / "nobody")
    result = study(photos, "--model", weights)
    assert result.exit_code == 1
    assert "first 'nobody'; name each by its class, for example 'tench', or its number" in result.stderr
