"""Descriptions of units: what they see of their top images, and the colors of a layer."""

import io
from datetime import UTC, datetime

import numpy as np
import pytest
import torch
from PIL import Image
from sample_pictures import encoded, png
from small_networks import model_of, small
from torch import nn
from unit_galleries import add, gallery_of

from whymatch.embed import BadLayer, DecodeLimits, Model, TooFewImages
from whymatch.embed.networks import Network
from whymatch.explain import BadTarget, Box
from whymatch.explain.units import (
    AxisSetting,
    ColorThresholds,
    DescriptionSetting,
    SelectivitySetting,
    describe_units,
    layer_filters,
    layer_selectivity,
    usual_label_images,
)
from whymatch.index import StoredImage

LIMITS = DecodeLimits()
COLORS = SelectivitySetting()
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def described(gallery, model, layer, units=(), **setting):
    answers = describe_units(gallery, model, layer, units, DescriptionSetting(**setting), LIMITS)
    return [one.result for one in answers if one.result]


def spotted(color: tuple[int, int, int], x: int, y: int, size: int = 32) -> bytes:
    """A black picture with a square of a color."""
    pixels = np.zeros((size, size, 3), np.uint8)
    pixels[y : y + 6, x : x + 6] = color
    return encoded(Image.fromarray(pixels))


def color_model() -> Model:
    """Three units that respond to red, green and blue, and look at 5 x 5 pixels; the last one is dead."""
    convolution = nn.Conv2d(3, 4, 5, padding=2)
    nn.init.zeros_(convolution.weight)
    nn.init.zeros_(convolution.bias)
    for unit in range(3):
        convolution.weight.data[unit, unit, 2, 2] = 1
    for unit in range(4):
        convolution.bias.data[unit] = -1
    net = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    return model_of(Network("colors", net.eval(), frozenset()))


def test_a_patch_is_what_the_unit_sees(tmp_path):
    model = color_model()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {"red": spotted(RED, 4, 20), "green": spotted(GREEN, 10, 3)}, "spot")
        red, green, blue, dead = described(gallery, model, "0", with_patches=True)
    assert [one.tops.images[0].image.name for one in (red, green)] == ["red", "green"]
    assert red.tops.images[0].cell == (20, 4)
    assert red.boxes[0] == Box(2, 18, 7, 23)
    assert red.patches[0].shape == (5, 5, 3)
    assert red.patches[0][2, 2].tolist() == list(RED)
    assert red.patches[0][0, 0].tolist() == [0, 0, 0]
    assert (red.field.rows.size_px, red.field.rows.stride_px) == (5, 1)
    assert red.labels[0].label == "spot"
    assert blue.tops.is_dead
    assert dead.tops.is_dead
    assert dead.patches == ()


def test_a_patch_ends_with_the_image_and_its_box_is_in_pixels_of_the_original(tmp_path):
    model = color_model()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {"red": spotted(RED, 0, 0, size=64)})  # the input is half as large
        [red] = described(gallery, model, "0", [0], with_patches=True)
    assert red.tops.images[0].cell == (0, 0)
    assert red.patches[0].shape == (3, 3, 3)
    assert red.boxes[0] == Box(0, 0, 6, 6)


def test_units_of_one_color_are_selective(tmp_path):
    model = color_model()
    with gallery_of(tmp_path, model) as gallery:
        spots = {f"{name}{n}": spotted(color, 5 * n, 7) for name, color in (("r", RED), ("g", GREEN)) for n in range(3)}
        add(gallery, model, spots)
        red, _, _, dead = described(gallery, model, "0", top_count=3, selectivity=COLORS)
        assert red.color.value == pytest.approx(1)
        assert red.color.patch_count == 3
        assert not red.color.is_gray
        assert dead.color is None
        *_, last = layer_selectivity(gallery, model, "0", COLORS, LIMITS)
    curve = last.result.curve
    assert (curve.unit_count, curve.dead_count, curve.shares) == (2, 2, (1, 1, 1, 1, 1))
    assert last.result.selectivities[3].value is None


