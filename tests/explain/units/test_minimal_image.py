"""Minimal images of scenes of which it is known what matters."""

import io

import numpy as np
import pytest
from PIL import Image
from sample_pictures import encoded, png
from small_networks import small
from unit_galleries import add, gallery_of

from whymatch.embed import DecodeLimits, NoClassScores
from whymatch.explain import BadTarget
from whymatch.explain.units import BestMatch, TopClass, fill, find_minimal_image, segments_of

LIMITS = DecodeLimits()
SEGMENTS = np.repeat(np.repeat(np.arange(9, dtype=np.int32).reshape(3, 3), 8, axis=0), 8, axis=1)
"""Nine squares."""
GRAY = np.full((24, 24, 3), 128, np.uint8)


class Sees:
    """Predicts by the brightness of squares: their weighted sum, which holds as long as it is not below a bound."""

    name = "bright"

    def __init__(self, weights: list[float], bound: float) -> None:
        self.weights, self.bound = np.array(weights), bound
        self.evaluations = 0

    def __call__(self, pixels):
        self.evaluations += len(pixels)
        bright = np.stack([(pixels[:, n == SEGMENTS] == 255).all(axis=(1, 2)) for n in range(9)], axis=1)
        values = bright @ self.weights
        return values.astype(np.float32), values >= self.bound


def steps(prediction, pixels=None, segments=SEGMENTS):
    pixels = np.full((24, 24, 3), 255, np.uint8) if pixels is None else pixels
    return list(find_minimal_image(pixels, segments, GRAY, prediction))


def test_the_one_part_that_matters_is_left():
    prediction = Sees([0, 0, 0, 0, 1, 0, 0, 0, 0], bound=1)
    last = steps(prediction)[-1].result
    assert last.is_minimal
    assert sorted(last.removed) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert (last.pixels[SEGMENTS == 4] == 255).all()
    assert (last.pixels[SEGMENTS != 4] == 128).all()


def test_what_costs_least_goes_first_and_it_ends_when_nothing_can_go():
    prediction = Sees([5, 4, 3, 2, 1, 6, 7, 8, 9], bound=35)  # 45 in all
    found = [one.result for one in steps(prediction) if one.result]
    assert [one.removed[-1] for one in found[1:-1]] == [4, 3, 2, 1]
    assert [one.value for one in found] == [45, 44, 42, 39, 35, 35]
    assert [one.is_minimal for one in found] == [False] * 5 + [True]


def test_a_part_that_speaks_against_goes_before_all_others():
    prediction = Sees([1, 1, 1, 1, -3, 1, 1, 1, 1], bound=5)
    found = [one.result for one in steps(prediction) if one.result]
    assert found[1].removed == (4,)
    assert found[1].value > found[0].value


def test_a_part_whose_loss_ends_the_prediction_stays_though_it_costs_least():
    class Needs(Sees):
        def __call__(self, pixels):
            values, holds = super().__call__(pixels)
            return values, holds & (pixels[:, 4, 4, 0] == 255)  # the first square

    found = steps(Needs([0.1, 1, 1, 1, 1, 1, 1, 1, 1], bound=0))[-1].result
    assert 0 not in found.removed
    assert len(found.removed) == 8


def test_progress_counts_evaluations_and_never_more_than_planned():
    prediction = Sees([1] * 9, bound=3)
    found = steps(prediction)
    assert found[-1].done == prediction.evaluations == found[-1].total
    assert all(one.done <= one.total for one in found)
    assert found[0].total == 1 + 44
    assert found[0].result.removed == ()


def test_one_part_alone_is_minimal_at_once():
    [only] = steps(Sees([1] * 9, bound=1), segments=np.zeros((24, 24), np.int32))
    assert only.result.is_minimal


def test_an_image_without_a_part_to_spare_is_minimal_as_it_is():
    found = steps(Sees([1] * 9, bound=9))
    assert [one.result.removed for one in found if one.result] == [(), ()]
    assert found[-1].result.is_minimal


def test_a_prediction_that_does_not_hold_is_refused():
    with pytest.raises(BadTarget, match="'bright' is not what the model predicts"):
        steps(Sees([1] * 9, bound=10))


def test_the_minimal_image_of_a_scene_keeps_what_its_class_needs():
    model = small()
    pixels = model.prepare(png(3), LIMITS).pixels
    prediction = TopClass(model, pixels)
    segments = segments_of(pixels, "slic", 12)
    *_, last = find_minimal_image(pixels, segments, fill(pixels, "gray", model), prediction)
    assert (
        model.class_scores(last.result.pixels[None])[0].argmax() == model.class_scores(pixels[None].copy())[0].argmax()
    )
    for one in set(range(segments.max() + 1)) - set(last.result.removed):  # nothing more can go
        without = np.where((segments == one)[..., None], fill(pixels, "gray", model), last.result.pixels)
        assert not prediction(without[None])[1][0] or len(last.result.removed) == segments.max()


def test_the_best_match_stays_the_same(tmp_path):
    model = small()
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {f"{n}.png": png(n) for n in range(8)} | {"twin.png": png(3)})
        pixels = model.prepare(png(3), LIMITS).pixels
        prediction = BestMatch(model, gallery.version, png(3), pixels)
        assert prediction.name not in ("3.png", "twin.png")  # an image is no match of itself
        segments = segments_of(pixels, "slic", 24)
        *_, last = find_minimal_image(pixels, segments, fill(pixels, "blur", model), prediction)
        values, holds = prediction(last.result.pixels[None].copy())
        assert holds[0]
        assert values[0] == pytest.approx(last.result.value, abs=1e-6)


def test_predictions_that_cannot_be_say_so(tmp_path):
    model = small()
    pixels = model.prepare(png(3), LIMITS).pixels
    top = TopClass(model, pixels)
    assert TopClass(model, pixels, top.name).name == top.name
    other = next(name for name in model.classes if name != top.name)
    with pytest.raises(BadTarget, match=f"the most likely class of the image is '{top.name}', not '{other}'"):
        TopClass(model, pixels, other)
    with pytest.raises(NoClassScores):
        TopClass(small(lacking="fc"), pixels)
    with gallery_of(tmp_path, model) as gallery:
        add(gallery, model, {"itself": png(3)})
        with pytest.raises(BadTarget, match="no other image"):
            BestMatch(model, gallery.version, png(3), pixels)


@pytest.mark.parametrize("kind", ["slic", "felzenszwalb"])
def test_segments_are_numbered_without_gaps(kind):
    pixels = np.asarray(Image.open(io.BytesIO(png(1, 120, 90))))
    segments = segments_of(pixels, kind, 20)
    assert segments.shape == (90, 120)
    assert sorted(np.unique(segments)) == list(range(segments.max() + 1))
    assert 5 <= segments.max() + 1 <= 60


@pytest.mark.parametrize("kind", ["slic", "felzenszwalb"])
def test_a_plain_image_and_a_tiny_one_have_segments_too(kind):
    for shape in ((32, 32, 3), (1, 40, 3)):
        segments = segments_of(np.zeros(shape, np.uint8), kind, 10)
        assert sorted(np.unique(segments)) == list(range(segments.max() + 1))


def test_fills():
    model = small()
    pixels = model.prepare(encoded(Image.new("RGB", (8, 8), "white")), LIMITS).pixels
    assert (fill(pixels, "blur", model) == 255).all()
    assert fill(pixels, "gray", model)[0, 0].tolist() == [124, 116, 104]
    assert abs(model.inputs(np.stack([fill(pixels, "gray", model)]))).max() < 0.01
