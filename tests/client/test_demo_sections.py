"""The demo's pictures of maps, and its parts on regions, a point and labels, with answers that are known."""

import io

import numpy as np
import PIL.Image
import pytest

from whymatch.client import Box, ColorScale, Correspondence, LabelExplanation, Match, MatchExplanation, SimilarityMap
from whymatch.client.apps.demo.interactive import active_neurons, spread
from whymatch.client.apps.demo.interactive import report as interactive_report
from whymatch.client.apps.demo.labels import report as label_report
from whymatch.client.apps.demo.photos import View
from whymatch.client.apps.demo.points import report as point_report
from whymatch.client.apps.demo.regions import LEFT, Half, Row, beside, card, introduction
from whymatch.client.apps.pages import picture_url
from whymatch.client.draw.maps import common_scale, lit
from whymatch.client.errors import InvalidArgument
from whymatch.client.results import (
    Activeness,
    Image,
    InterActiveExplanation,
    InterActiveSetting,
    Layer,
    Model,
    WeightMap,
)

WHOLE = Box(0, 0, 40, 20)
SCALE = ColorScale(0.0, 0.5, "inferno")


def jpeg(color: str, width: int = 40, height: int = 20) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", (width, height), color).save(file, "JPEG", quality=95)
    return file.getvalue()


def similarity_map(values, area: Box = WHOLE) -> SimilarityMap:
    return SimilarityMap(np.array(values, np.float32), float(np.sum(values)), 40, 20, area, Box(0, 0, 20, 20))


def match(label: str, score: float, image_score: float) -> Match:
    image = Image(f"{label}-1.jpg", label, {}, 40, 20, 1, "", None)
    return Match(image, score, image_score, None, None)


def explanation(*values: float, pairs: tuple[Correspondence, ...] = ()) -> MatchExplanation:
    one = similarity_map([values])
    return MatchExplanation(one.total, 0.8, one, one, 0.0, (), pairs, "m", None)


def near(pixel, expected) -> bool:
    return bool(np.abs(np.subtract(pixel, expected)).max() <= 4)


def test_a_map_colors_its_picture_the_more_the_higher_a_value_is():
    drawn = lit(jpeg("white"), similarity_map([[0.0, 0.5]]), SCALE)
    assert drawn.size == (40, 20)
    assert near(drawn.getpixel((2, 10)), (255, 255, 255))  # nothing leaves the picture as it is
    assert near(drawn.getpixel((37, 10)), (253, 255, 187))  # 0.25 white + 0.75 of the last color


def test_what_the_map_does_not_cover_is_gray_and_pale():
    drawn = lit(jpeg("red"), similarity_map([[0.5]], Box(20, 0, 40, 20)), SCALE)
    assert near(drawn.getpixel((5, 10)), (201, 201, 201))
    assert drawn.getpixel((35, 10))[0] > 150


def test_maps_of_several_answers_share_the_scale_of_the_largest_value():
    assert common_scale([similarity_map([[0.25, 0.0]]), similarity_map([[0.5]])]) == SCALE


def test_a_picture_of_the_page_is_no_larger_than_asked():
    large, small = (picture_url(jpeg("red", 900, 300), size_px) for size_px in (600, 300))
    assert len(large) > len(small)
    assert small.startswith("data:image/webp;base64,")


def test_two_photographs_lie_side_by_side():
    both = PIL.Image.open(io.BytesIO(beside(View("a", "a", jpeg("red")), View("b", "b", jpeg("blue")))))
    assert both.size == (480, 240)
    assert near(both.getpixel((100, 120)), (254, 0, 0))
    assert near(both.getpixel((380, 120)), (0, 0, 254))


def test_the_halves_that_missed_are_named():
    text = introduction([Half("cat", "dog", "cat"), Half("dog", "cat", "<fox>")])
    assert "1 of 2 halves found their photo" in text
    assert "The others: dog beside cat found &lt;fox&gt;." in text


def test_nothing_is_said_of_misses_where_there_are_none():
    text = introduction([Half("cat", "dog", "cat"), Half("dog", "cat", "dog")])
    assert "2 of 2 halves found their photo" in text
    assert "others" not in text


