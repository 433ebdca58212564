"""Training: batches that can be made again, losses with known values, and runs that survive a kill."""

import dataclasses
import json
import os
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sample_pictures import picture, png
from small_weights import SMALL

from whymatch.embed import BadFolder, BadModel, DecodeLimits, TrainingFailed, find_images, load_named_model
from whymatch.embed.networks import untrained_network
from whymatch.embed.training.batches import Batches, BatchSetting
from whymatch.embed.training.interrupts import interrupt_held
from whymatch.embed.training.learner import Learner
from whymatch.embed.training.mixing import mixed
from whymatch.embed.training.objectives import LabelObjective, pixels_of
from whymatch.embed.training.recipe import Recipe, prepare
from whymatch.embed.training.views import ViewSetting

NETWORK = "regnet_x_200mf"
COLORS = {"a": "tomato", "b": "olive", "c": "navy"}


@pytest.fixture
def folder(tmp_path):
    """Three labels with four pictures each; those of one label have one color in common."""
    for seed in range(12):
        label = "abc"[seed // 4]
        file = tmp_path / "images" / label / f"{seed}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.blend(picture(seed), Image.new("RGB", (96, 64), COLORS[label]), 0.7).save(file)
    return tmp_path / "images"


def recipe(folder, **changes) -> Recipe:
    quick = {"scratch": NETWORK, "size_px": 64, "steps": 4, "batch_size": 6, "images_per_label": 2, "warmup_steps": 2}
    return Recipe((str(folder),), **quick | changes)


def quiet(progress):
    pass


def batches(folder, **settings) -> Batches:
    return Batches(
        find_images([folder]), BatchSetting(**{"size": 5, "size_px": 32, "seed": 1} | settings), ViewSetting()
    )


def losses_of(run) -> list[float]:
    """Train, and return the loss of every step."""
    losses = []
    loss = run.objective.loss
    run.objective.loss = lambda learner, views: losses.append(loss(learner, views)) or losses[-1]
    run.train(quiet)
    return [each.item() for each in losses]


def weights_of(run) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.network.module.state_dict().items()}


def test_a_batch_is_the_same_whenever_it_is_made(folder):
    first, later = batches(folder), batches(folder)
    going_on = list(later.from_step(2, 5))
    for view, again in zip(list(first.from_step(0, 5))[3], going_on[1], strict=True):
        assert np.array_equal(view.pixels, again.pixels)
        assert view.label == again.label


def test_every_image_comes_once_before_any_comes_again(folder):
    made = batches(folder, size=4)
    assert sorted(made._next_in_turn(0) + made._next_in_turn(1) + made._next_in_turn(2)) == list(range(12))
    assert made._next_in_turn(3) != made._next_in_turn(0)


def test_a_batch_can_hold_some_images_of_each_label(folder):
    labels = [view.label for view in batches(folder, size=6, images_per_label=3).batch(0)]
    assert len(set(labels)) == 2
    assert all(labels.count(label) == 3 for label in labels)


def test_an_image_that_cannot_be_read_is_replaced_and_reported(folder):
    (folder / "a" / "1.png").write_bytes(b"not an image")
    made = batches(folder, size=12)
    labels = [view.label for view in made.batch(0)]
    assert sorted(labels) == [0] * 4 + [1] * 4 + [2] * 4  # another image of its label stands in
    assert list(made.unreadable) == [str(folder / "a" / "1.png")]


def test_a_folder_without_a_readable_image_says_so(folder):
    for path in folder.rglob("*.png"):
        path.write_bytes(b"not an image")
    with pytest.raises(BadFolder, match="none of the 12 images can be read"):
        batches(folder).batch(0)


def test_mixed_images_hold_parts_of_two_images_and_the_rest_changes_its_colors_only():
    torch.manual_seed(3)
    pixels = torch.tensor([40.0, 100.0]).view(2, 1, 1, 1).expand(2, 3, 32, 32)
    plain, half = mixed(pixels, 0.0), mixed(pixels.repeat(20, 1, 1, 1), 1.0)
    assert all(len(channel.unique()) == 1 for image in plain for channel in image)
    assert plain.unique().numel() == 6  # each channel by itself
    assert sum(len(image[0].unique()) > 1 for image in half) > 5  # both images are seen
    assert half.min() >= 0
    assert half.max() <= 255


class Given(torch.nn.Module):
    """A learner whose pooled vectors are given."""

    def __init__(self, vectors):
        super().__init__()
        self.vectors = torch.tensor(vectors)
        self.device = torch.device("cpu")

    def forward(self, pixels):
        return self.vectors

    def pool(self, maps):
        return maps


