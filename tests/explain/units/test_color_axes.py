import numpy as np
import pytest

from whymatch.explain.units.color_axes import AxisSetting, TooFewUnits, chromatic_angle, find_axes, search_axes
from whymatch.explain.units.opponent import ColorThresholds, classify_filter, from_opponent


def along(direction, middle=(0, 0, 0), reach=0.6, side=20):
    """Pixels spread evenly on a line in opponent space."""
    steps = np.linspace(-reach, reach, side * side)[:, None]
    line = np.array(middle) + steps * np.array(direction) / np.linalg.norm(direction)
    return from_opponent(line).reshape(side, side, 3)


@pytest.mark.parametrize(
    ("direction", "angle"),
    [((0, 1, 0), 0), ((0, -1, 0), 0), ((0, 0, 1), 90), ((0, -1, 1), 135), ((0.2, 1, -1), 135), ((0.4, 1, 1), 45)],
)
def test_the_angle_is_that_to_red_and_green_without_intensity(direction, angle):
    color = classify_filter(along(direction, reach=0.4), ColorThresholds(name_share=0.3))
    assert color.colors == "double"
    assert chromatic_angle(color) == pytest.approx(angle, abs=1e-6)
    assert 0 <= chromatic_angle(color) < 180


@pytest.mark.parametrize(
    "pixels",
    [
        along((1, 0, 0), reach=0.95),
        along((0, 0, 1), middle=(0.2, 0.15, 0), reach=0.5),
        along((0, 0, 1), middle=(0, 0, 0.5), reach=0.2),
        np.array([[(0.8, 0.1, 0.1), (0.1, 0.6, 0.1), (0.3, 0.5, 0.8)]]),
        np.full((5, 5, 3), 0.5),
    ],
    ids=["black-white", "shifted", "single", "dispersed", "dead"],
)
def test_other_units_have_no_angle(pixels):
    assert chromatic_angle(classify_filter(pixels)) is None


def planted(*axes):
    """Angles of exactly normal spread: mean, standard deviation and count each."""
    steps = [np.sort(np.random.default_rng(0).normal(size=(2000, count)), axis=1).mean(axis=0) for _, _, count in axes]
    return np.concatenate([mean + spread * step for (mean, spread, _), step in zip(axes, steps, strict=True)])


@pytest.mark.parametrize("turn", [0, 38, 175])  # 20 + 160 lies on the seam
def test_planted_axes_are_found_wherever_the_seam_lies(turn):
    found = find_axes((planted((20, 4, 40), (80, 5, 30), (142, 4, 30)) + turn).tolist(), AxisSetting(max_components=6))
    expected = sorted(((angle + turn) % 180, weight) for angle, weight in ((20, 0.4), (80, 0.3), (142, 0.3)))
    assert [axis.angle_deg for axis in found.axes] == pytest.approx([angle for angle, _ in expected], abs=1)
    assert [axis.weight for axis in found.axes] == pytest.approx([weight for _, weight in expected], abs=0.02)
    assert (found.unit_count, found.tried, found.histogram.sum()) == (100, (3, 6), 100)


@pytest.fixture(scope="module")
def on_the_seam():
    return find_axes(planted((178, 6, 60), (60, 5, 40), (120, 5, 40)), AxisSetting(max_components=7))


def test_an_axis_on_the_seam_is_one(on_the_seam):
    found = on_the_seam
    assert found.shift_deg > 0
    assert sum(axis.weight for axis in found.axes if not 20 < axis.angle_deg < 150) == pytest.approx(60 / 140, abs=0.02)
    assert [axis.angle_deg for axis in found.axes] == pytest.approx([60, 120, 178], abs=1)


def test_the_density_is_that_of_the_mixture_round_the_circle(on_the_seam):
    density = on_the_seam.density(np.arange(180.0))
    assert density.sum() == pytest.approx(1, abs=0.01)
    assert density[1] > density[15] > density[30]
    assert density[178] == pytest.approx(density[0] * np.exp(0.5 * 4 / 40), rel=0.1)


def test_five_axes_are_five():
    found = find_axes(planted((5, 4, 40), (45, 4, 40), (80, 4, 40), (115, 4, 40), (150, 4, 40)))
    assert [axis.angle_deg for axis in found.axes] == pytest.approx([5, 45, 80, 115, 150], abs=1)


def test_the_same_units_have_the_same_axes():
    angles = np.random.default_rng(3).uniform(-360, 360, 40)
    first, second = (find_axes(angles, AxisSetting(max_components=4)) for _ in range(2))
    assert (first.axes, first.aic, first.shift_deg) == (second.axes, second.aic, second.shift_deg)
    assert find_axes(angles % 180, AxisSetting(max_components=4)).axes == first.axes


def test_units_that_are_alike_make_no_needle():
    found = find_axes([0.0, 60.0, 120.0] * 9)
    assert found.tried == (3, 3)  # as few as there may be: 27 units for 3 Gaussians
    assert [axis.angle_deg for axis in found.axes] == pytest.approx([0, 60, 120], abs=1e-6)
    assert [axis.spread_deg for axis in found.axes] == pytest.approx([2, 2, 2])


@pytest.mark.parametrize("angles", [[], [10, 50, 90] * 8 + [120, 130], [10, 10.001, 50] * 40], ids=len)
def test_too_few_units_say_so(angles):
    with pytest.raises(TooFewUnits, match=r"too few units: .* 3 color axes need 3 in 27 units"):
        find_axes(angles)


def test_fewer_units_for_each_axis_may_be_asked_for():
    found = find_axes([0.0, 60.0, 120.0] * 3, AxisSetting(units_per_component=3))
    assert (found.tried, found.unit_count) == ((3, 3), 9)


@pytest.mark.parametrize(
    ("angles", "settings", "message"),
    [
        ([np.nan] * 20, AxisSetting(), "no numbers"),
        (range(0, 180, 9), AxisSetting(bin_deg=7), "7 degrees do not fill 180"),
        (range(0, 180, 9), AxisSetting(min_components=0), "0 to 10 components"),
        (range(0, 180, 9), AxisSetting(max_components=2), "3 to 2 components"),
        (range(0, 180, 9), AxisSetting(min_spread_deg=0), "needles"),
        (range(0, 180, 9), AxisSetting(units_per_component=2), "2 units do not fix"),
    ],
)
def test_settings_and_angles_that_are_none_say_so(angles, settings, message):
    with pytest.raises(ValueError, match=message):
        find_axes(list(angles), settings)


def test_a_search_rests_after_each_mixture():
    angles = [10.0, 20, 80, 90, 100, 150] * 4
    setting = AxisSetting(min_components=2, max_components=3, bin_deg=30, units_per_component=8)
    *rests, axes = search_axes(angles, setting)
    assert rests == [None] * 6 * 2
    assert axes.axes == find_axes(angles, setting).axes
