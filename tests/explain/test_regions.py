import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sample_pictures import encoded, png

from whymatch.embed import BrokenImage, DecodeLimits, Geometry, ImageTooLarge, NotAnImage, TooManyPixels
from whymatch.explain import (
    BadRegion,
    Box,
    EmptyRegion,
    Mask,
    Point,
    Polygon,
    Region,
    cell_weights,
    check_count,
    read_mask,
)
from whymatch.explain.regions import MAX_CORNERS, MAX_MASKS, MAX_REGIONS

MODES = ["keep", "warp", "center-crop"]
PLACEMENT = Geometry().placement(20, 10)  # with 2 x 2 cells, each is 10 x 5 pixels
CROPPED = Geometry("center-crop").placement(20, 10)  # the network sees x from 5 to 15
LEFT, RIGHT = Box(0, 0, 10, 10), Box(10, 0, 20, 10)


def weights(*shapes, placement=PLACEMENT, rows=2, columns=2) -> list:
    """The weights of shapes, or of regions, as lists."""
    regions = [shape if isinstance(shape, Region) else Region(shape) for shape in shapes]
    return cell_weights(regions, placement, rows, columns).astype(float).round(5).tolist()


def mask(values) -> Mask:
    return read_mask(encoded(Image.fromarray(np.asarray(values, np.uint8))))


@st.composite
def scenes(draw):
    """A placement of an image of any size in any geometry, and a grid."""
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    placement = Geometry(draw(st.sampled_from(MODES))).placement(width, height)
    return placement, draw(st.integers(1, 6)), draw(st.integers(1, 6))


def overlap(low: float, high: float, other_low: float, other_high: float) -> float:
    return max(0.0, min(high, other_high) - max(low, other_low))


def slow_cover(placement, rows, columns, boxes) -> np.ndarray:
    """The share of each cell in weighted boxes that do not overlap, one cell and one box after the other."""
    cover = np.zeros((rows, columns))
    for row in range(rows):
        for column in range(columns):
            left, top, right, bottom = placement.cell_box(row, column, rows, columns)
            for weight, (x0, y0, x1, y1) in boxes:
                shared = overlap(left, right, x0, x1) * overlap(top, bottom, y0, y1)
                cover[row, column] += weight * shared / ((right - left) * (bottom - top))
    return cover


# Boxes


def test_a_box_counts_cells_by_the_share_it_covers():
    assert weights(Box(0, 0, 20, 10)) == [[1, 1], [1, 1]]
    assert weights(Box(0, 0, 10, 5)) == [[1, 0], [0, 0]]
    assert weights(Box(5, 0, 15, 10)) == [[0.5, 0.5], [0.5, 0.5]]
    assert weights(Box(8, 4, 12, 6)) == [[0.04, 0.04], [0.04, 0.04]]
    assert weights(Box(0, 0, 20, 2.5), rows=3, columns=1) == [[0.75], [0], [0]]


def test_cropped_pixels_belong_to_no_cell():
    assert weights(Box(0, 0, 10, 10), placement=CROPPED) == [[1, 0], [1, 0]]
    assert weights(Box(0, 0, 7.5, 5), placement=CROPPED) == [[0.5, 0], [0, 0]]


@given(scenes(), st.tuples(*[st.floats(0, 1)] * 4))
def test_boxes_cover_what_a_loop_over_cells_says(scene, shares):
    placement, rows, columns = scene
    (left, right), (top, bottom) = sorted(shares[:2]), sorted(shares[2:])
    corners = (left * placement.width_px, top * placement.height_px)
    corners += (right * placement.width_px, bottom * placement.height_px)
    if not (corners[0] < corners[2] and corners[1] < corners[3]):
        return
    expected = slow_cover(placement, rows, columns, [(1, corners)])
    if expected.astype(np.float32).any():
        assert np.allclose(cell_weights([Region(Box(*corners))], placement, rows, columns), expected, atol=1e-5)
    else:
        with pytest.raises(EmptyRegion):
            cell_weights([Region(Box(*corners))], placement, rows, columns)


