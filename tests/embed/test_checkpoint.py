"""Files of weights as training programs write them, and files that belong to another network."""

import argparse
import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from whymatch.embed import BadModel
from whymatch.embed.checkpoint import fitting, read_checkpoint
from whymatch.embed.loading import load_network
from whymatch.embed.networks import untrained_network
from whymatch.embed.trunk import names_of_trunk

NAME = "regnet_x_200mf"
WORDS = ("_orig_mod.", "module.", "model.", "network.", "net.", "backbone.", "encoder.")
KEYS = ("state_dict", "model_state_dict", "model", "network", "ema", "teacher", "model_ema", "state_dict_ema")


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return dict(untrained_network(NAME).module.state_dict())


def prefixed(state, prefix):
    return {prefix + name: tensor.clone() for name, tensor in state.items()}


def written(content, path):
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def loads(content, path, state, name=NAME):
    network = load_network(name, written(content, path))
    trunk = set(names_of_trunk(network))
    loaded = network.module.state_dict()
    return network.loaded >= trunk and all(torch.equal(loaded[each], state[each]) for each in trunk)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors"])
def test_words_before_the_names_are_understood_in_every_container(tmp_path, state, suffix):
    for prefix in (*WORDS, "module._orig_mod.", "model._orig_mod.net.", "image_tower."):
        assert loads(prefixed(state, prefix), tmp_path / f"w{suffix}", state), prefix


def test_words_are_understood_in_any_nesting(state):
    wanted = untrained_network(NAME).module.state_dict()
    trunk = names_of_trunk(untrained_network(NAME))
    for pair in itertools.permutations(WORDS[:4], 2):
        fits = fitting([prefixed(state, "".join(pair))], wanted, trunk, source="a file", network=NAME)
        assert fits.keys() == state.keys(), pair


def test_what_wraps_a_layer_inside_the_network_is_understood(tmp_path, state):
    inside = {name.replace("trunk_output.", "trunk_output._orig_mod.module."): tensor for name, tensor in state.items()}
    assert loads(inside, tmp_path / "w.pth", state)


@pytest.mark.parametrize("key", KEYS)
def test_the_state_is_found_under_the_key_of_a_training_program(tmp_path, state, key):
    assert loads({key: prefixed(state, "module."), "epoch": 3}, tmp_path / "w.pth", state)
    assert loads({"model": {key: state}}, tmp_path / "w.pth", state)


def test_a_checkpoint_of_lightning_loads(tmp_path, state):
    content = {
        "epoch": 3,
        "state_dict": {**prefixed(state, "model."), "criterion.weight": torch.ones(3), "metric.total": torch.tensor(3)},
        "hyper_parameters": {"lr": 0.1, "args": argparse.Namespace(epochs=3)},
        "best": np.float64(0.5),
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}}],
    }
    assert loads(content, tmp_path / "w.ckpt", state)


def test_the_network_is_taken_before_its_running_mean(tmp_path, state):
    mean = {name: tensor + 1 for name, tensor in state.items()}
    assert loads({"ema": mean, "model": state}, tmp_path / "w.pth", state)
    assert loads({**prefixed(mean, "teacher."), **prefixed(state, "student.")}, tmp_path / "w.safetensors", state)
    assert loads({**state, **prefixed(mean, "ema."), "n_averaged": torch.tensor(3)}, tmp_path / "w.safetensors", state)


def test_what_has_no_part_in_the_feature_map_may_be_missing_left_over_or_of_another_shape(tmp_path, state):
    trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    counted = {name: tensor for name, tensor in trunk.items() if not name.endswith("num_batches_tracked")}
    path = tmp_path / "w.safetensors"
    assert loads(trunk, path, state)
    assert loads(counted, path, state)
    assert loads({**trunk, "fc.weight": torch.zeros(7, 368), "fc.bias": torch.zeros(7)}, path, state)
    assert loads({**trunk, "fc.0.weight": torch.zeros(7, 368), "head.weight": torch.zeros(7)}, path, state)
    assert loads({**state, "aux1.conv.weight": torch.zeros(7), "AuxLogits.fc.bias": torch.zeros(7)}, path, state)


def test_an_auxiliary_classifier_of_the_library_may_be_left_over(tmp_path):
    from whymatch.embed.torchvision_models import import_models

    whole = import_models().get_model("googlenet", weights=None, aux_logits=True, init_weights=False).state_dict()
    assert loads(whole, tmp_path / "w.pth", whole, "googlenet")


@pytest.mark.parametrize(
    ("file", "name", "left_over"),
    [
        ("resnet34", "resnet18", "80 tensors are left over, .* 'layer1.2.conv1.weight'"),
        ("resnet101", "resnet50", "'layer3.6.conv1.weight'"),
        ("convnext_small", "convnext_tiny", "left over"),
        ("efficientnet_b1", "efficientnet_b0", "left over"),
    ],
)
def test_the_file_of_a_larger_sibling_is_refused(file, name, left_over):
    with torch.device("meta"):
        larger, smaller = untrained_network(file).module.state_dict(), untrained_network(name)
    with pytest.raises(BadModel, match=left_over):
        fitting([larger], smaller.module.state_dict(), names_of_trunk(smaller), source="a file", network=name)


def test_a_larger_sibling_is_refused_behind_a_prefix_too(tmp_path, state):
    more = {**state, "trunk_output.block4.block4-7.f.a.0.weight": torch.zeros(3)}
    with pytest.raises(BadModel, match="1 tensors are left over"):
        loads(prefixed(more, "model."), tmp_path / "w.pth", state)


def test_missing_tensors_are_named(tmp_path, state):
    gone = "stem.0.weight", "stem.1.running_mean"
    with pytest.raises(BadModel, match=r"2 of its tensors are missing .* 'stem.0.weight', 'stem.1.running_mean'"):
        loads({name: tensor for name, tensor in state.items() if name not in gone}, tmp_path / "w.pth", state)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["stem.0.weight", "stem.1.running_var", "fc.bias"])
def test_a_tensor_that_is_not_finite_is_named(tmp_path, state, name, value):
    damaged = state | {name: state[name].clone()}
    damaged[name].view(-1)[1] = value
    with pytest.raises(BadModel, match=f"not finite in 1 of its tensors, first '{name}'"):
        loads(damaged, tmp_path / "w.safetensors", state)


def test_names_that_do_not_fit_are_shown_with_their_prefix(tmp_path, state):
    renamed = {f"tower.{name.replace('0', 'zero')}": tensor for name, tensor in state.items()}
    with pytest.raises(BadModel, match=r"names of the file begin with 'tower.', .* those of the network are like 's"):
        loads(renamed, tmp_path / "w.pth", state)


def test_names_of_old_densenets_are_understood(tmp_path):
    state = untrained_network("densenet121").module.state_dict()
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): tensor
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    assert loads(old, tmp_path / "w.pth", state, "densenet121")


def test_a_pickled_network_is_refused_with_the_remedy(tmp_path):
    torch.save(torch.nn.ReLU(), tmp_path / "w.pth")
    with pytest.raises(BadModel, match=r"load safely .*; save `model.state_dict\(\)`"):
        read_checkpoint(tmp_path / "w.pth")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_file_without_named_tensors_says_so(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(BadModel, match="holds no dictionary of tensors"):
        read_checkpoint(tmp_path / "w.pth")
