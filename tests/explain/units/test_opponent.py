import numpy as np
import pytest

from whymatch.explain.units.color_names import COLOR_NAMES
from whymatch.explain.units.opponent import ColorThresholds, classify_filter, color_axis, from_opponent, to_opponent

ELEVEN_COLORS = (
    *((200, 20, 30), (255, 0, 0), (139, 69, 19), (207, 206, 148), (87, 87, 22), (80, 120, 200)),
    *((128, 0, 128), (255, 192, 203), (0, 0, 0), (155, 155, 155), (255, 255, 255)),
)
"""One of each name, red to white."""


@pytest.mark.parametrize(
    ("rgb", "opponent"),
    [
        ((0.5, 0.5, 0.5), (0, 0, 0)),
        ((0, 0, 0), (-1, 0, 0)),
        ((1, 1, 1), (1, 0, 0)),
        ((1, 0, 0), (-1 / 3, 1, 0.5)),
        ((0, 1, 0), (-1 / 3, -1, 0.5)),
        ((0, 0, 1), (-1 / 3, 0, -1)),
        ((1, 1, 0), (1 / 3, 0, 1)),
    ],
)
def test_opponent_colors_by_hand_and_back(rgb, opponent):
    assert np.allclose(to_opponent(np.array(rgb)), opponent)
    assert np.allclose(from_opponent(np.array(opponent, float)), rgb)


def picture(*colors, counts=None):
    """A row of pixels of the given RGB colors of 0 to 1, equally many or as many as given of each."""
    return np.repeat(np.array([colors], float), counts or 50, axis=1)


def along(direction, middle=(0, 0, 0), reach=0.6, side=20):
    """Pixels spread evenly on a line in opponent space."""
    steps = np.linspace(-reach, reach, side * side)[:, None]
    line = np.array(middle) + steps * np.array(direction) / np.linalg.norm(direction)
    return from_opponent(line).reshape(side, side, 3)


def test_the_axis_of_two_colors_runs_from_one_to_the_other():
    axis = color_axis(picture((1, 0, 0), (0, 1, 1)))  # opponent (-1/3, 1, 1/2) and its negative
    assert np.allclose(axis.mean, 0)
    assert np.allclose(axis.directions[0], np.array([-1 / 3, 1, 0.5]) / (7 / 6))
    assert np.allclose(axis.variances, [49 / 36, 0, 0])
    assert axis.distance == pytest.approx(0)


def test_an_axis_passes_the_origin_at_its_distance():
    axis = color_axis(along((0, 1, 0), middle=(0.3, 0.2, 0.4), reach=0.1))
    assert axis.variances[0] == pytest.approx(0.1**2 / 3, rel=0.01)
    spread = np.sqrt(axis.variances[0])
    assert axis.distance == pytest.approx(
        0.5 / spread
    )  # 0.3, 0.4; where along the axis its middle lies does not matter


def test_one_color_on_gray_is_centered():
    color = classify_filter(picture((0.5, 0.5, 0.5), (0.9, 0.2, 0.2), counts=[80, 20]))
    assert (color.alignment, color.position, color.axis_distance) == ("aligned", "centered", 0)


def test_neither_gray_nor_the_size_of_the_weights_moves_a_filter():
    colors = along((0, 1, 0.5), middle=(0.1, 0.1, 0.3), reach=0.2)
    padded = np.full((60, 60, 3), 0.5)
    padded[:20, :20] = 0.5 + (colors - 0.5) / 7
    alone, small = color_axis(colors, ignore_gray=True), color_axis(padded, ignore_gray=True)
    assert small.distance == pytest.approx(alone.distance)
    assert (classify_filter(colors).position, classify_filter(padded).position) == ("shifted", "shifted")
    assert classify_filter(padded).axis_distance == pytest.approx(alone.distance)


CLASSES = {
    "purple and green": (picture((0.7, 0.2, 0.7), (0.3, 0.8, 0.3)), "aligned centered double chromatic"),
    "blue and yellow": (along((0, 0, 1)), "aligned centered double chromatic"),
    "black and white": (along((1, 0, 0), reach=0.95), "aligned centered double black-white"),
    "two blues": (picture((0.1, 0.2, 0.6), (0.3, 0.5, 0.9)), "aligned shifted single black-white"),
    "pink and yellow": (picture((1, 0.7, 0.75), (0.9, 0.9, 0.3)), "aligned shifted double chromatic"),
    "red, green, blue": (picture((0.8, 0.1, 0.1), (0.1, 0.6, 0.1), (0.3, 0.5, 0.8)), "dispersed multiple chromatic"),
}


@pytest.mark.parametrize(("pixels", "expected"), CLASSES.values(), ids=CLASSES)
def test_planted_pictures_get_their_class(pixels, expected):
    color = classify_filter(pixels)
    facts = {color.alignment, color.position, color.colors, color.tone}
    assert color.content == "varied"
    assert set(expected.split()) <= facts, color.names


def test_gray_does_not_count_as_a_color_of_a_filter_that_has_others():
    pixels = picture((0.5, 0.5, 0.5), (0.7, 0.2, 0.7), (0.3, 0.8, 0.3), counts=[80, 10, 10])
    color = classify_filter(pixels)
    assert sorted(color.names) == ["green", "purple"]
    assert color.name_shares[COLOR_NAMES.index("gray")] == pytest.approx(0.8)
    assert classify_filter(pixels, ColorThresholds(gray_share=0.8)).names == ("gray",)


def test_eleven_colors_of_which_none_holds_a_share_are_multiple():
    pixels = np.array([ELEVEN_COLORS]) / 255
    assert (classify_filter(pixels).names, classify_filter(pixels).colors) == ((), "multiple")


def test_thresholds_decide_and_come_with_the_answer():
    pixels = along((1, 1, 0), middle=(0, 0, 0.02), reach=0.4)
    strict = ColorThresholds(centered_distance=0.05, black_white_share=0.4)
    loose, tight = classify_filter(pixels), classify_filter(pixels, strict)
    assert (loose.position, loose.tone, loose.intensity_share) == ("centered", "chromatic", pytest.approx(0.5))
    assert (tight.position, tight.tone, tight.thresholds) == ("shifted", "black-white", strict)


@pytest.mark.parametrize(
    ("level", "content", "name"), [(0.5, "dead", "gray"), (128 / 255, "dead", "gray"), (0, "constant", "black")]
)
@pytest.mark.parametrize("shape", [(11, 7, 3), (1, 1, 3)])
def test_a_picture_of_one_color_says_so(level, content, name, shape):
    color = classify_filter(np.full(shape, level))
    assert (color.content, color.names, color.colors) == (content, (name,), "single")
    assert (color.axis_share, color.alignment, color.position, color.tone) == (None, None, None, None)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 3)), "no pixels in three channels"),
        (np.zeros((0, 3, 3)), "no pixels"),
        (np.full((2, 2, 3), 1.01), "not of 0 to 1"),
        (np.full((2, 2, 3), np.nan), "not of 0 to 1"),
    ],
)
def test_what_is_no_picture_has_no_class(pixels, message):
    with pytest.raises(ValueError, match=message):
        classify_filter(pixels)
