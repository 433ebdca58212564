"""Photographs to measure with: crops of those that scikit-image brings, so that nothing need be downloaded."""

import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "ihc.png")
SIZE = (500, 375)
"""What ImageNet and many web pages have."""


def write_jpegs(folder: Path, count: int) -> list[Path]:
    """Write `count` different JPEG files of `SIZE`, and return their paths."""
    spec = importlib.util.find_spec("skimage")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).parent / "data"
    photos = [Image.open(source / name).convert("RGB") for name in PHOTOS]
    random = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write_crop(folder / f"{number:05}.jpg", photos[number % len(photos)], random) for number in range(count)]


def _write_crop(path: Path, photo: Image.Image, random: np.random.Generator) -> Path:
    side = random.uniform(0.5, 0.95)
    width, height = int(photo.width * side), int(photo.height * side)
    left, top = random.integers(0, photo.width - width), random.integers(0, photo.height - height)
    photo.crop((left, top, left + width, top + height)).resize(SIZE).save(path, quality=88)
    return path
