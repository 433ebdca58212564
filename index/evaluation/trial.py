"""Which images search which."""

import os
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from whymatch.embed import BadFolder, LabeledImage, LeftOut, find_images
from whymatch.index.evaluation.metrics import Mask, findable


@dataclass(frozen=True, eq=False)
class Trial:
    """Images, each of them a query, in the gallery, or both."""

    images: list[LabeledImage]
    queries: Mask
    """(n,)."""
    gallery: Mask
    """(n,)."""

    @property
    def labels(self) -> list[str]:
        """Of the images."""
        return [image.label for image in self.images]

    @property
    def paths(self) -> list[Path]:
        """Of the images."""
        return [image.path for image in self.images]

    @property
    def asking(self) -> Mask:
        """The queries that have something to find, (n,); only they count."""
        return findable(self.labels, self.queries, self.gallery)

    @property
    def single(self) -> list[str]:
        """The labels of queries that have nothing to find, for the gallery has no other image of their label.

        They stay in the gallery, where others may take them for their own, and are left out as queries.
        """
        lost = self.queries & ~self.asking
        return sorted(set(np.array(self.labels)[lost].tolist()))

    def without(self, paths: Container[Path]) -> "Trial":
        """Return the trial without some images."""
        kept = np.array([path not in paths for path in self.paths])
        images = [image for image, keep in zip(self.images, kept, strict=True) if keep]
        return Trial(images, self.queries[kept], self.gallery[kept])

    def check(self) -> None:
        """Raise BadFolder if there is nothing to measure."""
        labels = sorted(set(np.array(self.labels)[self.gallery].tolist()))
        if len(labels) < 2:
            raise BadFolder(
                f"all images to be found are in one folder and so have one label ({', '.join(labels)}); put the images "
                "of each label in a folder of their own"
            )
        if not self.asking.any():
            raise BadFolder(
                "no query has another image of its label to find; put two images or more in the folder of each label, "
                "and with --queries give the folders of both sides the same names"
            )


def find_trial(
    folder: Path,
    queries: Path | None = None,
    *,
    include: str = "*",
    include_queries: str | None = None,
    left_out: LeftOut | None = None,
) -> Trial:
    """Find the images of a folder, as gallery and queries; or of two folders, as gallery and as queries.

    include, include_queries: patterns of file names in the gallery and of queries, by default the same.
    left_out: counts what is in the folders and was not taken.

    Raises:
        BadFolder: a folder is missing or has no image, or its labels leave nothing to measure.
    """
    gallery = find_images([folder.resolve()], include=include, left_out=left_out)
    places = {_place(image): image for image in gallery}
    found = find_images(
        [(queries or folder).resolve()], include=include_queries or include, left_out=left_out if queries else None
    )
    asking = [places.get(_place(image), image) for image in found]  # links may lead from one folder to the other
    images = sorted({*gallery, *asking})
    in_gallery, in_queries = set(gallery), set(asking)
    trial = Trial(
        images,
        queries=np.array([image in in_queries for image in images]),
        gallery=np.array([image in in_gallery for image in images]),
    )
    trial.check()
    return trial


def _place(image: LabeledImage) -> tuple[str, str]:
    """Return where an image is, without links in its folders."""
    return os.path.realpath(image.path.parent), image.path.name
