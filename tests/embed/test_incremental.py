"""Incremental against the whole network, run on images into which the windows were pasted."""

from collections.abc import Sequence

import pytest
import torch
from examples import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import Calls
from torch import fx, nn
from torch.nn import functional

from whymatch.embed.incremental import Incremental
from whymatch.embed.map_patches import Patches

PLACES = [(0, 0), (7, 9), (12, 0), (0, 14), (12, 14), (3, 5)]
"""Corners, borders and the middle of an image of 17 rows and 19 columns, for windows of 5."""


def traced(net: nn.Module) -> fx.GraphModule:
    randomize(net.eval())
    return fx.symbolic_trace(net)


def randomize(net: nn.Module) -> None:
    """Draw what batch normalizations have learned; untrained, they do nothing."""
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(norm.running_var, 0.5, 2)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pasted(image: torch.Tensor, places: Sequence[tuple[int, int]], contents: torch.Tensor) -> torch.Tensor:
    """Return images (windows * samples, 3, h, w) with the windows pasted in."""
    images = image.repeat(len(places), contents.shape[1], 1, 1, 1)
    side = contents.shape[-1]
    for altered, (top, left), content in zip(images, places, contents, strict=True):
        altered[..., top : top + side, left : left + side] = content
    return images.flatten(0, 1)


def whole(value: Patches | torch.Tensor) -> torch.Tensor:
    return value.whole() if isinstance(value, Patches) else value


def outputs_of(module: nn.Module, images: torch.Tensor, names: Sequence[str]) -> list[torch.Tensor]:
    """Return what some layers of a network give, and last what it gives itself."""
    kept: dict[str, torch.Tensor] = {}
    hooks = [
        module.get_submodule(name).register_forward_hook(lambda *call, name=name: kept.update({name: call[2].clone()}))
        for name in names
    ]
    result = module(images.clone())
    for hook in hooks:
        hook.remove()
    return [*(kept[name] for name in names), result]


@torch.inference_mode()
def check(
    net: nn.Module,
    *,
    size: tuple[int, int] = (17, 19),
    places: Sequence[tuple[int, int]] = PLACES,
    side: int = 5,
    samples: int = 2,
    ends: Sequence[str] = (),
) -> Incremental:
    """Compare with the whole network: its output and that of the layers `ends`."""
    module, image = traced(net), noise(1, 3, *size)
    output = next(iter(reversed(module.graph.nodes))).all_input_nodes[0]
    nodes = [next(node for node in module.graph.nodes if node.target == name) for name in ends]
    incremental = Incremental(module, image, [*nodes, output])
    contents = noise(len(places), samples, 3, side, side, seed=1)
    tops, lefts = zip(*places, strict=True)
    values = incremental.run(tops, lefts, contents)
    expected, base = (outputs_of(net, images, ends) for images in (pasted(image, places, contents), image))
    for node, altered, unchanged in zip([*nodes, output], expected, base, strict=True):
        assert_same(incremental.base[node], unchanged)
        assert_same(whole(values[node]), altered)
        if isinstance(values[node], Patches):
            assert_same(values[node].mean(), altered.mean((-2, -1)), scale=altered)
    again = incremental.run(tops, lefts, contents)
    assert all(torch.equal(whole(values[node]), whole(again[node])) for node in values)
    assert_same(expected[-1], base[-1].expand_as(expected[-1]), differs=True)
    return incremental


def assert_same(
    result: torch.Tensor, expected: torch.Tensor, *, scale: torch.Tensor | None = None, differs: bool = False
) -> None:
    assert result.shape == expected.shape
    largest = (expected if scale is None else scale).abs().max()
    assert ((result - expected).abs().max() > 1e-5 * largest) == differs


def conv(*args: int, **kwargs: object) -> nn.Conv2d:
    torch.manual_seed(len(str((args, kwargs))))
    return nn.Conv2d(*args, **kwargs)


