"""Alterations against the model itself, run on whole images with the windows pasted in."""

import dataclasses

import numpy as np
import pytest
import torch
from small_networks import Small, model_of, slim, small
from torch import nn
from torch.nn import functional

from whymatch.embed import BadLayer, Pooling
from whymatch.embed.activeness import InterActive
from whymatch.embed.alterations import Alterations, ClassScores, PooledVector, Responses
from whymatch.embed.errors import NoClassScores
from whymatch.embed.networks import untrained_network

TOPS, LEFTS, SIDE = [0, 11, 27], [5, 20, 27], 5
POOLINGS = [Pooling("average"), Pooling("max"), Pooling("gem", 2.5)]


def picture(side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def contents(samples: int = 2, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (3, samples, side, side, 3)).astype(np.float32)


def altered(image: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Return whole images (windows * samples, h, w, 3) float32."""
    images = np.tile(image.astype(np.float32), (*new.shape[:2], 1, 1, 1))
    for each, top, left, content in zip(images, TOPS, LEFTS, new, strict=True):
        each[:, top : top + new.shape[2], left : left + new.shape[2]] = content
    return images.reshape(-1, *image.shape)


def assert_close(
    result: torch.Tensor, expected: torch.Tensor | np.ndarray, plain: torch.Tensor, *, error: float = 1e-5
) -> None:
    """Compare, relative to the largest; the alterations must make a difference."""
    expected = torch.as_tensor(expected)
    assert result.dtype == torch.float32
    assert result.shape == expected.shape
    largest = float(expected.abs().max())
    assert (result - expected).abs().max() <= error * largest
    assert (expected - plain).abs().max() > 5e-3 * largest


def test_scores_of_a_small_network():
    model = small()
    alterations = Alterations(model, picture(), [ClassScores()])
    [scores] = alterations.run(TOPS, LEFTS, contents())
    torch.manual_seed(0)
    module = Small().eval()
    nn.init.uniform_(module.bn1.running_var, 0.5, 2)
    with torch.no_grad():
        expected, plain = (module(model.inputs(images)) for images in (altered(picture(), contents()), picture()[None]))
    assert_close(scores, expected, plain)
    torch.testing.assert_close(alterations.plain[0], plain)
    assert not alterations.computed_whole
    assert alterations.multiplied_share < 0.3


@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.kind)
def test_pooled_vectors(pooling):
    model = small(pooling=pooling)
    alterations = Alterations(model, picture(), [PooledVector()])
    [vectors] = alterations.run(TOPS, LEFTS, contents())
    maps, plain = (model.feature_maps(images) for images in (altered(picture(), contents()), picture()[None]))
    assert_close(vectors, pooling.pool(maps), alterations.plain[0])
    np.testing.assert_allclose(alterations.plain[0], pooling.pool(plain), rtol=1e-5)


def test_vectors_of_maps_that_are_nowhere_above_0():
    model = small(pooling=Pooling("gem"), relu=False)
    for convolution in (model.trunk.module.conv1, model.trunk.module.conv2):
        convolution.bias.fill_(-50)
    alterations = Alterations(model, picture(), [PooledVector()])
    [vectors] = alterations.run(TOPS, LEFTS, contents())
    assert vectors.tolist() == np.zeros((6, 6)).tolist() == alterations.plain[0].tolist() * 6


def test_responses_of_a_layer_and_of_one_cell():
    model = small()
    ends = [Responses("conv1"), Responses("conv1", (6, 11)), Responses("fc"), Responses("avgpool", (0, 0))]
    alterations = Alterations(model, picture(), ends)
    mean, cell, scores, vectors = alterations.run(TOPS, LEFTS, contents())
    images = [model.inputs(images) for images in (altered(picture(), contents()), picture()[None])]
    expected, plain = (functional.relu(model.trunk.module.conv1(each)) for each in images)
    assert_close(mean, expected.mean((2, 3)), plain.mean((2, 3)))
    torch.testing.assert_close(cell, expected[:, :, 6, 11])
    torch.testing.assert_close(alterations.plain[1], plain[:, :, 6, 11])
    assert (cell[:2] == alterations.plain[1]).all()  # the first window is far away
    assert (cell[2:4] != alterations.plain[1]).any()
    [pooled, logits] = Alterations(model, picture(), [PooledVector(), ClassScores()]).run(TOPS, LEFTS, contents())
    torch.testing.assert_close(vectors, pooled)
    torch.testing.assert_close(scores, logits)


@pytest.mark.parametrize("name", ["squeezenet1_1", "vgg11"])
def test_layers_are_those_that_interactive_weighs(name):
    model = model_of(slim(name), side=64)
    ends = [layer for layer in model.layers.all if layer.name != "scores" and not layer.name.startswith("fc")]
    alterations = Alterations(model, picture(64), [Responses(layer.name) for layer in ends])
    expected = InterActive(model.layers).responses(model.inputs(picture(64)[None]), [layer.name for layer in ends])
    for layer, plain, maps in zip(ends, alterations.plain, expected, strict=True):
        torch.testing.assert_close(plain, maps.mean((2, 3)), rtol=1e-4, atol=1e-6, msg=layer.name)


@torch.inference_mode()
def test_fully_connected_layers_respond_as_in_the_network():
    network = slim("vgg11")
    model = model_of(network, side=64)
    alterations = Alterations(model, picture(64), [Responses("fc-6"), Responses("classifier.3")])
    results = alterations.run(TOPS, LEFTS, contents())
    images = [model.inputs(images) for images in (altered(picture(64), contents()), picture(64)[None])]
    for result, end in zip(results, (2, 5), strict=True):
        expected, plain = (
            network.module.classifier[:end](network.module.avgpool(network.module.features(each)).flatten(1))
            for each in images
        )
        assert_close(result, expected, plain)


@pytest.mark.parametrize("tap", ["conv1", "conv1,next,1"])
@pytest.mark.parametrize("pooling", POOLINGS, ids=lambda pooling: pooling.kind)
def test_a_tap_is_computed_whole_and_says_so(tap, pooling):
    model = small(pooling=pooling, tap=tap)
    alterations = Alterations(model, picture(), [PooledVector()])
    [vectors] = alterations.run(TOPS, LEFTS, contents())
    expected = pooling.pool(model.feature_maps(altered(picture(), contents())))
    assert_close(vectors, expected, alterations.plain[0])
    np.testing.assert_allclose(alterations.plain[0], pooling.pool(model.feature_maps(picture()[None])), rtol=1e-5)
    assert alterations.computed_whole == {tap}
    assert alterations.multiplied_share == 1
    assert not Alterations(model, picture(), [ClassScores()]).computed_whole


def test_a_run_does_not_change_the_next():
    alterations = Alterations(small(), picture(), [ClassScores(), PooledVector(), Responses("conv1")])
    plain = [each.clone() for each in alterations.plain]
    first = alterations.run(TOPS, LEFTS, contents())
    alterations.run([0], [0], contents(1, 32)[:1])
    for before, after in zip(first, alterations.run(TOPS, LEFTS, contents()), strict=True):
        assert torch.equal(before, after)
    assert all(map(torch.equal, plain, alterations.plain))


def test_what_was_there_before_changes_nothing():
    alterations = Alterations(small(), picture(), [ClassScores(), PooledVector(), Responses("conv1", (0, 0))])
    same = picture()[None, None, 3:10, 3:10].astype(np.float32)
    for result, plain in zip(alterations.run([3], [3], same), alterations.plain, strict=True):
        torch.testing.assert_close(result, plain)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (Responses("conv3"), "'conv3' is no layer of this network; near it are conv2, conv1"),
        (Responses("###"), "'###' is no layer of this network; `whymatch layers` lists all"),
        (Responses("conv1", (16, 0)), "no cell in row 16, column 0: for this image it has 16 rows of 16 cells"),
        (Responses("conv1", (0, -1)), "no cell in row 0, column -1"),
        (Responses("fc", (0, 1)), "no cell in row 0, column 1: for this image it has 1 rows of 1 cells"),
    ],
)
def test_what_no_layer_has_is_refused(end, message):
    with pytest.raises(BadLayer, match=message):
        Alterations(small(), picture(), [end])


def test_scores_without_a_classifier_are_refused():
    model = small(lacking="fc")
    with pytest.raises(NoClassScores, match="small has no class scores here: its weights lack its classifier"):
        Alterations(model, picture(), [ClassScores()])
    assert Alterations(model, picture(), [PooledVector(), Responses("conv1")]).run(TOPS, LEFTS, contents())


@pytest.mark.parametrize("end", [ClassScores(), Responses("conv2", (9, 3))])
def test_the_gradient_of_a_linear_network_is_its_difference(end):
    """The network is linear, so that any step will do."""
    model = small(relu=False)
    alterations = Alterations(model, picture(), [end])
    gradient = alterations.gradient(lambda ends: ends[0][0, 1])
    assert gradient.shape == (32, 32)
    for row, column in [(0, 0), (18, 6), (19, 7), (31, 12)]:
        pixels = np.stack([picture()[row, column].astype(np.float32)] * 3) + 100 * np.eye(3, dtype=np.float32)
        [results] = alterations.run([row], [column], pixels[None, :, None, None])
        steepest = (results[:, 1] - alterations.plain[0][0, 1]).abs().max() / 100
        assert gradient[row, column] == pytest.approx(float(steepest), rel=1e-3, abs=1e-5 * float(gradient.max()))
    assert gradient.max() > 0


def test_the_gradient_sees_through_layers_that_write_into_their_input():
    model = small()
    ends = [ClassScores(), PooledVector(), Responses("conv1"), Responses("conv2", (3, 3))]
    gradient = Alterations(model, picture(), ends).gradient(lambda values: sum(each.sum() for each in values))
    assert np.isfinite(gradient).all()
    assert gradient.max() > 0


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        *((name, set()) for name in ("alexnet", "vgg11", "squeezenet1_1", "resnet18", "googlenet", "mobilenet_v2")),
        ("mobilenet_v3_small", {"mul"}),
        ("shufflenet_v2_x0_5", {"size", "view"}),
    ],
)
def test_scores_and_vectors_are_those_of_the_whole_network(name, whole):
    network = slim(name)
    model = model_of(network, side=64)
    alterations = Alterations(model, picture(64), [ClassScores(), PooledVector()])
    scores, vectors = alterations.run(TOPS, LEFTS, contents(1, 9))
    images = altered(picture(64), contents(1, 9))
    with torch.inference_mode():
        expected, plain = (network.module(model.inputs(each)) for each in (images, picture(64)[None]))
    assert_close(scores, expected, plain, error=1e-4)
    assert_close(vectors, model.pooling.pool(model.feature_maps(images)), alterations.plain[1], error=1e-4)
    torch.testing.assert_close(alterations.plain[0], plain, rtol=1e-4, atol=1e-4 * float(plain.abs().max()))
    assert alterations.computed_whole == whole
    assert 0 < alterations.multiplied_share < 1


@pytest.mark.parametrize("name", ["timm/resnet18", "timm/mobilenetv3_small_050"])
def test_networks_of_timm_score_classes_too(name):
    torch.manual_seed(0)
    network = untrained_network(name)
    model = model_of(network, side=64)
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    alterations = Alterations(model, image, [ClassScores(), PooledVector()])
    [scores, _] = alterations.run([10], [10], np.zeros((1, 1, 44, 44, 3), np.float32))
    image[10:54, 10:54] = 0
    with torch.inference_mode():
        assert_close(scores, network.module(model.inputs(np.stack([image]))), alterations.plain[0])


def test_sampled_values_are_rounded_to_bfloat16_only_once_they_are_normalized():
    model = dataclasses.replace(small(), precision="bfloat16")
    pixels = np.full((1, 1, 1, 3), 127.4, np.float32)
    exact = (127.4 / 255 - np.array(model.mean)) / np.array(model.std)
    assert model.inputs(pixels).flatten().float().numpy() == pytest.approx(exact, rel=2**-8)
    other = (127.0 / 255 - np.array(model.mean)) / np.array(model.std)
    assert np.abs(exact / other - 1).max() > 2**-7


def test_a_network_in_bfloat16_agrees_with_itself():
    model = dataclasses.replace(small(), precision="bfloat16")
    for module in (model.trunk.module, model.scorer):
        module.to(torch.bfloat16)
    ends = [ClassScores(), PooledVector(), Responses("conv1")]
    alterations, new = Alterations(model, picture(), ends), contents()
    images = model.inputs(altered(picture(), new))
    with torch.inference_mode():
        maps = model.trunk.module(images)
        expected = [model.scorer(maps).float(), maps.float().mean((2, 3))]
    for result, whole, plain in zip(alterations.run(TOPS, LEFTS, new), expected, alterations.plain, strict=False):
        assert_close(result, whole, plain, error=2**-7)
