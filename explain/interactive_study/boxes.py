"""The box of the object in each image, from one CSV file or from YOLO's text files."""

import csv
import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from whymatch.embed import BadFolder

COLUMNS = ("name", "left", "top", "width", "height")
SLACK_PX = 1
"""How far a box may leave its image, to be cut off there: files are rounded, and some count pixels from 1."""


@dataclass(frozen=True)
class ObjectBox:
    """Where the object is, in pixels of the upright image or in shares of its sides."""

    left: float
    top: float
    width: float
    height: float
    in_shares: bool
    place: str
    """The file and the line that say so."""

    def area(self, width_px: int, height_px: int) -> tuple[int, int, int, int]:
        """Return left, top, right and bottom in whole pixels of an upright image; at least one is inside.

        Raises:
            BadFolder: the box leaves the image.
        """
        x, y = (width_px, height_px) if self.in_shares else (1, 1)
        left, top = self.left * x, self.top * y
        right, bottom = left + self.width * x, top + self.height * y
        if min(left, top) < -SLACK_PX or right > width_px + SLACK_PX or bottom > height_px + SLACK_PX:
            raise BadFolder(
                f"its box ({self.place}) reaches from {left:g}, {top:g} to {right:g}, {bottom:g}, outside the image of "
                f"{width_px} x {height_px} px; boxes are in pixels of the upright image"
            )
        first, upper = min(max(round(left), 0), width_px - 1), min(max(round(top), 0), height_px - 1)
        return first, upper, min(max(round(right), first + 1), width_px), min(max(round(bottom), upper + 1), height_px)


def read_boxes(source: Path, images: Sequence[Path], folder: Path) -> dict[Path, ObjectBox]:
    """Return the box of each image; where it has several, the largest.

    source: a CSV file with the columns `name,left,top,width,height`, in pixels, where a name is a path below `folder`,
        or a file name that is there once; or a folder with a text file for each image, by the same path or name, whose
        lines are YOLO's: class, center x and y, width and height, in shares of the image.

    Raises:
        BadFolder: a line is not a box, or an image has none.
        OSError: a file cannot be read.
    """
    found = _of_folder(source, images, folder) if source.is_dir() else _of_file(source, images, folder)
    missing = [path for path in images if path not in found]
    if missing:
        raise BadFolder(
            f"{len(missing)} of {len(images)} images have no box in {str(source)!r}, first "
            f"{missing[0].relative_to(folder).as_posix()!r}; add their boxes, or take these images away"
        )
    return found


def fingerprint(boxes: Mapping[Path, ObjectBox], folder: Path) -> str:
    """Return what changes with any box."""
    digest = hashlib.sha256()
    for path, box in sorted(boxes.items()):
        digest.update(os.fsencode(path.relative_to(folder)) + repr(astuple(box)[:5]).encode())
    return digest.hexdigest()[:32]


def _of_file(source: Path, images: Sequence[Path], folder: Path) -> dict[Path, ObjectBox]:
    with source.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise BadFolder(f"the first line of {str(source)!r} does not name the columns {','.join(COLUMNS)}")
        named: dict[str, list[ObjectBox]] = {}
        for row in rows:
            place = f"{source.name}, line {rows.line_num}"
            numbers = _numbers([row[column] for column in COLUMNS[1:]], place)
            named.setdefault(row["name"], []).append(_box(*numbers, in_shares=False, place=place))
    return {
        path: _largest(boxes)
        for path, names in _names(images, folder)
        if (boxes := next((named[name] for name in names if name in named), None))
    }


def _of_folder(source: Path, images: Sequence[Path], folder: Path) -> dict[Path, ObjectBox]:
    found = {}
    for path, names in _names(images, folder):
        files = [source / Path(name).with_suffix(".txt") for name in names]
        file = next((file for file in files if file.is_file()), None)
        if file and (boxes := list(_of_yolo(file))):
            found[path] = _largest(boxes)
    return found


def _of_yolo(file: Path) -> Iterator[ObjectBox]:
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), start=1):
        place, words = f"{file.name}, line {number}", line.split()
        if words:
            x, y, width, height = _numbers(words[1:5], place)
            yield _box(x - width / 2, y - height / 2, width, height, in_shares=True, place=place)


def _names(images: Sequence[Path], folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Yield for each image the names that its box may go by: its path, and its file name if no other has it."""
    once = {path.name for path in images}
    alone = len(once) == len(images)
    for path in images:
        yield path, [path.relative_to(folder).as_posix(), *([path.name] if alone else [])]


def _numbers(words: Sequence[str | None], place: str) -> tuple[float, float, float, float]:
    try:
        first, second, third, fourth = (float(word or "") for word in words)
    except ValueError:
        raise BadFolder(f"{place} is not a box of four numbers") from None
    return first, second, third, fourth


def _box(left: float, top: float, width: float, height: float, *, in_shares: bool, place: str) -> ObjectBox:
    if not all(map(math.isfinite, (left, top, width, height))) or min(width, height) <= 0:
        raise BadFolder(f"the box of {place} has no area: it is {width:g} wide and {height:g} high")
    return ObjectBox(left, top, width, height, in_shares, place)


def _largest(boxes: Iterable[ObjectBox]) -> ObjectBox:
    return max(boxes, key=lambda box: box.width * box.height)