SLIDING = [
    conv(3, 4, 3),
    conv(3, 4, 3, padding=1),
    conv(3, 4, 3, stride=2, padding=1, bias=False),
    conv(3, 4, (1, 4), padding=(0, 2)),
    conv(3, 4, (5, 2), stride=(1, 3), padding=(3, 0)),
    conv(3, 4, 3, padding=4, dilation=3),
    conv(3, 4, (2, 3), stride=(2, 1), dilation=(3, 2), padding=(1, 2)),
    conv(3, 6, 3, groups=3, padding=1),
    conv(3, 4, 2, stride=5),
    pytest.param(conv(3, 4, 4, padding="same"), marks=pytest.mark.filterwarnings("ignore:Using padding='same'")),
    conv(3, 4, (3, 2), padding="same", dilation=2),
    conv(3, 4, 3, padding="valid"),
    nn.MaxPool2d(2),
    nn.MaxPool2d(3, 2, padding=1),
    nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.MaxPool2d(3, 3, padding=1, ceil_mode=True),
    nn.MaxPool2d((3, 2), (1, 2), dilation=2),
    nn.MaxPool2d(2, 4, ceil_mode=True),
    nn.AvgPool2d(2),
    nn.AvgPool2d(3, 2, padding=1),
    nn.AvgPool2d((4, 2), (3, 1), padding=(2, 0)),
]


@pytest.mark.parametrize("layer", SLIDING, ids=str)
def test_a_sliding_window_is_run_where_it_sees_a_change(layer):
    assert not check(nn.Sequential(layer)).computed_whole
    assert not check(nn.Sequential(layer), places=[(4, 3)], size=(13, 11)).computed_whole
    assert not check(nn.Sequential(conv(3, 3, 3, padding=1), layer, nn.ReLU()), ends=["0", "1"]).computed_whole


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(3, 2, padding=1, count_include_pad=False),
        nn.AvgPool2d(2, divisor_override=3),
        conv(3, 4, 3, padding=1, padding_mode="reflect"),
        conv(3, 4, 3, padding=1, padding_mode="circular"),
        nn.ConvTranspose2d(3, 4, 2, stride=2),
        nn.AdaptiveAvgPool2d(4),
        nn.AdaptiveMaxPool2d(1),
        nn.PixelUnshuffle(1),
    ],
    ids=str,
)
def test_a_layer_that_cannot_be_followed_is_computed_whole_and_named(layer):
    net = nn.Sequential(conv(3, 3, 3), layer, nn.ReLU())
    assert check(net, ends=["0", "1"]).computed_whole == {"_1"}


@pytest.mark.parametrize("side", [1, 2, 5])
def test_windows_between_the_steps_of_a_stride_change_nothing(side):
    net = nn.Sequential(conv(3, 4, 1, stride=2), nn.ReLU(inplace=True), conv(4, 4, 3, padding=1))
    check(net, side=side, places=[(0, 0), (1, 1), (1, 2), (3, 2)] if side == 1 else PLACES)
    net = nn.Sequential(conv(3, 4, 1, stride=7), conv(4, 4, 3, padding=1))
    check(net, side=side, places=[(1, 1), (7, 7), (12, 14), (8, 2)])


def test_windows_that_nothing_sees_change_nothing():
    module = traced(nn.Sequential(conv(3, 4, 1, stride=3), conv(4, 4, 3, padding=1)))
    output = module.graph.find_nodes(op="call_module", target="1")[0]
    with torch.inference_mode():
        incremental = Incremental(module, noise(1, 3, 9, 9), [output])
        value = incremental.run([1, 8], [1, 8], noise(2, 1, 3, 1, 1))[output]
    torch.testing.assert_close(value.whole(), incremental.base[output].expand(2, -1, -1, -1))


def test_a_convolution_whose_stride_leaves_the_last_rows_unseen():
    check(nn.Sequential(conv(3, 4, 2, stride=4), conv(4, 4, 3, padding=1)), size=(16, 15), places=[(11, 10), (0, 0)])


@pytest.mark.parametrize("side", [1, 4, 17])
def test_all_sides_of_windows(side):
    net = nn.Sequential(conv(3, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True), conv(4, 2, 3))
    places = [(0, 0), (17 - side, 0), (0, 19 - side), (17 - side, 19 - side)]
    check(net, side=side, places=places)
    check(net, side=side, places=places[::-1])
    check(net, side=side, places=[places[3]], samples=1)


