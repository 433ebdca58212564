"""Decoded filters by hand, against the gradient where the network is linear, and of real networks."""

import numpy as np
import pytest
import torch
from small_networks import Calls, model_of
from torch import nn

from whymatch.embed import BadLayer, Model
from whymatch.embed.networks import Network, untrained_network
from whymatch.explain import BadTarget
from whymatch.explain.units import decoded
from whymatch.explain.units.decoded import DecodedFilter, decode_filters
from whymatch.explain.units.receptive_field import find_receptive_field


def chain(*layers: nn.Module) -> Model:
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight)
            nn.init.uniform_(norm.running_var, 0.5, 2)
    return model_of(Network("chain", net.eval(), frozenset()))


def decode(*layers: nn.Module) -> np.ndarray:
    """Return all filters of the last layer, (n, h, w, 3)."""
    return np.stack([each.values for each in decode_filters(chain(*layers), str(len(layers) - 1))])


def with_weights(weights: list, **kwargs: int) -> nn.Conv2d:
    """Return a convolution with weights (C', C, h, w)."""
    tensor = torch.tensor(weights, dtype=torch.float32)
    layer = nn.Conv2d(tensor.shape[1], tensor.shape[0], tuple(tensor.shape[2:]), **kwargs)
    layer.weight = nn.Parameter(tensor)
    return layer


@pytest.mark.parametrize("stride", [1, 4])
def test_the_filters_of_the_first_layer_are_the_filters(stride):
    layer = nn.Conv2d(3, 5, (7, 6), stride, padding=2)
    for layers in ([layer], [layer, nn.ReLU()], [nn.Identity(), layer]):
        np.testing.assert_array_equal(decode(*layers), layer.weight.permute(0, 2, 3, 1).numpy())


LINEAR = [
    nn.Conv2d(6, 4, 3, padding=1),
    nn.Conv2d(6, 4, (2, 5), padding=(0, 2), dilation=2),
    nn.Conv2d(6, 4, 3, groups=2),
    nn.Sequential(nn.Identity(), nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3)),
    Calls(lambda x, a, b: a(x) - b(x) + 1, nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(6, 4, 1)),
    Calls(lambda x, a: 2 * (a(x) + x) / 3 + x, nn.Conv2d(6, 6, 5, padding=2)),
    Calls(lambda x, a, b: b(torch.cat([a(x), x, x], 1)), nn.Conv2d(6, 2, 3, padding=1), nn.Conv2d(14, 4, 2)),
    Calls(lambda x: torch.cat([x[:, 2].unsqueeze(1) * 3, torch.unsqueeze(x[:, 0], 1), x[:, 1:3]], 1)),
]


@pytest.mark.parametrize("layer", LINEAR, ids=range(len(LINEAR)))
def test_of_a_linear_network_without_stride_it_is_the_gradient(layer):
    torch.manual_seed(0)
    model = chain(nn.Conv2d(3, 6, 4, padding=1), layer)
    inputs = torch.randn(1, 3, 32, 32, requires_grad=True)
    maps = model.trunk.module(inputs)
    found = find_receptive_field(model, model.layer, 32, 32)
    box = found.box(15, 14)
    assert box == found.box(15, 14, clipped=False)
    rows, columns = slice(int(box.top_px), int(box.bottom_px)), slice(int(box.left_px), int(box.right_px))
    for each in decode_filters(model, model.layer):
        [gradient] = torch.autograd.grad(maps[0, each.unit, 15, 14], inputs, retain_graph=True)
        expected = gradient[0].permute(1, 2, 0)
        assert float(expected.abs().sum()) == pytest.approx(float(expected[rows, columns].abs().sum()), rel=1e-5)
        np.testing.assert_allclose(each.values, expected[rows, columns], atol=1e-6)


def test_relus_are_passed_over():
    torch.manual_seed(0)
    first, second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)
    np.testing.assert_array_equal(decode(first, nn.ReLU(), nn.LocalResponseNorm(2), second), decode(first, second))


RED = [[[[1.0]], [[0.0]], [[0.0]]]]


def test_a_stride_is_inverted_by_linear_upsampling():
    values = decode(with_weights(RED, stride=4), with_weights([[[[0.0, 4.0, 2.0]]]]))
    np.testing.assert_allclose(values[0, 0, :, 0], [0, 1, 2, 3, 4, 3.5, 3, 2.5, 2])
    assert values.shape == (1, 1, 9, 3)
    assert not values[..., 1:].any()


