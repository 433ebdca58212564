"""What the client draws itself looks as the server would draw it: scales, overlays, decoded files, masks, colors."""

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image
from sample_pictures import encoded, picture

from whymatch import client, embed, explain
from whymatch.client.draw.colors import GRADIENTS
from whymatch.client.draw.decode import decode
from whymatch.client.draw.maps import common_scale, lit
from whymatch.client.draw.outlines import read_mask

WIDTH, HEIGHT = 96, 64
RANDOM = np.random.default_rng(7)
POSITIVE = RANDOM.random((4, 6), np.float32)
VALUES = {
    "positive": POSITIVE,
    "signed": POSITIVE - np.float32(0.4),
    "negative": -POSITIVE,
    "none": np.zeros((4, 6), np.float32),
    "negative by rounding": np.where(POSITIVE > 0.5, POSITIVE, np.float32(-1e-9)),
}


def client_map(values: np.ndarray) -> client.SimilarityMap:
    area = client.Box(0, 0, WIDTH, HEIGHT)
    return client.SimilarityMap(values, float(values.sum()), WIDTH, HEIGHT, area, None)


def server_map(values: np.ndarray) -> explain.SimilarityMap:
    return explain.SimilarityMap(values, embed.Geometry().placement(WIDTH, HEIGHT))


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, np.int16)


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def files() -> dict[str, bytes]:
    """Return image files of the kinds that decode in ways of their own."""
    color = picture(1)
    see_through = color.convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(color.size))
    palette = color.quantize(16)
    sixteen_bits = Image.fromarray((np.arange(WIDTH * HEIGHT, dtype=np.uint16) * 10).reshape(HEIGHT, WIDTH))
    kinds = {
        "color": encoded(color),
        "gray": encoded(color.convert("L")),
        "black and white": encoded(color.convert("1")),
        "palette": encoded(palette),
        "palette with a transparent color": encoded(palette, transparency=3),
        "color with a transparent color": encoded(color, transparency=color.getpixel((0, 0))),
        "transparent": encoded(see_through),
        "transparent gray": encoded(see_through.convert("LA")),
        "16 bits": encoded(sixteen_bits),
        "CMYK": encoded(color.convert("CMYK"), "JPEG"),
        "animated": encoded(color, "GIF", save_all=True, append_images=[picture(2)]),
        "damaged EXIF": encoded(color, "JPEG", exif=b"Exif\0\0damaged"),
    }
    return kinds | {f"EXIF {turn}": encoded(color, "JPEG", exif=exif(turn)) for turn in range(1, 9)}


FILES = files()


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
def test_scales_are_the_same(values):
    maps = [values, values / 2]
    ours, theirs = common_scale(map(client_map, maps)), explain.shared_scale(map(server_map, maps))
    assert (ours.low, ours.high, ours.color_map) == (theirs.low, theirs.high, theirs.color_map)


@pytest.mark.parametrize("kind", ["positive", "signed"])
def test_overlays_are_the_same_to_the_eye(kind):
    """The client interpolates nine colors where the server looks up 256."""
    values, content = VALUES[kind], FILES["color"]
    scale = explain.shared_scale([server_map(values)])
    overlay = explain.render_overlay(explain.load_picture(content), server_map(values), scale)
    ours = lit(content, client_map(values), client.ColorScale(scale.low, scale.high, scale.color_map))
    difference = np.abs(pixels(ours) - pixels(Image.open(io.BytesIO(overlay)).convert("RGB")))
    assert difference.max() <= 18
    assert difference.mean() <= 3


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_files_are_decoded_the_same(content):
    ours, theirs = decode(content), embed.decode_image(content, embed.DecodeLimits())
    assert np.array_equal(pixels(ours), pixels(theirs))


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
def test_masks_are_read_the_same(content):
    assert np.array_equal(pixels(read_mask(content)), explain.read_mask(content).values)


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradients_are_nine_colors_of_the_color_map(name):
    assert GRADIENTS[name] == [to_hex(color) for color in matplotlib.colormaps[name](np.linspace(0, 1, 9))]