def block(kernel: int, **kwargs: int) -> nn.Module:
    """A residual block: the shortcut has another kernel than the branch, and a ReLU writes into their sum."""

    def forward(x: torch.Tensor, main: nn.Module, shortcut: nn.Module, relu: nn.Module) -> torch.Tensor:
        return relu(main(x) + shortcut(x))

    main = nn.Sequential(conv(3, 4, 3, padding=1, **kwargs), nn.BatchNorm2d(4))
    return Calls(forward, main, conv(3, 4, kernel, padding=kernel // 2, **kwargs), nn.ReLU(inplace=True))


@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_sum_of_branches_changes_where_either_does(kernel, stride):
    net = nn.Sequential(conv(3, 3, 3), block(kernel, stride=stride), nn.ReLU(inplace=True), conv(4, 2, 3, padding=1))
    assert not check(net, ends=["0", "1.parts.0.0", "1.parts.1", "1.parts.2"]).computed_whole


def test_an_addition_in_place():
    def forward(x: torch.Tensor, branch: nn.Module) -> torch.Tensor:
        y = branch(x)
        y += x
        return y.add_(x).relu_()

    check(nn.Sequential(conv(3, 3, 3), Calls(forward, conv(3, 3, 3, padding=1))), ends=["0", "1.parts.0"])


IN_PLACE = [
    *(nn.ReLU(inplace=True), nn.LeakyReLU(0.1, inplace=True), functional.relu_, torch.relu_),
    *(lambda x: functional.relu(x, inplace=True), lambda x: x.relu_()),
]


@pytest.mark.parametrize("write", IN_PLACE, ids=range(len(IN_PLACE)))
@pytest.mark.parametrize("order", ["before", "after", "both"])
def test_a_layer_that_writes_into_what_others_read(write, order):
    """Those that read before it have what was there, those that read after it what it wrote."""

    def forward(x: torch.Tensor, first: nn.Module, second: nn.Module, *parts: nn.Module) -> torch.Tensor:
        read = first(x) if order != "after" else 0
        written = (parts[0] if parts else write)(x)
        return read + written if order == "before" else read + written * second(x)

    parts = [conv(3, 3, 3, padding=1), conv(3, 3, 1), *([write] if isinstance(write, nn.Module) else [])]
    check(nn.Sequential(conv(3, 3, 3), Calls(forward, *parts), conv(3, 2, 1)), ends=["0"])


def test_what_an_average_over_each_cell_alone_was_made_of_stays_as_it_is():
    net = nn.Sequential(conv(3, 3, 3, padding=1), nn.AdaptiveAvgPool2d((17, 19)), nn.ReLU(inplace=True), conv(3, 2, 1))
    assert not check(net, ends=["0"]).computed_whole


def test_ends_are_not_overwritten_by_the_layers_behind_them():
    net = nn.Sequential(
        *(conv(3, 4, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(4), nn.ReLU6(inplace=True), nn.Dropout(inplace=True)),
        *(conv(4, 4, 3), nn.Identity(), nn.Hardswish(inplace=True)),
    )
    assert not check(net, ends=list("0123456")).computed_whole


def test_what_passes_through_unchanged_is_not_overwritten_either():
    def forward(x: torch.Tensor, same: nn.Module, relu: nn.Module) -> torch.Tensor:
        return relu(same(x))

    for same in (nn.Identity(), nn.Dropout()):
        net = nn.Sequential(conv(3, 4, 3), Calls(forward, same, nn.ReLU(inplace=True)))
        check(net, ends=["0"])
        check(net, ends=["0", "1.parts.0"])


def fire(x: torch.Tensor, small: nn.Module, large: nn.Module, pool: nn.Module) -> torch.Tensor:
    return torch.cat([small(x).relu(), functional.relu(large(x), inplace=True), pool(x)], 1)


def test_a_concatenation_of_channels_changes_where_any_part_does():
    parts = conv(3, 2, 1), conv(3, 3, (3, 5), padding=(1, 2)), nn.MaxPool2d(3, 1, padding=1)
    net = nn.Sequential(conv(3, 3, 3), Calls(fire, *parts), conv(8, 2, 3))
    assert not check(net, ends=["0", "1.parts.0", "1.parts.1"]).computed_whole


@pytest.mark.parametrize("axis", [-1, 2, -2, 3])
def test_a_concatenation_along_another_axis_is_computed_whole(axis):
    parts = conv(3, 2, 1), conv(3, 2, 3, padding=1)
    net = nn.Sequential(conv(3, 3, 3), Calls(lambda x, a, b: torch.cat([a(x), b(x)], dim=axis), *parts), nn.ReLU())
    assert check(net).computed_whole == {"cat"}


def test_a_concatenation_of_rows_is_not_mistaken_for_one_of_channels():
    net = Calls(lambda x: torch.cat([x[:, 0], x[:, 1]], 1))
    check(nn.Sequential(conv(3, 3, 3), net))


@pytest.mark.parametrize(
    "formula",
    [
        lambda x: torch.cat((x, x), 1),
        lambda x: torch.concat([x, x * 2], dim=1),
        lambda x: x + x,
        lambda x: 1 - x / 3,
        lambda x: 2 * torch.sub(x, 1) * x,
        lambda x: x[:, 1:],
        lambda x: x[:, 1],
        lambda x: x[:, 0][:, 3],
        lambda x: x[:, 0][:, 2:, :9],
        lambda x: x[:, :, 2:9],
        lambda x: x[:, [2, 0]],
        lambda x: x[:, None],
        lambda x: x[:, 0].unsqueeze(1),
        lambda x: torch.unsqueeze(x[:, 0], 1) + x,
        lambda x: torch.unsqueeze(x, 2),
        lambda x: x.mean(1, keepdim=True) * x,
        lambda x: x.softmax(1),
        lambda x: x.sigmoid() * torch.tanh(x),
        lambda x: functional.dropout(functional.relu6(x), 0.5, training=False),
        lambda x: functional.max_pool2d(x, 3, 2, 1),
        lambda x: functional.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False),
        lambda x: x.permute(0, 2, 3, 1),
        lambda x: x.reshape(x.size(0), -1),
        lambda x: x.reshape(x.shape[0], 1, 3, x.shape[2], x.shape[3]).transpose(1, 2).flatten(1, 2) * 2,
        lambda x: functional.interpolate(x, scale_factor=2),
        lambda x: x.flip(3),
        lambda x: x + x.flip(3),
        lambda x: torch.add(x, x.relu(), alpha=2),
    ],
    ids=range(28),
)
def test_formulas(formula):
    check(nn.Sequential(conv(3, 3, 3), Calls(formula)), ends=["0"])


def googlenet_input(x: torch.Tensor) -> torch.Tensor:
    channels = [torch.unsqueeze(x[:, c], 1) * (0.5 + c) + 0.1 * (c - 1) for c in range(3)]
    return torch.cat(channels, 1)


def test_a_concatenation_of_one_map_or_of_one_map_twice_is_followed():
    net = nn.Sequential(conv(3, 3, 3), Calls(lambda x: torch.cat([x], 1)), Calls(lambda x: torch.cat([x, x], 1)))
    assert not check(net).computed_whole


def test_the_input_of_googlenet_is_followed():
    assert not check(nn.Sequential(Calls(googlenet_input), conv(3, 4, 3, stride=2, padding=1))).computed_whole


MEANS = [
    nn.AdaptiveAvgPool2d(1),
    lambda x: functional.adaptive_avg_pool2d(x, (1, 1)).flatten(1),
    lambda x: x.mean((2, 3)),
    lambda x: x.mean([2, 3]),
    lambda x: x.mean((-2, -1), keepdim=True).flatten(1),
    lambda x: x.mean(dim=(2, 3)),
    lambda x: torch.mean(x, (2, 3)),
]


@pytest.mark.parametrize("mean", MEANS, ids=range(len(MEANS)))
def test_the_mean_over_a_map_is_followed(mean):
    net = nn.Sequential(conv(3, 4, 3, padding=1), nn.ReLU(inplace=True))
    net.extend([mean if isinstance(mean, nn.Module) else Calls(mean), nn.Flatten(), nn.Linear(4, 5), nn.ReLU()])
    incremental = check(net, ends=["0", "1", "4"])
    assert not incremental.computed_whole
    assert incremental.multiplied_share < 0.5


@pytest.mark.parametrize(
    ("formula", "name"),
    [
        (lambda x: x.mean((3, 2)), "mean"),
        (lambda x: x.mean((1, 2)), "mean"),
        (lambda x: x.sum((2, 3)), "sum_1"),
        (lambda x: x.amax((2, 3)), "amax"),
        (lambda x: x.flatten(1), "flatten"),
    ],
)
def test_other_ways_from_maps_to_vectors_are_computed_whole(formula, name):
    assert check(nn.Sequential(conv(3, 4, 3), Calls(formula), nn.ReLU()), ends=["0"]).computed_whole == {name}


@pytest.mark.parametrize("side", [(17, 19), 7, (1, None), (None, 3)])
def test_an_adaptive_average_to_its_own_size_is_followed(side):
    net = nn.Sequential(conv(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(side), nn.Flatten(), nn.ReLU())
    assert check(net, ends=["0", "1"]).computed_whole == ({"_2"} if side == (17, 19) else {"_1"})


def test_a_gate_is_computed_whole_from_its_multiplication_on():
    def gated(x: torch.Tensor, pool: nn.Module, squeeze: nn.Module, excite: nn.Module) -> torch.Tensor:
        return x * torch.sigmoid(excite(functional.relu(squeeze(pool(x)), inplace=True)))

    parts = nn.AdaptiveAvgPool2d(1), conv(4, 2, 1), conv(2, 4, 1)
    net = nn.Sequential(conv(3, 4, 3), nn.SiLU(inplace=True), Calls(gated, *parts), conv(4, 3, 3, padding=1))
    incremental = check(net, ends=["0", "1", "2.parts.0", "2.parts.1", "2.parts.2"])
    assert incremental.computed_whole == {"mul"}


def test_a_layer_with_parameters_of_its_own_is_computed_whole():
    net = nn.Sequential(conv(3, 4, 3), Scale(), conv(4, 2, 1))
    assert check(net, ends=["0"]).computed_whole == {"mul"}


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(noise(4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


def test_few_multiplications_for_a_small_window_and_all_for_the_whole_image():
    net = nn.Sequential(conv(3, 4, 3, padding=1), nn.ReLU(), conv(4, 4, 3, padding=1))
    assert check(net, size=(40, 40), places=[(20, 20), (3, 30)], side=2).multiplied_share < 36 / 1600 + 1e-9
    assert check(net, size=(6, 6), places=[(0, 0)], side=6).multiplied_share == 1


def test_multiplications_by_hand():
    """3 x 3 outputs see one pixel, each 9 * 3 times; then 5 x 5, each 9 * 4 times; the linear layer is always run."""
    mean = Calls(lambda x: x.mean((2, 3)))
    net = nn.Sequential(conv(3, 4, 3, padding=1), conv(4, 2, 3, padding=1), mean, nn.Linear(2, 7))
    incremental = check(net, size=(20, 20), places=[(8, 8)], side=1, samples=3)
    run, all_ = (cells * 4 * 27 + more * 2 * 36 + 14 for cells, more in [(9, 25), (400, 400)])
    assert incremental.multiplications == 3 * run
    assert incremental.multiplied_share == run / all_


@torch.inference_mode()
def test_one_place_of_the_maps_and_their_means():
    module = traced(nn.Sequential(conv(3, 4, 3, padding=1), nn.ReLU()))
    [end] = module.graph.find_nodes(op="call_module", target="0")
    incremental = Incremental(module, noise(1, 3, 9, 8), [end])
    contents = noise(2, 3, 3, 2, 2, seed=1)
    patches = incremental.run([0, 5], [6, 1], contents)[end]
    expected = module.get_submodule("0")(pasted(noise(1, 3, 9, 8), [(0, 6), (5, 1)], contents))
    assert not patches.is_whole
    for row in range(9):
        for column in range(8):
            assert_same(patches.at(row, column), expected[:, :, row, column], scale=expected)
    assert_same(patches.mean(), expected.mean((2, 3)))
    assert_same(patches.whole(), expected)


@torch.inference_mode()
def test_runs_do_not_alter_the_base():
    net = nn.Sequential(conv(3, 4, 3), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
    module, image = traced(net), noise(1, 3, 12, 12)
    incremental = Incremental(module, image, list(module.graph.nodes)[1:-1])
    before = {node: value.clone() for node, value in incremental.base.items()}
    for side in (2, 12):
        incremental.run([0], [0], noise(1, 2, 3, side, side))
    assert all(torch.equal(value, before[node]) for node, value in incremental.base.items())
    assert torch.equal(image, noise(1, 3, 12, 12))


def same_places(x: torch.Tensor, main: nn.Module) -> torch.Tensor:
    return functional.relu(main(x) + x)


def halves(x: torch.Tensor, first: nn.Module, second: nn.Module) -> torch.Tensor:
    return torch.cat([first(x), second(x).relu_()], dim=1)


@st.composite
def layers(draw: st.DrawFn) -> nn.Module:
    """Draw a layer of four channels to four."""
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    kernel, stride, dilation = draw(pair(1, 4)), draw(pair(1, 3)), draw(pair(1, 2))
    padding = tuple(draw(st.integers(0, length // 2)) for length in kernel)
    odd = draw(st.sampled_from([1, 3, 5]))
    ceil = draw(st.booleans())
    return draw(
        st.sampled_from(
            [
                nn.Conv2d(4, 4, kernel, stride, draw(pair(0, 4)), dilation, groups=draw(st.sampled_from([1, 2, 4]))),
                nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil),
                nn.AvgPool2d(kernel, stride, padding, ceil_mode=ceil, count_include_pad=draw(st.booleans())),
                nn.ReLU(inplace=ceil),
                nn.BatchNorm2d(4),
                Calls(same_places, nn.Conv2d(4, 4, odd, padding=odd // 2, groups=2)),
                Calls(halves, nn.Conv2d(4, 2, odd, padding=odd // 2), nn.Conv2d(4, 2, 1)),
                Calls(lambda x: x * x.mean((2, 3), keepdim=True)),
                nn.AdaptiveAvgPool2d(draw(st.integers(1, 4))),
            ]
        )
    )


def network(drawn: list[nn.Module], size: tuple[int, int]) -> nn.Sequential:
    """Chain those layers for which the map is large enough."""
    torch.manual_seed(0)
    chain = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1))
    maps = chain(noise(1, 3, *size))
    for layer in drawn:
        try:
            maps = layer.eval()(maps.clone())
        except RuntimeError:
            continue
        chain.append(layer)
    return chain


@st.composite
def windows(draw: st.DrawFn, size: tuple[int, int]) -> tuple[int, list[tuple[int, int]]]:
    """Draw a side and places, often at borders."""
    side = draw(st.integers(1, min(size)))
    rows, columns = (st.sampled_from([0, length - side]) | st.integers(0, length - side) for length in size)
    return side, draw(st.lists(st.tuples(rows, columns), min_size=1, max_size=4))


@settings(deadline=None, max_examples=examples(60))
@given(st.data(), st.tuples(st.integers(3, 23), st.integers(3, 23)), st.lists(layers(), max_size=5))
@torch.inference_mode()
def test_random_networks(data, size, drawn):
    net = network(drawn, size)
    side, places = data.draw(windows(size))
    randomize(net)
    image, contents = noise(1, 3, *size), noise(len(places), 2, 3, side, side, seed=1)
    module = fx.symbolic_trace(net)
    ends = [node for node in module.graph.nodes if node.op == "call_module"]
    incremental = Incremental(module, image, ends)
    values = incremental.run(*zip(*places, strict=True), contents)
    names = [str(node.target) for node in ends]
    expected, base = (outputs_of(net, images, names)[:-1] for images in (pasted(image, places, contents), image))
    for node, altered, unchanged in zip(ends, expected, base, strict=True):
        assert_same(whole(values[node]), altered)
        assert_same(incremental.base[node], unchanged)
