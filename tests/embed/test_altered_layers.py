"""Alterations of a layer against the network itself, whose module gives the altered output in a hook."""

import numpy as np
import pytest
import torch
from small_networks import Calls, model_of, slim, small
from torch import nn

from whymatch.embed import Alterations, BadLayer, ClassScores, LayerMaps, PooledVector, Responses
from whymatch.embed.networks import Network

SAMPLES = 2
PLACES = [(0, 0), (1, 2), (2, 1)]


def picture(side: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def contents(cells, side: int, seed: int = 1) -> np.ndarray:
    """Return windows (3, samples, side, side, C) as strong as the map itself."""
    random = np.random.default_rng(seed)
    strength = float(np.abs(cells).max()) or 1.0
    return (random.uniform(0, strength, (3, SAMPLES, side, side, cells.shape[2]))).astype(np.float32)


@torch.inference_mode()
def hooked(model, network, layer: str, new: np.ndarray) -> torch.Tensor:
    """Run the whole network on the image for each window and sample; the module `layer` gives an altered output."""
    side, results = new.shape[2], []
    for (top, left), samples in zip(PLACES, new, strict=True):
        for content in samples:

            def alter(_module, _inputs, output, top=top, left=left, content=content):
                output = output.clone()
                patch = torch.from_numpy(content).permute(2, 0, 1)
                output[0, :, top : top + side, left : left + side] = patch
                return output

            handle = network.module.get_submodule(layer).register_forward_hook(alter)
            results.append(network.module(model.inputs(picture(64)[None])))
            handle.remove()
    return torch.cat(results)


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("alexnet", "features.4"),
        ("squeezenet1_1", "features.6"),
        ("squeezenet1_1", "features.6.squeeze"),
        ("resnet18", "layer2"),
        ("resnet18", "layer2.0.conv2"),  # in a block, beside its shortcut
        ("mobilenet_v3_small", "features.4"),
    ],
)
def test_scores_are_those_of_the_network_whose_module_gives_the_altered_output(name, layer):
    network = slim(name)
    model = model_of(network, side=64)
    new = contents(LayerMaps(model, layer)(picture(64)), 2)
    alterations = Alterations(model, picture(64), [ClassScores()], layer=layer)
    [scores] = alterations.run(*zip(*PLACES, strict=True), new)
    expected = hooked(model, network, layer.replace("conv2", "bn2"), new)  # a convolution's output is normalized
    largest = float(expected.abs().max())
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-4 * largest)
    assert (expected - alterations.plain[0]).abs().max() > 1e-3 * largest
    assert 0 < alterations.multiplied_share < 1


def test_a_shortcut_is_followed_and_keeps_what_the_unchanged_image_gives():
    model = model_of(slim("resnet18"), side=64)
    alterations = Alterations(model, picture(64), [ClassScores()], layer="layer1.0.conv2")
    alterations.run([3], [4], np.zeros((1, 1, 1, 1, 64), np.float32))
    assert not alterations.computed_whole
    assert alterations.multiplied_share < 0.6


def test_a_map_replaced_by_itself_changes_nothing():
    model = small()
    ends = [ClassScores(), PooledVector(), Responses("conv2"), Responses("conv1", (5, 5))]
    alterations = Alterations(model, picture(), ends, layer="conv1")
    cells = LayerMaps(model, "conv1")(picture())
    assert cells.shape == (16, 16, 6)
    for value, plain in zip(alterations.run([4], [7], cells[None, None, 4:9, 7:12]), alterations.plain, strict=True):
        torch.testing.assert_close(value, plain)


def test_what_is_written_into_later_is_read_as_it_then_is():
    """A ReLU that writes into its input x makes x + conv(x) read the result twice."""

    def forward(x, stem, relu, conv, pool, fc):
        x = stem(x)
        return fc(pool(conv(relu(x)) + x).flatten(1))

    torch.manual_seed(0)
    stem, top = (nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(inplace=True)), (nn.AdaptiveAvgPool2d(1), nn.Linear(4, 3))
    network = Network("writes", Calls(forward, *stem, nn.Conv2d(4, 4, 1), *top).eval(), frozenset())
    model = model_of(network)
    alterations = Alterations(model, picture(), [ClassScores()], layer="parts.2")
    unchanged = LayerMaps(model, "parts.2")(picture())
    [scores] = alterations.run([2], [3], unchanged[None, None, 2:3, 3:4])
    with torch.inference_mode():
        torch.testing.assert_close(scores, network.module(model.inputs(picture()[None])))
    torch.testing.assert_close(scores, alterations.plain[0])


def test_the_gradient_is_that_of_the_layer():
    """The mean of conv2's map over 16 x 16 cells has the derivative 1 / 256 at each cell of its channel."""
    gradient = Alterations(small(), picture(), [Responses("conv2")], layer="conv2").gradient(lambda ends: ends[0][0, 2])
    np.testing.assert_allclose(gradient, np.full((16, 16), 1 / 256), rtol=1e-6)


@pytest.mark.parametrize(
    ("end", "layer", "message"),
    [
        (Responses("conv1"), "conv2", "'conv1' does not depend on 'conv2'"),
        (ClassScores(), "conv9", "'conv9' is no layer"),
        (PooledVector(), "fc", "nothing leads from layer 'fc'"),
    ],
)
def test_layers_that_an_end_does_not_depend_on_are_refused(end, layer, message):
    with pytest.raises(BadLayer, match=message):
        Alterations(small(), picture(), [end], layer=layer)


def test_a_layer_without_cells_is_refused():
    with pytest.raises(BadLayer, match="'fc' has no cells"):
        LayerMaps(small(), "fc")(picture())
