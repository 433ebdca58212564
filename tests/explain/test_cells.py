"""The normal distribution of a layer's cells against numpy's own covariance, and prediction difference with it."""

import re

import numpy as np
import pytest
import torch
from small_networks import small

from whymatch.embed import Array, BadLayer, LayerMaps, Model, Placement, Prepared, TooFewImages
from whymatch.explain import (
    BadWindow,
    CellNormal,
    ConditionalSampler,
    MarginalSampler,
    MeanSampler,
    PatchNormal,
    PredictionDifference,
    PredictionDifferenceSetting,
    class_score_target,
    fit_cells,
    unit_target,
)
from whymatch.explain.samplers import RIDGE

CHANNELS = 5


def maps(count: int = 40, channels: int = CHANNELS, side: int = 6, spread: float = 1.0) -> np.ndarray:
    """Maps whose cells depend on their neighbors and whose channels on each other."""
    random = np.random.default_rng(3)
    noise = random.normal(size=(count, side + 1, side + 1, channels)) * spread
    mixed = noise[:, 1:, 1:] + noise[:, :-1, 1:] + noise[:, 1:, :-1]
    return (mixed @ random.normal(size=(channels, channels)) + 1).astype(np.float32)


def fitted(given=None, context: int = 3, seed: int = 0) -> CellNormal:
    given = maps() if given is None else given
    *_, last = fit_cells(iter(given), len(given), context, seed=seed)
    return last.result


def every_patch(given: np.ndarray, side: int) -> np.ndarray:
    """Return (n, side side C), in the order of the sampler."""
    last = given.shape[1] - side + 1
    return np.concatenate(
        [given[:, r : r + side, c : c + side].reshape(len(given), -1) for r in range(last) for c in range(last)]
    ).astype(float)


def wide(normal: CellNormal) -> CellNormal:
    """Return the same normal where nothing is clipped."""
    infinite = np.full(len(normal.center), np.inf, np.float32)
    return CellNormal(**{**vars(normal), "low": -infinite, "high": infinite})


def test_with_all_channels_the_mean_is_the_regression_of_the_cells_on_their_surroundings():
    """r = C loses nothing: the conditional mean is that of numpy's covariance of all cells of a patch."""
    given = maps(400)
    normal = wide(fitted(given))
    assert normal.variance_share == pytest.approx(1)
    patches = every_patch(given, 3)
    mean, covariance = patches.mean(0), np.cov(patches.T, bias=True)
    covariance += RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inside = np.zeros((3, 3, CHANNELS), bool)
    inside[1, 1] = True
    a, b = np.flatnonzero(inside.ravel()), np.flatnonzero(~inside.ravel())
    known = given[7][1:4, 2:5]
    expected = mean[a] + covariance[np.ix_(a, b)] @ np.linalg.solve(
        covariance[np.ix_(b, b)], known.reshape(-1)[b] - mean[b]
    )
    [drawn] = MeanSampler(normal, 1).draw(given[7], 2, 3, 1)
    # Patches are drawn at random among all places, so that the moments differ a little.
    np.testing.assert_allclose(drawn.ravel(), expected, atol=0.1 * np.sqrt(np.diag(covariance)).max())
    exact = CellNormal(**{**vars(normal), **_in_channels(normal, mean, covariance)})
    [drawn] = MeanSampler(exact, 1).draw(given[7], 2, 3, 1)
    np.testing.assert_allclose(drawn.ravel(), expected, atol=2e-3)


def _in_channels(normal: CellNormal, mean, covariance) -> dict[str, np.ndarray]:
    """Return mean and covariance of a patch's cells (9 C) in principal channels, without the ridge."""
    turn = np.kron(np.eye(9), normal.directions)
    plain = covariance - RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return {"mean": turn @ (mean - np.tile(normal.center, 9)), "covariance": turn @ plain @ turn.T}


def test_many_draws_have_the_conditional_mean_and_covariance():
    normal, cells = wide(fitted()), maps()[2]
    draws = ConditionalSampler(normal, 1, 0).draw(cells, 2, 3, 40_000).reshape(40_000, -1)
    [mean] = MeanSampler(normal, 1).draw(cells, 2, 3, 1)
    spread = draws.std(0)
    np.testing.assert_allclose(draws.mean(0), mean.ravel(), atol=0.03 * spread.max())
    r, side = len(normal.directions), 9
    precision = np.linalg.inv(normal.covariance + RIDGE * np.diag(normal.covariance).mean() * np.eye(side * r))
    window = slice(4 * r, 5 * r)  # the middle of 3 x 3
    covariance = normal.directions.T @ np.linalg.inv(precision[window, window]) @ normal.directions
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.03 * covariance.max())


def test_draws_stay_in_the_range_of_each_channel():
    given = maps().clip(min=0)  # as behind a ReLU
    draws = ConditionalSampler(fitted(given), 2, 0).draw(given[0], 1, 1, 200)
    assert draws.shape == (200, 2, 2, CHANNELS)
    assert draws.dtype == np.float32
    assert draws.min() == 0
    assert (draws <= given.max((0, 1, 2))).all()


def test_the_cells_of_the_window_are_not_looked_at():
    sampler, cells = ConditionalSampler(fitted(), 1, 0), maps()[0]
    other = cells.copy()
    other[2, 2] = 9
    assert np.array_equal(sampler.draw(cells, 2, 2, 3), sampler.draw(other, 2, 2, 3))


