"""Prediction difference against algorithm 1 of the paper, word by word, on small networks."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from small_networks import model_of, small
from torch import nn

from whymatch.embed import NO_HEAD, Array, Model, Placement, Pooling, Prepared
from whymatch.embed.networks import Network
from whymatch.explain import (
    BadTarget,
    BadWindow,
    ConditionalSampler,
    MeanSampler,
    PredictionDifference,
    PredictionDifferenceSetting,
    Sampler,
    Target,
    class_probability_target,
    class_score_target,
    fit_patches,
    similarity_target,
    unit_target,
)

PAGE = (Path(__file__).parents[2] / "docs" / "prediction-difference.md").read_text()
SETTING = PredictionDifferenceSetting(window_px=3, context_px=5, sample_count=3, stride_px=2, seed=4)


def image(height: int = 12, width: int = 14) -> Prepared:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Prepared(pixels, Placement(width, height, (0.0, 0.0, width, height)))


def sampler(setting: PredictionDifferenceSetting = SETTING, *, mean: bool = False) -> Sampler:
    others = np.random.default_rng(1).integers(0, 256, (20, 20, 30, 3), dtype=np.uint8)
    *_, fit = fit_patches(others, len(others), setting.context_px)
    assert fit.result
    if mean:
        return MeanSampler(fit.result, setting.window_px)
    return ConditionalSampler(fit.result, setting.window_px, setting.seed)


def targets(model: Model) -> list[Target]:
    scores = model.class_scores(image().pixels[None].copy())[0]
    other = np.array([1.0, 0, 0, 2, 0, 0], np.float32)
    return [
        class_probability_target(model, "top1", scores, instances=98),
        class_score_target(model, "top2", scores),
        unit_target("conv1", 2),
        similarity_target("other", other / np.linalg.norm(other), NO_HEAD),
    ]


def finished(
    model: Model, wanted: list[Target], draws: Sampler, setting=SETTING, prepared=None
) -> PredictionDifference:
    difference = PredictionDifference(model, prepared or image(), wanted, draws, setting)
    for _ in difference.steps():
        pass
    assert difference.is_complete
    return difference


def algorithm_1(model: Model, target: Target, draws: Sampler, setting=SETTING) -> Array:
    """Windows one by one, samples one by one, whole images through the whole network."""
    pixels = image().pixels
    height, width, _ = pixels.shape
    k, stride = setting.window_px, setting.stride_px
    evidence, counts = np.zeros((height, width)), np.zeros((height, width))
    plain = value(model, target, pixels)
    for top in sorted({*range(0, height - k, stride), height - k}):
        for left in sorted({*range(0, width - k, stride), width - k}):
            total = 0.0
            for sample in draws.draw(pixels, top, left, setting.sample_count):
                altered = pixels.astype(np.float32)
                altered[top : top + k, left : left + k] = sample
                total += value(model, target, altered)
            gone = total / setting.sample_count
            evidence[top : top + k, left : left + k] += worth(target, plain) - worth(target, gone)
            counts[top : top + k, left : left + k] += 1
    return (evidence / counts).astype(np.float32)


def value(model: Model, target: Target, pixels: np.ndarray) -> float:
    inputs = model.inputs(pixels[None].astype(np.float32))
    with torch.inference_mode():
        maps = model.trunk.module(inputs)
        if target.measure == "response of conv1":
            vectors = model.trunk.module.relu(model.trunk.module.conv1(inputs)).mean((2, 3))
        elif target.measure == "cosine":
            vectors = torch.from_numpy(model.pooling.pool(maps.permute(0, 2, 3, 1).numpy()))
        else:
            vectors = model.scorer(maps)
        return target.of(vectors).item()


def worth(target: Target, z: float) -> float:
    if target.laplace is None:
        return z
    p = (z * target.laplace.instances + 1) / (target.laplace.instances + target.laplace.classes)
    return float(np.log2(p / (1 - p)))


@pytest.mark.parametrize("pooling", [Pooling("average"), Pooling("max")], ids=lambda pooling: pooling.kind)
def test_it_is_algorithm_1(pooling):
    model, draws = small(pooling=pooling), sampler()
    wanted = targets(model)
    for target, one in zip(wanted, finished(model, wanted, draws).maps(), strict=True):
        expected = algorithm_1(model, target, draws)
        assert np.abs(expected).max() > 1e-5
        np.testing.assert_allclose(one.values, expected, atol=2e-5 * np.abs(expected).max() + 1e-6)
        assert one.plain == pytest.approx(value(model, target, image().pixels), rel=1e-5)


class Brightness(nn.Module):
    """Scores of two classes: the mean of red, and zero."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.avgpool, self.fc = nn.Conv2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(1, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.avgpool(self.conv(x)).flatten(1))


