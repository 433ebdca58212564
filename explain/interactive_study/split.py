"""Which images of a labeled folder a classifier learns from, and which it is tested on."""

import hashlib
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from whymatch.embed import BadFolder, LabeledImage, labels_of


@dataclass(frozen=True, eq=False)
class Split:
    """Images to learn from and images to test on."""

    images: list[LabeledImage]
    training: NDArray[np.bool_]
    """(n,); the others are for the test."""

    @property
    def labels(self) -> NDArray[np.str_]:
        """Of the images, (n,)."""
        return np.array([image.label for image in self.images])

    @property
    def paths(self) -> list[Path]:
        """Of the images."""
        return [image.path for image in self.images]

    @property
    def classes(self) -> list[str]:
        """The different labels, in alphabetical order."""
        return sorted({image.label for image in self.images})

    def fingerprint(self, folder: Path) -> str:
        """Return what changes with the images' names below a folder, and with which of them are to learn from."""
        digest = hashlib.sha256()
        for image, training in zip(self.images, self.training, strict=True):
            digest.update(os.fsencode(image.path.relative_to(folder)) + (b"\0+" if training else b"\0-"))
        return digest.hexdigest()[:32]

    def kept(self, unreadable: Mapping[Path, str]) -> NDArray[np.bool_]:
        """Return which images can be read and are of a class that has some of both kinds left, (n,).

        Raises:
            BadFolder: no two classes are left.
        """
        readable = np.array([image.path not in unreadable for image in self.images])
        labels = self.labels
        both = set(labels[readable & self.training]) & set(labels[readable & ~self.training])
        if len(both) < 2:
            first = next((f"; {str(path)!r}: {reason}" for path, reason in unreadable.items()), "")
            raise BadFolder(
                f"fewer than two classes have images left that can be read, to learn from and to test on{first}"
            )
        return readable & np.isin(labels, sorted(both))


def draw_split(images: Sequence[LabeledImage], *, train_per_class: int, test_per_class: int, seed: int) -> Split:
    """Draw images to learn from of each class, and of the rest some to test on; a class does not change the others.

    test_per_class: at most this many.

    Raises:
        BadFolder: there is one class only, or one has too few images.
    """
    groups = labels_of(images)
    _check(groups, train_per_class)
    training: dict[LabeledImage, bool] = {}
    for label, group in groups.items():
        order = np.random.default_rng([seed, zlib.crc32(os.fsencode(label))]).permutation(len(group))
        for turn, place in enumerate(order[: train_per_class + test_per_class]):
            training[group[place]] = turn < train_per_class
    chosen = sorted(training)
    return Split(chosen, np.array([training[image] for image in chosen]))


def _check(groups: dict[str, list[LabeledImage]], train_per_class: int) -> None:
    if len(groups) < 2:
        raise BadFolder(
            f"all images are in one folder and so of one class ({', '.join(groups)}); put the images of each class in "
            "a folder of their own"
        )
    small = {label: len(group) for label, group in groups.items() if len(group) <= train_per_class}
    if small:
        some = ", ".join(f"{label} ({count})" for label, count in list(small.items())[:5])
        raise BadFolder(
            f"{len(small)} of {len(groups)} classes have too few images to learn from {train_per_class} and test on at "
            f"least 1: {some}{', ...' if len(small) > 5 else ''}; lower "
            "--train-per-class, or take these folders away"
        )
