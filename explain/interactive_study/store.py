"""Descriptors on disk, a file for every few images, so that a killed study goes on."""

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import Array, BadFolder, DecodeLimits, Model, WhymatchError, read_image_file
from whymatch.embed.image import decode_unconverted
from whymatch.explain.interactive_study.boxes import ObjectBox
from whymatch.explain.interactive_study.descriptors import Descriptor, describe
from whymatch.index.evaluation.embedding import Advance

SETTINGS, REASONS = "settings.json", "reasons"
IMAGES_AT_A_TIME = 32
"""In a file; a killed study loses at most one file."""


@dataclass(frozen=True, eq=False)
class Store:
    """The descriptors of some images in a folder of their own."""

    folder: Path
    settings: Mapping[str, object]
    """All that determines the descriptors, ready for JSON."""
    paths: Sequence[Path]
    """Of the images."""
    images_at_a_time: int = IMAGES_AT_A_TIME

    def open(self) -> None:
        """Make the folder, or go on with what it holds.

        Raises:
            BadFolder: it holds descriptors that were made with other settings.
            OSError: it cannot be made or read.
        """
        path = self.folder / SETTINGS
        now = json.loads(json.dumps(self.settings))
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, lambda file: file.write(json.dumps(now, indent=1).encode()))
            return
        try:
            before = dict(json.loads(path.read_bytes()))
        except (ValueError, TypeError) as err:
            raise BadFolder(f"{str(path)!r} cannot be read ({err}); choose another --output") from err
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if changed:
            raise BadFolder(
                f"the descriptors in {str(self.folder)!r} were made with other settings ({', '.join(sorted(changed))}; "
                f"see {SETTINGS} there); go on with the same, or choose another --output"
            )

    @property
    def missing(self) -> list[int]:
        """The numbers of the files that are not there yet."""
        return [number for number in range(self._files) if not self._file(number).exists()]

    def chunk(self, number: int) -> Sequence[Path]:
        """Return the images of one file."""
        return self.paths[number * self.images_at_a_time : (number + 1) * self.images_at_a_time]

    def write(self, number: int, described: Sequence[Mapping[str, Array]], reasons: Sequence[str]) -> None:
        """Write a file in one step.

        described: of the images that can be read; all have the same names.
        reasons: for each image why it cannot be read, or nothing.
        """
        arrays: dict[str, Any] = {REASONS: np.array(reasons)}
        for name in described[0] if described else ():
            arrays[name] = np.stack([each[name] for each in described])
        _write(self._file(number), lambda file: np.savez(file, **arrays))

    def read(self, name: str) -> Array:
        """Return one descriptor of all images that can be read, (n, C)."""
        parts = [self._array(number, name) for number in range(self._files)]
        found: Array = np.concatenate([part for part in parts if part is not None])
        return found

    def unreadable(self) -> dict[Path, str]:
        """Return why images cannot be read, by their path."""
        reasons = [reason for number in range(self._files) for reason in self._reasons(number)]
        return {path: reason for path, reason in zip(self.paths, reasons, strict=True) if reason}

    @property
    def _files(self) -> int:
        return -(-len(self.paths) // self.images_at_a_time)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def _reasons(self, number: int) -> list[str]:
        reasons = self._array(number, REASONS)
        return [] if reasons is None else list(map(str, reasons))

    def _array(self, number: int, name: str) -> Array | None:
        """Return what a file has under a name; a file of images that cannot be read has no descriptors."""
        path = self._file(number)
        try:
            with path.open("rb") as stream, np.load(stream) as file:
                found: Array | None = file.get(name)
                return found
        except (ValueError, EOFError, zipfile.BadZipFile) as err:
            raise BadFolder(f"{str(path)!r} is damaged ({err}); remove it and run the same again") from err


def describe_images(
    model: Model,
    store: Store,
    descriptors: Sequence[Descriptor],
    advance: Advance = lambda images: None,
    boxes: Mapping[Path, ObjectBox] | None = None,
) -> None:
    """Describe the images of a store that have no descriptors yet; unreadable ones are noted with the reason.

    boxes: crop each image to its box; one whose box is not in it is unreadable.
    """
    limits = DecodeLimits()
    for number in store.missing:
        described, reasons = [], []
        for path in store.chunk(number):
            try:
                content = read_image_file(path, limits.max_bytes)
                pixels = (
                    _cropped(model, content, limits, boxes[path]) if boxes else model.prepare(content, limits).pixels
                )
            except (WhymatchError, OSError) as err:
                reasons.append(str(err))
            else:
                described.append(describe(model, pixels, descriptors))
                reasons.append("")
            advance(1)
        store.write(number, described, reasons)


def _cropped(model: Model, content: bytes, limits: DecodeLimits, box: ObjectBox) -> NDArray[np.uint8]:
    """Return what is in the box, as if it were an image of its own: (h, w, 3)."""
    image, profile = decode_unconverted(content, limits)
    cropped = image.crop(box.area(*image.size))
    area = model.geometry.placement(*cropped.size).area
    return model.resize(cropped, profile, area, model.geometry.input_size(*cropped.size))


def _write(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file so that it is there as a whole or not at all."""
    unfinished = path.with_name(path.name + ".unfinished")
    try:
        with unfinished.open("wb") as file:
            write(file)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
