import operator

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from whymatch.embed.operations import (
    is_adaptive_average,
    is_global_mean,
    is_pool,
    is_pool_to_fixed_size,
    is_relu,
    joins_channels,
    layer_of,
    picks_channels,
    pool_of,
    window_of,
    writes_into_input,
)

MAP = torch.zeros(1, 4, 6, 6)


def called(function):
    """The node that a function of a map makes last, and what that node calls."""
    module = fx.symbolic_trace(function if isinstance(function, nn.Module) else _Calls(function))
    node = list(module.graph.nodes)[-2]
    return node, layer_of(module, node)


class _Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("relu", [nn.Sequential(nn.ReLU()), functional.relu, torch.relu, lambda x: x.relu_()])
def test_a_relu_is_known_as_layer_function_and_method(relu):
    assert is_relu(*called(relu))


def test_a_pooling_function_has_the_window_of_its_layer():
    node, layer = called(lambda x: functional.max_pool2d(x, 3, stride=2, padding=1))
    assert is_pool(node, layer)
    assert window_of(pool_of(node)) == window_of(nn.MaxPool2d(3, 2, 1)) == ((3, 3), (2, 2), (1, 1), (1, 1))


def test_padding_by_name_has_a_size():
    assert window_of(nn.Conv2d(4, 4, 5, padding="same", dilation=2)) == ((5, 5), (1, 1), (4, 4), (2, 2))
    assert window_of(nn.Conv2d(4, 4, (3, 1), padding="valid")) == ((3, 1), (1, 1), (0, 0), (1, 1))


@pytest.mark.parametrize(
    ("function", "cells", "is_global"),
    [
        (lambda x: x.mean([2, 3]), (), True),
        (lambda x: functional.adaptive_avg_pool2d(x, 1), (1, 1), True),
        (nn.Sequential(nn.AdaptiveAvgPool2d(2)), (2, 2), False),
    ],
)
def test_a_mean_over_all_places_is_not_one_over_cells(function, cells, is_global):
    node, layer = called(function)
    assert is_global_mean(node, layer, torch.zeros(1, 4, *cells)) == is_global
    assert is_pool_to_fixed_size(node, layer)
    assert is_adaptive_average(node, layer) == bool(cells)


def test_channels_are_joined_along_their_own_axis_only():
    node, _ = called(lambda x: torch.cat([x, x], dim=1))
    assert joins_channels(node, MAP.ndim)
    assert not joins_channels(node, 2)
    assert not joins_channels(called(lambda x: torch.cat([x, x], dim=2))[0], MAP.ndim)


def test_channels_are_picked_by_an_index_and_made_a_map_again():
    assert picks_channels(called(lambda x: x[:, 1:3])[0], 4)
    assert picks_channels(called(lambda x: x[:, 0])[0], 4)
    assert not picks_channels(called(lambda x: x[:, :, 0])[0], 4)
    assert not picks_channels(called(lambda x: x[:, None])[0], 4)
    assert picks_channels(called(lambda x: x.unsqueeze(1))[0], 3)
    assert not picks_channels(called(lambda x: torch.unsqueeze(x, 2))[0], 3)


@pytest.mark.parametrize(
    ("function", "writes"),
    [
        (nn.Sequential(nn.ReLU(inplace=True)), True),
        (nn.Sequential(nn.ReLU()), False),
        (lambda x: functional.relu(x, inplace=True), True),
        (lambda x: x.relu_(), True),
        (lambda x: operator.add(x, x), False),
    ],
)
def test_what_writes_into_its_input_is_known(function, writes):
    assert writes_into_input(*called(function)) == writes