def brightness() -> Model:
    module = Brightness().eval()
    for parameter, values in ((module.conv.weight, [1, 0, 0]), (module.fc.weight, [1, 0])):
        parameter.data.copy_(torch.tensor(values).float().reshape(parameter.shape))
    module.conv.bias.data.zero_()
    module.fc.bias.data.zero_()
    return model_of(Network("brightness", module, frozenset(), mean=(0, 0, 0), std=(1 / 255,) * 3), side=2)


class Black:
    """Takes every window as black, or in turn as black and white."""

    kind = "conditional"

    def __init__(self, *levels: float) -> None:
        self.levels = levels

    def draw(self, pixels, top, left, count):
        levels = np.resize(np.array(self.levels, np.float32), count)
        return np.tile(levels[:, None, None, None], (1, 1, 1, 3))


def test_the_weight_of_evidence_of_a_network_of_two_classes_by_hand():
    """Red of 4, 0, 0 and 0: the mean is 1, and 0 without the first pixel. p = e/(1 + e) falls to 1/2: the example of
    docs/prediction-difference.md."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0, 0] = 4
    setting = PredictionDifferenceSetting(window_px=1, context_px=1, sample_count=2, stride_px=1)
    model = brightness()
    target = class_probability_target(model, "0", np.zeros(2, np.float32), instances=98)
    prepared = Prepared(pixels, Placement(2, 2, (0, 0, 2, 2)))
    [one] = finished(model, [target], Black(0.0), setting, prepared).maps()
    p = (98 * np.e / (1 + np.e) + 1) / 100
    assert one.values == pytest.approx(np.array([[np.log2(p / (1 - p)), 0], [0, 0]]), abs=1e-5)
    assert one.plain == pytest.approx(np.e / (1 + np.e))
    [stated] = re.findall(r"map  \[\[([\d.]+), 0\], \[0, 0\]\] bits", PAGE)
    assert one.values[0, 0] == pytest.approx(float(stated), abs=5e-5)
    assert one.standard_errors == pytest.approx(np.zeros((2, 2)), abs=1e-6)


def test_the_standard_error_by_hand():
    """A pixel that is 0 or 8 makes the mean of red 0 or 2: mean 1, deviation sqrt(2), of two samples 1."""
    pixels = np.zeros((2, 2, 3), np.uint8)
    setting = PredictionDifferenceSetting(window_px=1, context_px=1, sample_count=2, stride_px=1)
    model = brightness()
    target = class_score_target(model, "0", np.zeros(2, np.float32))
    prepared = Prepared(pixels, Placement(2, 2, (0, 0, 2, 2)))
    [one] = finished(model, [target], Black(0.0, 8.0), setting, prepared).maps()
    assert one.values == pytest.approx(np.full((2, 2), -1.0))
    assert one.standard_errors == pytest.approx(np.ones((2, 2)))


def test_overlapping_windows_share_their_errors():
    """In a 2 x 3 image two windows of 2 x 2 hold the middle pixels: of errors 3 and 4 their mean has 5 / 2."""
    setting = PredictionDifferenceSetting(window_px=2, context_px=2, sample_count=2, stride_px=1)
    prepared = Prepared(np.zeros((2, 3, 3), np.uint8), Placement(3, 2, (0, 0, 3, 2)))
    grid = PredictionDifference(brightness(), prepared, [unit_target("conv", 0)], Black(0.0), setting)._grid
    errors = grid.pixel_errors(np.array([3.0, 4.0]), np.ones(2, bool))
    assert errors == pytest.approx(np.array([[3, 2.5, 4]] * 2))


@pytest.mark.parametrize("batch_size", [1, 2, 7, 1000])
def test_the_size_of_batches_changes_nothing(batch_size):
    model = small()
    usual = finished(model, targets(model), sampler()).maps()
    setting = dataclasses.replace(SETTING, batch_size=batch_size)
    for one, other in zip(usual, finished(model, targets(model), sampler(), setting).maps(), strict=True):
        np.testing.assert_allclose(one.values, other.values, atol=1e-5 * np.abs(one.values).max() + 1e-6)
        np.testing.assert_allclose(one.standard_errors, other.standard_errors, atol=1e-5)


def test_another_seed_draws_another_map():
    model = small()
    other = dataclasses.replace(SETTING, seed=5)
    [first], [second] = (
        [one.values for one in finished(model, targets(model)[:1], sampler(setting), setting).maps()]
        for setting in (SETTING, other)
    )
    assert np.abs(first - second).max() > 1e-6


def test_the_mean_needs_one_evaluation_a_window_and_has_no_error():
    model = small()
    difference = finished(model, targets(model), sampler(mean=True))
    assert difference.planned == 6 * 7
    assert all(not one.standard_errors.any() for one in difference.maps())


def test_a_single_sample_says_nothing_of_its_error():
    model = small()
    setting = dataclasses.replace(SETTING, sample_count=1)
    assert all(one.standard_errors is None for one in finished(model, targets(model), sampler(), setting).maps())


def test_a_partial_map_says_nothing_of_its_error_before_a_window_has_two_samples():
    setting = dataclasses.replace(SETTING, batch_size=1)
    difference = PredictionDifference(small(), image(), [unit_target("conv1", 0)], sampler(), setting)
    steps = difference.steps()
    for _ in range(42):
        next(steps)
    assert difference.maps()[0].standard_errors is None
    next(steps)
    assert difference.maps()[0].standard_errors.max() > 0


def test_the_size_of_batches_does_not_change_when_a_bound_is_looked_at():
    model, bound = small(), dataclasses.replace(SETTING, sample_count=40, max_standard_error=1e9)
    for batch_size in (1, 3, 100):
        setting = dataclasses.replace(bound, batch_size=batch_size)
        assert finished(model, targets(model), sampler(), setting).done == 5 * 42


def test_a_bound_on_the_error_stops_sooner():
    model, many = small(), dataclasses.replace(SETTING, sample_count=40)
    target = targets(model)[1:2]
    exact = finished(model, target, sampler(), many).maps()[0]
    bound = 1.5 * float(exact.standard_errors.max())
    difference = finished(model, target, sampler(), dataclasses.replace(many, max_standard_error=bound))
    assert difference.done == difference.planned < 40 * 42
    assert difference.done % 42 == 0
    assert difference.maps()[0].standard_errors.max() <= bound


def test_a_bound_that_is_never_reached_ends_with_the_samples():
    model = small()
    setting = dataclasses.replace(SETTING, max_standard_error=1e-30)
    assert finished(model, targets(model), sampler(), setting).done == 3 * 42


def test_what_was_done_is_kept_when_it_is_left_and_taken_up_again():
    model = small()
    setting = dataclasses.replace(SETTING, batch_size=6)
    difference = PredictionDifference(model, image(), targets(model), sampler(), setting)
    for _ in range(3):
        next(difference.steps())
    assert difference.done == 18
    assert not difference.is_complete
    for _ in difference.steps():
        pass
    whole = finished(model, targets(model), sampler(), setting)
    for one, other in zip(difference.maps(), whole.maps(), strict=True):
        np.testing.assert_array_equal(one.values, other.values)


def test_partial_maps_come_close_to_the_final_one_early(model):
    prepared = image(48, 64)
    smooth = np.add.outer(np.sin(np.arange(48) / 8), np.cos(np.arange(64) / 10))[..., None] * 60 + 128
    prepared = dataclasses.replace(prepared, pixels=np.repeat(smooth, 3, 2).astype(np.uint8))
    setting = PredictionDifferenceSetting(window_px=5, context_px=6, sample_count=2, stride_px=2, batch_size=20)
    difference = PredictionDifference(
        model, prepared, [unit_target("features.7", 1)], sampler(setting, mean=True), setting
    )
    early = None
    for done in difference.steps():
        if early is None and done > 0.13 * difference.planned:
            early = difference.maps()[0].values
    assert early is not None
    assert np.corrcoef(early.ravel(), difference.maps()[0].values.ravel())[0, 1] > 0.8


def test_windows_come_from_coarse_to_fine():
    difference = PredictionDifference(small(), image(64, 64), [unit_target("conv1", 0)], sampler(), SETTING)
    rows, columns = np.array(difference.windows).T
    assert len(set(difference.windows)) == len(difference.windows) == 32 * 32
    for count in (4, 16, 64, 256):  # of any part, about as many in each quarter
        quarters = np.bincount(2 * (rows[:count] >= 32) + (columns[:count] >= 32), minlength=4)
        assert quarters.max() - quarters.min() <= count / 4


def test_the_last_windows_end_with_the_image():
    difference = finished(small(), [unit_target("conv1", 0)], sampler(), dataclasses.replace(SETTING, stride_px=3))
    assert {top for top, _ in difference.windows} == {0, 3, 6, 9}
    assert {left for _, left in difference.windows} == {0, 3, 6, 9, 11}
    assert np.isfinite(difference.maps()[0].values).all()


def test_the_sensitivity_of_a_mean_is_the_same_everywhere():
    model = brightness()
    prepared = Prepared(np.zeros((2, 2, 3), np.uint8), Placement(2, 2, (0, 0, 2, 2)))
    setting = PredictionDifferenceSetting(window_px=1, context_px=1, stride_px=1)
    target = class_score_target(model, "0", np.zeros(2, np.float32))
    [sensitivity] = PredictionDifference(model, prepared, [target], Black(0.0), setting).sensitivities()
    assert sensitivity == pytest.approx(np.full((2, 2), 0.25))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_px": 0}, "the window is 0"),
        ({"window_px": 6}, "window of 6 px is larger than its context of 5 px; take a context of 10"),
        ({"context_px": 13}, "too large for an input of 14 x 12; at most 12"),
        ({"window_px": 3, "context_px": 12}, "at most 11"),
        ({"stride_px": 0}, "the stride is 0"),
        ({"stride_px": 4}, "leaves pixels"),
        ({"sample_count": 0}, "the number of samples is 0"),
        ({"batch_size": 0}, "the batch size is 0"),
        ({"max_standard_error": 0.0}, "must be above 0"),
        ({"max_standard_error": float("nan")}, "must be above 0"),
        ({"max_standard_error": 0.1, "sample_count": 1}, "more than one sample"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(BadWindow, match=message):
        PredictionDifference(
            small(), image(), [unit_target("conv1", 0)], sampler(), dataclasses.replace(SETTING, **changes)
        )


def test_a_channel_that_is_not_there_is_refused_at_once():
    with pytest.raises(BadTarget, match="from 0 to 5"):
        PredictionDifference(small(), image(), [unit_target("conv1", 6)], sampler(), SETTING)
