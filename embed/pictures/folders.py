"""The image files of folders, each folder once, and what else is in them."""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

ENDINGS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}) | {
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
}
"""Endings of images, in lower case; whether HEIC can be read depends on what the server has installed."""
OF_SYSTEMS = frozenset({"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", ".@__thumb"}) | {
    *(".appledouble", ".thumbnails", "__macosx", "lost+found", "$recycle.bin"),
    *("system volume information", "network trash folder", "temporary items"),
}
"""Folders that file servers and systems fill with thumbnails, metadata and what was deleted, in lower case."""
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
IRREGULAR = "it is a pipe, a socket or a device, and no file"


@dataclass
class LeftOut:
    """What is in folders and was not taken; a search for images counts into it."""

    skipped: Counter[str] = field(default_factory=Counter)
    """How many files of each ending, in lower case, are no images by it; folders of systems by name, with a `/`."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Why folders and files cannot be read, by path."""
    broken: dict[str, str] = field(default_factory=dict)
    """Why links to files lead nowhere, by path."""

    def lines(self) -> list[str]:
        """Return what to say of it: a line for each that cannot be read, and one for all that was skipped."""
        return [f"{path}: {reason}" for path, reason in self.unreadable.items()] + [self.text()] * bool(self.skipped)

    def text(self) -> str:
        """Return what was skipped as one line; empty if nothing was."""
        kinds = [(kind or "no ending", count) for kind, count in self.skipped.most_common()]
        files = [(kind, count) for kind, count in kinds if not kind.endswith("/")]
        folders = [(kind, count) for kind, count in kinds if kind.endswith("/")]
        return "; ".join(_counted(what, some) for what, some in (("file", files), ("folder", folders)) if some)


def image_files(folders: Sequence[Path], include: str, left_out: LeftOut) -> Iterator[tuple[Path, Path]]:
    """Yield the image files below some folders, each with the folder that it was found in.

    What is there itself comes before what links lead to, and an outer folder before one inside it. A link to a folder
    above is not followed: it would lead back here, and to all that lies beside.
    """
    outermost = sorted(dict.fromkeys(folders), key=lambda folder: len(real_path(folder).parts))
    waiting = [(folder, folder) for folder in outermost]
    above = {parent for folder in folders for parent in real_path(folder).parents}
    seen: set[object] = set()
    while waiting:
        links: list[Path] = []
        folder, start = waiting.pop(0)
        yield from ((folder, file) for file in _walk(start, include, left_out, seen, links))
        waiting += [(folder, link) for link in links if not _leads_up(link, above)]


def _leads_up(link: Path, above: set[Path]) -> bool:
    return real_path(link) in above or real_path(link) in real_path(link.parent).parents


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
        where = left_out.broken if error.errno in (errno.ENOENT, errno.ELOOP) else left_out.unreadable
        where[str(path)] = error.strerror or str(error)
    return False


def _identity(folder: Path) -> object:
    """Return what tells a folder from all others, by whatever path or mount it is reached."""
    info = folder.stat()
    return (info.st_dev, info.st_ino) if info.st_ino else real_path(folder)  # some network drives number nothing


def real_path(path: Path) -> Path:
    """Return a path without links."""
    return Path(os.path.realpath(path))


def _counted(what: str, kinds: Sequence[tuple[str, int]]) -> str:
    """Return `3 files left out: .txt 2, .heic 1`."""
    total = sum(count for _, count in kinds)
    listed = [f"{kind} {count}" for kind, count in kinds[:10]] + ["..."] * (len(kinds) > 10)
    return f"{total} {what}{'s' * (total != 1)} left out: {', '.join(listed)}"