def test_the_channels_that_are_kept_are_the_leading_ones():
    """80 channels of rank 4: four directions hold all variance."""
    random = np.random.default_rng(0)
    given = (maps(60, 4, 9) @ random.normal(size=(4, 80))).astype(np.float32)
    normal = fitted(given)
    assert normal.directions.shape == (59, 80)  # 60 x 9 patches side by side, 9 cells each
    assert normal.variance_share == pytest.approx(1)
    np.testing.assert_allclose(normal.directions @ normal.directions.T, np.eye(59), atol=1e-6)
    deviations = given.reshape(-1, 80) - normal.center
    np.testing.assert_allclose(deviations @ normal.directions[:4].T @ normal.directions[:4], deviations, atol=1e-3)


def test_few_patches_leave_fewer_channels():
    assert fitted(maps(7)).directions.shape == (3, CHANNELS)  # 7 x 4 patches side by side: 27 // 9
    with pytest.raises(TooFewImages, match=r"^8 patches of 3 x 3 cells .* needs 10; add images"):
        fitted(maps(2))
    with pytest.raises(TooFewImages, match=r"^0 patches"):
        fitted(maps(20, side=2))


def test_a_saved_normal_draws_the_same_samples(tmp_path):
    normal = fitted()
    normal.save(tmp_path / "cells.npz")
    loaded = CellNormal.load(tmp_path / "cells.npz")
    first, second = (ConditionalSampler(each, 1, 0).draw(maps()[0], 1, 1, 3) for each in (normal, loaded))
    assert np.array_equal(first, second)
    with pytest.raises(ValueError, match="holds no normal"):
        PatchNormal.load(tmp_path / "cells.npz")


# Prediction difference of a layer's cells


def image() -> Prepared:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 14, 3), dtype=np.uint8)
    return Prepared(pixels, Placement(28, 24, (0.0, 0.0, 28.0, 24.0)))


def others(model: Model, layer: str, count: int = 20) -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (count, 12, 14, 3), dtype=np.uint8)
    return np.stack([LayerMaps(model, layer)(each) for each in pixels])


def by_hand(model: Model, layer: str, change) -> tuple[torch.Tensor, torch.Tensor]:
    """Run the small network whole; `change` alters the map of `layer`. Return conv2's map and the scores."""
    part, inputs = model.trunk.module, model.inputs(image().pixels[None])
    first = torch.relu(part.conv1(inputs))  # the batch normalization is part of it
    first = change(first) if layer == "conv1" else first
    second = part.conv2(first)
    second = change(second) if layer == "conv2" else second
    return second, model.scorer(torch.relu(second + first))


@torch.inference_mode()
def algorithm_1(model: Model, layer: str, sampler, k: int, stride: int, samples: int) -> tuple[Array, Array]:
    """Equation 6 and 7, window by window, sample by sample: maps of channel 2 of conv2, and of the score of class 1."""
    cells = LayerMaps(model, layer)(image().pixels)
    height, width, _ = cells.shape
    sums, counts = np.zeros((2, height, width)), np.zeros((height, width))

    def z(change) -> np.ndarray:
        second, scores = by_hand(model, layer, change)
        return np.array([second[0, 2].mean().item(), scores[0, 1].item()])

    plain = z(lambda h: h)
    for top in sorted({*range(0, height - k, stride), height - k}):
        for left in sorted({*range(0, width - k, stride), width - k}):
            rows, columns = slice(top, top + k), slice(left, left + k)
            gone = np.zeros(2)
            for sample in sampler.draw(cells, top, left, samples):

                def alter(h, sample=sample, rows=rows, columns=columns):
                    h = h.clone()
                    h[0, :, rows, columns] = torch.from_numpy(sample).permute(2, 0, 1)
                    return h

                gone += z(alter) / samples
            sums[:, rows, columns] += (plain - gone)[:, None, None]
            counts[rows, columns] += 1
    first, second = sums / counts
    return first, second


@pytest.mark.parametrize("kind", ["conditional", "marginal"])
@pytest.mark.parametrize(("layer", "k", "stride"), [("conv1", 2, 1), ("conv1", 1, 1), ("conv2", 2, 2)])
def test_it_is_equation_6(layer, k, stride, kind):
    model = small()
    given = others(model, layer)
    draws = ConditionalSampler(fitted(given), k, 0) if kind == "conditional" else MarginalSampler(given, k, 0)
    setting = PredictionDifferenceSetting(window_px=k, context_px=3, sample_count=3, stride_px=stride)
    wanted = [unit_target("conv2", 2), class_score_target(model, "1", np.zeros(4, np.float32))]
    difference = PredictionDifference(model, image(), wanted, draws, setting, layer=layer)
    for _ in difference.steps():
        pass
    for one, expected in zip(difference.maps(), algorithm_1(model, layer, draws, k, stride, 3), strict=True):
        assert one.values.shape == (6, 7)
        assert one.placement.width_px == 28
        assert np.abs(expected).max() > 1e-4
        np.testing.assert_allclose(one.values, expected, atol=2e-5 * np.abs(expected).max() + 1e-6)
    assert [one.shape for one in difference.sensitivities()] == [(6, 7)] * 2


def test_settings_and_targets_that_do_not_fit_the_layer_are_refused():
    model = small()
    draws = MarginalSampler(others(model, "conv2"), 1, 0)

    def explain(target, **setting):
        setting = PredictionDifferenceSetting(**{"window_px": 1, "context_px": 3, "stride_px": 1} | setting)
        return PredictionDifference(model, image(), [target], draws, setting, layer="conv2")

    wanted = re.escape("the context of 9 cells is too large for layer 'conv2' of 7 x 6 cells; at most 6")
    with pytest.raises(BadWindow, match=wanted):
        explain(unit_target("conv2", 0), context_px=9)
    with pytest.raises(BadLayer, match="'conv1' does not depend on 'conv2'"):
        explain(unit_target("conv1", 0))
