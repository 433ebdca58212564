"""Images on disk, labeled by the folders that they lie in."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whymatch.embed.errors import BadFolder

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".avif", ".mpo"}
)
"""The same as `whymatch add` looks for."""


@dataclass(frozen=True, order=True)
class LabeledImage:
    """An image file and its label, the name of its folder."""

    path: Path
    label: str


def find_images(folders: Sequence[Path], *, include: str = "*") -> list[LabeledImage]:
    """List the image files below some folders by path; each is labeled with the name of the folder that holds it.

    include: only files whose name matches this pattern, for example `train__*`.

    Raises:
        BadFolder: a folder is missing, or nothing in them matches.
    """
    images: dict[Path, LabeledImage] = {}
    for folder in folders:
        if not folder.is_dir():
            raise BadFolder(f"there is no folder {str(folder)!r}")
        images |= {path: LabeledImage(path, path.parent.name) for path in _files(folder, include)}
    if not images:
        raise BadFolder(f"no image file in {', '.join(repr(str(folder)) for folder in folders)} matches {include!r}")
    return sorted(images.values())


def labels_of(images: Iterable[LabeledImage]) -> dict[str, list[LabeledImage]]:
    """Group images by label, labels in alphabetical order."""
    groups: dict[str, list[LabeledImage]] = {}
    for image in images:
        groups.setdefault(image.label, []).append(image)
    return dict(sorted(groups.items()))


def _files(folder: Path, include: str) -> Iterable[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES and path.match(include):
                yield path
