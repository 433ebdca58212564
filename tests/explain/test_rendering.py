import io

import numpy as np
import pytest
from PIL import Image
from sample_pictures import encoded

from whymatch.embed import Geometry, NotAnImage
from whymatch.explain import ColorScale, SimilarityMap, load_picture, render_overlay, shared_scale
from whymatch.explain.rendering import DIVERGING, SEQUENTIAL, upscale

GRAY = encoded(Image.new("RGB", (40, 20), (128, 128, 128)))


def map_of(values, mode="keep") -> SimilarityMap:
    return SimilarityMap(np.array(values, np.float32), Geometry(mode).placement(40, 20))


def rendered(similarity_map, scale, **options) -> Image.Image:
    return Image.open(io.BytesIO(render_overlay(load_picture(GRAY, **options), similarity_map, scale)))


def test_maps_of_one_answer_share_a_scale_from_zero():
    assert shared_scale([map_of([[0.1, 0.2]]), map_of([[0.05], [0.4]])]) == ColorScale(0, np.float32(0.4), SEQUENTIAL)


def test_signed_maps_get_a_scale_centered_at_zero():
    assert shared_scale([map_of([[0.1, -0.3]])]) == ColorScale(-np.float32(0.3), np.float32(0.3), DIVERGING)


def test_a_scale_of_nothing_is_still_a_scale():
    scale = shared_scale([map_of([[0, 0]])])
    assert scale.high > scale.low
    rendered(map_of([[0, 0]]), scale)


def test_values_are_interpolated_before_they_are_colored():
    assert upscale(np.array([[0, 1]], np.float32), 4, 1).tolist() == [[0, 0.25, 0.75, 1]]


def test_the_brightest_place_of_the_picture_is_the_largest_value():
    picture = rendered(map_of([[0, 0, 0, 1]]), ColorScale(0, 1, SEQUENTIAL)).convert("L")
    brightness = np.asarray(picture, float).mean(axis=0)
    assert picture.size == (40, 20)
    assert brightness.argmax() >= 35
    assert brightness[38] > brightness[2] + 50


def test_the_sign_shows_as_red_and_blue():
    picture = rendered(map_of([[1, -1]]), ColorScale(-1, 1, DIVERGING))
    red, blue = picture.getpixel((2, 10)), picture.getpixel((37, 10))
    assert red[0] > red[2]
    assert blue[2] > blue[0]


def test_what_is_worth_nothing_leaves_the_image_as_it_is():
    for scale in (ColorScale(0, 1, SEQUENTIAL), ColorScale(-1, 1, DIVERGING)):
        picture = rendered(map_of([[0, 0, 0, 1]]), scale)
        assert picture.getpixel((2, 10)) == (128, 128, 128)
        assert picture.getpixel((38, 10)) != (128, 128, 128)


def test_the_sign_of_a_map_beyond_the_scale_counts():
    whole, region = map_of([[0.1, 0.2]]), map_of([[0.9, -0.5]])
    assert shared_scale([whole], [whole, region]) == ColorScale(-np.float32(0.2), np.float32(0.2), DIVERGING)


def test_large_images_shrink_and_small_ones_stay():
    assert rendered(map_of([[1]]), ColorScale(0, 1, SEQUENTIAL), size_px=20).size == (20, 10)
    assert rendered(map_of([[1]]), ColorScale(0, 1, SEQUENTIAL), size_px=400).size == (40, 20)


def test_what_the_network_does_not_see_stays_gray():
    picture = rendered(map_of([[1]], "center-crop"), ColorScale(0, 1, SEQUENTIAL))
    assert len(set(picture.getpixel((2, 10)))) == 1
    assert len(set(picture.getpixel((20, 10)))) > 1


def test_bytes_that_are_no_image_are_refused():
    with pytest.raises(NotAnImage):
        load_picture(b"?")
