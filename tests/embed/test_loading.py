"""What a library says of its networks goes with them, and what cannot be used is refused before a download."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from sample_pictures import encoded, picture
from small_weights import WEIGHTS

from whymatch.embed import BadModel, DecodeLimits, Geometry, NoClassScores, load_model
from whymatch.embed.networks import untrained_network
from whymatch.embed.torchvision_models import import_models


def require_timm():
    import_models()  # timm imports torchvision
    pytest.importorskip("timm")


@pytest.fixture
def offline(monkeypatch):
    """Every download fails with a word of its own."""

    def fetch(*_, **__):
        raise OSError("a download was tried")

    monkeypatch.setattr(import_models()._api, "load_state_dict_from_url", fetch)
    monkeypatch.setattr("socket.socket.connect", fetch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("name", ["vit_b_16", "timm/vit_tiny_patch16_224", "vit_tiny_patch16_224"])
def test_a_transformer_is_refused_before_its_weights_are_fetched(name, offline):
    with pytest.raises(BadModel, match="transformers are not supported yet"):
        load_model(name)


@pytest.mark.parametrize("name", ["resnet18", "swin_t"])  # torchvision's Swin turns its map to channels first
def test_a_network_that_could_be_used_is_fetched(name, offline):
    with pytest.raises(BadModel, match=rf"{name} cannot be downloaded \(a download was tried\); pass --weights FILE"):
        load_model(name)


def test_a_transformer_is_refused_before_its_file_is_read(tmp_path):
    (tmp_path / "w.pth").write_bytes(b"no weights")
    with pytest.raises(BadModel, match="transformers are not supported yet"):
        load_model("vit_b_16", weights=tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("name", "size_px", "interpolation", "crop"),
    [
        ("resnet18", 224, "bilinear", 224 / 256),
        ("resnet50", 224, "bilinear", 224 / 232),
        ("inception_v3", 299, "bilinear", 299 / 342),
        ("efficientnet_b3", 300, "bicubic", 300 / 320),
        ("timm/resnet18", 224, "bicubic", 0.95),
        ("timm/mobilenetv3_small_050", 224, "bicubic", 0.875),
        ("timm/efficientnet_b0", 224, "bicubic", 0.875),
        ("timm/dla34", 224, "bilinear", 0.875),
    ],
)
def test_a_network_comes_with_the_preprocessing_of_its_library(name, size_px, interpolation, crop):
    if name.startswith("timm/"):
        require_timm()
    network = untrained_network(name)
    assert (network.size_px, network.interpolation) == (size_px, interpolation)
    assert network.crop == pytest.approx(crop)


def file_of(name, path, metadata=None):
    save_file(untrained_network(name).module.state_dict(), path, metadata=metadata)
    return path


def test_preprocessing_goes_with_a_weights_file_too_and_is_in_the_fingerprint(tmp_path):
    require_timm()
    file = file_of("timm/mobilenetv3_small_050", tmp_path / "w.safetensors")
    model = load_model("timm/mobilenetv3_small_050", weights=file, geometry="center-crop")
    preprocessing = model.description["preprocessing"]
    assert (preprocessing["filter"], preprocessing["crop"], model.geometry.size_px) == ("bicubic", 0.875, 224)
    assert replace(model, interpolation="bilinear").fingerprint != model.fingerprint
    assert "crop" not in load_model("timm/mobilenetv3_small_050", weights=file).description["preprocessing"]


def test_flags_override_the_library(tmp_path):
    require_timm()
    file = file_of("timm/mobilenetv3_small_050", tmp_path / "w.safetensors")
    given = {"size_px": 96, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6)}
    model = load_model("timm/mobilenetv3_small_050", weights=file, **given)
    assert {"size_px": model.geometry.size_px, "mean": model.mean, "std": model.std} == given


def test_a_file_that_says_what_it_was_trained_with_is_resized_as_training_does(tmp_path):
    require_timm()
    file = file_of("timm/mobilenetv3_small_050", tmp_path / "w.safetensors", {"mean": "0.5", "std": "0.5"})
    model = load_model("timm/mobilenetv3_small_050", weights=file, geometry="center-crop")
    assert (model.mean, model.interpolation, model.geometry.crop) == ((0.5,) * 3, "bilinear", 1.0)


def test_images_are_resized_and_cropped_as_the_library_does():
    image = picture(3, 320, 320)
    model = load_model(weights=WEIGHTS)
    model = replace(model, interpolation="bicubic", geometry=Geometry("center-crop", 224, crop=0.875))
    prepared = model.prepare(encoded(image), DecodeLimits())
    pixels = np.asarray(image.resize((256, 256), Image.Resampling.BICUBIC).crop((16, 16, 240, 240)), int)
    assert np.abs(prepared.pixels - pixels).max() <= 1
    assert prepared.placement.area == (20, 20, 300, 300)


def test_torchvisions_own_transform_gives_the_same_pixels():
    preset = import_models().get_model_weights("resnet18").DEFAULT.transforms()
    network, image = untrained_network("resnet18"), picture(4, 400, 300)
    model = load_model(weights=WEIGHTS)
    geometry = Geometry("center-crop", network.size_px, crop=network.crop)
    model = replace(model, interpolation=network.interpolation, geometry=geometry, mean=network.mean, std=network.std)
    pixels = model.prepare(encoded(image), DecodeLimits()).pixels
    difference = (model.inputs(pixels[None])[0] - preset(image)).abs()
    assert difference.mean() < 0.02


def test_pixels_that_may_not_be_written_are_read_without_a_warning(model):
    pixels = np.zeros((1, 64, 64, 3), np.uint8)
    pixels.flags.writeable = False
    assert model.inputs(pixels).shape == (1, 3, 64, 64)
    assert not pixels.any()


def test_a_classifier_without_its_bias_is_none(tmp_path):
    state = untrained_network("squeezenet1_1").module.state_dict()
    del state["classifier.1.bias"]
    save_file(state, tmp_path / "w.safetensors")
    model = load_model("squeezenet1_1", weights=tmp_path / "w.safetensors")
    assert model.trunk.classifier is None
    with pytest.raises(NoClassScores, match=r"lack its classifier, first 'classifier\.1\.bias'"):
        _ = model.scorer
