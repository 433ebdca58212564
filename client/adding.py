"""Finds images to add: the files of folders, each folder once, with a name and a label in the gallery for each file."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias, Union

from whymatch.client.inputs import NewImage

PathInput: TypeAlias = Union[str, "os.PathLike[str]"]
ENDINGS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}) | {
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
}
"""Endings of images, in lower case. HEIC is sent as well, for the server knows whether it can read it."""
OF_SYSTEMS = frozenset({"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", ".@__thumb"}) | {
    *(".appledouble", ".thumbnails", "__macosx", "lost+found", "$recycle.bin"),
    *("system volume information", "network trash folder", "temporary items"),
}
"""Folders that file servers and systems fill with thumbnails, metadata and what was deleted, in lower case."""
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
IRREGULAR = "it is a pipe, a socket or a device, and no file"


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


@dataclass
class LeftOut:
    """What is in folders and was not taken; a search for images counts into it."""

    skipped: Counter[str] = field(default_factory=Counter)
    """How many files of each ending, in lower case, are no images by it; folders of systems by name, with a `/`."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why folders and files cannot be read, by path."""

    def lines(self) -> list[str]:
        """Return what to say of it: a line for each that cannot be read, and one for all that was skipped."""
        return [f"{path}: {reason}" for path, reason in self.unreadable.items()] + [self.text()] * bool(self.skipped)

    def text(self) -> str:
        """Return what was skipped as one line; empty if nothing was."""
        kinds = [(kind or "no ending", count) for kind, count in self.skipped.most_common()]
        files = [(kind, count) for kind, count in kinds if not kind.endswith("/")]
        folders = [(kind, count) for kind, count in kinds if kind.endswith("/")]
        return "; ".join(_counted(what, some) for what, some in (("file", files), ("folder", folders)) if some)


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
    if not found:
        pattern = "" if include == "*" else f" whose name matches {include!r}"
        why = "; ".join(left_out.lines()[:4])
        raise UnusablePaths(f"no images{pattern} in {', '.join(map(str, given))}" + (f" ({why})" if why else ""))
    _require_different_names(found)
    return found


def _named_files(paths: Sequence[Path], include: str, left_out: LeftOut) -> Iterator[tuple[Path, str]]:
    """Yield files with their names in the gallery; a name cannot hold `/`, so `~` stands for it."""
    inside: dict[Path, list[Path]] = {}
    for folder, file in _files([path for path in paths if path.is_dir()], include, left_out):
        inside.setdefault(folder, []).append(file)
    taken = {_place(file) for files in inside.values() for file in files}
    for path in dict.fromkeys(paths):
        if path.is_dir():
            for file in sorted(inside.get(path, [])):
                yield file, file.relative_to(path).as_posix().replace("/", "~")
        elif not os.path.lexists(path):
            raise UnusablePaths(f"there is no file or folder {str(path)!r}")
        elif fnmatchcase(path.name, include) and _place(path) not in taken:
            taken.add(_place(path))
            yield path, path.name


def _files(folders: Sequence[Path], include: str, left_out: LeftOut) -> Iterator[tuple[Path, Path]]:
    """Yield the image files below some folders, each with the folder that it was found in.

    What is there itself comes before what links lead to, and an outer folder before one inside it. A link to a folder
    above is not followed: it would lead back here, and to all that lies beside.
    """
    outermost = sorted(dict.fromkeys(folders), key=lambda folder: len(_real(folder).parts))
    waiting = [(folder, folder) for folder in outermost]
    above = {parent for folder in folders for parent in _real(folder).parents}
    seen: set[object] = set()
    while waiting:
        links: list[Path] = []
        folder, start = waiting.pop(0)
        yield from ((folder, file) for file in _walk(start, include, left_out, seen, links))
        waiting += [(folder, link) for link in links if _real(link) not in {*above, *_real(link.parent).parents}]


def _walk(start: Path, include: str, left_out: LeftOut, seen: set[object], links: list[Path]) -> Iterator[Path]:
    """Yield the image files below `start` in folders that are not in `seen`; put links to folders into `links`."""
    stack = [start]
    while stack:
        here = stack.pop()
        try:
            identity = _identity(here)
            entries = sorted(os.scandir(here), key=lambda entry: entry.name) if identity not in seen else []
        except OSError as error:
            left_out.unreadable[str(here)] = error.strerror or str(error)
            continue
        seen.add(identity)
        for entry in entries:
            path = here / entry.name
            if _is_folder(entry):
                if entry.name.lower() in OF_SYSTEMS:
                    left_out.skipped[f"{entry.name}/"] += 1
                elif not entry.name.startswith("."):
                    (links if entry.is_symlink() else stack).append(path)
            elif _is_wanted(entry.name, include) and _is_image(path, left_out):
                yield path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _is_wanted(name: str, include: str) -> bool:
    return not name.startswith(".") and name.lower() not in SYSTEM_FILES and fnmatchcase(name, include)


def _is_image(path: Path, left_out: LeftOut) -> bool:
    """Say whether a path in a folder is an image file, and count it if not."""
    if path.suffix.lower() not in ENDINGS:
        left_out.skipped[path.suffix.lower()] += 1
        return False
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return True
        left_out.unreadable[str(path)] = IRREGULAR
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            left_out.skipped["broken link"] += 1
        else:
            left_out.unreadable[str(path)] = error.strerror or str(error)
    return False


def _identity(folder: Path) -> object:
    """Return what tells a folder from all others, by whatever path or mount it is reached."""
    info = folder.stat()
    return (info.st_dev, info.st_ino) if info.st_ino else _real(folder)  # some network drives number nothing


def _place(file: Path) -> Path:
    """Return the path of a file without links in its folders."""
    return _real(file.parent) / file.name


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _counted(what: str, kinds: Sequence[tuple[str, int]]) -> str:
    """Return `3 files left out: .txt 2, .heic 1`."""
    total = sum(count for _, count in kinds)
    listed = [f"{kind} {count}" for kind, count in kinds[:10]] + ["..."] * (len(kinds) > 10)
    return f"{total} {what}{'s' * (total != 1)} left out: {', '.join(listed)}"


def _require_different_names(images: Sequence[FoundImage]) -> None:
    first: dict[str, Path] = {}
    for image in images:
        if image.name in first:
            raise UnusablePaths(
                f"{first[image.name]} and {image.path} would both be stored as {image.name!r}; "
                "add the folder that holds both, or add them to different galleries"
            )
        first[image.name] = image.path
