from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sample_pictures import encoded, picture, png
from small_weights import WEIGHTS

from whymatch.embed import BadModel, BadVector, DecodeLimits, Embedder, Pooling, check_embedding, load_model, normalized
from whymatch.embed.networks import Network, untrained_network
from whymatch.embed.torchvision_models import import_models
from whymatch.embed.trunk import cut_trunk, stride_and_min_side

LAYERS = {  # network: layer, channels, stride, shortest side
    "resnet18": ("layer4.1.relu", 512, 32, 32),
    "vgg11": ("features.20", 512, 32, 32),
    "alexnet": ("features.12", 256, 32, 64),
    "squeezenet1_0": ("features.12", 512, 16, 32),
    "mobilenet_v3_small": ("features.12.2", 576, 32, 32),
    "densenet121": ("relu", 1024, 32, 32),
    "googlenet": ("inception5b", 1024, 32, 32),
    "shufflenet_v2_x0_5": ("conv5.2", 1024, 32, 32),
    "mnasnet0_5": ("layers.16", 1280, 32, 32),
    "efficientnet_b0": ("features.8.2", 1280, 32, 32),
    "convnext_tiny": ("features.7.2", 768, 32, 32),
}


def untrained(name: str) -> Network:
    options = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
    module = import_models().get_model(name, weights=None, **options).eval()
    return Network(name, module, frozenset(module.state_dict()))


def trained_file(path: Path, name: str = "squeezenet1_1", seed: int = 0) -> Path:
    torch.manual_seed(seed)
    save_file(untrained(name).module.state_dict(), path)
    return path


@pytest.mark.parametrize("name", LAYERS)
def test_networks_are_cut_where_their_last_feature_map_is_pooled(name):
    layer, channels, stride, side = LAYERS[name]
    trunk = cut_trunk(untrained(name))
    assert (trunk.layer, trunk.channels, stride_and_min_side(trunk)) == (layer, channels, (stride, side))


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_0", "vgg11", "mobilenet_v3_small"])
def test_the_trunk_and_the_rest_of_the_network_give_its_own_classes(name):
    network = untrained(name)
    pixels = torch.rand(1, 3, 96, 128)
    with torch.inference_mode():
        feature_map = cut_trunk(network).module(pixels)
        rest = network.module.classifier(feature_map) if name.startswith("squeeze") else None
        if rest is None:
            rest = network.module.avgpool(feature_map).flatten(1)
            rest = getattr(network.module, "classifier", getattr(network.module, "fc", None))(rest)
        assert torch.allclose(rest.flatten(), network.module(pixels).flatten(), atol=1e-4)


def test_timm_networks_are_cut_too():
    timm = pytest.importorskip("timm")
    module = timm.create_model("resnet18", pretrained=False).eval()
    trunk = cut_trunk(Network("timm/resnet18", module, frozenset(module.state_dict())))
    with torch.inference_mode():
        pixels = torch.rand(1, 3, 64, 96)
        assert torch.allclose(trunk.module(pixels), module.forward_features(pixels), atol=1e-4)


def test_a_vision_transformer_is_refused():
    with pytest.raises(BadModel, match="convolutional"):
        cut_trunk(untrained("vit_b_16"))


def test_weights_are_read_from_pth_and_safetensors_alike(tmp_path):
    file = trained_file(tmp_path / "w.safetensors")
    state = untrained("squeezenet1_1").module.state_dict()
    torch.manual_seed(0)
    state = untrained("squeezenet1_1").module.state_dict()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "w.pth")
    from_pth = load_model("squeezenet1_1", weights=tmp_path / "w.pth")
    assert from_pth.fingerprint == load_model("squeezenet1_1", weights=file).fingerprint


