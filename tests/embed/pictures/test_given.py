"""A Pillow picture gives what its file gives."""

import io

import numpy as np
import pytest
from PIL import Image
from sample_files import COLORS, GRAYS, WIDTH, gray_values, middles, png_of, profile_of, quarters, tiff_of
from sample_pictures import encoded, picture

from whymatch.client.inputs import image_bytes
from whymatch.embed import DecodeLimits, decode_image

# Pillow warns of damaged EXIF, which is no reason to refuse an image.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

VALUES = (gray_values() * 257).astype(np.uint16)
WHITE = (255, 255, 255)


def seen(image: Image.Image) -> Image.Image:
    """What the server sees of a picture."""
    return decode_image(image_bytes(image), DecodeLimits())


def looks_like(image: Image.Image, colors: list[tuple[int, ...]], most: int = 3) -> bool:
    found = middles(seen(image))
    assert np.abs(np.subtract(found, colors)).max() <= most, found
    return True


def half_clear() -> Image.Image:
    image = quarters().convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(WIDTH) < 30, 0, 255).astype(np.uint8)[None].repeat(40, 0)))
    return image


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "P"])
def test_colors_of_every_mode(mode):
    given = quarters().quantize(4) if mode == "P" else quarters().convert(mode)
    assert looks_like(given, COLORS, 4)


@pytest.mark.parametrize("mode", ["L", "LA", "La", "I", "I;16", "I;16B", "I;16L"])
def test_grays_of_every_mode(mode):
    if mode.startswith("I;16"):
        given = Image.frombytes(mode, quarters().size, VALUES.astype(">u2" if mode == "I;16B" else "<u2").tobytes())
    elif mode == "I":
        given = Image.fromarray(VALUES.astype(np.int32))
    else:
        given = quarters().convert("L").convert("LA").convert(mode)
    assert looks_like(given, GRAYS)


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "PA"])
def test_transparency_of_every_mode(mode):
    given = half_clear()
    if mode == "PA":
        given = half_clear().convert("RGB").quantize(4).convert("PA")
        given.putalpha(half_clear().getchannel("A"))
    assert looks_like(given.convert(mode), [WHITE, COLORS[1], WHITE, COLORS[3]])


def test_one_bit_and_lab():
    assert seen(Image.new("1", (9, 9), 1)).getpixel((4, 4)) == WHITE
    gray = seen(Image.new("LAB", (9, 9), (128, 128, 128))).getpixel((4, 4))
    assert max(gray) - min(gray) <= 6


def test_numbers_without_a_white_are_refused():
    with pytest.raises(ValueError, match="floating-point"):
        image_bytes(Image.new("F", (4, 4)))
    for wrong in (-1, 65536):
        with pytest.raises(ValueError, match="none is white"):
            image_bytes(Image.new("I", (4, 4), wrong))


FILES = {
    "12 bits": tiff_of(gray_values()[..., None] * 4095 // 255, 12),
    "white is zero": tiff_of(65535 - VALUES[..., None].astype(np.int64), 16, 0),
    "PGM": b"P5 60 40 65535 " + VALUES.astype(">u2").tobytes(),
    "16-bit PNG": png_of(VALUES[..., None].astype(np.int64), 16, 0),
    "profile": encoded(quarters(), icc_profile=profile_of()),
    "CMYK": encoded(quarters().convert("CMYK"), "JPEG", quality=95),
    "palette": encoded(quarters().quantize(4), transparency=2),
    "animated": encoded(quarters(), "GIF", save_all=True, append_images=[picture(1, 60, 40)]),
}


@pytest.mark.parametrize("content", FILES.values(), ids=FILES)
@pytest.mark.parametrize("loaded", [False, True])
def test_an_opened_file_gives_what_the_file_gives(content, loaded):
    given = Image.open(io.BytesIO(content))
    if loaded:
        given.load()
    right = np.asarray(decode_image(content, DecodeLimits()), np.int16)
    assert np.abs(np.asarray(seen(given), np.int16) - right).max() <= 1


def test_exif_of_an_opened_file_turns_it_once():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(picture(1, 60, 40), "JPEG", exif=exif)
    for load in (lambda image: None, Image.Image.load):
        given = Image.open(io.BytesIO(content))
        load(given)
        assert seen(given).size == (40, 60)


def test_damaged_exif_and_changes_after_opening():
    given = Image.open(io.BytesIO(encoded(picture(1), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")))
    assert seen(given).size == (96, 64)
    given = Image.open(io.BytesIO(encoded(picture(1))))
    given.paste((1, 2, 3), (0, 0, 96, 64))
    assert seen(given).getpixel((5, 5)) == (1, 2, 3)
    frames = Image.open(io.BytesIO(FILES["animated"]))
    frames.seek(1)
    assert not np.array_equal(np.asarray(seen(frames)), np.asarray(quarters()))
