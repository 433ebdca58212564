"""InterActive against its own definition: the derivative of ln f by every single connection, one after the other."""

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from whymatch.embed import BadLayer, NoReluLayers
from whymatch.embed.activeness import Activeness, InterActive, InterActiveSetting
from whymatch.embed.layers import Layers
from whymatch.embed.networks import Network, untrained_network
from whymatch.embed.trunk import cut_trunk, side_for_top

STEP = 1e-6


class Tail(nn.Module):
    """What makes a trunk a network."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(channels, 2)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avgpool(maps).flatten(1))


class Chain(nn.Module):
    """Padding, stride, pooling windows that overlap and hang over the border, groups and dilation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, ceil_mode=True)
        self.conv3 = nn.Conv2d(6, 4, (3, 2), groups=2, dilation=(1, 2), padding=(1, 1))
        self.relu = nn.ReLU(inplace=True)
        self.tail = Tail(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.relu(self.conv2(self.relu(self.conv1(x)))))
        return self.tail(self.relu(self.conv3(x)))


class Branches(nn.Module):
    """A fire module between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 3, 3, stride=2), nn.Conv2d(5, 4, 2)
        self.small, self.large = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 3, 3, padding=1)
        self.tail = Tail(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.conv(x), inplace=True)
        x = torch.cat([functional.relu(self.small(x)), functional.relu(self.large(x))], 1)
        return self.tail(functional.relu(self.last(x)))


class Residual(nn.Module):
    """A block with a shortcut, and batch normalization."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4)
        self.conv1, self.conv2 = nn.Conv2d(4, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.relu, self.last = nn.ReLU(inplace=True), nn.Conv2d(4, 5, 1)
        self.tail = Tail(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn(self.conv(x)))
        y = self.conv2(self.relu(self.conv1(x)))
        y += x
        return self.tail(self.relu(self.last(self.relu(y))))


def interactive(network: nn.Module | str) -> InterActive:
    """Weigh the layers of a small network, with float64 so that finite differences are exact enough."""
    if isinstance(network, str):
        torch.manual_seed(0)
        network = untrained_network(network).module
    module = network.eval().requires_grad_(False)
    trunk = cut_trunk(Network("test", module, frozenset(module.state_dict())))
    for each in (module, trunk.module, *(layer for _, layer in trunk.top)):
        each.double()
    return InterActive(Layers(trunk))


def inputs(side: int = 13, count: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, side, side + 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@dataclass
class Reading:
    """One reader of a layer, for the oracle: from the layer's responses to its sums, and from these to layer T."""

    sums: Callable[[torch.Tensor], torch.Tensor]
    upper: Callable[[torch.Tensor], torch.Tensor]
    layer: nn.Module
    per_channel: bool = False


def oracle(responses: torch.Tensor, readings: list[Reading], norm: float) -> np.ndarray:
    """Equations 5 to 9 without a gradient: move each sum a little, see what ln f does, give it to what is connected."""
    gamma = np.zeros(responses.shape[1:])
    for reading in readings:
        sums = reading.sums(responses)
        base = height(reading.upper(sums), norm)
        for place in np.ndindex(*sums.shape[1:]):
            if reading.per_channel and sums[(0, *place)] <= 0:
                continue  # the indicator of equation 6, which a convolution has in its ReLU
            moved = sums.clone()
            moved[(0, *place)] += STEP
            slope = (height(reading.upper(moved), norm) - base) / STEP
            for cell in connected(reading, place, responses.shape[1:]):
                gamma[cell] += slope
    return gamma


def height(responses: torch.Tensor, norm: float) -> float:
    means = responses.detach().mean((2, 3))[0]
    return float(means.max() if math.isinf(norm) else (means**norm).sum())


def connected(reading: Reading, place: tuple[int, int, int], shape: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return the neurons (channel, row, column) that one sum reads."""
    layer = reading.layer
    pairs = [np.broadcast_to(getattr(layer, name, 1), 2) for name in ("kernel_size", "stride", "padding", "dilation")]
    rows, columns = (
        [at * stride - padding + step * dilation for step in range(kernel)]
        for at, kernel, stride, padding, dilation in zip(place[1:], *pairs, strict=True)
    )
    groups = shape[0] if reading.per_channel else layer.groups
    outputs = shape[0] if reading.per_channel else layer.out_channels
    each = shape[0] // groups
    group = place[0] // (outputs // groups)
    return [
        (channel, row, column)
        for channel in range(group * each, (group + 1) * each)
        for row in rows
        for column in columns
        if 0 <= row < shape[1] and 0 <= column < shape[2]
    ]


def relu(values: torch.Tensor) -> torch.Tensor:
    return functional.relu(values)


def chain_readings(net: Chain, layer: str, supervision: str) -> tuple[torch.Tensor, list[Reading]]:
    first = relu(net.conv1(inputs()))
    second = relu(net.conv2(first))
    pooled = net.pool(second)
    if layer == "conv1":
        to_last = lambda z: relu(net.conv3(net.pool(relu(z))))  # noqa: E731
        return first, [Reading(net.conv2, relu if supervision == "next" else to_last, net.conv2)]
    if layer == "conv2":
        to_last = lambda z: relu(net.conv3(z))  # noqa: E731
        return second, [Reading(net.pool, (lambda z: z) if supervision == "next" else to_last, net.pool, True)]
    return pooled, [Reading(net.conv3, relu, net.conv3)]


@pytest.mark.parametrize("norm", [1.0, 2.0, 3.5, math.inf])
@pytest.mark.parametrize("supervision", ["last", "next"])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "pool"])
def test_a_chain_of_layers_is_weighed_connection_by_connection(layer, supervision, norm):
    torch.manual_seed(2)
    net = Chain()
    interactive_ = interactive(net)
    responses, readings = chain_readings(net, layer, supervision)
    check(interactive_, InterActiveSetting(layer, supervision, norm), responses, readings)


@pytest.mark.parametrize("supervision", ["last", "next"])
@pytest.mark.parametrize("layer", ["conv", "small", "large"])
def test_the_branches_of_a_fire_module_are_added(layer, supervision):
    torch.manual_seed(2)
    net = Branches()
    interactive_ = interactive(net)
    first = relu(net.conv(inputs()))
    small, large = relu(net.small(first)), relu(net.large(first))
    last = lambda x: relu(net.last(x))  # noqa: E731
    if layer == "conv":
        uppers = [lambda z: last(torch.cat([relu(z), large], 1)), lambda z: last(torch.cat([small, relu(z)], 1))]
        uppers = [relu, relu] if supervision == "next" else uppers
        responses = first
        readings = [Reading(net.small, uppers[0], net.small), Reading(net.large, uppers[1], net.large)]
    else:
        responses = small if layer == "small" else large
        sums = net.last(torch.cat([small, large], 1))
        readings = [Reading(lambda x: sums, relu, net.last)]
        whole = oracle(torch.cat([small, large], 1), readings, 2.0)
        _, gamma = interactive_.weigh_together(inputs(), [InterActiveSetting(layer, supervision)])[0]
        np.testing.assert_allclose(gamma[0, 0], whole[0], rtol=1e-4, atol=1e-7)
        return
    check(interactive_, InterActiveSetting(layer, supervision), responses, readings)


@pytest.mark.parametrize("supervision", ["last", "next"])
@pytest.mark.parametrize("layer", ["conv", "conv1"])
def test_a_shortcut_passes_the_score_on_but_is_no_connection(layer, supervision):
    torch.manual_seed(2)
    net = Residual()
    interactive_ = interactive(net)
    first = relu(net.bn(net.conv(inputs())))
    middle = relu(net.conv1(first))
    to_last = lambda x: relu(net.last(relu(x + first)))  # noqa: E731
    if layer == "conv":
        upper = relu if supervision == "next" else (lambda z: to_last(net.conv2(relu(z))))
        check(interactive_, InterActiveSetting("conv", supervision), first, [Reading(net.conv1, upper, net.conv1)])
    else:
        upper = (lambda z: relu(z + first)) if supervision == "next" else to_last
        check(interactive_, InterActiveSetting("conv1", supervision), middle, [Reading(net.conv2, upper, net.conv2)])


def check(weigher: InterActive, setting: InterActiveSetting, responses: torch.Tensor, readings: list[Reading]) -> None:
    [[result]] = weigher.weigh(inputs(), [setting])
    expected = oracle(responses, readings, setting.norm).transpose(1, 2, 0)
    np.testing.assert_allclose(result.responses, responses[0].permute(1, 2, 0), rtol=1e-5, atol=1e-7)
    scale = np.abs(expected).max()
    assert scale > 0
    np.testing.assert_allclose(np.broadcast_to(result.weights, expected.shape), expected, rtol=1e-3, atol=1e-4 * scale)
    np.testing.assert_allclose(result.weight_map, expected.sum(axis=2), rtol=1e-3, atol=1e-3 * scale)
    np.testing.assert_allclose(result.weighted, result.responses * expected, rtol=1e-3, atol=1e-4 * scale)


def test_a_convolution_weighs_all_channels_alike_and_a_grouped_one_those_of_a_group():
    weigher = interactive(Chain())
    [[conv, pool]] = weigher.weigh(inputs(), [InterActiveSetting("conv1"), InterActiveSetting("pool")])
    assert conv.weights.shape[2] == 1
    assert np.ptp(pool.weights[..., :3], axis=2).max() == 0 < np.ptp(pool.weights, axis=2).max()


def test_next_with_norm_1_counts_the_active_neurons_above():
    torch.manual_seed(3)
    net = Chain()
    weigher = interactive(net)
    [[result]] = weigher.weigh(inputs(), [InterActiveSetting("conv1", "next", 1.0)])
    active = (relu(net.conv2(relu(net.conv1(inputs())))) > 0).sum(1, keepdim=True).double()
    windows = functional.conv2d(active, torch.ones(1, 1, 3, 3, dtype=torch.float64), padding=1)
    np.testing.assert_allclose(result.weights[..., 0], windows[0, 0] / active[0, 0].numel(), rtol=1e-5)


def test_images_of_a_batch_do_not_touch_each_other():
    weigher = interactive(Residual())
    images, settings = inputs(count=3), [InterActiveSetting("conv"), InterActiveSetting("conv1", "next", 1.0)]
    together = weigher.weigh(images, settings)
    for image, alone in zip(together, [weigher.weigh(one[None], settings)[0] for one in images], strict=True):
        for a, b in zip(image, alone, strict=True):
            np.testing.assert_allclose(a.weights, b.weights, rtol=1e-5, atol=1e-9)


def test_settings_do_not_touch_each_other():
    weigher = interactive(Branches())
    settings = [
        InterActiveSetting(layer, supervision, p)
        for layer in ("conv", "small")
        for supervision in ("last", "next")
        for p in (1.0, 2.0)
    ]
    [together] = weigher.weigh(inputs(), settings)
    for result, setting in zip(together, settings, strict=True):
        np.testing.assert_allclose(result.weights, weigher.weigh(inputs(), [setting])[0][0].weights, rtol=1e-6)


def test_a_later_layer_can_supervise():
    torch.manual_seed(2)
    net = Chain()
    weigher = interactive(net)
    first = relu(net.conv1(inputs()))
    readings = [Reading(net.conv2, lambda z: net.pool(relu(z)), net.conv2)]
    check(weigher, InterActiveSetting("conv1", "pool", 2.0), first, readings)
    by_name, last = weigher.weigh(inputs(), [InterActiveSetting("conv1", "conv3"), InterActiveSetting("conv1")])[0]
    np.testing.assert_array_equal(by_name.weights, last.weights)


def test_a_pooling_counts_its_active_neurons():
    """Next, p = 1: as many windows above 0 as see a neuron, each with one over the number of windows."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.MaxPool2d(2), Tail(1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
        net[0].bias.zero_()
    image = torch.zeros(1, 3, 4, 4, dtype=torch.float64)
    image[0, 0, 0, 1] = 5
    [[result]] = interactive(net).weigh(image, [InterActiveSetting("0", "next", 1.0)])
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1 / 4
    np.testing.assert_allclose(result.weight_map, expected)


def test_descriptors_of_tiny_weights_are_of_length_1():
    result = Activeness(np.ones((2, 2, 3), np.float32), np.full((2, 2, 1), 1e-30, np.float32))
    np.testing.assert_allclose(np.linalg.norm(result.descriptor()), 1, rtol=1e-5)


def test_an_image_too_small_for_a_pooling_is_refused():
    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(2, 2, 1), nn.ReLU(), Tail(2))
    with pytest.raises(BadLayer, match="leaves 2 no cell; pass a larger input size"):
        interactive(net).weigh(inputs(8)[..., :2, :2], [InterActiveSetting("0")])


def test_descriptors_are_pooled_and_of_length_1():
    [[result]] = interactive(Chain()).weigh(inputs(), [InterActiveSetting("conv1")])
    mean, most = result.weighted.mean((0, 1)), result.weighted.max((0, 1))
    np.testing.assert_allclose(result.descriptor(), mean / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(result.descriptor("max"), most / np.linalg.norm(most), rtol=1e-5)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (InterActiveSetting("conv7"), "is no layer of this network; near it are conv3, conv2, conv1"),
        (InterActiveSetting("conv2", "conv1"), "'conv1' does not come after 'conv2'"),
        (InterActiveSetting("conv1", "conv1"), "'conv1' does not come after 'conv1'"),
        (InterActiveSetting("conv3"), "'last' does not come after 'conv3'; take a later layer, or `next`"),
        (InterActiveSetting("scores", "next"), "'scores' is the last layer"),
        (InterActiveSetting("tail"), "is no layer of this network"),
    ],
)
def test_what_cannot_be_weighed_is_refused(setting, message):
    with pytest.raises(BadLayer, match=message):
        interactive(Chain()).weigh(inputs(), [setting])


@pytest.mark.parametrize("norm", [0.5, -1, math.nan, -math.inf])
def test_norms_begin_at_1(norm):
    with pytest.raises(BadLayer, match="the norm must be 1 or more"):
        InterActiveSetting("conv1", norm=norm)


def test_a_norm_that_overflows_says_so():
    with pytest.raises(BadLayer, match="the weights overflow with a norm of 3000"):
        interactive(Chain()).weigh(1e6 * inputs(), [InterActiveSetting("conv1", norm=3000)])


def test_layers_that_pad_in_their_own_way_are_refused():
    class Padded(nn.Conv2d):
        """Like those of timm that came from TensorFlow."""

        def forward(self, maps):
            return super().forward(nn.functional.pad(maps, (1, 1, 1, 1)))

    net = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), Padded(2, 2, 3), nn.ReLU(), Tail(2))
    with pytest.raises(BadLayer, match="2, which reads '0', pads in its own way"):
        interactive(net).weigh(inputs(), [InterActiveSetting("0")])