def test_a_box_is_cut_at_the_edges_of_the_image():
    expected = weights(Box(4, 0, 20, 7))
    assert np.array_equal(weights(Box(4, -30, 25, 7)), expected)


def test_rounding_may_put_a_box_a_little_outside():
    assert weights(Box(-1e-6, -1e-6, 20 + 1e-6, 10 + 1e-6)) == [[1, 1], [1, 1]]


def test_one_pixel_of_a_huge_image_is_a_region():
    placement = Geometry().placement(16_000, 16_000)
    covered = cell_weights([Region(Box(0, 0, 1, 1))], placement, 7, 7)
    assert covered[0, 0] == pytest.approx((7 / 16_000) ** 2, rel=1e-5)
    assert np.count_nonzero(covered) == 1


# Polygons


def test_a_triangle_by_hand():
    assert weights(Polygon(((0, 0), (20, 0), (0, 10)))) == [[1, 0.5], [0.5, 0]]


def test_the_direction_and_a_repeated_closing_corner_do_not_matter():
    corners = ((0, 0), (20, 0), (0, 10))
    assert weights(Polygon(corners[::-1])) == weights(Polygon(corners)) == weights(Polygon((*corners, corners[0])))


def test_a_polygon_with_a_notch_by_hand():
    arrow = Polygon(((0, 0), (20, 0), (10, 5), (20, 10), (0, 10)))
    assert weights(arrow) == [[1, 0.5], [1, 0.5]]


@given(scenes(), st.tuples(*[st.floats(0, 1)] * 4))
def test_a_rectangular_polygon_is_its_box(scene, shares):
    placement, rows, columns = scene
    (left, right), (top, bottom) = sorted(shares[:2]), sorted(shares[2:])
    if right - left < 1e-3 or bottom - top < 1e-3:
        return
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    box, polygon = Region(Box(left, top, right, bottom), relative=True), Region(Polygon(corners), relative=True)
    try:
        expected = cell_weights([box], placement, rows, columns)
    except EmptyRegion:
        return
    assert np.allclose(cell_weights([polygon], placement, rows, columns), expected, atol=1e-6)


@given(scenes(), st.integers(0, 10**6), st.integers(3, 9))
def test_polygons_cover_what_many_samples_of_each_cell_say(scene, seed, count):
    placement, rows, columns = scene
    random = np.random.default_rng(seed)
    angles = (np.arange(count) + random.uniform(0, 0.9, count)) * 2 * np.pi / count
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1) * random.uniform(0.1, 0.5, count)[:, None]
    corners = (0.5 + around) * (placement.width_px, placement.height_px)
    try:
        covered = cell_weights([Region(Polygon(tuple(map(tuple, corners))))], placement, rows, columns)
    except EmptyRegion:
        covered = np.zeros((rows, columns))
    assert np.allclose(covered, sampled_cover(corners, placement, rows, columns), atol=0.05)


