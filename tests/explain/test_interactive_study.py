"""The experiments of the InterActive paper on small folders: descriptors, splits, classifiers, and the command."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sample_pictures import picture
from small_weights import SMALL
from torch import nn
from typer.testing import CliRunner, Result

from whymatch.embed import BadFolder, BadLayer, BadModel, InterActiveSetting, Layers, Model, find_images
from whymatch.embed.networks import Network, untrained_network
from whymatch.embed.trunk import Trunk, cut_trunk
from whymatch.explain.interactive_study import (
    Descriptor,
    Split,
    Store,
    Variant,
    accuracy_of,
    allows,
    default_layers,
    describe,
    describe_images,
    draw_split,
    variants,
)
from whymatch.explain.interactive_study.boxes import ObjectBox, read_boxes
from whymatch.explain.interactive_study.classification import concatenated
from whymatch.explain.interactive_study.command import app
from whymatch.explain.interactive_study.experiment import plan_of
from whymatch.explain.interactive_study.inputs import with_inputs
from whymatch.explain.interactive_study.options import norms
from whymatch.explain.interactive_study.plot import BINS, frequencies

AVERAGE, MAX, NEXT, LAST = Variant("average"), Variant("max"), Variant("average", "next", 1), Variant("max", "last", 2)
QUICK = (
    "--model",
    SMALL,
    "--size-px",
    64,
    "--warped-size-px",
    64,
    "--train-per-class",
    3,
    "--layers",
    "features.2,features.5",
)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.asarray(picture(0, 96, 64))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of six pictures each: reddish and bluish ones."""
    for label, channel in (("red", 0), ("blue", 2)):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for seed in range(6):
            values = np.array(picture(seed, 64 + 16 * (seed % 3), 64)) // 4
            values[..., channel] += 190
            Image.fromarray(values).save(tmp_path / "photos" / label / f"{seed}.png")
    return tmp_path / "photos"


def layers_of(name: str) -> Layers:
    return Layers(trunk_of(name))


def trunk_of(name: str) -> Trunk:
    module = untrained_network(name).module
    return cut_trunk(Network(name, module, frozenset(module.state_dict())))


def split_of(photos: Path, train_per_class: int = 3, test_per_class: int = 50, seed: int = 0) -> Split:
    images = find_images([photos])
    return draw_split(images, train_per_class=train_per_class, test_per_class=test_per_class, seed=seed)


def study(photos: Path, *arguments: object, output: str = "output") -> Result:
    flags = ("interactive", photos, "--output", photos.parent / output, *QUICK, *arguments)
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, list(map(str, flags)))


def document(photos: Path, *arguments: object, output: str = "output"):
    result = study(photos, *arguments, "--json", output=output)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_variants_have_the_names_of_the_paper():
    names = [variant.name for variant in variants()]
    assert names == ["Orig., AVG", "Orig., MAX", "Next, p = 1", "Next, p = 2", "Last, p = 1", "Last, p = 2"]
    assert [variant.name for variant in variants([np.inf])][2:] == ["Next, p = inf", "Last, p = inf"]


