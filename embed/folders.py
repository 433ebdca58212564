"""Images on disk, labeled by the folders that they lie in, each folder once.

The rules are those of `whymatch add`, whose `client/adding.py` this room may not import; a test compares the two.
"""

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from whymatch.embed.errors import BadFolder, ImageTooLarge

ENDINGS = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}) | {
    *(".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".heic", ".heif"),
}
"""Endings of images, in lower case; whether HEIC can be read depends on what is installed."""
OF_SYSTEMS = frozenset({"@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", ".@__thumb"}) | {
    *(".appledouble", ".thumbnails", "__macosx", "lost+found", "$recycle.bin"),
    *("system volume information", "network trash folder", "temporary items"),
}
"""Folders that file servers and systems fill with thumbnails, metadata and what was deleted, in lower case."""
SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini"})
IRREGULAR = "it is a pipe, a socket or a device, and no file"


@dataclass(frozen=True, order=True)
class LabeledImage:
    """An image file and its label, the name of its folder."""

    path: Path
    label: str


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


def find_images(folders: Sequence[Path], *, include: str = "*", left_out: LeftOut | None = None) -> list[LabeledImage]:
    """List the image files below some folders by path; each is labeled with the name of the folder that holds it.

    Each folder is taken once, whatever links lead to it and whichever of `folders` contain it. A file of two names, by
    a link, is two images.

    include: only files whose name matches this pattern, for example `train__*`.
    left_out: counts what is in the folders and was not taken.

    Raises:
        BadFolder: a folder is missing, or nothing in them matches.
    """
    left_out = LeftOut() if left_out is None else left_out
    for folder in folders:
        if not folder.is_dir():
            raise BadFolder(f"there is no folder {str(folder)!r}")
    images = [LabeledImage(path, path.parent.name) for _, path in _files(folders, include, left_out)]
    if not images:
        why = "; ".join(left_out.lines()[:4])
        named = ", ".join(repr(str(folder)) for folder in folders)
        raise BadFolder(f"no image file in {named} matches {include!r}" + (f" ({why})" if why else ""))
    return sorted(images)


def labels_of(images: Iterable[LabeledImage]) -> dict[str, list[LabeledImage]]:
    """Group images by label, labels in alphabetical order."""
    groups: dict[str, list[LabeledImage]] = {}
    for image in images:
        groups.setdefault(image.label, []).append(image)
    return dict(sorted(groups.items()))


def read_image_file(path: Path, max_bytes: int) -> bytes:
    """Return the bytes of a file, and read no more than the limit, however large it is or becomes.

    Raises:
        ImageTooLarge: it has more bytes.
        OSError: it is gone, cannot be read, or is no file.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
        raise OSError(errno.EINVAL, IRREGULAR, str(path))
    with path.open("rb") as file:
        content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            size = max(os.fstat(file.fileno()).st_size, len(content))
            raise ImageTooLarge(f"the file has {size} bytes, and the limit is {max_bytes}")
    return content


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
        left_out.unreadable[str(path)] = error.strerror or str(error)
    return False


def _identity(folder: Path) -> object:
    """Return what tells a folder from all others, by whatever path or mount it is reached."""
    info = folder.stat()
    return (info.st_dev, info.st_ino) if info.st_ino else _real(folder)  # some network drives number nothing


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _counted(what: str, kinds: Sequence[tuple[str, int]]) -> str:
    """Return `3 files left out: .txt 2, .heic 1`."""
    total = sum(count for _, count in kinds)
    listed = [f"{kind} {count}" for kind, count in kinds[:10]] + ["..."] * (len(kinds) > 10)
    return f"{total} {what}{'s' * (total != 1)} left out: {', '.join(listed)}"