def test_a_pooling_is_inverted_by_linear_upsampling_between_the_centers_of_its_windows():
    for pool, expected in (
        (nn.MaxPool2d(2), [4, 3, 1, 0]),
        (nn.AvgPool2d(3, 1, padding=1), [4, 4, 0, 0]),
        (nn.MaxPool2d(3, 2), [4, 4, 2, 0, 0]),
        (nn.MaxPool2d(2, 1, dilation=2), [4, 4, 0, 0]),
    ):
        values = decode(with_weights(RED), nn.ReLU(), pool, with_weights([[[[4.0, 0.0]]]]))
        np.testing.assert_allclose(values[0, 0, :, 0], expected)
        np.testing.assert_array_equal(values[0], values[0, :1].repeat(values.shape[1], 0))


def test_a_unit_behind_a_pooling_looks_for_a_block():
    np.testing.assert_array_equal(decode(with_weights(RED), nn.MaxPool2d(2))[0, ..., 0], np.ones((2, 2)))


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_1", "resnet18", "googlenet", "mobilenet_v2"])
def test_real_networks(name):
    torch.manual_seed(0)
    model = model_of(untrained_network(name), side=224)
    modules = dict(model.trunk.module.named_modules())
    layers = [node.target for node in model.trunk.module.graph.nodes if type(modules.get(node.target)) is nn.Conv2d]
    for layer in (layers[0], layers[len(layers) // 2], layers[-1]):
        [found] = decode_filters(model, layer, [5])
        assert np.isfinite(found.values).all()
        assert found.scale > 0
        field = find_receptive_field(model, layer, 224, 224)
        assert found.values.shape == (field.rows.size_px, field.columns.size_px, 3)
    first = modules[layers[0]].weight[5].permute(1, 2, 0).numpy()
    if name != "googlenet":  # its own input transform comes before
        np.testing.assert_array_equal(next(decode_filters(model, layers[0], [5])).values, first)


def test_batches_change_nothing(monkeypatch):
    model = chain(nn.Conv2d(3, 6, 5, 2), nn.MaxPool2d(2), nn.Conv2d(6, 7, 3))
    expected = list(decode_filters(model, "2"))
    assert [each.unit for each in expected] == list(range(7))
    monkeypatch.setattr(decoded, "PIXELS", 600)
    for one, other in zip(expected, decode_filters(model, "2"), strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-6)
    assert [each.unit for each in decode_filters(model, "2", [6, 0])] == [6, 0]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda x: x * torch.sigmoid(x.mean((2, 3), keepdim=True)), "mul"),
        (lambda x: x.flip(3), "flip"),
        (lambda x: 1 / (2 + x), "truediv"),
        (lambda x: torch.add(x, x, alpha=2), "add"),
    ],
)
def test_what_cannot_be_inverted_is_named(function, name):
    model = chain(nn.Conv2d(3, 4, 3), Calls(function), nn.Conv2d(4, 2, 1))
    with pytest.raises(BadLayer, match=f"the filters of '2' cannot be decoded: below it lies '{name}'"):
        next(decode_filters(model, "2"))
    assert next(decode_filters(model, "0")).values.shape == (3, 3, 3)


def test_filters_too_large_for_numbers():
    model = chain(*(with_weights([[[[1e30]]] * 3] * 3) for _ in range(2)))
    with pytest.raises(BadLayer, match="larger than float32"):
        next(decode_filters(model, "1"))


def test_units_and_layers_that_are_not_there():
    model = chain(nn.Conv2d(3, 4, 3))
    for unit in (-1, 4):
        with pytest.raises(BadTarget, match=f"no channel {unit}; take one from 0 to 3"):
            next(decode_filters(model, "0", [unit]))
    with pytest.raises(BadLayer, match="no layer"):
        next(decode_filters(model, "conv"))


def test_a_picture_has_gray_for_zero_and_one_scale_for_all_colors():
    values = np.array([[[0, -2, 1], [4, -4, 0.5]]], np.float32)
    found = DecodedFilter("conv", 0, values)
    assert found.scale == 4
    np.testing.assert_allclose(found.shown(), [[[0.5, 0.25, 0.625], [1, 0, 0.5625]]])
    np.testing.assert_allclose(found.shown(2), [[[0.5, 0, 0.75], [1, 0, 0.625]]])
    assert (DecodedFilter("conv", 0, values * 0).shown() == 0.5).all()
