"""Training in stages: a network cut in parts, a student that is its teacher, and one that is not yet."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from sample_pictures import png

from whymatch.embed import BadModel, find_images, load_named_model
from whymatch.embed.networks import untrained_network
from whymatch.embed.training.batches import Batches, BatchSetting
from whymatch.embed.training.learner import Learner
from whymatch.embed.training.objectives import pixels_of
from whymatch.embed.training.recipe import Recipe, prepare
from whymatch.embed.training.stages import Stages, parse_pairs
from whymatch.embed.training.teacher import Teacher
from whymatch.embed.training.views import ViewSetting

PAIRS = [("features.2", "features.2"), ("features.7", "features.7"), ("features.12", "features.12")]


def network(seed: int, name: str = "squeezenet1_1"):
    torch.manual_seed(seed)
    made = untrained_network(name)
    return dataclasses.replace(made, loaded=frozenset(made.module.state_dict()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    images = tmp_path_factory.mktemp("images") / "any"
    images.mkdir()
    for seed in range(6):
        (images / f"{seed}.png").write_bytes(png(seed))
    return images.parent


@pytest.fixture(scope="module")
def teacher_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_file(network(0).module.state_dict(), file)
    return f"squeezenet1_1={file}"


@pytest.fixture(scope="module")
def teacher(teacher_file):
    model = load_named_model(teacher_file)
    return Teacher(model, model.trunk.classifier)


@pytest.fixture(scope="module")
def pixels(folder):
    batch = Batches(find_images([folder]), BatchSetting(6, 64, 0), ViewSetting()).batch(0)
    return pixels_of(batch)


def terms(learner: Learner, teacher: Teacher, pixels, pairs=PAIRS, reads="teacher") -> dict[str, float]:
    objective = Stages(learner, teacher, pairs, reads=reads, mix=0.0)
    with torch.no_grad():
        return {name: float(term) for name, term in objective.terms(learner, pixels).items()}


@pytest.mark.parametrize("reads", ["teacher", "student"])
def test_who_is_the_teacher_has_nothing_to_learn(teacher, pixels, reads):
    found = terms(Learner(network(0)), teacher, pixels, reads=reads)
    assert list(found) == [f"{ours}={theirs}" for ours, theirs in PAIRS] + ["image", "classes"]
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=1e-5)


def test_a_stage_misses_the_share_of_the_variance_that_it_gets_wrong(teacher, pixels):
    learner = Learner(network(1))
    with torch.no_grad():
        inputs = learner.normalized(pixels)
        wanted, found = teacher.module(inputs), learner.trunk(inputs)
        error, variance = ((found - wanted) ** 2).mean((0, 2, 3)), wanted.var((0, 2, 3))
    whole = terms(learner, teacher, pixels, PAIRS[-1:])["features.12=features.12"]
    assert whole == pytest.approx(float((error / (variance + 0.1 * variance.mean())).mean()), rel=1e-4)


def test_a_stage_that_reads_the_teachers_is_not_held_up_by_the_stage_below(teacher, pixels):
    student = network(1)
    student.module.features[7:].load_state_dict(network(0).module.features[7:].state_dict())
    at_teachers = terms(Learner(student), teacher, pixels, [PAIRS[1], PAIRS[2]])
    at_its_own = terms(Learner(student), teacher, pixels, [PAIRS[1], PAIRS[2]], reads="student")
    assert at_teachers["features.7=features.7"] == at_its_own["features.7=features.7"] > 0.1
    assert at_teachers["features.12=features.12"] == pytest.approx(0, abs=1e-5)
    assert at_its_own["features.12=features.12"] > 0.1


def test_large_maps_are_read_in_some_images_only(teacher, pixels, monkeypatch):
    monkeypatch.setattr(Stages, "CELLS", 15 * 15 * 2)  # features.3 gives 15 x 15 cells, features.12 3 x 3
    learner = Learner(network(1))
    two = terms(learner, teacher, pixels[:2], [("features.3", "features.3"), PAIRS[-1]])
    six = terms(learner, teacher, pixels, [("features.3", "features.3"), PAIRS[-1]])
    assert two["features.3=features.3"] == pytest.approx(six["features.3=features.3"])
    assert two["features.12=features.12"] != pytest.approx(six["features.12=features.12"])


def test_a_wider_student_learns_zeros_beside_what_the_teacher_gives(tmp_path, pixels):
    save_file(network(0, "mobilenet_v2").module.state_dict(), tmp_path / "narrow.safetensors")
    narrow = load_named_model(f"mobilenet_v2={tmp_path / 'narrow.safetensors'}")
    learner = Learner(network(1, "mnasnet1_0")).eval()
    pairs = [("layers.9", "features.6"), ("layers.16", "features.18")]
    objective = Stages(learner, Teacher(narrow, None), pairs, reads="teacher", mix=0.0)
    with torch.no_grad():
        inputs = learner.normalized(pixels)
        maps = objective._parts[0](inputs)
        wanted = torch.cat([objective._teacher_parts[0](inputs), torch.zeros(len(pixels), 8, 8, 8)], dim=1)
    error, variance = ((maps - wanted) ** 2).mean((0, 2, 3)), wanted.var((0, 2, 3))
    expected = float((error / (variance + 0.1 * variance.mean())).mean())
    found = terms(learner, Teacher(narrow, None), pixels, pairs)["layers.9=features.6"]
    assert found == pytest.approx(expected, rel=1e-3)


def test_a_student_comes_closer_to_each_stage_of_its_teacher(tmp_path, folder, teacher, teacher_file, pixels):
    recipe = Recipe(
        (str(folder),),
        loss="stages",
        scratch="squeezenet1_1",
        size_px=64,
        steps=60,
        batch_size=6,
        learning_rate=3e-3,
        warmup_steps=2,
        seed=1,
        teacher=teacher_file,
        stages=tuple(f"{ours}={theirs}" for ours, theirs in PAIRS),
    )
    run = prepare(recipe, tmp_path / "run")
    before = terms(run.learner, teacher, pixels)
    run.train(lambda progress: None)
    after = terms(run.learner, teacher, pixels)
    assert all(after[name] < 0.9 * before[name] for name in before if name != "classes")


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([("features.99", "features.12")], r"has no module 'features.99'; there are .*features.12"),
        ([("features.12", "nowhere")], "has no module 'nowhere'"),
        ([("features.7", "features.7")], "must end with the feature map, not with 'features.7'"),
        ([PAIRS[1], PAIRS[0], PAIRS[2]], "'features.2' reads more than the stage below it, or comes before it"),
        ([("features.3.squeeze", "features.3"), PAIRS[2]], "the teacher gives 128 channels, the student only 16"),
        ([("features.2", "features.1"), PAIRS[2]], "the teacher gives 31 x 31 cells, the student 15 x 15"),
    ],
)
def test_stages_that_cannot_be(teacher, pixels, pairs, message):
    with pytest.raises(BadModel, match=message):
        terms(Learner(network(1)), teacher, pixels, pairs)


def test_a_cut_through_a_shortcut_is_refused(teacher):
    with pytest.raises(BadModel, match="cut behind whole blocks"):
        Stages(
            Learner(network(0, "resnet18")),
            teacher,
            [("layer1.0.conv1", "features.2"), ("layer4", "features.12")],
            reads="teacher",
            mix=0,
        )


@pytest.mark.parametrize("text", ["features.2", "=features.2", "features.2="])
def test_a_stage_names_two_modules(text):
    assert parse_pairs(["a.1=b.2"]) == [("a.1", "b.2")]
    with pytest.raises(BadModel, match=r"no stage; write STUDENT=TEACHER"):
        parse_pairs([text])
    with pytest.raises(BadModel, match="needs the stages"):
        parse_pairs([])
