"""Receptive fields by hand, against gradients, and against occluding whole images one by one."""

import itertools

import numpy as np
import pytest
import torch
from small_networks import Calls, model_of
from torch import nn

from whymatch.embed import BadLayer, Model, Placement, TooFewImages
from whymatch.embed.networks import Network, untrained_network
from whymatch.explain import BadTarget, BadWindow, Box
from whymatch.explain.units.empirical_field import EmpiricalField, find_empirical_field
from whymatch.explain.units.occluders import OccluderSetting
from whymatch.explain.units.receptive_field import ReceptiveField, Sight, find_receptive_field


def chain(*layers: nn.Module) -> Model:
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return model_of(Network("chain", net.eval(), frozenset()))


def field(*layers: nn.Module, size: int = 40) -> ReceptiveField:
    """Return the field of the last layer."""
    return find_receptive_field(chain(*layers), str(len(layers) - 1), size, size)


def conv(kernel: int | tuple[int, int], channels: int = 3, **kwargs: int | tuple[int, int]) -> nn.Conv2d:
    return nn.Conv2d(channels, 3, kernel, **kwargs)


@pytest.mark.parametrize(
    ("layers", "rows"),
    [
        ([conv(3)], Sight(3, 1, 1.5)),
        ([conv(5, stride=2, padding=2)], Sight(5, 2, 0.5)),
        ([conv(3, dilation=3, padding=3)], Sight(7, 1, 0.5)),
        ([conv(11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2), conv(5, padding=2)], Sight(51, 8, 7.5)),
        ([conv(3), nn.AvgPool2d(2), conv(3), nn.MaxPool2d(3, 2, dilation=2)], Sight(16, 4, 8)),
        ([conv(3), nn.MaxPool2d(2, ceil_mode=True), nn.BatchNorm2d(3), nn.Dropout()], Sight(4, 2, 2)),
        ([conv(3), nn.LocalResponseNorm(3), nn.AdaptiveAvgPool2d(38)], Sight(3, 1, 1.5)),
    ],
)
def test_chains_by_hand(layers, rows):
    found = field(*layers)
    assert (found.rows, found.columns, found.whole_from) == (rows, rows, None)


def test_rows_and_columns_of_their_own():
    found = field(conv((1, 4), stride=(2, 1), padding=(0, 3)))
    assert (found.rows, found.columns) == (Sight(1, 2, 0.5), Sight(4, 1, -1))


def test_the_last_unit_of_a_pooling_with_ceil_mode_sees_less_than_a_window():
    found = field(nn.Identity(), conv(1), nn.MaxPool2d(2, ceil_mode=True), size=7)
    box = found.box(3, 0)
    assert (box.top_px, box.bottom_px, box.left_px, box.right_px) == (6, 7, 0, 2)
    assert found.box(3, 0, clipped=False).bottom_px == 8


def test_a_sum_and_a_concatenation_see_what_any_branch_sees():
    found = field(conv(1), Calls(lambda x, a, b: a(x) + b(x) * 2 + x, conv((3, 1), padding=(1, 0)), conv(1)))
    assert (found.rows, found.columns) == (Sight(3, 1, 0.5), Sight(1, 1, 0.5))
    branches = conv((2, 5), padding=(0, 2)), nn.AvgPool2d((2, 1), 1)
    found = field(conv(1), Calls(lambda x, a, b: torch.cat([a(x), b(x)], 1) + a(x)[:, :1], *branches))
    assert (found.rows, found.columns) == (Sight(2, 1, 1), Sight(5, 1, 0.5))
    assert field(conv(1), Calls(lambda x, a: torch.cat([a(x), a(x)], 2), conv(3))).whole_from == "cat"


def test_a_gate_and_what_cannot_be_followed_see_everything_and_are_named():
    gate = Calls(lambda x, a: x * torch.sigmoid(a(x.mean((2, 3), keepdim=True))), conv(1))
    for layer, name in (
        (gate, "mean"),
        (Calls(lambda x: x.flip(3)), "flip"),
        (Calls(lambda x: x[..., ::2]), "getitem"),
    ):
        found = field(conv(3, padding=1), layer, conv(3, padding=1))
        assert found.whole_from == name
        assert found.box(0, 1) == found.box(3, 3, clipped=False)
        assert (found.rows.size_px, found.columns.size_px) == (40, 40)
    assert field(conv(3, padding=1), gate, size=20).map_size == (20, 20)


