import ast
import json

import numpy as np
import pytest

from whymatch.explain.units.color_names import (
    _LEVELS,
    BLACK_GRAY,
    CHROMATIC,
    COLOR_NAMES,
    GRAY_WHITE,
    _to_lab,
    color_memberships,
)

EXAMPLES = {
    (200, 20, 30): ("red", 1.0),
    (255, 0, 0): ("orange", 1.0),  # a property of the model
    (139, 69, 19): ("brown", 1.0),
    (207, 206, 148): ("yellow", 0.606),
    (87, 87, 22): ("green", 0.968),
    (80, 120, 200): ("blue", 1.0),
    (128, 0, 128): ("purple", 1.0),
    (255, 192, 203): ("pink", 1.0),
    (0, 0, 0): ("black", 1.0),
    (155, 155, 155): ("gray", 0.991),
    (255, 255, 255): ("white", 0.998),
    (205, 65, 23): ("red", 0.554),
}


@pytest.fixture
def published(shared):
    path = shared.parent / "facts" / "colour_naming_tse.json"
    if not path.is_file():
        pytest.skip("the published parameters are not beside this checkout")
    return json.loads(path.read_text().replace('"grey"', '"gray"'))


def as_published(rgb, facts):
    """Memberships of one color, by the formulas that come with the published parameters, a name at a time."""
    lightness, *ab = _to_lab(np.array([rgb]) / 255)[0]
    level = max(0, sum(lightness > above for above in facts["lightness_levels"]) - 1)

    def sigmoid(x, beta):
        return 1 / (1 + np.exp(np.clip(-beta * x, -700, 700)))

    def chromatic(values):
        at = {key: value[level] for key, value in values.items()}
        if not at["beta_e"]:
            return 0.0
        u = np.array(ab) - (at["t_a"], at["t_b"])
        y1 = u @ (np.cos(at["alpha_y_rad"]), np.sin(at["alpha_y_rad"]))
        x1 = u @ (-np.sin(at["alpha_x_rad"]), np.cos(at["alpha_x_rad"]))
        ra = u @ (np.cos(at["phi_rad"]), np.sin(at["phi_rad"])) / at["e_a"]
        rb = u @ (-np.sin(at["phi_rad"]), np.cos(at["phi_rad"])) / at["e_b"]
        return sigmoid(y1, at["beta_y"]) * sigmoid(x1, at["beta_x"]) * sigmoid(ra**2 + rb**2 - 1, at["beta_e"])

    members = [chromatic(facts["chromatic"][name]) for name in COLOR_NAMES[:CHROMATIC]]
    rest = max(1 - sum(members), 0)
    dark, light = facts["achromatic"]["black_grey"], facts["achromatic"]["grey_white"]
    below, above = lightness - dark["t"], lightness - light["t"]
    members.append(rest * sigmoid(below, dark["beta"]))
    members.append(rest * sigmoid(below, -dark["beta"]) * sigmoid(above, light["beta"]))
    members.append(rest * sigmoid(above, -light["beta"]))
    return np.array(members) / sum(members)


@pytest.mark.parametrize(("rgb", "named"), EXAMPLES.items())
def test_colors_get_the_published_names(rgb, named):
    members = color_memberships(np.array(rgb, np.uint8))
    assert (COLOR_NAMES[members.argmax()], members.max()) == (named[0], pytest.approx(named[1], abs=6e-4))


def test_memberships_sum_to_1_in_any_shape_and_type():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 40, 30, 3), dtype=np.uint8)
    pixels[0] = np.repeat(pixels[0, ..., :1], 3, axis=-1)  # grays too
    members = color_memberships(pixels)
    assert members.shape == (5, 40, 30, 11)
    assert np.allclose(members.sum(axis=-1), 1, atol=1e-12)
    assert 0 <= members.min() <= members.max() <= 1
    assert np.array_equal(color_memberships(pixels.astype(np.float32)), members)
    assert np.array_equal(color_memberships(pixels[2, 3, 4]), members[2, 3, 4])


def test_a_gray_is_one_of_three_names_by_its_lightness():
    members = color_memberships(np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1))
    assert members[:, :CHROMATIC].max() < 0.02
    names = [COLOR_NAMES[index] for index in members.argmax(axis=1)]
    assert names == sorted(names)  # black, gray, white


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((4, 4)), "no three channels"),
        (np.array(7), "no three channels"),
        (np.array([0, 0, 256]), "not of 0 to 255"),
        (np.array([0, 0, -1]), "not of 0 to 255"),
        (np.array([0, 0, np.nan]), "not of 0 to 255"),
    ],
)
def test_what_are_no_pixels_have_no_names(pixels, message):
    with pytest.raises(ValueError, match=message):
        color_memberships(pixels)


def test_no_pixels_have_no_memberships():
    assert color_memberships(np.zeros((0, 3), np.uint8)).shape == (0, 11)


@pytest.mark.shared
def test_the_parameters_are_the_published_ones(published):
    assert list(COLOR_NAMES) == published["categories"]
    assert [level.above for level in _LEVELS] == published["lightness_levels"][:-1]
    dark, light = published["achromatic"]["black_grey"], published["achromatic"]["grey_white"]
    assert (dark["t"], -dark["beta"], light["t"], -light["beta"]) == (*BLACK_GRAY, *GRAY_WHITE)
    for index, level in enumerate(_LEVELS):
        names = list(level.begins)
        assert set(names) == {name for name, values in published["chromatic"].items() if values["beta_e"][index]}
        for name, following in zip(names, names[1:] + names[:1], strict=True):
            values = {key: value[index] for key, value in published["chromatic"][name].items()}
            assert (values["t_a"], values["t_b"]) == level.center
            assert (values["e_a"], values["e_b"]) == level.axes
            assert (values["phi_rad"], values["beta_e"]) == (level.turn, level.slope)
            assert (values["alpha_x_rad"], values["beta_x"]) == level.begins[name]
            end, slope = level.begins[following]
            assert values["beta_y"] == slope
            # published to 9 digits, the angle that a name ends at is that where the next begins, and a right angle
            assert np.sin(values["alpha_y_rad"] - end) == pytest.approx(-1, abs=1e-15)
            assert np.cos(values["alpha_y_rad"] - end) == pytest.approx(0, abs=1e-8)


@pytest.mark.shared
def test_memberships_are_those_of_the_published_formulas(published):
    colors = np.random.default_rng(0).integers(0, 256, (400, 3))
    colors[:40] = colors[:40, :1]
    expected = [as_published(color, published) for color in colors]
    assert np.allclose(color_memberships(colors), expected, atol=1e-5)


@pytest.mark.shared
def test_the_examples_are_the_published_ones(published):
    table = {tuple(ast.literal_eval(color)): tuple(named) for color, named in published["examples_sRGB"].items()}
    assert table == EXAMPLES