def test_a_gallery_of_gray_images_says_nothing_of_colors(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        gray = {f"{n}": encoded(Image.open(io.BytesIO(png(n))).convert("L")) for n in range(3)}
        add(gallery, model, gray)
        *_, last = layer_selectivity(gallery, model, "conv1", COLORS, LIMITS)
    assert last.result.curve.is_gray


def test_counts_that_were_asked_for_must_be_there(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {f"{n}": png(n) for n in range(3)}, "noise")
        assert len(described(gallery, model, "conv1", [0])[0].tops.images) == 3
        for setting in ({"top_count": 4}, {"label_image_count": 4}):
            with pytest.raises(TooFewImages, match="has 3 different images, and 4 are needed"):
                described(gallery, model, "conv1", [0], **setting)
        [one] = described(gallery, model, "conv1", [5], top_count=1, label_image_count=2)
        assert (len(one.tops.images), one.label_image_count, one.labels[0].image_count) == (1, 2, 2)
        with pytest.raises(BadTarget, match="no channel 6"):
            described(gallery, model, "conv1", [6])
        with pytest.raises(BadTarget, match="no channel -1"):
            described(gallery, model, "conv1", [-1])


def test_the_pass_tells_how_far_it_is(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {f"{n}": png(n) for n in range(20)})
        answers = list(describe_units(gallery, model, "conv1", [0], DescriptionSetting(), LIMITS))
    assert [(one.done, one.total) for one in answers[:-1]] == [(0, 20), (16, 20), (20, 20), (20, 20), (20, 20)]
    assert answers[-1].result.tops.image_count == 20


def planted() -> Model:
    """48 units whose filters are of two opposite colors: along red and green, and along yellow and blue."""
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 48, 4)
    edge = torch.tensor([1.0, 1, -1, -1]).expand(4, 4)
    for unit in range(48):
        color = torch.tensor([1.0, -1, 0] if unit % 2 else [1.0, 1, -1])
        convolution.weight.data[unit] = (color + 0.02 * torch.randn(3))[:, None, None] * edge
    net = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(48, 2))
    return model_of(Network("planted", net.eval(), frozenset()))


def test_the_axes_of_a_layer_are_those_of_its_filters():
    loose = ColorThresholds(name_share=0.1)
    *progress, last = layer_filters(planted(), "0", loose, AxisSetting(min_components=2, max_components=3))
    assert [one.done for one in progress[:48]] == list(range(1, 49))
    assert len(progress) >= 48 + 18 * 2  # a step for each mixture, too
    assert found_histogram(last) == 48
    found = last.result
    assert all(one.alignment == "aligned" for one in found.filters)
    assert found.axes is not None, found.no_axes
    assert [round(axis.angle_deg) for axis in found.axes.axes] == pytest.approx([0, 90], abs=4)


def found_histogram(last) -> int:
    return int(last.result.histogram.sum())


def test_a_layer_without_axes_says_why():
    *_, last = layer_filters(color_model(), "0", ColorThresholds(), AxisSetting())
    assert last.result.axes is None
    assert "different angles" in last.result.no_axes
    assert len(last.result.filters) == 4


def test_filters_that_cannot_be_decoded_say_so():
    with pytest.raises(BadLayer):
        list(layer_filters(small(), "fc", ColorThresholds(), AxisSetting()))


def test_a_unit_that_sees_padding_alone_has_a_patch_of_nothing(tmp_path):
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 1, 1, padding=1)
    nn.init.constant_(convolution.weight, -1)
    nn.init.constant_(convolution.bias, 5)  # the border, where there is nothing, answers most
    net = nn.Sequential(convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 2))
    model = model_of(Network("border", net.eval(), frozenset()))
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {"white": encoded(Image.new("RGB", (32, 32), "white"))})
        [found] = described(gallery, model, "0", with_patches=True, selectivity=COLORS)
    assert found.tops.images[0].cell == (0, 0)
    assert found.patches == (None,)
    assert found.color is None


def test_an_image_that_is_deleted_meanwhile_leaves_its_place(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {f"{n}": png(n) for n in range(3)})
        answers = describe_units(gallery, model, "conv1", [0, 1], DescriptionSetting(with_patches=True), LIMITS)
        first = next(one.result for one in answers if one.result)
        gallery.delete(first.tops.images[0].image.name)
        second = next(answers).result
    assert len(second.tops.images) == 3


@pytest.mark.parametrize(("images", "expected"), [([2, 3], 9), ([12, 5], 12), ([80, 5], 60), ([], 60)])
def test_labels_count_over_as_many_images_as_the_most_frequent_one_has(images, expected):
    now = datetime.now(UTC)
    stored = [
        StoredImage(f"{label}-{n}", f"label {label}", {}, 8, 8, 1, "0" * 64, now, now)
        for label, count in enumerate(images)
        for n in range(count)
    ]
    assert usual_label_images(stored) == expected