@pytest.fixture(scope="module")
def alexnet() -> Model:
    return model_of(untrained_network("alexnet"), side=224)


def test_real_networks_have_their_published_fields(alexnet):
    fields = [find_receptive_field(alexnet, name, 224, 224).rows for name in ("features.0", "features.10")]
    assert fields == [Sight(11, 4, 3.5), Sight(163, 16, 15.5)]
    resnet = model_of(untrained_network("resnet18"), side=224)
    assert find_receptive_field(resnet, "layer4.1.conv2", 224, 224).rows == Sight(435, 32, 0.5)
    with pytest.raises(BadLayer, match="'conv1' is no layer"):
        find_receptive_field(alexnet, "conv1", 224, 224)
    with pytest.raises(BadLayer, match="no place in the image"):
        find_receptive_field(alexnet, "classifier.1", 224, 224)


def test_pixels_of_the_original():
    found = find_receptive_field(chain(conv(4, stride=4)), "0", 32, 40)
    box = found.box_in_original(1, 2, Placement(200, 100, (50, 0, 150, 96)))
    assert (box.left_px, box.top_px, box.right_px, box.bottom_px) == pytest.approx((70, 12, 80, 24))
    with pytest.raises(BadLayer, match="no cell in row 8, column 0: for this input it has 8 rows of 10 cells"):
        found.box(8, 0)


