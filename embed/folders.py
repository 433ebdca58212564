"""Images on disk, labeled by the folders that they lie in, each folder once."""

import errno
import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from whymatch.embed.errors import BadFolder, ImageTooLarge
from whymatch.embed.pictures.folders import IRREGULAR, LeftOut, image_files


@dataclass(frozen=True, order=True)
class LabeledImage:
    """An image file and its label, the name of its folder."""

    path: Path
    label: str


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
    images = [LabeledImage(path, path.parent.name) for _, path in image_files(folders, include, left_out)]
    left_out.unreadable |= left_out.broken
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