def test_the_descriptors_of_an_image_are_those_of_its_responses(model, pixels):
    kinds = [
        Descriptor(layer, variant) for layer in ("features.2", "features.9") for variant in (AVERAGE, MAX, NEXT, LAST)
    ]
    found = describe(model, pixels, kinds)
    [[one, two]] = model.weigh(
        np.stack([pixels]), [InterActiveSetting("features.2", "next", 1), InterActiveSetting("features.2", "last", 2)]
    )
    np.testing.assert_allclose(found["features.2: Orig., AVG"], one.responses.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found["features.2: Orig., MAX"], one.responses.max((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found["features.2: Next, p = 1"], one.descriptor(), rtol=1e-4)
    np.testing.assert_allclose(found["features.2: Last, p = 2"], two.descriptor("max"), rtol=1e-4)
    assert found["features.9: Last, p = 2"].shape == (384,)


def test_a_layer_that_nothing_weighs_has_its_original_descriptors(model, pixels):
    last = model.layers.last.name
    found = describe(model, pixels, [Descriptor(last, AVERAGE), Descriptor(last, MAX), Descriptor("features.2", MAX)])
    [feature_map] = model.feature_maps(np.stack([pixels]))
    np.testing.assert_allclose(found[f"{last}: Orig., AVG"], feature_map.mean((0, 1)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found[f"{last}: Orig., MAX"], feature_map.max((0, 1)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v2", "resnet18"])
def test_what_is_allowed_is_what_can_be_weighed(model, name):
    trunk = trunk_of(name)
    model = replace(model, trunk=trunk)
    image = np.full((1, 64, 64, 3), 100, np.uint8)
    for layer in [*model.layers.all[::3], model.layers.last]:
        for variant in (NEXT, LAST):
            try:
                model.weigh(image, [InterActiveSetting(layer.name, variant.supervision, variant.norm)])
            except BadLayer:
                assert not allows(model.layers, layer, variant), layer.name
            else:
                assert allows(model.layers, layer, variant), layer.name


def test_default_layers_are_the_papers_for_vgg_and_outer_ones_for_others():
    with torch.device("meta"):
        module = untrained_network("vgg19").module
    layers = Layers(Trunk(torch.fx.symbolic_trace(module.features), "28", "", 512))
    assert default_layers(layers) == [
        *("pool-1", "pool-2", "conv-3-3", "pool-3", "conv-4-3", "pool-4", "conv-5-3", "pool-5"),
    ]
    assert default_layers(layers_of("resnet18")) == ["maxpool", "layer1", "layer2", "layer3"]
    squeezed = default_layers(layers_of("squeezenet1_0"))
    assert squeezed == [f"features.{number}" for number in (2, 3, 6, 7, 9, 11)]
    mobile = default_layers(layers_of("mobilenet_v2"))
    assert (len(mobile), mobile[0], mobile[-1]) == (6, "features.0", "features.17.conv.0")


def test_a_network_without_layers_for_both_supervisions_needs_names():
    alone = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU())
    with pytest.raises(BadLayer, match="name layers with --layers"):
        default_layers(Layers(Trunk(torch.fx.symbolic_trace(alone), "1", "", 4)))


def test_layers_are_found_by_any_name_once_and_in_order(model):
    plan = plan_of(model.layers, ["features.9", "features.0", "features.1", model.layers.last.name], variants())
    assert [layer.name for layer in plan.layers] == ["features.1", "features.9", model.layers.last.name]
    assert [layer.name for layer in plan.complete] == ["features.1", "features.9"]
    assert (len(plan.descriptors), plan.classifiers) == (2 * 6 + 2, 2 * 6 + 2 + 6)
    with pytest.raises(BadLayer, match="'conv9' is no layer"):
        plan_of(model.layers, ["conv9"], variants())


def test_inputs_keep_the_shape_of_the_image_or_are_square(model):
    unwarped, warped = with_inputs(model, "unwarped", 512), with_inputs(model, "warped", 224)
    assert unwarped.geometry.input_size(180, 240) == (448, 576)  # 512 x sqrt(3 / 4) is 443, 512 x sqrt(4 / 3) is 591
    assert warped.geometry.input_size(180, 240) == (224, 224)


def test_ribbons_are_made_wide_enough_for_fully_connected_layers(model):
    network = replace(model, trunk=trunk_of("alexnet"))
    assert with_inputs(network, "unwarped", 512).geometry.min_side_px == 224
    with pytest.raises(BadModel, match="unwarped inputs of 192 px leave fc-7"):
        with_inputs(network, "unwarped", 192)
    with pytest.raises(BadModel, match="pass a larger --warped-size-px"):
        with_inputs(network, "warped", 160)
    assert with_inputs(replace(network, precision="bfloat16"), "warped", 224).geometry.size_px == 224


def test_a_split_draws_from_each_class_what_it_should(photos):
    split = split_of(photos, 2, 3)
    for label in ("red", "blue"):
        mine = split.labels == label
        assert (mine.sum(), split.training[mine].sum()) == (5, 2)
    assert split_of(photos, 2, 3).fingerprint(photos) == split.fingerprint(photos)
    assert split_of(photos, 2, 3, seed=1).fingerprint(photos) != split.fingerprint(photos)
    assert len(split_of(photos, 2).images) == 12


def test_a_class_more_does_not_change_how_others_are_split(photos):
    before = split_of(photos)
    (photos / "green").mkdir()
    for seed in range(4):
        picture(seed).save(photos / "green" / f"{seed}.png")
    after = split_of(photos)
    others = after.labels != "green"
    assert [image for image, keep in zip(after.images, others, strict=True) if keep] == before.images
    assert after.training[others].tolist() == before.training.tolist()


def test_folders_that_cannot_be_split_are_refused(photos):
    with pytest.raises(BadFolder, match=r"so of one class \(red\)"):
        split_of(photos / "red")
    with pytest.raises(BadFolder, match=r"2 of 2 classes .* learn from 6 .*: blue \(6\), red \(6\); lower"):
        split_of(photos, 6)


def test_classes_that_cannot_be_measured_are_left_out(photos):
    split = split_of(photos)
    red = [image.path for image, training in zip(split.images, split.training, strict=True) if training][3:]
    with pytest.raises(BadFolder, match="fewer than two classes"):
        split.kept(dict.fromkeys(red, "damaged"))
    assert split.kept(dict.fromkeys(red[:2], "damaged")).sum() == 10


def test_a_classifier_is_right_about_two_colors_and_wrong_about_swapped_ones():
    vectors = np.array([[1, 0.1], [0.1, 2], [3, 0], [0.2, 1]], np.float32)
    labels, training = np.array(["red", "blue", "red", "blue"]), np.array([True, True, False, False])
    assert accuracy_of(vectors, labels, training).mean == 1
    assert accuracy_of(vectors[[0, 1, 3, 2]], labels, training).mean == 0


def test_accuracy_is_the_mean_over_the_classes():
    vectors = np.eye(2, dtype=np.float32)[[0, 1, 0, 0, 0, 0]]  # all that is tested looks red
    labels = np.array(["red", "blue", "red", "red", "red", "blue"])
    assert accuracy_of(vectors, labels, np.arange(6) < 2).mean == (3 / 3 + 0 / 1) / 2


def test_each_layer_counts_alike_when_concatenated():
    joined = concatenated([np.array([[3, 4]], np.float32), np.array([[0, 100]], np.float32)])
    np.testing.assert_allclose(joined, [[0.6, 0.8, 0, 1]], rtol=1e-6)


class Once(Exception):
    """Stops the work, as a kill would."""


def test_a_killed_run_goes_on_and_ends_with_the_same_descriptors(model: Model, photos):
    model = with_inputs(model, "unwarped", 64)
    kinds = [Descriptor("features.2", AVERAGE), Descriptor("features.2", LAST)]
    paths = [image.path for image in find_images([photos])]
    (photos / "blue" / "4.png").write_text("no image")

    def kill(images: int) -> None:
        done.append(images)
        if len(done) == 8:
            raise Once

    killed, whole = (
        Store(photos.parent / name, {"seed": 0}, paths, images_at_a_time=3) for name in ("killed", "whole")
    )
    done: list[int] = []
    killed.open()
    with pytest.raises(Once):
        describe_images(model, killed, kinds, kill)
    assert killed.missing == [2, 3]
    killed.open()
    describe_images(model, killed, kinds)
    whole.open()
    describe_images(model, whole, kinds)
    for kind in kinds:
        assert whole.read(kind.name).shape == (11, 64)
        np.testing.assert_array_equal(killed.read(kind.name), whole.read(kind.name))
    assert list(killed.unreadable()) == [photos / "blue" / "4.png"]
    assert not list(killed.folder.glob("*.unfinished"))


def test_other_settings_are_refused_and_named(tmp_path):
    Store(tmp_path, {"seed": 0, "size_px": 64, "norm": np.inf}, []).open()
    Store(tmp_path, {"seed": 0, "size_px": 64, "norm": np.inf}, []).open()
    with pytest.raises(BadFolder, match=r"other settings \(layers, seed; see settings.json there\)"):
        Store(tmp_path, {"seed": 1, "size_px": 64, "norm": np.inf, "layers": ["a"]}, []).open()
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(BadFolder, match="cannot be read"):
        Store(tmp_path, {"seed": 0}, []).open()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "000000.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(BadFolder, match=r"000000.npz' is damaged .* remove it"):
        Store(tmp_path, {}, [tmp_path]).read("anything")


def test_frequencies_leave_out_zeros_and_end_at_the_common_largest():
    counted = frequencies(np.array([0] * 50 + [0.05] * 3 + [0.5] * 6 + [1] * 2).astype(np.float32))
    assert (counted[5], counted[50], counted[BINS - 1], counted[0]) == (0.5, 1, pytest.approx(1 / 3), 0)
    assert not frequencies(np.zeros(4, np.float32)).any()


@pytest.mark.parametrize(("text", "numbers"), [("1,2", [1, 2]), ("inf, 1.5", [1.5, np.inf])])
def test_norms_are_a_list(text, numbers):
    assert norms(text) == numbers


def test_the_command_prints_both_tables(photos):
    result = study(photos, "--input", "both")
    assert result.exit_code == 0, result.output
    first, second, facts = result.stdout.strip().split("\n\n")
    header, *rows = first.splitlines()
    assert header.split() == ["Layer", "Model", "Dims", "unwarped", "warped"]
    assert [row.split()[0] for row in rows] == ["features.2"] * 6 + ["features.5"] * 6
    assert rows[0].split() == ["features.2", "Orig.,", "AVG", "64", "100.00*", "100.00*"]
    assert [row.split()[:2] for row in second.splitlines()[1:]] == [["all", "2"]] * 6
    assert second.splitlines()[1].split()[4] == "192"
    assert facts.startswith("6 images to learn from and 6 to test on, of 2 classes")


def test_what_a_layer_does_not_allow_is_a_dash(photos, model):
    flags = ("--layers", f"features.2,features.5,{model.layers.last.name}")
    result = study(photos, *flags)
    rows = result.stdout.split("\n\n")[0].splitlines()[-6:]
    assert [row.split()[-1] == "-" for row in rows] == [False, False, True, True, True, True]
    assert f"not concatenated, for they do not have all variants: {model.layers.last.name}" in result.stderr
    found = document(photos, *flags)
    assert found["layers"][-1]["accuracy"] is None
    assert found["concatenated_layers"] == ["features.2", "features.5"]


def test_a_second_run_describes_nothing_again_and_says_the_same(photos):
    first, second = study(photos), study(photos)
    assert first.stdout == second.stdout
    assert "describing: unwarped" in first.stderr
    assert "describing" not in second.stderr


def test_other_settings_are_refused_before_the_work(photos):
    assert study(photos).exit_code == 0
    result = study(photos, "--seed", 1, "--layers", "features.2", "--norms", "2")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "other settings (descriptors, images, layers, seed; see settings.json" in result.stderr


def test_unreadable_images_are_left_out_and_reported_at_the_end(photos):
    (photos / "blue" / "bad.png").write_text("no image")
    (photos / "red" / "gone.png").symlink_to("nowhere")
    found = document(photos)
    assert found["training_images"] + found["test_images"] == 12
    assert [Path(one["path"]).name for one in found["skipped"]] == ["bad.png", "gone.png"]
    assert "bad.png was left out: the 8 bytes are not an image" in study(photos).stderr


def test_json_says_how_each_accuracy_was_measured(photos):
    found = document(photos, "--norms", "2,inf", "--aggregation", "max")
    assert (found["classes"], found["training_images"], found["test_images"], found["c"]) == (2, 6, 6, 10)
    assert len(found["layers"]) == 12
    assert found["layers"][0] == {
        "input": "unwarped",
        "layer": "features.2",
        "model": "Orig., AVG",
        "supervision": None,
        "norm": None,
        "aggregation": "average",
        "dimensions": 64,
        "accuracy": 1.0,
        "converged": True,
    }
    last = found["concatenated"][-1]
    assert (last["supervision"], last["norm"], last["aggregation"], last["dimensions"]) == ("last", "inf", "max", 192)


def test_with_boxes_the_tables_have_both_kinds(photos):
    lines = [f"{path.parent.name}/{path.name},8,16,40,32" for path in sorted(photos.glob("*/*.png"))]
    boxes = photos.parent / "boxes.csv"
    boxes.write_text("\n".join(["name,left,top,width,height", *lines]))
    flags = ("--boxes", boxes, "--input", "both", "--layers", "features.2", "--norms", "2")
    kinds = ["unwarped", "unwarped-box", "warped", "warped-box"]
    assert study(photos, *flags).stdout.splitlines()[0].split()[3:] == kinds
    assert [line["input"] for line in document(photos, *flags)["layers"][:4]] == kinds
    boxes.write_text(boxes.read_text().replace("8,16,40,32", "8,16,40,33", 1))
    assert "other settings (boxes; see" in study(photos, *flags).stderr


def test_what_is_described_is_what_is_in_the_box(model, tmp_path):
    inner = picture(1, 64, 96)
    whole = Image.new("RGB", (200, 150), "red")
    whole.paste(inner, (50, 30))
    inner.save(tmp_path / "inner.png")
    whole.save(tmp_path / "whole.png")
    both, descriptors = with_inputs(model, "unwarped", 64), [Descriptor("features.5", AVERAGE)]
    found = []
    for name, boxes in (("inner", None), ("whole", {tmp_path / "whole.png": box(50, 30, 64, 96)})):
        store = Store(tmp_path / name, {}, [tmp_path / f"{name}.png"])
        store.open()
        describe_images(both, store, descriptors, boxes=boxes)
        found.append(store.read("features.5: Orig., AVG"))
    np.testing.assert_array_equal(*found)


def box(left: float, top: float, width: float, height: float, *, in_shares: bool = False) -> ObjectBox:
    return ObjectBox(left, top, width, height, in_shares, "boxes.csv, line 2")


def test_a_box_is_cut_off_at_the_edge_and_refused_outside():
    assert box(0.25, 0.5, 0.5, 0.5, in_shares=True).area(80, 60) == (20, 30, 60, 60)
    assert box(-0.5, 0, 80.9, 60).area(80, 60) == (0, 0, 80, 60)
    assert box(79.8, 10.2, 0.1, 0.1).area(80, 60) == (79, 10, 80, 11)
    for outside in (box(10, 10, 80, 10), box(-2, 0, 10, 10), box(0, 0, 10, 62), box(90, 10, 5, 5)):
        with pytest.raises(BadFolder, match=r"its box \(boxes.csv, line 2\) .* outside the image of 80 x 60 px"):
            outside.area(80, 60)


def test_boxes_of_yolo_lie_beside_the_images_or_in_a_folder_of_their_own(photos):
    images = sorted(photos.glob("red/*.png"))
    for number, path in enumerate(images):
        path.with_suffix(".txt").write_text(f"0 0.5 0.5 0.1 0.1\n3 0.5 0.25 0.5 0.{number + 1} 0.9\n\n")
    found = read_boxes(photos, images, photos)
    assert (found[images[1]].left, found[images[1]].top, found[images[1]].width) == (0.25, 0.15, 0.5)
    assert read_boxes(photos / "red", images, photos) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red/0.png,1,2,3,4", "the first line of .* does not name the columns name,left,top,width,height"),
        ("name,left,top,width,height\nred/0.png,1,2,x,4", "boxes.csv, line 2 is not a box of four numbers"),
        ("name,left,top,width,height\nred/0.png,1,2,3", "boxes.csv, line 2 is not a box of four numbers"),
        ("name,left,top,width,height\nred/0.png,1,2,0,4", "the box of boxes.csv, line 2 has no area: it is 0 wide"),
        ("name,left,top,width,height\nred/0.png,1,2,3,4", r"5 of 6 images have no box in .*, first 'red/1.png'"),
    ],
)
def test_boxes_that_cannot_be_used_are_named(photos, text, message):
    boxes = photos.parent / "boxes.csv"
    boxes.write_text(text)
    with pytest.raises(BadFolder, match=message):
        read_boxes(boxes, sorted(photos.glob("red/*.png")), photos)


def test_images_whose_box_is_outside_are_left_out(photos):
    boxes = photos.parent / "boxes.csv"
    images = sorted(photos.glob("*/*.png"))
    lines = [f"{path.parent.name}/{path.name},0,0,{900 if path == images[0] else 40},32" for path in images]
    boxes.write_text("\n".join(["name,left,top,width,height", *lines]))
    found = document(photos, "--boxes", boxes)
    assert found["training_images"] + found["test_images"] == 11
    assert "its box (boxes.csv, line 2) reaches from 0, 0 to 900, 32, outside" in found["skipped"][0]["reason"]


def test_next_is_listed_once_where_it_is_last(model):
    fully = replace(model, trunk=trunk_of("alexnet"))
    plan = plan_of(fully.layers, ["features.5", "fc-6"], variants())
    fc_6 = plan.layers[-1]
    assert plan.below_last == ["fc-6"]
    assert [variant.name for layer, variant in plan.rows if layer is fc_6] == [
        *("Orig., AVG", "Orig., MAX", "Last, p = 1", "Last, p = 2"),
    ]
    assert plan.descriptor(fc_6, Variant("average", "next", 1)).name == "fc-6: Last, p = 1"
    assert plan.complete == plan.layers


def test_plot_and_histogram_are_pictures(photos):
    plot, histogram = photos.parent / "$plot.png", photos.parent / "histogram.png"
    result = study(photos, "--plot", plot, "--histogram", histogram)
    assert result.exit_code == 0, result.output
    for path in (plot, histogram):
        with Image.open(path) as image:
            assert image.format == "PNG"


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (("--model", "no_such_network"), 1, "no_such_network"),
        (("--layers", "features.99"), 1, "is no layer of this network; near it are features.9"),
        (("--include", "test__*"), 1, "matches 'test__*'"),
        (("--train-per-class", 6), 1, "too few images"),
        (("--norms", "1,x"), 2, "1,x"),
        (("--norms", "0.5"), 2, "not 1 or more"),
        (("--norms", "nan"), 2, "not 1 or more"),
        (("--plot", "plot.bmp"), 2, ".png"),
        (("--histogram", "missing/plot.png"), 2, "no folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_the_work(photos, flags, code, said):
    result = study(photos, *flags)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert not (photos.parent / "output").exists()


def test_the_installed_command_is_the_same(photos):
    command = [sys.executable, "-m", "whymatch.client", "study", "interactive", photos, "--json", *QUICK]
    done = subprocess.run(
        [*map(str, command), "--output", photos.parent / "output"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    installed, called = json.loads(done.stdout), document(photos)
    assert installed.pop("provenance")["version"] == called.pop("provenance")["version"]
    assert installed == called
    assert "describing: unwarped" in done.stderr