def random_layer(random: np.random.Generator) -> nn.Module:
    """Return a layer of three channels to three, without ReLU or maximum, so that every path has a gradient."""
    kernel, stride, dilation, odd = (int(random.integers(low, high)) for low, high in ((1, 5), (1, 3), (1, 3), (0, 3)))
    odd = 2 * odd + 1
    kinds = [
        conv((kernel, 2), stride=(stride, 1), padding=(int(random.integers(0, 3)), 1), dilation=dilation),
        nn.AvgPool2d(kernel, stride, padding=kernel // 2),
        Calls(lambda x, a: a(x) + x, nn.Conv2d(3, 3, odd, padding=odd // 2)),
        Calls(lambda x, a, b: torch.cat([a(x), b(x)], 1), nn.Conv2d(3, 1, odd, padding=odd // 2), nn.Conv2d(3, 2, 1)),
        nn.BatchNorm2d(3),
    ]
    return kinds[random.integers(len(kinds))]


@pytest.mark.parametrize("seed", range(12))
def test_the_gradient_is_nonzero_in_the_field_alone(seed):
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    model = chain(conv(3, padding=1), *(random_layer(random) for _ in range(4)))
    found = find_receptive_field(model, "4", 48, 52)
    inputs = torch.randn(1, 3, 48, 52, requires_grad=True)
    maps = model.trunk.module(inputs)
    assert maps.shape[2:] == found.map_size
    for row, column in itertools.product(*({0, size // 2, size - 1} for size in found.map_size)):
        [gradient] = torch.autograd.grad(maps[0, :, row, column].sum(), inputs, retain_graph=True)
        rows, columns = (gradient[0].abs().sum(axes).nonzero().flatten().tolist() for axes in ((0, 2), (0, 1)))
        seen = Box(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        box = found.box(row, column)
        assert seen == box or box != found.box(row, column, clipped=False)
        assert box.left_px <= seen.left_px < seen.right_px <= box.right_px
        assert box.top_px <= seen.top_px < seen.bottom_px <= box.bottom_px


def picture(seed: int = 0, height: int = 24, width: int = 28) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def measured(model: Model, layer: str, images: list, *, unit: int = 0, **settings: float) -> EmpiricalField:
    *steps, last = find_empirical_field(model, layer, unit, images, OccluderSetting(**settings))
    assert [step.done for step in steps] == sorted({step.done for step in steps})
    assert last.result
    assert last.done == last.total == last.result.evaluations
    return last.result


def corner_unit() -> Model:
    """Sees 15 x 15 pixels, but responds to the upper left 5 x 4 alone; the second unit is dead."""
    layer = nn.Conv2d(3, 2, 15, padding=7)
    nn.init.zeros_(layer.weight)
    layer.weight.data[0, :, :5, :4] = 1
    return chain(layer)


@pytest.mark.parametrize("cell", [(12, 14), (8, 20), (6, 7)])
def test_the_empirical_field_lies_where_the_unit_responds(cell):
    white = np.full((24, 28, 3), 255, np.uint8)
    found = measured(corner_unit(), "0", [(white, cell), (white, (12, 12))], side_px=3, stride_px=1)
    assert (found.box.left_px, found.box.top_px, found.width_px, found.height_px) == (0, 0, 4, 5)
    assert found.values.shape == (15, 15)
    assert found.theoretical.rows.size_px == 15
    assert not found.values[7:, 6:].any()


def test_a_dead_unit_has_an_empty_field():
    found = measured(corner_unit(), "0", [(picture(), (12, 14))], unit=1)
    assert (found.width_px, found.height_px, found.values.max()) == (0, 0, 0)


def test_only_occluders_that_the_unit_can_see_are_tried():
    found = measured(chain(conv(3)), "0", [(picture(), (9, 0))] * 2, side_px=3, stride_px=1)
    assert (found.evaluations, found.positions) == (2 * 5 * 3, 2 * 22 * 26)
    assert found.multiplied_share < 0.1


def test_against_occluding_whole_images_one_by_one():
    torch.manual_seed(1)
    model = chain(conv(5, padding=2), nn.ReLU(), nn.MaxPool2d(2), conv(3, padding=1))
    images, setting = [(picture(0), (5, 6)), (picture(1), (0, 13))], OccluderSetting(4, 3, seed=7)
    found = measured(model, "3", images, unit=2, side_px=4, stride_px=3, seed=7, batch_size=9)
    total, counts = np.zeros((10, 10)), np.zeros((10, 10))
    for number, (pixels, (row, column)) in enumerate(images):
        sums, covered = np.zeros((24, 28)), np.zeros((24, 28))
        box, random = found.theoretical.box(row, column, clipped=False), np.random.default_rng([setting.seed, number])
        plain = model.trunk.module(model.inputs(pixels[None].astype(np.float32)))[0, 2, row, column]
        for top, left in itertools.product([*range(0, 20, 3), 20], range(0, 25, 3)):
            covered[top : top + 4, left : left + 4] += 1
            if top < box.bottom_px and top + 4 > box.top_px and left < box.right_px and left + 4 > box.left_px:
                changed = pixels.astype(np.float32)
                changed[top : top + 4, left : left + 4] = random.uniform(0, 255, (4, 4, 3))
                response = model.trunk.module(model.inputs(changed[None]))[0, 2, row, column]
                sums[top : top + 4, left : left + 4] += float((response - plain).abs())
        for y, x in itertools.product(range(10), range(10)):
            place = y + int(box.top_px), x + int(box.left_px)
            if 0 <= place[0] < 24 and 0 <= place[1] < 28:
                total[y, x] += sums[place] / covered[place]
                counts[y, x] += 1
    assert counts.min() == 1
    np.testing.assert_allclose(found.values, total / counts, rtol=1e-4, atol=1e-5)


def test_behind_a_mean_the_map_is_twice_as_large_as_the_images():
    gate = Calls(lambda x: x * x.mean((2, 3), keepdim=True))
    images = [(picture(0), (2, 3)), (picture(1, 20, 32), (19, 31))]
    found = measured(chain(conv(3, padding=1), gate), "1", images)
    assert (found.values.shape, found.theoretical.whole_from) == ((48, 64), "mean")
    assert found.evaluations == found.positions
    assert found.values[24, 32] > found.values[30, 40] > 0 == found.values[0, -1]


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (BadTarget, {"unit": 3}),
        (BadLayer, {"layer": "7"}),
        (BadLayer, {"images": [(picture(), (24, 0))]}),
        (TooFewImages, {"images": []}),
        (BadWindow, {"setting": OccluderSetting(25)}),
        (BadWindow, {"setting": OccluderSetting(0)}),
        (BadWindow, {"setting": OccluderSetting(3, 4)}),
        (BadWindow, {"setting": OccluderSetting(threshold=1)}),
    ],
)
def test_bad_input(error, changes):
    arguments = {"layer": "0", "unit": 0, "images": [(picture(), (3, 3))]} | changes
    with pytest.raises(error):
        list(find_empirical_field(chain(conv(3, padding=1)), **arguments))
