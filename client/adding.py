"""Finds images to add: the files of folders, each folder once, with a name and a label in the gallery for each file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias, Union

from whymatch.client.inputs import NewImage
from whymatch.embed.pictures.folders import LeftOut, image_files, real_path

PathInput: TypeAlias = Union[str, "os.PathLike[str]"]


class UnusablePaths(ValueError):
    """Paths that hold no images, or two of the same name."""


@dataclass(frozen=True)
class FoundImage(NewImage):
    """A file to add, with its name and label in the gallery."""

    @property
    def path(self) -> Path:
        """Where the file is."""
        assert isinstance(self.content, (str, os.PathLike))
        return Path(self.content)


def find_images(
    paths: PathInput | Sequence[PathInput],
    *,
    label: str = "",
    labels_from_folders: bool = False,
    include: str = "*",
    left_out: LeftOut | None = None,
) -> list[FoundImage]:
    """Return the images that `paths` name, ready for `add`: files, and all images in folders, in a fixed order.

    In folders an image is what ends like one, in upper or lower case; a file named itself is taken whatever its name.
    `cats/cat.png` in a folder becomes `cats~cat.png`. Each folder is taken once, whatever links lead to it and
    whichever of `paths` contain it: the outermost path names it. A file of two names, by a link, is two images.

    label: the label of all these images.
    labels_from_folders: label each image with the name of its folder instead.
    include: only files whose name matches this pattern, for example `train__*`.
    left_out: counts what is in the folders and was not taken.

    Raises:
        UnusablePaths: a path is missing, no image is found, or two have the same name.
    """
    given = [Path(path) for path in ([paths] if isinstance(paths, (str, os.PathLike)) else paths)]
    left_out = LeftOut() if left_out is None else left_out
    found = [
        FoundImage(file, name, file.absolute().parent.name if labels_from_folders else label)
        for file, name in _named_files(given, include, left_out)
    ]
    if left_out.broken:  # there is nothing to add, and so nothing that failed
        left_out.skipped["broken link"] += len(left_out.broken)
    if not found:
        pattern = "" if include == "*" else f" whose name matches {include!r}"
        why = "; ".join(left_out.lines()[:4])
        raise UnusablePaths(f"no images{pattern} in {', '.join(map(str, given))}" + (f" ({why})" if why else ""))
    _require_different_names(found)
    return found


def _named_files(paths: Sequence[Path], include: str, left_out: LeftOut) -> Iterator[tuple[Path, str]]:
    """Yield files with their names in the gallery; a name cannot hold `/`, so `~` stands for it."""
    inside: dict[Path, list[Path]] = {}
    for folder, file in image_files([path for path in paths if path.is_dir()], include, left_out):
        inside.setdefault(folder, []).append(file)
    taken = {place(file) for files in inside.values() for file in files}
    for path in dict.fromkeys(paths):
        if path.is_dir():
            for file in sorted(inside.get(path, [])):
                yield file, file.relative_to(path).as_posix().replace("/", "~")
        elif not os.path.lexists(path):
            raise UnusablePaths(f"there is no file or folder {str(path)!r}")
        elif fnmatchcase(path.name, include) and place(path) not in taken:
            taken.add(place(path))
            yield path, path.name


def place(file: Path) -> Path:
    """Return the path of a file without links in its folders."""
    return real_path(file.parent) / file.name


def _require_different_names(images: Sequence[FoundImage]) -> None:
    first: dict[str, Path] = {}
    for image in images:
        if image.name in first:
            raise UnusablePaths(
                f"{first[image.name]} and {image.path} would both be stored as {image.name!r}; "
                "add the folder that holds both, or add them to different galleries"
            )
        first[image.name] = image.path