@pytest.mark.parametrize(("answer", "verdict"), [("cat", 'class="good">right'), ("dog", 'class="bad">wrong')])
def test_a_row_shows_score_share_verdict_and_scale(answer, verdict):
    row = Row("the <left> half", [LEFT], [answer], [match("cat", 0.2, 0.8)], [explanation(0.05, 0.15)])
    shown = card("two & two", jpeg("white"), [row], {"cat-1.jpg": jpeg("red")})
    assert "score <b>0.200</b> = 25% of 0.800" in shown
    assert verdict in shown
    assert "<span>0.1500 (inferno)</span>" in shown
    assert "the &lt;left&gt; half" in shown
    assert "two &amp; two" in shown
    assert shown.count("<img") == 2


def test_a_row_of_the_whole_picture_has_no_share():
    row = Row("the whole picture", [], ["cat"], [match("cat", 0.8, 0.8)], [explanation(0.4, 0.4)])
    assert "score <b>0.800</b>, <span" in card("", jpeg("white"), [row], {"cat-1.jpg": jpeg("red")})


def test_a_point_comes_with_its_score_and_the_numbers_of_its_cells():
    pair = Correspondence(Box(0, 0, 20, 20), Box(20, 0, 40, 20), 0.015)
    view = View("left.jpg", "left", jpeg("white"))
    shown = point_report(view, view, explanation(0.005, 0.015, pairs=(pair,)), explanation(0.3, 0.5, pairs=(pair,)))
    assert "holds 0.0200 of the score of 0.8000" in shown
    assert "1: 0.01500" in shown
    assert shown.count("<img") == 4


def test_class_maps_share_a_stated_scale_and_tell_best_match_from_mean():
    labels = [
        (match("cat", 0.9, 0.9), LabelExplanation(0.7, 5, similarity_map([[0.1, 0.6]]), "m", None)),
        (match("dog", 0.4, 0.4), LabelExplanation(0.3, 5, similarity_map([[0.1, 0.2]]), "m", None)),
    ]
    contents = {"cat-1.jpg": jpeg("red"), "dog-1.jpg": jpeg("blue")}
    shown = label_report(View("a query", "cat", jpeg("white")), labels, contents)
    assert "1. <b>cat</b>: best match 0.900,\nmean <b>0.700</b> over 5 images" in shown
    assert shown.count('class="scale"') == 1
    assert "<span>0.6000 (inferno)</span>" in shown
    assert shown.count("<img") == 5


def test_the_layers_of_the_demo_are_whole_blocks_below_the_last_one():
    names = ["stem", "stem.0", *(f"block{n}" for n in range(1, 12)), "block12", "scores"]
    assert spread([Layer(name, (), 1) for name in names]) == ["block2", "block6", "block10"]


def activeness(setting: InterActiveSetting) -> Activeness:
    png = io.BytesIO()
    PIL.Image.new("RGB", (8, 4), "red").save(png, "PNG")
    return Activeness(setting, WeightMap(np.ones((2, 3), np.float32), 8, 4, png.getvalue()), None, SCALE)


def test_each_supervision_has_a_row_of_maps():
    settings = [InterActiveSetting(layer, supervision) for supervision in ("last", "next") for layer in ("a<b", "c")]
    results = tuple(map(activeness, settings))
    page = interactive_report(View("photo", "a query", jpeg("blue")), InterActiveExplanation(results, 64, 32, "m"))
    assert page.count('class="row"') == 2
    assert page.count("<figure>") == 6
    assert "a&lt;b, supervised by the next layer,\n2 x 3 cells" in page
    assert "64 x 32 pixels" in page


class Bottlenecks:
    """A server whose network has a linear bottleneck behind every second layer."""

    def model(self) -> Model:
        layers = [Layer(f"block{number}.{part}", (), 1) for number in range(12) for part in ("in", "out")]
        return Model("f", "b", "block11.out", "average", "float32", 1, {}, tuple(layers))

    def explain_interactive(self, image, settings, **_):
        if any(one.layer.endswith("out") and one.supervision == "next" for one in settings):
            raise InvalidArgument("in front of a bottleneck")
        return InterActiveExplanation(tuple(map(activeness, settings)), 64, 32, "m")


def test_in_front_of_a_bottleneck_the_first_layer_behind_it_supervises():
    page = active_neurons(Bottlenecks(), View("photo", "a query", jpeg("blue")))
    assert "block1.out, supervised by block2.in," in page
    assert "block5.out, supervised by block6.in," in page
    assert "block9.out, supervised by block10.in," in page
    assert page.count("supervised by the last layer,") == 3
