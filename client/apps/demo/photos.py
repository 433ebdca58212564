"""The demo's photographs: those that come with scikit-image and scikit-learn, cut into views with known answers.

A gallery view and a query of one photograph overlap: the query has another cut, light and size, and some are mirrored.
The two views of the motorcycle are a real pair: two cameras saw the same scene.
"""

import importlib.util
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

SCIKIT_IMAGE = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png"),
    *("coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png"),
    *("page.png", "retina.jpg", "rocket.jpg", "text.png"),
)
SCIKIT_LEARN = ("china.jpg", "flower.jpg")
GALLERY_PX = 512
"""The longer side of a gallery view; large enough for any model, small enough for a quick demo."""

Cut = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of the photograph's sides."""

GALLERY_CUTS: dict[str, Cut] = {
    "whole": (0.0, 0.0, 1.0, 1.0),
    "top-left": (0.0, 0.0, 0.62, 0.62),
    "top-right": (0.38, 0.0, 1.0, 0.62),
    "bottom-left": (0.0, 0.38, 0.62, 1.0),
    "bottom-right": (0.38, 0.38, 1.0, 1.0),
}


@dataclass(frozen=True)
class Change:
    """How a query differs from its photograph."""

    cut: Cut
    size_px: int
    """The longer side."""
    light: float = 1.0
    """Brightness; 1 keeps it."""
    contrast: float = 1.0
    mirrored: bool = False
    quality: int = 90
    """Of the JPEG."""


SAMPLES = ("chelsea", "astronaut", "coffee")
"""The photographs of `whymatch demo --samples`; the query shows the first."""
SAMPLE_CUTS = ("whole", "top-left", "bottom-right")

QUERY_CHANGES = {
    "brighter": Change((0.12, 0.08, 0.80, 0.75), size_px=400, light=1.3),
    "mirrored": Change((0.18, 0.22, 0.90, 0.92), size_px=320, mirrored=True),
    "darker, small": Change((0.25, 0.20, 0.85, 0.80), size_px=224, light=0.65, contrast=0.9, quality=60),
}


@dataclass(frozen=True)
class View:
    """One picture of the demo, as a JPEG."""

    name: str
    photo: str
    """The photograph that it shows: the gallery's label, and the known answer of a query."""
    content: bytes


def find_photos() -> dict[str, Path]:
    """Return the photographs that are on this machine, by name."""
    candidates = [*_files("skimage", "data", SCIKIT_IMAGE), *_files("sklearn", "datasets/images", SCIKIT_LEARN)]
    return {path.stem: path for path in candidates if path.is_file()}


def gallery_views(photos: dict[str, Path]) -> Iterator[View]:
    """Yield the views that go into the gallery."""
    for photo, path in photos.items():
        picture = _open(path)
        for cut_name, cut in GALLERY_CUTS.items():
            view = _changed(picture, Change(cut, size_px=GALLERY_PX))
            yield View(f"{_label(photo)}-{cut_name}.jpg", _label(photo), view)


def queries(photos: dict[str, Path]) -> Iterator[View]:
    """Yield the queries, whose photographs are the known answers."""
    for photo, path in photos.items():
        picture = _open(path)
        for change_name, change in QUERY_CHANGES.items():
            yield View(f"{_label(photo)}, {change_name}", _label(photo), _changed(picture, change))
    if "motorcycle_left" in photos:
        yield other_camera(photos)


def samples(photos: dict[str, Path]) -> dict[str, bytes]:
    """Return files to try the commands on: some gallery views of some photographs, and a query."""
    some = {name: photos[name] for name in SAMPLES}
    views = {f"photos/{one.photo}/{one.name.removeprefix(f'{one.photo}-')}": one for one in gallery_views(some)}
    files = {name: view.content for name, view in views.items() if Path(name).stem in SAMPLE_CUTS}
    return files | {"query.jpg": next(queries(some)).content}


def other_camera(photos: dict[str, Path]) -> View:
    """Return the motorcycle as the second camera saw it, whole and unchanged."""
    picture = _open(photos["motorcycle_left"].with_name("motorcycle_right.png"))
    whole = Change(GALLERY_CUTS["whole"], size_px=GALLERY_PX)
    return View("motorcycle, the other camera", "motorcycle", _changed(picture, whole))


def _files(package: str, folder: str, names: Sequence[str]) -> list[Path]:
    """Return the files of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    roots = spec.submodule_search_locations if spec else None
    return [Path(root) / folder / name for root in roots or () for name in names]


def _label(photo: str) -> str:
    return photo.removesuffix("_left")


def _open(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        return ImageOps.exif_transpose(picture).convert("RGB")


def _changed(picture: Image.Image, change: Change) -> bytes:
    """Return the JPEG of `picture` after `change`."""
    left, top, right, bottom = change.cut
    width, height = picture.size
    picture = picture.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))
    picture.thumbnail((change.size_px, change.size_px), Image.Resampling.LANCZOS)
    picture = ImageEnhance.Brightness(picture).enhance(change.light)
    picture = ImageEnhance.Contrast(picture).enhance(change.contrast)
    if change.mirrored:
        picture = ImageOps.mirror(picture)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=change.quality)
    return file.getvalue()
