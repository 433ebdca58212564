import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sample_pictures import encoded, picture, png

from whymatch.embed import (
    BrokenImage,
    DecodeLimits,
    ImageTooLarge,
    NotAnImage,
    TooManyPixels,
    WhymatchError,
    decode_image,
    media_type,
)

# Pillow warns of damaged EXIF, which is no reason to refuse an image.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LIMITS = DecodeLimits()
CORNERS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)]  # top left, top right, bottom left, bottom right


def decode(content: bytes) -> Image.Image:
    return decode_image(content, LIMITS)


def corners(image: Image.Image) -> list[tuple[int, ...]]:
    right, bottom = image.width - 1, image.height - 1
    return [image.getpixel(point) for point in [(0, 0), (right, 0), (0, bottom), (right, bottom)]]


def corner_picture() -> Image.Image:
    image = Image.new("RGB", (20, 10))
    for color, box in zip(CORNERS, [(0, 0), (10, 0), (0, 5), (10, 5)], strict=True):
        image.paste(color, (*box, box[0] + 10, box[1] + 5))
    return image


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_comes_out_upright(kind, orientation):
    turn_back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corner_picture()
    if orientation in turn_back:
        stored = stored.transpose(turn_back[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    upright = decode(encoded(stored, kind, exif=exif, **options))
    assert upright.size == (20, 10)
    assert corners(upright) == CORNERS


def test_damaged_exif_does_not_cost_the_image():
    content = encoded(corner_picture(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xff" * 20)
    assert decode(content).size == (20, 10)


def test_transparency_is_shown_on_white():
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (100, 0, 0, 255))
    assert [decode(encoded(image)).getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), (100, 0, 0)]


def test_a_palette_with_a_transparent_color_is_shown_on_white():
    image = Image.new("P", (1, 1), 0)
    image.putpalette([10, 20, 30])
    assert decode(encoded(image)).getpixel((0, 0)) == (10, 20, 30)
    assert decode(encoded(image, transparency=0)).getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_becomes_rgb():
    red = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)).getpixel((4, 4))
    assert np.allclose(red, (255, 0, 0), atol=6)


@pytest.mark.parametrize(("deep", "expected"), [(0, 0), (257, 1), (32896, 128), (65535, 255)])
def test_16_bits_become_8(deep, expected):
    image = Image.fromarray(np.full((2, 2), deep, np.uint16))
    assert decode(encoded(image)).getpixel((0, 0)) == (expected,) * 3
    assert decode(encoded(image, "TIFF")).getpixel((0, 0)) == (expected,) * 3


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode(content).getpixel((0, 0)) == (255, 0, 0)


def test_one_bit_and_gray_images_become_rgb():
    assert decode(encoded(Image.new("1", (2, 2), 1))).getpixel((0, 0)) == (255, 255, 255)
    assert decode(encoded(Image.new("LA", (2, 2), (7, 255)))).getpixel((0, 0)) == (7, 7, 7)


def test_a_wrong_file_name_does_not_matter_but_wrong_content_does():
    assert media_type(encoded(picture(1), "JPEG")) == "image/jpeg"
    assert media_type(b"<html></html>") == "application/octet-stream"
    with pytest.raises(NotAnImage, match="13 bytes"):
        decode(b"<html></html>")


def test_an_empty_file_says_so():
    with pytest.raises(NotAnImage, match="empty"):
        decode(b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"])
def test_a_truncated_file_is_broken(kind):
    content = encoded(picture(1), kind)
    with pytest.raises((BrokenImage, NotAnImage)):
        decode(content[: len(content) * 2 // 3])


def test_floating_point_pixels_are_refused_with_the_remedy():
    with pytest.raises(NotAnImage, match="8 or 16 bits"):
        decode(encoded(Image.new("F", (2, 2)), "TIFF"))


def test_bytes_are_limited_before_anything_is_read():
    with pytest.raises(ImageTooLarge, match="at most 10"):
        decode_image(b"x" * 11, DecodeLimits(max_bytes=10))


def test_pixels_are_limited_before_anything_is_decoded():
    with pytest.raises(TooManyPixels, match="96 x 64"):
        decode_image(png(1), DecodeLimits(max_pixels=96 * 64 - 1))
    assert decode_image(png(1), DecodeLimits(max_pixels=96 * 64)).size == (96, 64)


@pytest.mark.parametrize("side", [9_000, 12_000, 30_000, 2**31 - 1])
def test_a_png_that_only_claims_to_be_huge_costs_nothing(side):
    with pytest.raises(TooManyPixels):
        decode(huge_png(side))


def huge_png(side: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def test_a_jpeg_that_goes_over_its_pixels_again_and_again_is_refused():
    content = encoded(picture(1), "JPEG", progressive=True)
    assert decode(content).size == (96, 64)
    scan = content.rindex(b"\xff\xda")
    repeated = content[:scan] + content[scan:-2] * 60 + content[-2:]
    with pytest.raises(BrokenImage, match="times"):
        decode(repeated)


def test_a_small_tiff_of_one_huge_tile_is_refused():
    with pytest.raises(TooManyPixels, match="tiles"):
        decode(tiled_tiff(side=64, tile=30_000))


def tiled_tiff(side: int, tile: int) -> bytes:
    """Write the header of a gray TIFF of one deflated tile."""
    data = zlib.compress(bytes(1000))
    tags = [(256, side), (257, side), (258, 8), (259, 8), (262, 1), (277, 1), (322, tile), (323, tile), (324, 8)]
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in [*tags, (325, len(data))]]
    start = 8 + len(data)
    return (
        struct.pack("<2sHI", b"II", 42, start) + data + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    )


def test_pixels_written_as_text_are_refused():
    with pytest.raises(NotAnImage, match="binary"):
        decode(b"P3 1 1 255 1 2 3")


@given(st.binary(max_size=300))
def test_any_bytes_give_an_image_or_one_of_our_errors(content):
    decode_or_refuse(content)


@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP", "AVIF"]), st.data())
def test_any_damage_gives_an_image_or_one_of_our_errors(kind, data):
    content = bytearray(encoded(picture(1, 16, 16), kind))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    decode_or_refuse(bytes(content))


def decode_or_refuse(content: bytes) -> None:
    try:
        assert decode_image(content, DecodeLimits(max_pixels=1_000_000)).mode == "RGB"
    except WhymatchError as err:
        assert err.reason != "INTERNAL"  # noqa: PT017  an image is as good an answer
    media_type(io.BytesIO(content).getvalue())