def sampled_cover(corners, placement, rows, columns, samples=64) -> np.ndarray:
    """The share of samples x samples points of each cell in a polygon, by counting the edges right of a point."""
    left, top, right, bottom = placement.area
    x = left + (np.arange(columns * samples) + 0.5) / (columns * samples) * (right - left)
    y = top + (np.arange(rows * samples)[:, None] + 0.5) / (rows * samples) * (bottom - top)
    inside = np.zeros((rows * samples, columns * samples), bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y0 != y1:
            inside ^= ((y0 <= y) != (y1 <= y)) & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside.reshape(rows, samples, columns, samples).mean(axis=(1, 3))


def test_a_polygon_of_many_corners_covers_a_disk():
    angles = np.linspace(0, 2 * np.pi, MAX_CORNERS, endpoint=False)
    disk = Polygon(tuple(zip(0.5 + np.cos(angles) / 2, 0.5 + np.sin(angles) / 2, strict=True)))
    [[covered]] = cell_weights([Region(disk, relative=True)], PLACEMENT, 1, 1)
    assert covered == pytest.approx(math.pi / 4, abs=1e-4)


def test_a_polygon_that_only_touches_what_the_network_sees_is_empty():
    with pytest.raises(EmptyRegion):
        weights(Polygon(((0.1, 0.3), (5, 3.3), (5, 7.7), (0.7, 9.1))), placement=CROPPED)


# Masks


def test_a_mask_counts_white_fully_gray_partly_and_black_not():
    values = np.zeros((10, 20))
    values[:5, :10], values[5:, :10] = 255, 51
    assert weights(mask(values)) == [[1, 0], [0.2, 0]]


def test_pixels_that_a_cell_edge_cuts_count_for_both_cells():
    placement = Geometry().placement(3, 1)
    assert weights(mask([[0, 255, 0]]), placement=placement, rows=1) == [[0.33333, 0.33333]]


@given(scenes(), st.integers(0, 10**6))
def test_masks_cover_what_a_loop_over_pixels_says(scene, seed):
    placement, rows, columns = scene
    random = np.random.default_rng(seed)
    values = random.choice([0, 0, 77, 255], (placement.height_px, placement.width_px))
    values[random.integers(placement.height_px), random.integers(placement.width_px)] = 255
    pixels = [(value / 255, (x, y, x + 1, y + 1)) for (y, x), value in np.ndenumerate(values) if value]
    expected = slow_cover(placement, rows, columns, pixels)
    if expected.astype(np.float32).any():
        assert np.allclose(cell_weights([Region(mask(values))], placement, rows, columns), expected, atol=1e-5)
    else:
        with pytest.raises(EmptyRegion):
            cell_weights([Region(mask(values))], placement, rows, columns)


@given(scenes(), st.integers(0, 10**6))
def test_a_mask_and_its_inverse_make_the_whole(scene, seed):
    placement, rows, columns = scene
    values = np.random.default_rng(seed).integers(1, 255, (placement.height_px, placement.width_px))
    parts = [cell_weights([Region(mask(part))], placement, rows, columns) for part in (values, 255 - values)]
    assert np.allclose(sum(parts), 1, atol=1e-6)


def test_a_large_mask_is_as_exact_as_its_box():
    placement = Geometry().placement(3001, 2003)
    values = np.zeros((2003, 3001), np.uint8)
    values[101:1503, 207:2507] = 255
    box = cell_weights([Region(Box(207, 101, 2507, 1503))], placement, 5, 7)
    assert np.allclose(cell_weights([Region(Mask(values, 3001, 2003))], placement, 5, 7), box, atol=1e-7)
    assert np.allclose(cell_weights([Region(mask(values))], placement, 5, 7), box, atol=1e-4)  # read, in blocks


def test_a_mask_lies_on_the_upright_image_whatever_its_own_exif_says():
    image = Image.fromarray(np.array([[255, 0]], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying, to be turned right by 90 degrees
    upright = Geometry().placement(1, 2)
    shape = read_mask(encoded(image, exif=exif))
    assert weights(shape, placement=upright, columns=1) == [[1], [0]]


# Points


def test_a_point_counts_the_whole_cell_under_it():
    assert weights(Point(0, 0)) == [[1, 0], [0, 0]]
    assert weights(Point(9.99, 4.99)) == [[1, 0], [0, 0]]
    assert weights(Point(10, 5)) == [[0, 0], [0, 1]]


def test_points_on_the_right_and_bottom_edge_belong_to_the_last_cells():
    assert weights(Point(20, 0)) == [[0, 1], [0, 0]]
    assert weights(Point(20, 10)) == [[0, 0], [0, 1]]


def test_rounding_may_put_a_point_a_little_outside():
    assert weights(Point(-1e-6, -1e-6)) == [[1, 0], [0, 0]]
    assert weights(Point(20 + 1e-6, 10 + 1e-6)) == [[0, 0], [0, 1]]


@given(scenes(), st.floats(0, 1), st.floats(0, 1))
def test_points_find_the_cell_whose_box_holds_them(scene, x, y):
    placement, rows, columns = scene
    left, top, right, bottom = placement.area
    x_px, y_px = left + x * (right - left), top + y * (bottom - top)
    covered = cell_weights([Region(Point(x_px, y_px))], placement, rows, columns)
    assert covered.sum() == 1
    row, column = (int(index) for index in np.unravel_index(covered.argmax(), covered.shape))
    left, top, right, bottom = placement.cell_box(row, column, rows, columns)
    assert left - 1e-9 <= x_px <= right + 1e-9
    assert top - 1e-9 <= y_px <= bottom + 1e-9


# Weights of regions


def test_regions_add_up_with_their_weights():
    assert weights(Region(LEFT, 0.5), Region(RIGHT, -0.25)) == [[0.5, -0.25], [0.5, -0.25]]


def test_overlaps_of_one_sign_count_at_most_once():
    everything = Box(0, 0, 20, 10)
    assert weights(everything, LEFT) == [[1, 1], [1, 1]]
    assert weights(Region(LEFT, 0.7), Region(LEFT, 0.7), Region(everything, -1), Region(RIGHT, -1)) == [
        [0, -1],
        [0, -1],
    ]
    assert weights(Region(everything), Region(LEFT, -0.25)) == [[0.75, 1], [0.75, 1]]


def test_without_a_positive_region_the_rest_of_the_image_has_weight_1():
    assert weights(Region(LEFT, -0.25)) == [[-0.25, 1], [-0.25, 1]]
    assert weights(Region(Box(5, 0, 10, 10), -1)) == [[0, 1], [0, 1]]  # 1 - cover - cover
    assert weights(Region(LEFT, -0.25), Region(RIGHT, 1)) == [[-0.25, 1], [-0.25, 1]]
    assert weights(Region(LEFT, -0.25), Region(Box(10, 0, 20, 5), 0.5)) == [[-0.25, 0.5], [-0.25, 0]]
    assert weights(Region(Box(0, 0, 20, 10), -1)) == [[-1, -1], [-1, -1]]


def test_a_region_of_weight_0_is_left_out_of_the_others():
    assert weights(Region(LEFT, 0)) == weights(RIGHT)
    assert weights(Box(0, 0, 20, 10), Region(LEFT, 0)) == weights(RIGHT)
    assert weights(Region(Box(0, 0, 20, 5), -0.5), Region(LEFT, 0)) == [[0, -0.5], [0, 1]]
    assert weights(Region(Box(0, 0, 2.5, 10), 0)) == [[0.75, 1], [0.75, 1]]
    with pytest.raises(EmptyRegion, match="leave one of them out"):
        weights(LEFT, Region(LEFT, 0))


def test_relative_regions_are_the_same_parts_of_images_of_all_sizes():
    assert weights(Region(Box(0, 0, 0.5, 1), relative=True)) == weights(LEFT)
    assert weights(Region(Polygon(((0, 0), (1, 0), (0, 1))), relative=True)) == [[1, 0.5], [0.5, 0]]
    assert weights(Region(Point(1, 0.2), relative=True)) == weights(Point(20, 2))
    assert weights(Region(mask([[255, 0]]), relative=True)) == weights(LEFT)
    assert weights(Region(mask([[255, 0, 0]]), relative=True)) == [[0.66667, 0], [0.66667, 0]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(1, 1), (10_000, 3), (3, 10_000)])
def test_tiny_images_and_ribbons_have_regions(mode, size):
    placement = Geometry(mode).placement(*size)
    black, white = np.zeros(size[::-1]), np.full(size[::-1], 255)
    everything = [Box(0, 0, *size), Polygon(((0, 0), (size[0], 0), size, (0, size[1]))), mask(white)]
    for shape in everything:
        assert np.allclose(weights(shape, placement=placement, rows=3, columns=4), 1)
    assert np.sum(weights(Point(size[0] / 2, size[1] / 2), placement=placement, rows=3, columns=4)) == 1
    black[size[1] // 2, size[0] // 2] = 255
    assert np.sum(weights(mask(black), placement=placement, rows=3, columns=4)) > 0


# Errors

NAN, INFINITY = math.nan, math.inf


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Box(30, 1, 40, 10), r"the box from 30, 1 to 40, 10 \(10 x 9\) is not in the image, which spans 20 x 10"),
        (Box(-9, 0, 0, 10), r"the box from -9, 0 to 0, 10 \(9 x 10\) is not in the image"),
        (Box(NAN, 0, 5, 10), r"the box from nan, 0 to 5, 10 \(nan x 10\) is not in the image"),
        (Box(0, 0, INFINITY, 10), r"the box from 0, 0 to inf, 10 \(inf x 10\) is not in the image"),
        (Box(3, 0, 3, 10), r"the box from 3, 0 to 3, 10 \(0 x 10\) has no area; its right edge must be right of"),
        (Box(5, 0, 3, 10), r"has no area"),
        (Box(0, 4, 3, 4), r"has no area"),
        (Point(20.1, 0), r"the point 20.1, 0 is not in the image, which spans 20 x 10"),
        (Point(0, NAN), r"the point 0, nan is not in the image"),
        (Point(-INFINITY, 0), r"the point -inf, 0 is not in the image"),
        (Polygon(((0, 0), (20, 0), (0, 11))), r"the polygon \(0, 0\), \(20, 0\), \(0, 11\) is not in the image"),
        (mask(np.full((20, 10), 255)), r"the mask is 10 x 20 pixels and the upright image 20 x 10; make them the same"),
    ],
)
def test_shapes_that_cannot_be_are_refused(shape, message):
    with pytest.raises(BadRegion, match=message):
        weights(shape)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ((), r"a polygon has 0 corners; give from 3 to 1000"),
        (((0, 0), (20, 10)), r"a polygon has 2 corners; give from 3 to 1000"),
        (((0, 0), (20, 10), (0, 0)), r"fewer than three different corners and so no area"),
        (((1, 1), (1, 1), (1, 1)), r"fewer than three different corners"),
        (((0, 0), (10, 5), (20, 10)), r"no area; its corners must not lie on one line"),
        (((0, 0), (20, 10), (20, 0), (0, 10)), r"edges from corners 1 and 3 of a polygon cross"),
        (((0, 0), (20, 10), (20, 0), (0, 10), (0, 0)), r"edges from corners 1 and 3 of a polygon cross"),
        (((0, 0),) * (MAX_CORNERS + 1), r"a polygon has 1001 corners; give from 3 to 1000"),
        (((0, 0), (20, 0), (0, NAN)), r"has a corner that is not a finite number"),
        (((0, 0), (20, INFINITY), (0, 1)), r"has a corner that is not a finite number"),
        (((0, 0), (20, -1e154), (0, 1)), r"has a corner at 1e\+154, in no image"),
    ],
)
def test_polygons_that_cannot_be_are_refused(points, message):
    with pytest.raises(BadRegion, match=message):
        Polygon(points)


