"""Files as programs, phones, cameras and scanners write them; the right colors are those of four flat quarters."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms
from sample_files import (
    COLORS,
    GRAYS,
    HEIGHT,
    P3,
    WIDTH,
    chunk,
    color_png,
    gray_profile_of,
    gray_values,
    middles,
    png_of,
    profile_of,
    quarters,
    tiff_of,
)
from sample_pictures import encoded, picture

from whymatch.embed import BrokenImage, DecodeLimits, NotAnImage, TooManyPixels, decode_image, media_type

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

GRAY = gray_values()[..., None]
LEFT_IS_CLEAR = np.broadcast_to((np.arange(WIDTH) >= 30)[:, None], (HEIGHT, WIDTH, 1))
WHITE = (255, 255, 255)


def decode(content: bytes, **limits: int) -> Image.Image:
    return decode_image(content, DecodeLimits(**limits))


def looks_like(content: bytes, colors: list[tuple[int, ...]], most: int = 3) -> bool:
    found = middles(decode(content))
    assert np.abs(np.subtract(found, colors)).max() <= most, found
    return True


def jpeg(image: Image.Image | None = None, **options: object) -> bytes:
    return encoded(image or quarters(), "JPEG", **({"quality": 95} | options))


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


# ---------------------------------------------------------------- what is beside the first picture

NOISE = np.random.default_rng(0).integers(0, 256, 5_000_000, dtype=np.uint8).tobytes()
KINDS = {"JPEG": {"quality": 95}, "PNG": {}, "GIF": {}, "WEBP": {"lossless": True}, "TIFF": {}, "BMP": {}, "PPM": {}}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_behind_a_picture_is_not_read(kind):
    assert looks_like(encoded(quarters(), kind, **KINDS[kind]) + NOISE, COLORS)


def test_pictures_behind_a_photograph_are_not_counted_as_its_scans():
    burst = jpeg(progressive=True) + 20 * jpeg(picture(1), progressive=True)
    assert looks_like(burst, COLORS)


def test_a_thumbnail_of_many_scans_is_not_counted_either():
    big = b"Exif\0\0" + b"\xff\xda" * 100
    assert looks_like(jpeg()[:2] + segment(0xE1, big) + jpeg()[2:], COLORS)


def test_large_and_unknown_segments_of_a_jpeg_are_skipped():
    segments = b"".join(segment(marker, NOISE[:65_000]) for marker in [*range(0xE0, 0xF0), 0xFE] * 4)
    assert looks_like(jpeg()[:2] + segments + jpeg()[2:], COLORS)


def test_a_second_start_of_a_jpeg_is_skipped():
    assert looks_like(b"\xff\xd8" + jpeg(), COLORS)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_of_several_pictures_the_first_counts(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(quarters(), kind, save_all=True, append_images=[picture(1, 60, 40)], **options)
    assert looks_like(content, COLORS)


# ---------------------------------------------------------------- integers of every depth


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 20, 24, 32])
@pytest.mark.parametrize("white_is_zero", [False, True])
def test_gray_of_every_depth_and_polarity_is_scaled(bits, order, deflate, white_is_zero):
    white = 2**bits - 1
    values = (GRAY * white + 127) // 255
    right = (values * 255 / white).round().astype(int)[10::20, 15::30, 0].ravel()
    values = white - values if white_is_zero else values
    values = _with_low_byte_first(values) if bits == 24 and order == "<" else values
    content = tiff_of(values, bits, 0 if white_is_zero else 1, order=order, deflate=deflate)
    assert looks_like(content, [(one,) * 3 for one in right], 1)


def _with_low_byte_first(values: np.ndarray) -> np.ndarray:
    return (values & 255) << 16 | values & 0xFF00 | values >> 16


@pytest.mark.parametrize("bits", [10, 12, 16, 32])
@pytest.mark.parametrize("order", "<>")
def test_colors_of_every_depth_are_scaled(bits, order):
    values = np.asarray(quarters()).astype(np.int64) * (2**bits - 1) // 255
    assert looks_like(tiff_of(values, bits, 2, order=order), COLORS, 1)


def test_differences_from_pixel_to_pixel_are_undone():
    values = GRAY * 257
    stored = np.diff(values, axis=1, prepend=0) & 0xFFFF
    assert looks_like(tiff_of(stored, 16, 0, deflate=True, more={317: [2]}), [(255 - g[0],) * 3 for g in GRAYS], 1)


def test_tiles_and_planes_of_deep_numbers_are_put_together():
    tifffile = pytest.importorskip("tifffile")
    values = (np.asarray(quarters().resize((120, 80), 0)).astype(np.uint16)) * 257
    for options in ({"tile": (32, 48)}, {"planarconfig": "separate"}, {"rowsperstrip": 7}):
        file = io.BytesIO()
        data = values.transpose(2, 0, 1) if "planarconfig" in options else values
        tifffile.imwrite(file, data, photometric="rgb", **options)
        image = decode(file.getvalue())
        assert image.size == (120, 80)
        assert [image.getpixel((x, y)) for y in (20, 60) for x in (30, 90)] == COLORS


@pytest.mark.parametrize(("number", "what"), [(2, "signed"), (3, "floating-point"), (6, "complex")])
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_numbers_of_which_none_is_white_are_refused(number, what, bits):
    with pytest.raises(NotAnImage, match=f"{what}.*8 or 16 bits"):
        decode(tiff_of(GRAY, bits, more={339: [number]}))


def test_a_small_file_of_many_deep_channels_is_refused():
    more = {256: [8000], 257: [7000], 277: [6], 258: [32] * 6}
    with pytest.raises(TooManyPixels, match="unpacks to"):
        decode(tiff_of(GRAY, 32, more=more))


@pytest.mark.parametrize("white", [1, 15, 100, 255, 1023, 4095, 65535])
@pytest.mark.parametrize("color", [False, True])
def test_a_netpbm_says_which_number_is_white(white, color):
    values = (np.asarray(quarters()).astype(np.int64) if color else GRAY) * white / 255
    values = values.round().astype(np.int64)
    kind = b"P6" if color else b"P5"
    content = kind + b" # four quarters\n60 40\n%d\n" % white + values.astype(">u2" if white > 255 else "u1").tobytes()
    right = [tuple(round(int(n) * 255 / white) for n in values[y, x]) for y in (10, 30) for x in (15, 45)]
    assert looks_like(content, right if color else [one * 3 for one in right], 1)


def test_a_large_netpbm_of_rare_depth_takes_no_longer():
    content = b"P5 3000 3000 254 " + bytes(9_000_000)
    start = time.perf_counter()
    assert decode(content).size == (3000, 3000)
    assert time.perf_counter() - start < 5  # Pillow takes longer by a factor of a hundred


def test_a_netpbm_cut_short_is_broken():
    with pytest.raises(BrokenImage):
        decode(b"P5 60 40 4095 " + bytes(60 * 40 * 2 - 1))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_a_gray_png_of_every_depth_is_scaled(bits):
    white = 2**bits - 1
    values = (GRAY * white + 127) // 255
    right = (values * 255 / white).round().astype(int)[10::20, 15::30, 0].ravel()
    assert looks_like(png_of(values, bits, 0), [(one,) * 3 for one in right], 1)


# ---------------------------------------------------------------- metadata


def text_bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


@pytest.mark.parametrize(
    "before",
    [
        chunk(b"iTXt", b"workflow\0\1\0\0\0" + text_bomb(1_100_000)),
        chunk(b"zTXt", b"workflow\0\0" + text_bomb(50_000_000)),
        chunk(b"tEXt", b"workflow\0" + bytes(3_000_000)),
        30 * chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + text_bomb(5_000_000)),
        chunk(b"zTXt", b"workflow\0\7broken"),
        chunk(b"iCCP", b"profile\0\0" + text_bomb(50_000_000)),
        chunk(b"iCCP", b"profile\0\1broken"),
        chunk(b"iCCP", b""),
        chunk(b"eXIf", b"broken"),
        chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        chunk(b"gAMA", b"1"),
        chunk(b"cHRM", b"1"),
        chunk(b"pHYs", b"1"),
        chunk(b"sRGB", b""),
        chunk(b"tRNS", b"1"),
        chunk(b"acTL", b"1") + chunk(b"fcTL", b"1"),
        chunk(b"teSt", NOISE[:100_000]),
        chunk(b"tEXt", b"key\0value")[:-4] + b"bad!",
    ],
)
def test_no_metadata_refuses_a_png(before):
    assert looks_like(color_png(before), COLORS)
    behind = color_png(end=before + chunk(b"IEND", b""))
    assert looks_like(behind, COLORS)


@pytest.mark.parametrize(
    "broken",
    [
        segment(0xE1, b"Exif\0\0broken"),
        segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(256))),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + NOISE[:60_000]),
        segment(0xE0, b"JFIF\0"),
        segment(0xEE, b"Adobe"),
        segment(0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\x021"),
        segment(0xE2, b"MPF\0broken"),
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xE2, b"ICC_PROFILE\0\1\5" + bytes(500)),
        segment(0xE2, b"FPXR\0"),
        segment(0xFE, b""),
    ],
)
def test_no_metadata_refuses_a_jpeg(broken):
    assert looks_like(jpeg()[:2] + broken + jpeg()[2:], COLORS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_broken_profile_is_ignored(kind):
    options = {**KINDS.get(kind, {}), "icc_profile": profile_of()[:200] + NOISE[:300]}
    assert looks_like(encoded(quarters(), kind, **options), COLORS, 5)


def test_damaged_exif_of_webp_and_avif_costs_nothing():
    for kind, options in (("WEBP", {"lossless": True}), ("AVIF", {"quality": 95})):
        content = encoded(quarters(), kind, exif=Image.Exif().tobytes(), **options)
        start = content.index(b"II*\0") if b"II*\0" in content else content.index(b"MM\0*")
        assert looks_like(content[:start] + b"????" + content[start + 4 :], COLORS, 5)


def test_a_webp_whose_metadata_is_cut_off_is_read():
    content = encoded(quarters(), "WEBP", lossless=True, xmp=b"x" * 5000)
    assert looks_like(content[:-3000], COLORS)


# ---------------------------------------------------------------- end markers


def test_a_jpeg_without_its_end_marker_is_read():
    assert looks_like(jpeg()[:-2], COLORS)
    assert looks_like(jpeg(progressive=True)[:-2], COLORS)
    assert looks_like(jpeg(optimize=True, subsampling=0)[:-2], COLORS)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_cut_anywhere_else_is_broken(progressive):
    content = jpeg(picture(1), progressive=progressive)
    for length in range(700, len(content) - 3, 37):
        with pytest.raises((BrokenImage, NotAnImage)):
            decode(content[:length])
    with pytest.raises(BrokenImage):
        decode(content[: content.rindex(b"\xff\xda")])


def test_pngs_and_gifs_without_their_ends_are_read():
    assert looks_like(color_png(end=b""), COLORS)
    assert looks_like(color_png(end=b"")[:-4], COLORS)
    assert looks_like(encoded(quarters(), "GIF")[:-1], COLORS)


# ---------------------------------------------------------------- color profiles


def swapped() -> Image.Image:
    red, green, blue = quarters().split()
    return Image.merge("RGB", (green, red, blue))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_profile_that_swaps_red_and_green_is_applied(kind):
    assert looks_like(encoded(swapped(), kind, icc_profile=profile_of(), **KINDS[kind]), COLORS, 12)


def test_a_profile_is_applied_beside_transparency_and_to_palettes():
    image = swapped().convert("RGBA")
    image.putalpha(Image.fromarray((LEFT_IS_CLEAR[..., 0] * 255).astype(np.uint8)))
    assert looks_like(encoded(image, icc_profile=profile_of()), [WHITE, COLORS[1], WHITE, COLORS[3]], 12)
    assert looks_like(encoded(swapped().quantize(4), icc_profile=profile_of()), COLORS, 12)


def test_display_p3_is_wider_than_srgb():
    flat = Image.new("RGB", (8, 8), (200, 100, 100))
    red, green, blue = decode(encoded(flat, icc_profile=profile_of(P3))).getpixel((4, 4))
    assert red >= 210
    assert green <= 95
    assert abs(green - blue) <= 12


def exif_of_a_camera(index: str) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0110] = "a camera"
    exif.get_ifd(0x8769)[0xA001] = 0xFFFF  # the color space is not stated
    exif.get_ifd(0x8769)[0xA005] = {1: index}
    return exif


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_adobe_rgb_of_a_camera_is_wider_than_srgb(kind):
    flat = Image.new("RGB", (8, 8), (140, 180, 130))
    wide, plain = (
        np.array(decode(encoded(flat, kind, exif=exif_of_a_camera(index), **KINDS[kind])).getpixel((4, 4)))
        for index in ("R03", "R98")
    )
    assert np.allclose(plain, (140, 180, 130), atol=3)
    assert np.allclose(wide, (120, 181, 128), atol=4)  # by the matrices of both


def test_gray_has_profiles_too():
    flat = Image.new("L", (8, 8), 128)
    dark = decode(encoded(flat, icc_profile=gray_profile_of(1.0))).getpixel((4, 4))
    assert np.allclose(dark, 188, atol=2)  # linear light: half of it looks brighter
    assert decode(encoded(flat, icc_profile=profile_of())).getpixel((4, 4))[0] in range(126, 131)


def test_srgb_under_another_name_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    content = encoded(picture(1), icc_profile=profile)
    assert np.array_equal(np.asarray(decode(content)), np.asarray(picture(1)))


def test_a_profile_of_other_colors_is_ignored():
    assert looks_like(encoded(quarters(), icc_profile=gray_profile_of(1.0)), COLORS)


# ---------------------------------------------------------------- transparency


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257)])
def test_alpha_of_png_shows_white(bits, scale):
    gray = np.concatenate([GRAY, LEFT_IS_CLEAR * 255], axis=2) * scale
    assert looks_like(png_of(gray, bits, 4), [WHITE, GRAYS[1], WHITE, GRAYS[3]])
    color = np.concatenate([np.asarray(quarters()).astype(np.int64), LEFT_IS_CLEAR * 255], axis=2) * scale
    assert looks_like(png_of(color, bits, 6), [WHITE, COLORS[1], WHITE, COLORS[3]])


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_the_transparent_gray_of_a_png_is_white_at_every_depth(bits):
    white = 2**bits - 1
    clear = 1 if bits == 1 else white // 2
    image = decode(png_of(np.where(LEFT_IS_CLEAR, 0, clear), bits, 0, chunk(b"tRNS", struct.pack(">H", clear))))
    assert [image.getpixel((x, 30)) for x in (5, 50)] == [WHITE, (0, 0, 0)]


@pytest.mark.parametrize(("bits", "scale"), [(8, 1), (16, 257)])
def test_the_transparent_color_of_a_png_is_white(bits, scale):
    values = np.asarray(quarters()).astype(np.int64) * scale
    key = struct.pack(">3H", *(number * scale for number in COLORS[0]))
    assert looks_like(png_of(values, bits, 2, chunk(b"tRNS", key)), [WHITE, *COLORS[1:]])


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("associated", [False, True])
def test_alpha_of_tiff_shows_white(bits, associated):
    white = 2**bits - 1
    for colors, photometric, right in ((np.asarray(quarters()).astype(np.int64), 2, COLORS), (GRAY, 1, GRAYS)):
        values = np.concatenate([colors, LEFT_IS_CLEAR * 255], axis=2) * white // 255
        if associated:
            values[..., :-1] *= LEFT_IS_CLEAR
        content = tiff_of(values, bits, photometric, more={338: [1 if associated else 2]})
        assert looks_like(content, [WHITE, right[1], WHITE, right[3]])


# ---------------------------------------------------------------- kinds that are not read

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(50)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a" + bytes(9), "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\xef\xbb\xbf <svg/>", "SVG"),
        (b"%PDF-1.7", "PDF"),
        (b"8BPS\0\1" + bytes(20), "PSD"),
        (b"II*\0\x10\0\0\0CR\x02\0", "CR2"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1crx isom", "CR3"),
        (b"FUJIFILMCCD-RAW 0201", "Fujifilm raw"),
        (b"\x1aE\xdf\xa3", "WebM"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isomiso2", "MP4 video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "QuickTime video"),
        (bytes(128) + b"DICM", "DICOM"),
    ],
)
def test_a_kind_that_is_not_read_is_named(content, kind):
    with pytest.raises(NotAnImage, match=rf"{kind}.*(save it|send a frame)"):
        decode(content)
    assert media_type(content) == "application/octet-stream"


@pytest.mark.parametrize(("more", "kind"), [({254: [1], 330: [8], 50706: [1]}, "DNG"), ({262: [32803]}, "raw")])
def test_a_cameras_raw_file_is_named_although_it_is_a_tiff(more, kind):
    with pytest.raises(NotAnImage, match=f"{kind}.*develop it"):
        decode(tiff_of(GRAY, 8, more=more))


def test_heic_is_read_with_pillow_heif_and_names_it_without():
    try:
        import pillow_heif
    except ImportError:
        with pytest.raises(NotAnImage, match=r"pillow-heif.*\.\[heif\]"):
            decode(HEIC)
    else:
        file = io.BytesIO()
        pillow_heif.from_pillow(quarters()).save(file, quality=95)
        assert looks_like(file.getvalue(), COLORS, 6)
    assert media_type(HEIC) == "image/heif"


# ---------------------------------------------------------------- limits that a flag raises


def test_a_limit_above_pillows_own_holds():
    row = b"\0" + bytes(14000 // 8)
    packer = zlib.compressobj(9)
    pixels = b"".join(packer.compress(row) for _ in range(14000)) + packer.flush()
    header = struct.pack(">IIBBBBB", 14000, 14000, 1, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    pillows = Image.MAX_IMAGE_PIXELS
    assert decode(content, max_pixels=200_000_000).size == (14000, 14000)
    assert pillows == Image.MAX_IMAGE_PIXELS
    with pytest.raises(TooManyPixels, match="14000 x 14000"):
        decode(content, max_pixels=190_000_000)


def test_a_webp_above_pillows_own_limit_is_judged_by_ours():
    header = (
        b"VP8X" + struct.pack("<I", 10) + bytes(4) + (15_999).to_bytes(3, "little") + (14_999).to_bytes(3, "little")
    )
    content = b"RIFF" + struct.pack("<I", 4 + len(header)) + b"WEBP" + header
    for limit in (64_000_000, 200_000_000):
        with pytest.raises((TooManyPixels, BrokenImage)):
            decode(content, max_pixels=limit)
