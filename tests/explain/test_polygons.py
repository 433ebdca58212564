import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from whymatch.explain import BadRegion
from whymatch.explain.polygons import area, check_simple, clip, without_repeats

SQUARE = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
ARROW = np.array([[0, 0], [4, 0], [2, 2], [4, 4], [0, 4]], float)  # a notch of area 4 on the right


@st.composite
def stars(draw, size=10.0):
    """A simple polygon of any shape: corners in the order of their angles around the center."""
    turns = sorted(draw(st.sets(st.integers(0, 99), min_size=3, max_size=12)))
    assume(max(np.diff([*turns, turns[0] + 100])) < 50)
    lengths = [draw(st.floats(0.05, 0.5)) * size for _ in turns]
    angles = np.array(turns) * 2 * np.pi / 100
    return size / 2 + np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(lengths)[:, None]


def test_area_by_hand_is_signed_by_the_direction():
    assert (area(SQUARE), area(SQUARE[::-1]), area(ARROW), area(ARROW[:0])) == (16, -16, 12, 0)


def test_clipping_a_square_by_hand():
    assert sorted(map(tuple, clip(SQUARE, 0, 1, 3).tolist())) == [(1, 0), (1, 4), (3, 0), (3, 4)]
    assert not len(clip(SQUARE, 1, 5, 6))
    assert clip(SQUARE, 1, -1, 9).tolist() == SQUARE.tolist()


def test_a_polygon_that_falls_apart_keeps_its_area():
    assert area(clip(ARROW, 0, 3, 4)) == 1  # two corners of the arrow, half a cell each
    assert area(clip(ARROW, 0, 0, 3)) == 11


@given(stars(), st.floats(0, 10), st.integers(0, 1))
def test_the_two_sides_of_a_cut_add_up(polygon, cut, axis):
    parts = area(clip(polygon, axis, -1, cut)) + area(clip(polygon, axis, cut, 11))
    assert parts == pytest.approx(area(polygon), abs=1e-9)


@given(stars(), st.integers(0, 11), st.booleans())
def test_simple_polygons_pass_from_any_corner_in_any_direction(polygon, first, backwards):
    check_simple(np.roll(polygon, first, axis=0)[:: -1 if backwards else 1])


def test_a_repeated_closing_corner_is_dropped_and_the_first_kept():
    closed = np.array([*SQUARE, SQUARE[0]])
    assert without_repeats(closed).tolist() == SQUARE.tolist()
    assert without_repeats(np.repeat(SQUARE, 3, axis=0)).tolist() == SQUARE.tolist()
    assert not len(without_repeats(np.ones((4, 2))))


def test_crossing_edges_are_named():
    with pytest.raises(BadRegion, match=r"from corners 1 and 3 of a polygon cross or touch; give the corners in order"):
        check_simple(SQUARE[[0, 2, 1, 3]])  # a bow tie


@pytest.mark.parametrize("first", range(6))
def test_swapping_two_corners_of_a_hexagon_makes_it_cross(first):
    angles = np.arange(6) * np.pi / 3
    hexagon = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    hexagon[[first, (first + 1) % 6]] = hexagon[[(first + 1) % 6, first]]
    with pytest.raises(BadRegion, match="cross"):
        check_simple(hexagon)


@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)],  # a corner on an edge
        [(0, 0), (4, 0), (2, 2), (4, 4), (0, 4), (2, 2)],  # a corner on a corner
        [(0, 0), (4, 0), (4, 4), (4, -2), (0, -2)],  # back along an edge and beyond it
        [(0, 0), (1, 0), (2, 0), (3, 0)],  # a line there and back
    ],
)
def test_edges_that_touch_are_refused(corners):
    with pytest.raises(BadRegion, match="cross or touch"):
        check_simple(np.array(corners, float))


def test_a_corner_in_the_middle_of_an_edge_is_fine():
    check_simple(np.array([(0, 0), (2, 0), (3, 0), (4, 0), (4, 4), (0, 4), (0, 2)], float))


@pytest.mark.parametrize("corners", [[(0, 0), (1, 1), (2, 2)], [(0, 0), (0, 5), (0, 3)], [(0, 0), (9, 1e-12), (4, 0)]])
def test_a_polygon_on_a_line_has_no_area(corners):
    with pytest.raises(BadRegion, match="a polygon has no area; its corners must not lie on one line"):
        check_simple(np.array(corners, float))