def test_a_black_mask_is_refused():
    with pytest.raises(BadRegion, match="the mask is all black, so nothing is in the region; paint the region white"):
        read_mask(encoded(Image.new("L", (20, 10))))


def test_a_relative_region_ends_at_1():
    with pytest.raises(
        BadRegion, match=r"the box from 0, 0 to 10, 10 \(10 x 10\) is not in the image, which spans 1 x 1"
    ):
        weights(Region(LEFT, relative=True))


@pytest.mark.parametrize("weight", [NAN, 2, -1.01, INFINITY, -INFINITY])
def test_weights_that_cannot_be_are_refused(weight):
    with pytest.raises(BadRegion, match=f"the weight {weight:g} of a region is not from -1 to 1; take for example 1"):
        weights(Region(LEFT, weight))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((101, 0, 0), "there are 101 regions; give at most 100"),
        ((5, 5, 0), "there are 5 masks; give at most 4"),
        ((2, 0, 1001), "there are 1001 corners of polygons; give at most 1000"),
    ],
)
def test_too_many_regions_are_refused(counts, message):
    check_count(MAX_REGIONS, MAX_MASKS, MAX_CORNERS)
    with pytest.raises(BadRegion, match=message):
        check_count(*counts)


WHITE = np.full((10, 20), 255)
HALF = np.where(np.arange(20) < 10, WHITE, 0)