def test_the_class_head_may_be_missing_or_of_another_size_but_nothing_else(tmp_path):
    state = untrained("squeezenet1_1").module.state_dict()
    trunk = {name: tensor for name, tensor in state.items() if name.startswith("features")}
    save_file({**trunk, "classifier.1.weight": torch.zeros(7, 512, 1, 1)}, tmp_path / "trunk.safetensors")
    assert load_model("squeezenet1_1", weights=tmp_path / "trunk.safetensors").dimensions == 512
    del trunk["features.3.squeeze.bias"]
    save_file(trunk, tmp_path / "short.safetensors")
    with pytest.raises(BadModel, match=r"1 of its tensors .* 'features.3.squeeze.bias'"):
        load_model("squeezenet1_1", weights=tmp_path / "short.safetensors")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_holds_no_weights_says_so(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    with pytest.raises(BadModel, match="no weights file"):
        load_model("resnet18", weights=path)
    path.write_bytes(b"not weights at all")
    with pytest.raises(BadModel, match="not a"):
        load_model("resnet18", weights=path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backbone": "resnet5000"}, "neither torchvision nor timm"),
        ({"pooling": Pooling("gem", 0.5)}, "from 1 to 1000"),
        ({"size_px": 16}, "at least 32"),
        ({"device": "cuda:77"}, "cannot be used"),
        ({"std": (0.2, 0.0, 0.2)}, "positive"),
        ({"std": (0.2, float("nan"), 0.2)}, "positive"),
        ({"mean": (0.2, float("nan"), 0.2)}, "numbers"),
    ],
)
def test_a_model_that_cannot_be_says_why(arguments, message):
    with pytest.raises(BadModel, match=message):
        load_model(**arguments)


def test_everything_that_changes_a_vector_changes_the_fingerprint(tmp_path, model):
    others = [
        load_model(weights=WEIGHTS, pooling=Pooling("max")),
        load_model(weights=WEIGHTS, pooling=Pooling("gem")),
        load_model(weights=WEIGHTS, pooling=Pooling("gem", 4.0)),
        load_model(weights=WEIGHTS, geometry="warp"),
        load_model(weights=WEIGHTS, size_px=192),
        load_model(weights=WEIGHTS, mean=(0.5, 0.5, 0.5)),
        load_model(weights=WEIGHTS, precision="bfloat16"),
        load_model("squeezenet1_1", weights=trained_file(tmp_path / "w.safetensors")),
        load_model("squeezenet1_1", weights=trained_file(tmp_path / "v.safetensors", seed=1)),
    ]
    fingerprints = {other.fingerprint for other in [model, *others]}
    assert len(fingerprints) == len(others) + 1
    assert load_model(weights=WEIGHTS).fingerprint == model.fingerprint


def test_a_network_that_gives_nan_says_so(tmp_path):
    state = {name: tensor * 1e30 for name, tensor in untrained("squeezenet1_1").module.state_dict().items()}
    save_file(state, tmp_path / "huge.safetensors")
    model = load_model("squeezenet1_1", weights=tmp_path / "huge.safetensors")
    with pytest.raises(FloatingPointError, match="weights"):
        model.features([model.prepare(png(1), DecodeLimits())])


def test_the_fingerprint_of_the_bundled_model_is_stable(model):
    assert load_model().fingerprint == load_model("bundled").fingerprint
    assert replace(model, device="cpu:0").fingerprint == model.fingerprint


def test_average_pooling_of_plain_torchvision_gives_the_same_vector(tmp_path):
    path = trained_file(tmp_path / "w.safetensors", "resnet18")
    model = load_model("resnet18", weights=path, geometry="warp", size_px=96)
    image = picture(3, 96, 96)
    [features] = model.features([model.prepare(encoded(image), DecodeLimits())])

    torch.manual_seed(0)
    network = untrained("resnet18").module
    network.fc = torch.nn.Identity()
    pixels = torch.from_numpy(np.asarray(image) / np.float32(255)).permute(2, 0, 1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.inference_mode():
        expected = network(((pixels - mean[:, None, None]) / std[:, None, None])[None])[0]
    assert np.allclose(features.pooled, expected, rtol=1e-4, atol=1e-5)


def test_one_image_gives_one_embedding_alone_and_in_any_batch(model):
    contents = [png(seed, *size) for seed, size in enumerate([(96, 64), (64, 96), (80, 80), (300, 40)] * 5)]
    alone = [model.features([model.prepare(content, DecodeLimits())])[0].embedding for content in contents]
    embedder = Embedder(model, batch_size=7)
    together = [future.result() for future in [embedder.submit(content) for content in contents]]
    embedder.close()
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other.embedding).max() < 1e-5


