import numpy as np
import pytest

from whymatch.explain.units.color_names import COLOR_NAMES
from whymatch.explain.units.selectivity import (
    SelectivitySetting,
    color_label,
    color_selectivity,
    selectivity_curve,
)

PALETTE = [(200, 20, 30), (255, 128, 0), (139, 69, 19), (255, 255, 0), (0, 128, 0), (80, 120, 200)]
PALETTE += [(128, 0, 128), (255, 192, 203), (0, 0, 0), (130, 130, 130), (255, 255, 255)]


def flat(color, height=12, width=10):
    return np.full((height, width, 3), color, np.uint8)


def noisy(color, spread, seed=0):
    noise = np.random.default_rng(seed).normal(color, spread, (60, 60, 3))
    return noise.clip(0, 255).astype(np.uint8)


def unit(value):
    """A unit of known selectivity: `value` of its pixels are red, blue or green, the others spread over the palette."""
    chosen = [PALETTE[index] for index in (0, 4, 5)] * round(100 * value)
    others = [PALETTE[index] for index in (1, 2, 3, 6, 7, 8, 9, 10)]
    rest = (others * 40)[: 300 - len(chosen)]
    return color_selectivity([np.array([chosen + rest], np.uint8)])


def test_patches_of_one_color_are_as_selective_as_can_be():
    found = color_selectivity([flat(PALETTE[5])] * 9)
    assert (found.value, found.quotient) == (1, pytest.approx(1 / 3))
    assert (found.histogram.tolist(), found.patch_count, found.pixel_count) == ([1], 9, 9 * 120)
    assert color_label(found.centers[0]) == (("blue", pytest.approx(1, abs=1e-3)),)


def test_noise_on_one_color_is_still_one_color():
    patches = [noisy((60, 100, 200), 12, seed) for seed in range(9)]
    assert color_selectivity(patches).value > 0.95
    plain = color_selectivity(patches, SelectivitySetting(merge_distance=0))  # k-means alone splits the noise
    assert plain.value < color_selectivity(patches).value
    assert len(plain.histogram) == 20


def test_shades_of_red_are_selective():
    shades = np.random.default_rng(0).uniform(0.4, 1, (9, 30, 30, 1)) * [220, 30, 30]
    assert color_selectivity(list(shades.astype(np.uint8))).value > 0.9


def test_eleven_colors_are_not_selective():
    found = color_selectivity([flat(color) for color in PALETTE])
    assert found.value == pytest.approx(3 / 11)
    assert len(found.histogram) == 11
    assert np.allclose(found.name_shares, 1 / 11, atol=0.01)


def test_the_histogram_by_hand():
    """Of patches of 100, 60, 30 and 10 pixels; each pixel counts the same, whatever the size of its patch."""
    sizes = {(10, 10): PALETTE[0], (6, 10): PALETTE[4], (10, 3): PALETTE[8], (1, 10): PALETTE[10]}
    patches = [flat(color, *size) for size, color in sizes.items()]
    found = color_selectivity(patches)
    assert np.allclose(found.histogram, [0.5, 0.3, 0.15, 0.05])
    assert found.value == pytest.approx(0.95)
    assert color_selectivity(patches, SelectivitySetting(leading=1)).value == pytest.approx(0.5)
    assert color_selectivity(patches, SelectivitySetting(leading=9)).value == 1
    assert [color_label(center, limit=1)[0][0] for center in found.centers] == ["red", "green", "black", "white"]


def test_the_categories_are_shared_by_the_patches():
    halves = np.concatenate([flat(PALETTE[0]), flat(PALETTE[5])])
    assert np.allclose(color_selectivity([halves] * 3).histogram, [0.5, 0.5])
    assert np.allclose(color_selectivity([flat(PALETTE[0]), flat(PALETTE[5])]).histogram, [0.5, 0.5])