@pytest.mark.parametrize(
    "regions",
    [
        [Region(LEFT), Region(LEFT, -1)],
        [Region(LEFT, 0.3), Region(LEFT, -0.1), Region(LEFT, -0.2)],
        [Region(LEFT), Region(RIGHT), Region(mask(WHITE), -1)],
        [Region(mask(HALF)), Region(LEFT, -1)],
        [Region(Polygon(((0, 0), (10, 0), (10, 10), (0, 10)))), Region(LEFT, -1)],
        [Region(Point(1, 1)), Region(Box(0, 0, 10, 5), -1)],
    ],
)
def test_weights_that_cancel_out_are_refused(regions):
    with pytest.raises(EmptyRegion, match="the weights of the regions cancel each other out; leave one of them out"):
        weights(*regions)


@pytest.mark.parametrize("weight", [1e-9, -1e-9])
def test_a_tiny_weight_is_not_nothing(weight):
    rest = 1 if weight < 0 else 0
    assert np.allclose(cell_weights([Region(LEFT, weight)], PLACEMENT, 1, 2), [[weight, rest]], atol=0)


@pytest.mark.parametrize(
    ("shape", "name"),
    [
        (Box(0, 0, 5, 10), r"the box from 0, 0 to 5, 10 \(5 x 10\)"),
        (Point(16, 5), "the point 16, 5"),
        (Polygon(((0, 0), (4, 0), (0, 10))), r"the polygon \(0, 0\), \(4, 0\), \(0, 10\)"),
        (mask(np.where(np.arange(20) < 5, WHITE, 0)), "the mask"),
    ],
)
def test_a_region_that_the_model_cropped_away_is_refused(shape, name):
    message = rf"the network sees nothing of {name}: the model crops images to the part 5, 0, 15, 10 px"
    with pytest.raises(EmptyRegion, match=message):
        weights(Region(RIGHT), shape, placement=CROPPED)


