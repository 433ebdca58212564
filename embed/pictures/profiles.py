"""Colors as their profile means them, in sRGB, which networks and screens expect."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4 * 2**20
SAME = 2
"""A profile that moves no color by more than this, of 255, is sRGB in another writing; nothing is converted."""
STEPS = (0, 51, 102, 153, 204, 255)
MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert an image of mode L, RGB, CMYK or LAB to RGB.

    profile: ICC; empty means sRGB, and for CMYK the plain complement. A broken one, or one of other colors, is ignored.
    """
    if image.mode == "RGB" and not profile:
        return image
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab()) or image
    transform = _transform(profile, image.mode) if 128 <= len(profile) <= MAX_PROFILE_BYTES else None
    if transform is None and image.mode == "L" and profile:
        image, transform = image.convert("RGB"), _transform(profile, "RGB")
    if transform is None:
        return image if image.mode == "RGB" else image.convert("RGB")
    return ImageCms.applyTransform(image, transform) or image


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the way to sRGB; None if the profile is broken, of other colors, or sRGB itself."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if MODES.get(source.profile.xcolor_space.strip()) != mode:
            return None
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")
        probe = _probe(mode)
        moved = np.asarray(ImageCms.applyTransform(probe, transform), np.int16) - np.asarray(probe.convert("RGB"))
    except Exception:  # a damaged profile says nothing of the colors
        return None
    return transform if np.abs(moved).max() > SAME or mode == "CMYK" else None


def _probe(mode: str) -> Image.Image:
    """Return a picture of colors from everywhere."""
    if mode == "L":
        return Image.frombytes("L", (256, 1), bytes(range(256)))
    channels = len(Image.new(mode, (1, 1)).getbands())
    grid = np.stack(np.meshgrid(*[STEPS] * channels), axis=-1).astype(np.uint8)
    return Image.frombytes(mode, (grid.size // channels, 1), grid.tobytes())


@functools.lru_cache(maxsize=1)
def _lab() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