def test_bfloat16_is_near_float32(embed):
    model = load_model(weights=WEIGHTS, precision="bfloat16")
    [features] = model.features([model.prepare(png(1), DecodeLimits())])
    assert features.embedding @ embed(png(1)).embedding > 0.999


def test_contributions_sum_to_the_embedding(embed):
    features = embed(png(5))
    assert np.allclose(features.contributions().sum(axis=(0, 1)), features.embedding, atol=1e-6)


def test_unit_vectors_and_zeros():
    assert np.allclose(normalized(np.array([[3, 4], [0, 0]], np.float32)), [[0.6, 0.8], [0, 0]])


@pytest.mark.parametrize(
    ("values", "message"),
    [([1, 2], "has 2 values"), ([1, 2, np.nan], "value 2"), ([np.inf, 2, 3], "value 0"), ([0, 0, 0], "zeros")],
)
def test_a_vector_that_is_no_embedding_says_why(values, message):
    with pytest.raises(BadVector, match=message):
        check_embedding(np.array(values, np.float32), 3)


def test_a_vector_of_another_length_is_refused_before_it_is_read():
    class Unread(list):
        def __iter__(self):
            raise AssertionError("this takes long")

    with pytest.raises(BadVector, match="has 513 values; those of the gallery have 512"):
        check_embedding(Unread([1.0] * 513), 512)


def test_a_vector_of_huge_values_still_has_a_direction():
    assert np.allclose(check_embedding(np.array([3e38, 0, 3e38], np.float32), 3), [0.5**0.5, 0, 0.5**0.5])


@pytest.mark.shared
def test_pandas_find_pandas(shared, embed):
    names = ["panda", "pizza", "dollar_bill", "airplanes"]
    images = [(name, path) for name in names for path in sorted((shared / "images/caltech101" / name).iterdir())[:8]]
    embeddings = np.stack([embed(path.read_bytes()).embedding for _, path in images])
    similarity = embeddings @ embeddings.T
    np.fill_diagonal(similarity, -1)
    right = [images[nearest][0] == name for (name, _), nearest in zip(images, similarity.argmax(1), strict=True)]
    assert np.mean(right) > 0.8


@pytest.mark.shared
def test_mean_and_std_are_read_from_the_weights_file(shared):
    model = load_model("mobilenet_v2", weights=shared / "weights/mobilenet_v2_imagenet.safetensors")
    assert (model.mean, model.std, model.dimensions) == ((0.5,) * 3, (0.5,) * 3, 1280)


def test_cnn_m_is_that_of_table_1():
    network = untrained_network("cnn_m")
    network = replace(network, loaded=frozenset(network.module.state_dict()))
    kernels = [tuple(part.weight.shape) for part in network.module.features if isinstance(part, torch.nn.Conv2d)]
    assert kernels == [(96, 3, 7, 7), (256, 96, 5, 5), (512, 256, 3, 3), (512, 512, 3, 3), (512, 512, 3, 3)]
    trunk = cut_trunk(network)
    with torch.inference_mode():
        assert trunk.module(torch.rand(1, 3, 224, 224)).shape == (1, 512, 6, 6)
        assert network.module(torch.rand(2, 3, 64, 96)).shape == (2, 1000)


def test_mnasnet_which_asks_for_metadata_is_loaded_from_its_tensors_alone(tmp_path):
    network = untrained("mnasnet0_5")
    save_file(network.module.state_dict(), tmp_path / "plain.safetensors")
    loaded = load_model("mnasnet0_5", weights=tmp_path / "plain.safetensors")
    assert loaded.trunk.weights_sha256 == cut_trunk(network).weights_sha256


@pytest.mark.parametrize(("name", "negative"), [("mobilenet_v2", False), ("efficientnet_b0", True)])
def test_a_feature_map_that_no_relu_ends_may_be_negative(model, name, negative):
    module = untrained_network(name).module
    other = replace(model, trunk=cut_trunk(Network(name, module, frozenset(module.state_dict()))))
    assert other.may_be_negative == negative


@pytest.mark.parametrize(
    ("tap", "negative"), [("features.5", False), ("features.5,next", False), ("features.5,last", True)]
)
def test_layers_that_the_last_one_weighs_may_be_negative(tap, negative):
    assert load_model(weights=WEIGHTS, tap=tap).may_be_negative == negative