def test_a_convolution_that_makes_its_own_weights_is_a_convolution():
    class Standardized(nn.Conv2d):
        """Like those of BiT; gamma depends on connections and not on their weights."""

    plain, own = (
        nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), kind(2, 2, 3), nn.ReLU(), Tail(2))
        for kind in (nn.Conv2d, Standardized)
    )
    own.load_state_dict(plain.state_dict())
    setting = InterActiveSetting("0", "next", 1.0)
    [[expected]], [[found]] = (interactive(net).weigh(inputs()[:1], [setting]) for net in (plain, own))
    np.testing.assert_array_equal(found.weights, expected.weights)


def test_layers_without_a_response_say_so():
    weigher = interactive("mobilenet_v2")
    with pytest.raises(BadLayer, match=r"'features.2.conv.2' has no response that a ReLU lets through"):
        weigher.weigh(inputs(64), [InterActiveSetting("features.2.conv.2")])
    with pytest.raises(BadLayer, match=r"no ReLU follows features.1.conv.1, which reads 'features.1.conv.0'"):
        weigher.weigh(inputs(64), [InterActiveSetting("features.1.conv.0", "next")])


def test_a_network_without_relus_is_refused():
    weigher = interactive("efficientnet_b0")
    assert weigher.layers.all == []
    with pytest.raises(NoReluLayers, match="take one that has"):
        weigher.weigh(inputs(64), [InterActiveSetting("features.1")])


