"""Model files, and the one word that names a model on a command line."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sample_pictures import png

from whymatch.embed import BadModel, DecodeLimits, Pooling, load_model, load_named_model
from whymatch.embed.loading import load_network
from whymatch.embed.model_file import ModelFacts, read_model_file, write_model_file
from whymatch.embed.networks import untrained_network

FACTS = ModelFacts(
    backbone="regnet_x_200mf",
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.25),
    size_px=96,
    pooling=Pooling("gem", 2.5),
    classes=("cat", "dög"),
    training={"steps": 3},
)


@pytest.fixture
def file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    write_model_file(path, FACTS, untrained_network("regnet_x_200mf").module.state_dict())
    return path


def test_a_model_file_keeps_its_facts_and_half_of_each_bit(file):
    facts, state = read_model_file(file)
    assert facts == FACTS
    assert {tensor.dtype for tensor in state.values()} == {torch.float16, torch.int64}
    torch.manual_seed(0)
    expected = untrained_network("regnet_x_200mf").module.state_dict()["fc.weight"]
    assert torch.equal(state["fc.weight"], expected.half())


def test_some_weights_may_take_a_byte_each(tmp_path):
    network = untrained_network("regnet_x_200mf")
    state = network.module.state_dict()
    paths = tmp_path / "two.safetensors", tmp_path / "one.safetensors"
    for path, names in zip(paths, [(), ("fc.weight",)], strict=True):
        write_model_file(path, FACTS, state, in_a_byte=names)
    two, one = (path.stat().st_size for path in paths)
    assert two - one == pytest.approx(state["fc.weight"].numel(), abs=1024)
    large = state["fc.weight"].abs() > 2**-6
    loaded = load_network(None, paths[1]).module.state_dict()
    assert torch.allclose(loaded["fc.weight"][large], state["fc.weight"][large], rtol=2**-4)
    assert torch.equal(loaded["stem.0.weight"], state["stem.0.weight"].half().float())


def test_a_model_file_is_all_that_a_model_needs(file):
    model = load_named_model(str(file))
    assert (model.backbone, model.pooling, model.geometry.size_px) == ("regnet_x_200mf", Pooling("gem", 2.5), 96)
    assert (model.mean, model.std) == (FACTS.mean, FACTS.std)
    assert model.fingerprint == load_model("regnet_x_200mf", weights=file).fingerprint
    vector = model.features([model.prepare(png(0), DecodeLimits())])[0].embedding
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_an_unfinished_file_leaves_the_old_one(file):
    before = file.read_bytes()
    with pytest.raises(AttributeError):
        write_model_file(file, FACTS, {"weight": "no tensor"})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("name", "backbone", "pooling"),
    [
        ("bundled", "bundled", "average"),
        ("bundled:max", "bundled", "max"),
        ("FILE", "regnet_x_200mf", "gem"),
        ("FILE:average", "regnet_x_200mf", "average"),
        ("regnet_x_200mf=FILE:max", "regnet_x_200mf", "max"),
    ],
)
def test_one_word_names_a_model(file, name, backbone, pooling):
    model = load_named_model(name.replace("FILE", str(file)))
    assert (model.backbone, model.pooling.kind) == (backbone, pooling)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5000", "neither torchvision nor timm"),
        ("bundled:mean", "neither torchvision nor timm has a network 'bundled:mean'"),
        ("nowhere.safetensors", "no weights file 'nowhere.safetensors'"),
        ("regnet_x_200mf", "pass --weights FILE"),
    ],
)
def test_a_word_that_names_no_model_says_why(name, message):
    with pytest.raises(BadModel, match=message):
        load_named_model(name)


def test_a_file_that_names_no_network_needs_one(tmp_path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(BadModel, match="does not say what network it belongs to"):
        load_named_model(str(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("metadata", [{"pooling": "median"}, {"size_px": "large"}, {"mean": "nan"}, {"classes": "["}])
def test_metadata_that_cannot_be_says_so(tmp_path, metadata):
    save_file({"weight": torch.zeros(3)}, tmp_path / "w.safetensors", metadata={"backbone": "vgg16", **metadata})
    with pytest.raises(BadModel, match="metadata"):
        load_named_model(str(tmp_path / "w.safetensors"))


def test_the_bundled_model_is_small():
    from whymatch.embed.loading import BUNDLED_WEIGHTS

    assert BUNDLED_WEIGHTS.stat().st_size <= 6_000_000