def test_batch_hard_takes_the_hardest_positive_and_the_hardest_negative(folder):
    views = [dataclasses.replace(batches(folder).batch(0)[0], label=label) for label in (0, 0, 1, 1)]
    learner = Given([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 1.0]])
    loss = LabelObjective("triplet", labels=2, channels=2, margin=0.5).loss(learner, views)
    # s(0, 1) = 0.6, s(0, 2) = 0, s(1, 2) = 0.8, s(2, 3) = 1
    hinges = [0.5 + 0.0 - 0.6, 0.5 + 0.8 - 0.6, 0.5 + 0.8 - 1, 0.5 + 0.8 - 1]
    active = [hinge for hinge in hinges if hinge > 0]
    assert float(loss) == pytest.approx(sum(active) / len(active))


@pytest.mark.parametrize("loss", ["triplet", "proxy", "contrastive"])
def test_training_moves_the_labels_apart(tmp_path, folder, loss):
    run = prepare(recipe(folder, loss=loss, steps=24, learning_rate=3e-3, smallest_part=0.8), tmp_path / "run")
    before = gap_between_labels(run, folder)
    run.train(quiet)
    assert gap_between_labels(run, folder) > before + 0.2


def gap_between_labels(run, folder) -> float:
    """Mean cosine of two pictures of one label less that of two labels, in training mode as the loss sees them."""
    views = [view for step in range(4) for view in batches(folder, size=12, size_px=64).batch(step)]
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(run.learner.pool(run.learner(pixels_of(views))))
    labels = torch.tensor([view.label for view in views])
    same = labels[:, None] == labels
    cosines = vectors @ vectors.T
    return float(cosines[same].mean() - cosines[~same].mean())


def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path, folder):
    whole = prepare(recipe(folder), tmp_path / "whole")
    whole.train(quiet)
    killed = prepare(recipe(folder), tmp_path / "killed", save_every=2)
    killed.batches.from_step = lambda start, end: _dying(batches, end - 1)
    batches = prepare(recipe(folder), tmp_path / "unused").batches
    with pytest.raises(KeyboardInterrupt):
        killed.train(quiet)
    resumed = prepare(recipe(folder), tmp_path / "killed", save_every=2)
    resumed.train(quiet, resume=True)
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name


def _dying(batches, end):
    yield from batches.from_step(0, end)
    raise KeyboardInterrupt


def test_a_run_that_is_interrupted_saves_its_state_and_goes_on_as_if_nothing_had_happened(tmp_path, folder):
    whole = prepare(recipe(folder), tmp_path / "whole")
    whole.train(quiet)
    stopped = prepare(recipe(folder), tmp_path / "stopped")
    batches = prepare(recipe(folder), tmp_path / "unused").batches
    stopped.batches.from_step = lambda start, end: _interrupted(batches, end)
    with pytest.raises(KeyboardInterrupt):
        stopped.train(quiet)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert torch.load(tmp_path / "stopped/state.pt", weights_only=True)["step"] == 2
    resumed = prepare(recipe(folder), tmp_path / "stopped")
    resumed.train(quiet, resume=True)
    for name, tensor in weights_of(whole).items():
        assert torch.equal(tensor, weights_of(resumed)[name]), name


def _interrupted(batches, end):
    """Ctrl-C, while the third batch is made."""
    for number, views in enumerate(batches.from_step(0, end)):
        if number == 2:
            signal.raise_signal(signal.SIGINT)
        yield views


def test_the_second_interrupt_acts_at_once():
    with interrupt_held() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_may_be_any_bytes(tmp_path, folder):
    for path in sorted(folder.rglob("*.png"))[:1]:
        path.rename(os.fsdecode(os.fsencode(path.parent) + b"/caf\xe9.png"))
    odd = folder.with_name(os.fsdecode(b"fotos\xe9"))
    folder.rename(odd)
    run = prepare(recipe(odd), tmp_path / "run")
    assert load_named_model(str(run.train(quiet))).backbone == NETWORK


def test_a_run_goes_on_with_its_own_settings_only(tmp_path, folder):
    prepare(recipe(folder), tmp_path / "run").train(quiet)
    with pytest.raises(TrainingFailed, match="holds a run; go on with --resume"):
        prepare(recipe(folder), tmp_path / "run").train(quiet)
    with pytest.raises(TrainingFailed, match=r"other settings \(learning_rate, seed"):
        prepare(recipe(folder, seed=5, learning_rate=0.1), tmp_path / "run").train(quiet, resume=True)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_last_good_state(tmp_path, folder):
    run = prepare(recipe(folder, learning_rate=1e30, steps=50, warmup_steps=0), tmp_path / "run", save_every=1)
    with pytest.raises(TrainingFailed, match="lower --learning-rate"):
        run.train(quiet)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_state_that_cannot_be_saved_says_so(tmp_path, folder):
    run = prepare(recipe(folder), tmp_path / "run", save_every=1)
    (tmp_path / "run" / "state.unfinished").mkdir(parents=True)
    with pytest.raises(TrainingFailed, match="free some space, then --resume"):
        run.train(quiet)


