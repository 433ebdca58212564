"""What is drawn, checked at pixels whose color one knows."""

import io

import numpy as np
import pytest
from PIL import Image
from sample_results import steps

from whymatch.client import Box, ColorScale, ComponentShares, Mask, Point, Polygon, Region, SimilarityMap
from whymatch.client.draw.chart import BOTTOM_PX, LEFT_PX, RIGHT_PX, TOP_PX, even_ticks
from whymatch.client.draw.components import BAND, MARK, components_picture, count_ticks
from whymatch.client.draw.outlines import PAIR_COLORS, draw_best_box, draw_numbered, draw_regions
from whymatch.client.draw.tiles import font, scale_panel, shortened, text_panel, wrapped
from whymatch.client.draw.units import step_lines

WHITE, BLACK, GRAY = (255, 255, 255), (0, 0, 0), (100, 100, 100)
GREEN, BLUE = (0x2B, 0xD4, 0x4F), (0x3D, 0x8B, 0xFF)
LEFT, RIGHT = Box(0, 0, 20, 20), Box(20, 0, 40, 20)


def rgb(color: str) -> tuple[int, int, int]:
    return tuple(bytes.fromhex(color.removeprefix("#")))


@pytest.fixture
def canvas() -> Image.Image:
    """A map's picture, five times as large as the image."""
    return Image.new("RGB", (200, 100), GRAY)


@pytest.fixture
def similarity_map() -> SimilarityMap:
    """Of an image of 40 x 20 pixels, whose right half is the best."""
    return SimilarityMap(np.array([[0, 1]], np.float32), 1, 40, 20, Box(0, 0, 40, 20), RIGHT)


def test_the_best_box_is_framed(canvas, similarity_map):
    draw_best_box(canvas, similarity_map)
    assert [canvas.getpixel((x, 50)) for x in (99, 100, 101, 150, 198)] == [GRAY, BLACK, WHITE, GRAY, WHITE]


def test_a_region_is_green_and_one_that_counts_against_is_blue(canvas, similarity_map):
    draw_regions(canvas, similarity_map, [Region(LEFT), Region(Box(0.5, 0, 1, 1), -0.1, relative=True)])
    assert (canvas.getpixel((1, 50)), canvas.getpixel((101, 50))) == (GREEN, BLUE)


def test_every_shape_is_outlined(canvas, similarity_map):
    mask = io.BytesIO()
    picture = Image.new("L", (40, 20))
    picture.paste(255, (30, 0, 40, 20))
    picture.save(mask, "PNG")
    shapes = [Point(4, 10), Polygon([(10, 4), (20, 4), (20, 16)]), Mask(mask.getvalue())]
    draw_regions(canvas, similarity_map, [Region(shape) for shape in shapes])
    green = np.all(np.array(canvas) == GREEN, axis=-1)
    assert green[50, 20]
    assert green[20, 75]
    assert green[50, 147:153].any()
    assert not green[50, 170]


def test_what_is_transparent_is_outside_a_mask_as_for_the_server(canvas, similarity_map):
    right = Image.new("RGBA", (40, 20), (255, 255, 255, 0))
    right.paste((255, 255, 255, 255), (30, 0, 40, 20))
    draw_regions(canvas, similarity_map, [Region(Mask(right))])
    green = np.all(np.array(canvas) == GREEN, axis=-1)
    assert green[50, 147:153].any()
    assert not green[:, :140].any()


def test_cells_carry_their_numbers_in_their_colors(canvas, similarity_map):
    draw_numbered(canvas, similarity_map, [LEFT, RIGHT, LEFT])
    first, second, third = map(rgb, PAIR_COLORS[:3])
    assert canvas.getpixel((3, 3)) == first
    assert canvas.getpixel((23, 3)) == third  # the second plate of the left cell
    assert canvas.getpixel((103, 3)) == second
    assert canvas.getpixel((1, 80)) == first
    assert canvas.getpixel((5, 80)) == third  # within the first
    assert canvas.getpixel((50, 80)) == GRAY