@pytest.mark.parametrize(
    ("content", "limits", "error"),
    [
        (b"?", DecodeLimits(), NotAnImage),
        (b"", DecodeLimits(), NotAnImage),
        (png(1, 20, 10)[:-100], DecodeLimits(), BrokenImage),
        (png(1, 20, 10), DecodeLimits(max_bytes=9), ImageTooLarge),
        (png(1, 20, 10), DecodeLimits(max_pixels=9), TooManyPixels),
    ],
)
def test_a_mask_that_cannot_be_read_is_refused_as_a_mask(content, limits, error):
    with pytest.raises(error, match="the mask cannot be read: "):
        read_mask(content, limits)


def test_a_transparent_mask_is_black_where_it_is_transparent():
    left = Image.new("RGBA", (20, 10), (255, 255, 255, 0))
    left.paste((255, 255, 255, 255), (0, 0, 10, 10))
    assert weights(read_mask(encoded(left))) == weights(LEFT)


def test_a_large_mask_keeps_its_size_but_not_its_pixels():
    values = np.zeros((100, 5001), np.uint8)
    values[:, :2500] = 255
    shape = mask(values)
    assert (shape.width_px, shape.height_px, shape.values.shape) == (5001, 100, (34, 1667))
    found = cell_weights([Region(shape)], Geometry().placement(5001, 100), 1, 4)
    assert np.allclose(found, [[1, 2500 / 5001 * 4 - 1, 0, 0]], atol=0.005)


def test_regions_too_small_to_count_are_refused():
    with pytest.raises(EmptyRegion, match="too small"):
        weights(Region(LEFT, 1e-50))
