from hypothesis import given
from hypothesis import strategies as st

from whymatch.embed import Geometry

KEEP = Geometry("keep", size_px=176, stride=16, min_side_px=32)


def test_a_square_image_gets_a_square_input():
    assert KEEP.input_size(640, 640) == (176, 176)


def test_keep_keeps_the_aspect_and_about_the_area():
    assert KEEP.input_size(400, 100) == (352, 96)  # 352 x 88 in steps of 16


def test_warp_and_center_crop_are_square():
    assert Geometry("warp", size_px=224).input_size(400, 100) == (224, 224)
    assert Geometry("center-crop", size_px=224).placement(400, 100).area == (150, 0, 250, 100)


def test_a_ribbon_keeps_its_shortest_side_and_stays_small():
    assert KEEP.input_size(100_000, 1) == (176 * 176 // 32 // 16 * 16, 32)


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_inputs_fit_the_network_and_cost_about_the_same(width, height):
    wide, high = KEEP.input_size(width, height)
    assert wide % 16 == high % 16 == 0
    assert min(wide, high) >= 32
    assert wide * high <= 1.5 * 176 * 176


def test_cells_divide_the_area_evenly():
    placement = KEEP.placement(100, 50)
    assert placement.cell_box(0, 0, 5, 10) == (0, 0, 10, 10)
    assert placement.cell_box(4, 9, 5, 10) == (90, 40, 100, 50)


def test_cells_of_a_crop_lie_inside_it():
    placement = Geometry("center-crop", size_px=64).placement(400, 100)
    assert placement.cell_box(0, 0, 2, 2) == (150, 0, 200, 50)