def test_a_sample_of_many_pixels_tells_what_all_tell():
    patches = [np.random.default_rng(seed).integers(0, 256, (60, 90, 3), dtype=np.uint8) // 4 * 4 for seed in range(9)]
    sample, every = (color_selectivity(patches, SelectivitySetting(max_pixels=most)) for most in (20_000, 100_000))
    assert (sample.pixel_count, every.pixel_count) == (20_000, 48_600)
    assert sample.value == pytest.approx(every.value, abs=0.06)  # k-means may part the same colors in another way
    assert np.allclose(sample.name_shares, every.name_shares, atol=0.01)


def test_the_same_seed_finds_the_same():
    patches = [noisy((120, 120, 120), 60, seed) for seed in range(9)]
    first, second = (color_selectivity(patches) for _ in range(2))
    assert first.value == second.value
    assert np.array_equal(first.histogram, second.histogram)
    assert np.array_equal(first.centers, second.centers)
    assert np.all(np.diff(first.histogram) <= 0)
    assert np.allclose(first.histogram @ first.centers, first.name_shares, atol=0.01)


def test_gray_patches_are_said_to_be_gray():
    shades = np.random.default_rng(0).integers(0, 256, (9, 20, 20, 1), dtype=np.uint8)
    gray = color_selectivity(list(np.repeat(shades, 3, axis=-1)))
    colored = color_selectivity([flat(PALETTE[5])])
    assert (gray.is_gray, colored.is_gray) == (True, False)
    assert [name for name, _ in color_label(gray.name_shares)] == ["gray", "black", "white"]
    assert selectivity_curve([gray, gray]).is_gray
    assert not selectivity_curve([gray, colored]).is_gray


def test_a_dead_unit_has_no_selectivity():
    dead = color_selectivity([])
    assert (dead.value, dead.quotient, dead.is_gray, dead.patch_count) == (None, None, False, 0)
    assert color_label(dead.name_shares) == ()


@pytest.mark.parametrize("value", [0.3, 0.5, 0.8, 1.0])
def test_planted_selectivities_are_found(value):
    assert unit(value).value == pytest.approx(value, abs=0.01)


def test_the_curve_is_the_share_of_units_above_each_threshold():
    units = [unit(value) for value in (0.45, 0.55, 0.65, 0.95)]
    curve = selectivity_curve([*units, color_selectivity([])])
    assert curve.thresholds == (0.30, 0.40, 0.50, 0.60, 0.70)
    assert curve.shares == (1, 1, 0.75, 0.5, 0.25)
    assert (curve.unit_count, curve.dead_count, curve.is_gray) == (4, 1, False)


def test_a_layer_of_dead_units_has_no_curve():
    curve = selectivity_curve([color_selectivity([])] * 2)
    assert (curve.shares, curve.unit_count, curve.dead_count, curve.is_gray) == (None, 0, 2, False)


def test_a_label_is_the_leading_names_with_their_shares():
    shares = np.zeros(11)
    shares[[0, 5, 9, 10]] = 0.15, 0.6, 0.05, 0.2
    assert color_label(shares) == (("blue", 0.6), ("white", 0.2), ("red", 0.15))
    assert color_label(shares, limit=2) == (("blue", 0.6), ("white", 0.2))
    assert color_label(shares, least=0.5) == (("blue", 0.6),)
    assert COLOR_NAMES[5] == "blue"


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        ([np.zeros((4, 4), np.uint8)], "uint8 of shape"),
        ([np.zeros((0, 4, 3), np.uint8)], "uint8 of shape"),
        ([flat(0), np.zeros((4, 4, 3))], "float64 of shape"),
    ],
)
def test_what_is_no_patch_says_so(patches, message):
    with pytest.raises(ValueError, match=message):
        color_selectivity(patches)


@pytest.mark.parametrize("field", ["leading", "categories", "max_pixels"])
def test_settings_that_are_none_say_so(field):
    with pytest.raises(ValueError, match="at least 1"):
        color_selectivity([flat(0)], SelectivitySetting(**{field: 0}))