class Full(nn.Module):
    """Like AlexNet and VGG: fully connected layers read all cells of a map of fixed size."""

    def __init__(self, *features: nn.Module) -> None:
        super().__init__()
        features = features or (nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d((3, 3))
        wide = [nn.Dropout(), nn.Linear(36, 8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 6), nn.ReLU()]
        self.classifier = nn.Sequential(*wide, nn.Linear(6, 2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def test_fully_connected_layers_run_as_convolutions():
    torch.manual_seed(2)
    net = Full()
    weigher = interactive(net)
    assert [layer.name for layer in weigher.layers.all] == ["features.1", "features.2", "fc-6", "fc-7", "scores"]
    image = inputs(13)[..., :13]
    [(responses, _)] = weigher.weigh_together(image, [InterActiveSetting("fc-6")])
    flat = net.avgpool(net.features(image)).flatten(1)
    torch.testing.assert_close(responses[:, :, 0, 0], net.classifier[:3](flat).float())

    maps = net.features(inputs())
    fc6, fc7 = weigher.layers.called(weigher.layers.find("fc-6").node.args[0]), net.classifier[4]
    to_last = lambda z: relu(functional.conv2d(relu(z), fc7.weight[..., None, None], fc7.bias))  # noqa: E731
    check(weigher, InterActiveSetting("features.2"), maps, [Reading(fc6, to_last, fc6)])


def test_the_layers_of_vgg_have_the_names_of_the_paper():
    depths = [[3, 4], [4], [4, 4], [4, 4], [4, 4]]
    channels = [3, *(width for block in depths for width in block)]
    convolutions = iter(nn.Conv2d(*pair, 3, padding=1) for pair in itertools.pairwise(channels))
    blocks = [[each for _ in block for each in (next(convolutions), nn.ReLU())] + [nn.MaxPool2d(2)] for block in depths]
    layers = interactive(Full(*itertools.chain(*blocks))).layers
    names = [layer.name for layer in layers.all]
    assert names[:5] == ["conv-1-1", "conv-1-2", "pool-1", "conv-2-1", "pool-2"]
    assert names[-5:] == ["conv-5-2", "pool-5", "fc-6", "fc-7", "scores"]
    assert layers.last.name == "fc-7"
    assert layers.find("features.0") is layers.find("features.1") is layers.find("conv-1-1")
    assert layers.find("classifier.1") is layers.find("fc-6")


def test_an_image_too_small_for_a_fully_connected_layer_is_refused():
    with pytest.raises(BadLayer, match=r"classifier.1 a map of 1 x 2 cells, less than its kernel of 3 x 3"):
        interactive(Full()).weigh_together(inputs(7), [InterActiveSetting("features.2")])


def test_the_shortest_side_that_a_fully_connected_layer_can_read():
    net = Full()
    assert side_for_top(cut_trunk(Network("full", net, frozenset(net.state_dict()))), 1, 5) == 13


def test_a_trunk_without_its_classifier_is_supervised_by_its_own_last_layer():
    net = Full()
    trunk = cut_trunk(Network("full", net, frozenset(name for name in net.state_dict() if name.startswith("features"))))
    assert Layers(trunk).last.name == "features.2"


def test_the_last_layer_is_told_by_the_class_scores():
    torch.manual_seed(2)
    net = Chain()
    nn.init.constant_(net.tail.fc.bias, 1.0)
    weigher = interactive(net)
    maps = relu(net.conv3(net.pool(relu(net.conv2(relu(net.conv1(inputs())))))))
    scoring = nn.Conv2d(4, 2, 1).double()
    scoring.weight, scoring.bias = nn.Parameter(net.tail.fc.weight[..., None, None]), net.tail.fc.bias
    check(weigher, InterActiveSetting("conv3", "next", 2.0), maps, [Reading(scoring, relu, scoring)])
    assert weigher.layers.find("tail.fc") is weigher.layers.find("scores")


def test_the_example_by_hand():
    """The numbers of docs/interactive.md."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Conv2d(1, 2, 1), nn.ReLU(), Tail(2))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1))
        net[0].bias.zero_()
        net[2].weight.copy_(torch.tensor([1.0, -1.0]).view(2, 1, 1, 1))
        net[2].bias.copy_(torch.tensor([0.0, 1.0]))
    x = torch.tensor([[1.0, 2.0], [0.0, 3.0]], dtype=torch.float64).expand(1, 3, 2, 2)
    [[result]] = interactive(net).weigh(x, [InterActiveSetting("0", "next", 2.0)])
    text = (Path(__file__).parents[2] / "docs" / "interactive.md").read_text()
    for name, values in (("gamma    ", result.weights), ("x . gamma", result.weighted)):
        wanted = [
            [float(value) for value in row] for row in json.loads(text.partition(f"{name} = ")[2].splitlines()[0])
        ]
        np.testing.assert_allclose(values[..., 0], wanted, atol=1e-6)


def test_saturated_neurons_pass_nothing_on():
    """A ReLU6 has no slope above 6, as a ReLU has none below 0."""
    net = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.Conv2d(1, 2, 1), nn.ReLU6(), Tail(2))
    with torch.no_grad():
        for conv, weight in ((net[0], torch.ones(1, 3, 1, 1)), (net[2], torch.tensor([1.0, 9.0]).view(2, 1, 1, 1))):
            conv.weight.copy_(weight)
            conv.bias.zero_()
    image = torch.full((1, 3, 2, 2), 1.0, dtype=torch.float64)
    [[result]] = interactive(net).weigh(image, [InterActiveSetting("0", "next", 1.0)])
    np.testing.assert_allclose(result.weights[..., 0], np.full((2, 2), 1 / 4))  # 3 passes, 27 is above 6


def test_inception_and_regnet_are_followed():
    for name in ("googlenet", "regnet_x_200mf"):
        weigher = interactive(name)
        layer = weigher.layers.all[5]
        [(responses, gamma)] = weigher.weigh_together(inputs(64), [InterActiveSetting(layer.name)])
        assert responses.shape[2:] == gamma.shape[2:]
        assert gamma.abs().max() > 0