def test_the_model_file_holds_all_that_a_model_needs(tmp_path, folder):
    run = prepare(recipe(folder, pooling="gem", model_size_px=96), tmp_path / "run", checkpoints=[2])
    model = load_named_model(str(run.train(quiet)))
    assert (model.backbone, model.pooling.kind, model.geometry.size_px) == (NETWORK, "gem", 96)
    assert load_named_model(str(tmp_path / "run" / "step-2.safetensors")).fingerprint != model.fingerprint
    prepared = model.prepare(png(0), DecodeLimits())
    run.learner.eval()
    with torch.inference_mode():
        pixels = torch.from_numpy(prepared.pixels[None].copy()).permute(0, 3, 1, 2).float()
        expected = run.learner.pool(run.learner(pixels))[0].numpy()
    assert model.features([prepared])[0].pooled == pytest.approx(expected, rel=0.02, abs=0.02)  # float16 weights


@pytest.mark.parametrize("pooling", ["average", "max", "gem"])
def test_a_learner_pools_as_a_model_does(pooling):
    network = dataclasses.replace(untrained_network(NETWORK), pooling=dataclasses.replace(network_pooling(pooling)))
    maps = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    pooled = Learner(network).pool(torch.from_numpy(maps).permute(0, 3, 1, 2)).numpy()
    assert pooled == pytest.approx(network.pooling.pool(maps), rel=1e-4)


def network_pooling(kind):
    from whymatch.embed import Pooling

    return Pooling(kind)


def test_labels_with_one_image_each_teach_nothing(tmp_path):
    for seed in range(3):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "one.png").write_bytes(png(seed))
    with pytest.raises(BadFolder, match="of 3 labels 3 have one image only"):
        prepare(recipe(tmp_path), tmp_path / "run")


def distillation(folder, **changes) -> Recipe:
    return recipe(folder, loss="distillation", teacher=SMALL, teacher_size_px=64, **changes)


def test_a_student_comes_closer_to_its_teacher(tmp_path, folder):
    run = prepare(distillation(folder, steps=30, learning_rate=3e-3, smallest_part=1.0, mix=0.0), tmp_path / "run")
    views = prepare(distillation(folder, batch_size=12, smallest_part=1.0), tmp_path / "unused").batches.batch(0)
    losses = []
    for act in (lambda: None, lambda: run.train(quiet)):
        act()
        torch.manual_seed(0)  # the same colors before and after
        losses.append(run.objective.loss(run.learner.train(), views).item())
    assert losses[1] < 0.9 * losses[0]


def test_a_teacher_answers_what_the_student_sees(tmp_path, folder):
    run = prepare(distillation(folder), tmp_path / "run")
    pixels = pixels_of(run.batches.batch(0))
    model = load_named_model(SMALL)
    expected = model.feature_maps(pixels.byte().permute(0, 2, 3, 1).numpy())
    assert run.objective._teacher.maps(pixels).permute(0, 2, 3, 1).numpy() == pytest.approx(expected, abs=1e-4)


def test_the_settings_of_a_run_are_in_its_model_file(tmp_path, folder):
    from whymatch.embed.model_file import read_model_file

    facts, _ = read_model_file(prepare(recipe(folder), tmp_path / "run").train(quiet))
    assert facts.training["loss"] == "proxy"
    assert facts.training["images"] == 12
    assert facts.training["folders"] == ["images"]
    assert json.loads((tmp_path / "run" / "settings.json").read_text())["steps"] == 4


def test_a_teacher_without_a_classifier_teaches_no_classes(tmp_path, folder):
    (tmp_path / "names.txt").write_text("\n".join(map(str, range(1000))))
    with pytest.raises(BadModel, match=r"has 0 classes, but .* 1000 names"):
        prepare(distillation(folder, class_names=str(tmp_path / "names.txt")), tmp_path / "run")


def test_a_student_learns_as_many_classes_as_it_scores(tmp_path, folder):
    (tmp_path / "names.txt").write_text("\n".join(map(str, range(999))))
    with pytest.raises(BadModel, match="squeezenet1_1 scores 1000 classes, not 999"):
        prepare(
            distillation(folder, scratch="squeezenet1_1", class_names=str(tmp_path / "names.txt")), tmp_path / "run"
        )


def test_a_classifier_scores_as_its_network_does():
    network = untrained_network("squeezenet1_1")
    learner = Learner(network).eval()
    pixels = torch.rand(2, 3, 64, 64) * 255
    maps = learner(pixels)
    normal = torch.nn.functional.batch_norm(pixels, learner.mean, learner.variance, eps=0.0)
    assert torch.allclose(learner.classifier(maps, learner.pool(maps)), network.module(normal), atol=1e-5)


def test_pictures_of_any_shape_make_square_views(tmp_path):
    for name, size in {"wide": (200, 20), "tall": (20, 200)}.items():
        (tmp_path / name).mkdir()
        Image.new("RGB", size, "red").save(tmp_path / name / "one.png")
    assert {view.pixels.shape for view in batches(tmp_path).batch(0)} == {(32, 32, 3)}
