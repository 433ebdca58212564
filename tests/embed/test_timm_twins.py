"""timm's networks beside torchvision's of the same weights, and what timm builds in its own way."""

from dataclasses import replace

import pytest
import torch

from whymatch.embed import BadModel
from whymatch.embed.activeness import InterActive, InterActiveSetting
from whymatch.embed.layers import Layers
from whymatch.embed.networks import untrained_network
from whymatch.embed.torchvision_models import import_models
from whymatch.embed.trunk import cut_trunk

import_models()  # timm imports torchvision
pytest.importorskip("timm")


def untrained(name):
    torch.manual_seed(0)
    network = untrained_network(name)
    network.module.requires_grad_(False)
    for part in network.module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.1, 0.1)
            part.running_var.uniform_(0.5, 2)
    return replace(network, loaded=frozenset(network.module.state_dict()))


def twins(name):
    ours, timms = untrained(name), untrained(f"timm/{name}")
    timms.module.load_state_dict(ours.module.state_dict())
    return cut_trunk(ours), cut_trunk(timms)


def random_images(side=64):
    return torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("supervision", ["next", "last"])
def test_resnet18_is_weighed_as_its_twin(supervision):
    ours, timms = (Layers(trunk) for trunk in twins("resnet18"))
    assert len(ours.all) == len(timms.all) == 19
    for one, other in zip(ours.all[:-2], timms.all[:-2], strict=True):
        settings = [[InterActiveSetting(layer.name, supervision, 2.0)] for layer in (one, other)]
        pairs = zip((ours, timms), settings, strict=True)
        weighed = [InterActive(layers).weigh_together(random_images(), setting)[0] for layers, setting in pairs]
        for mine, theirs in zip(*weighed, strict=True):
            assert torch.equal(mine, theirs), one.name


@pytest.mark.parametrize("name", ["resnet18", "densenet121"])
def test_a_twin_has_the_same_maps_scores_and_hash(name):
    ours, timms = twins(name)
    maps = [trunk.module(random_images()) for trunk in (ours, timms)]
    scores = [trunk.scorer(each) for trunk, each in zip((ours, timms), maps, strict=True)]
    assert torch.allclose(*maps, rtol=1e-4, atol=1e-6)
    assert torch.allclose(*scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        *("inception_v4", "mobilenetv4_conv_small", "ese_vovnet19b_dw", "resnetv2_50", "regnety_002", "repvgg_a0"),
        *("vovnet39a", "xception41", "resnetv2_50x1_bit"),
    ],
)
def test_a_relu_inside_a_normalization_is_a_layer_and_nothing_else_changes(name):
    network = untrained(f"timm/{name}")
    trunk = cut_trunk(network)
    with torch.inference_mode():
        maps = trunk.module(random_images(128))
        assert torch.allclose(maps, network.module.forward_features(random_images(128)), rtol=1e-3, atol=1e-4)
        assert torch.allclose(trunk.scorer(maps), network.module(random_images(128)), rtol=1e-3, atol=1e-4)
    layers = Layers(trunk)
    followed = [
        (layer, reader)
        for layer in layers.all
        for reader in layers.readers(layer.node)
        if isinstance(reader.layer, torch.nn.Conv2d) and layers.response_of(reader)
    ]
    assert followed
    layer = next(layer for layer, _ in followed if all(map(layers.response_of, layers.readers(layer.node))))
    [(responses, gamma)] = InterActive(layers).weigh_together(
        random_images(128), [InterActiveSetting(layer.name, "next", 2.0)]
    )
    assert responses.min() == 0 < responses.max()
    assert gamma.isfinite().all()


@pytest.mark.parametrize("name", ["resnetv2_50x1_bit", "dla34"])
def test_a_classifier_that_is_a_convolution_scores_the_classes(name):
    network = untrained(f"timm/{name}")
    trunk = cut_trunk(network)
    with torch.inference_mode():
        scores, maps = network.module(random_images()), trunk.module(random_images())
        assert torch.allclose(trunk.scorer(maps), scores, rtol=1e-4, atol=1e-5)
        assert torch.allclose(trunk.classifier(maps, maps.mean((2, 3))), scores, rtol=1e-3, atol=1e-4)
    assert len(network.class_names) == 1000


def test_a_swin_is_said_to_have_a_map():
    with pytest.raises(BadModel, match="has its channels behind rows and columns; transformers are not supported yet"):
        cut_trunk(untrained_network("timm/swin_tiny_patch4_window7_224"))


def test_attention_behind_the_map_is_named_and_not_the_weights():
    trunk = cut_trunk(untrained("timm/resnet50_clip"))
    assert trunk.scorer is trunk.classifier is None
    assert trunk.unscored == "what lies behind its feature map cannot be followed, as where attention pools it"


def test_buffers_that_the_network_computes_are_not_missing():
    assert cut_trunk(untrained("timm/tresnet_m")).channels == 2048


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "maxvit_tiny_tf_224"]
)
def test_transformers_are_said_not_to_be_supported_yet(name):
    with pytest.raises(BadModel, match="transformers are not supported yet; take a convolutional network") as refused:
        cut_trunk(untrained_network(f"timm/{name}"))
    assert "has no feature map" not in str(refused.value)