@pytest.mark.parametrize(("of_class", "words"), [(True, "probability 0.750"), (False, "similarity 0.750")])
def test_the_value_of_a_minimal_image_has_its_name(of_class, words):
    assert step_lines(steps()[0], of_class=of_class) == ["100% of the image", words]


def test_tiny_pictures_can_be_drawn_on(similarity_map):
    dot = Image.new("RGB", (1, 1))
    draw_best_box(dot, similarity_map)
    draw_numbered(dot, similarity_map, [LEFT, RIGHT])
    draw_regions(dot, similarity_map, [Region(LEFT), Region(Point(1, 1))])


def test_the_scale_shows_the_colors_that_it_names():
    panel = scale_panel(ColorScale(-0.1, 0.1, "RdBu_r"), 520)
    shown = {color for _, color in panel.getcolors(520 * 24)}
    assert {rgb("#053061"), rgb("#67001f")} <= shown
    assert scale_panel(ColorScale(0, 1, "unheard of"), 520).size == panel.size


def test_the_curve_lies_in_its_band():
    curves = [np.full(11, share, np.float32) for share in (0.5, 0.25, 0.75)]
    picture = components_picture(ComponentShares(*curves, pair_count=9, model="m"))
    x = LEFT_PX + 45
    curve, band, outside = (
        picture.getpixel((x, round(BOTTOM_PX - share * (BOTTOM_PX - TOP_PX)))) for share in (0.5, 0.65, 0.9)
    )
    assert sum(curve) < sum(rgb(BAND)) - 150  # a thin line is smoothed: not quite its own color
    assert (band, outside) == (rgb(BAND), WHITE)


def test_one_channel_makes_a_picture_too():
    one = np.ones(1, np.float32)
    assert components_picture(ComponentShares(one, one, one, 1, "m")).width > RIGHT_PX


def test_ticks_are_round_numbers():
    assert count_ticks(512) == [1, 100, 200, 300, 400, 500]
    assert count_ticks(3) == [1, 2, 3]
    assert even_ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert even_ticks(-0.1, 1.3) == pytest.approx([-0.5, 0, 0.5, 1, 1.5])


def test_ten_channels_are_marked_on_their_curve():
    line = np.linspace(0, 1, 21, dtype=np.float32)[1:]
    picture = components_picture(ComponentShares(line, line, line, 1, "m"))
    x, y = LEFT_PX + (RIGHT_PX - LEFT_PX) * 9 / 19, (TOP_PX + BOTTOM_PX) / 2
    assert picture.getpixel((round(x), round(y))) == rgb(MARK)


def test_long_labels_are_wrapped_and_none_of_their_letters_is_lost():
    label = "Arla-Natural-Mild-Low-Fat-Yoghurt~train__Arla_017.jpg"
    lines = wrapped(f"12.  0.225 = 28% of 0.802 {label} " + "w" * 90, 260)
    assert max(font().getlength(line) for line in lines) <= 260
    assert "".join(lines).replace(" ", "") == f"12.0.225=28%of0.802{label}" + "w" * 90
    assert lines[1].endswith(("-", "~", "_"))
    assert wrapped("short", 260) == ["short"]
    assert text_panel([label], 260).height == len(wrapped(label, 260)) * text_panel(["short"], 260).height


def test_a_shortened_name_keeps_its_end():
    short = shortened("Arla-Natural-Mild-Low-Fat-Yoghurt_017", 122)
    assert font().getlength(short) <= 122
    assert short.startswith("Arla")
    assert short.endswith("_017")
    assert shortened("dog", 122) == "dog"


def test_the_bar_of_a_scale_is_smooth():
    panel = np.array(scale_panel(ColorScale(0, 1, "inferno"), 520))[10]
    assert len(np.unique(panel, axis=0)) > 100
    steps = np.abs(np.diff(panel.astype(int), axis=0)).max(axis=1)
    start = int(np.argmax((panel == rgb("#000004")).all(axis=1)))
    assert steps[start : start + 160].max() < 10


def test_a_region_that_is_left_out_is_gray(canvas, similarity_map):
    draw_regions(canvas, similarity_map, [Region(LEFT, 0)])
    assert canvas.getpixel((1, 50)) == rgb("#9aa0a6")
